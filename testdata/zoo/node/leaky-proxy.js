'use strict';
// A proxy that joins two sockets, as it is found in many places: no keepalive, no timeout, no 'end', no 'error'. When
// both sides fall silent, or are gone without a word, both sockets stay.

const net = require('node:net');
const { n, peer, host, address, tell } = require('./zoo.js');

function join(from, to) {
  from.on('data', d => to.write(d));
  from.on('close', () => to.destroy());
}

const server = net.createServer(client => {
  const target = net.connect(peer.port, peer.host);
  join(client, target);
  join(target, client);
});

server.listen(0, host, () => tell({
  listen: address(server),
  truth: { 'idle-no-keepalive': 2 * n },
  held: { ESTAB: 2 * n, LISTEN: 1 },
}));
