'use strict';
// With allowHalfOpen it is for the program to end its side. This one hears 'end' and does nothing.

const net = require('node:net');
const { n, host, address, tell } = require('./zoo.js');

const server = net.createServer({ allowHalfOpen: true }, socket => {
  socket.on('data', () => {});
  socket.on('end', () => {});
});

server.listen(0, host, () => tell({
  listen: address(server),
  truth: { 'close-wait': n },
  held: { 'CLOSE-WAIT': n, LISTEN: 1 },
}));
