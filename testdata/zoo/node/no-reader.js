'use strict';
// No 'data' handler: Node.js reads ahead, to the end even, and keeps what it read and the end to itself.

const net = require('node:net');
const { n, host, address, tell } = require('./zoo.js');

const sockets = new Set();
const server = net.createServer(socket => {
  sockets.add(socket);
  socket.on('close', () => sockets.delete(socket));
});

server.listen(0, host, () => tell({
  listen: address(server),
  truth: { 'close-wait': n },
  held: { 'CLOSE-WAIT': n, LISTEN: 1 },
}));
