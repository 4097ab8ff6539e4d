'use strict';
// What the programs here have in common: PROGRAM … N PEER HOST, one line of JSON when all is in place, and an end with
// stdin. The truth is told as in ../go/zoo/main.go.

const [n, peer, host] = process.argv.slice(-3);
const at = peer.lastIndexOf(':');

exports.n = Number(n);
exports.host = host;
exports.peer = { host: peer.slice(0, at).replace(/[[\]]/g, ''), port: Number(peer.slice(at + 1)) };

exports.address = server => {
  const { address, port, family } = server.address();
  return family === 'IPv6' ? `[${address}]:${port}` : `${address}:${port}`;
};

exports.tell = truth => {
  process.stdout.write(JSON.stringify({ ready: true, truth: {}, ...truth }) + '\n');
  process.stdin.on('end', () => process.exit(0)).resume();
};
