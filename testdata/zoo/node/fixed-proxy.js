'use strict';
// The same proxy, mended: keepalive, an idle timeout that closes, and every way in which a socket can end is handled, with
// a FIN that lets the other side finish. Its first argument is the idle timeout in ms; in earnest both times are a minute.

const net = require('node:net');
const { n, peer, host, address, tell } = require('./zoo.js');

const idle = Number(process.argv[2]);
const halfOpen = { allowHalfOpen: true };

function join(from, to) {
  from.setKeepAlive(true, 60_000);
  from.setTimeout(idle, () => from.destroy());
  from.on('data', d => {
    if (!to.write(d)) {
      from.pause();
      to.once('drain', () => from.resume());
    }
  });
  from.on('error', () => from.destroy());
  from.on('end', () => to.end());
  from.on('close', () => to.end());
}

const server = net.createServer(halfOpen, client => {
  const target = net.connect({ ...peer, ...halfOpen });
  join(client, target);
  join(target, client);
});

// What is left of guests that stay is for the time-out to decide, and nothing is left of those that leave.
const stay = process.argv[3] === 'stay' ? { 'ESTAB keepalive': 2 * n } : {};
server.listen(0, host, () => tell({ listen: address(server), held: { ...stay, LISTEN: 1 } }));
