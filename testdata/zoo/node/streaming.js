'use strict';
// The guests have said all, and are told more and more: half-open for long, and in use.

const net = require('node:net');
const { n, host, address, tell } = require('./zoo.js');

const server = net.createServer({ allowHalfOpen: true }, socket => {
  const timer = setInterval(() => socket.write('drip\n'), 100);
  socket.resume();
  socket.on('close', () => clearInterval(timer));
  socket.on('error', () => {});
});

server.listen(0, host, () => tell({ listen: address(server), held: { 'CLOSE-WAIT': n, LISTEN: 1 } }));
