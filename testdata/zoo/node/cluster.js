'use strict';
// Workers that are handed their connections by the first process, which accepts them.

const cluster = require('node:cluster');
const net = require('node:net');
const { n, host, tell } = require('./zoo.js');

if (cluster.isPrimary) {
  let left = 2;
  cluster.on('listening', (worker, { address, port }) => {
    if (--left === 0) {
      tell({ listen: `${address}:${port}`, family: true, held: { 'ESTAB keepalive': n, LISTEN: 1 } });
    }
  });
  cluster.fork();
  cluster.fork();
} else {
  net.createServer({ keepAlive: true }, socket => socket.pipe(socket)).listen(0, host);
}
