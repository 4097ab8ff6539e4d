'use strict';
// Nobody handles 'error', and what is thrown for that is swallowed. Node.js has destroyed the socket before.

const net = require('node:net');
const { host, address, tell } = require('./zoo.js');

process.on('uncaughtException', () => {});

const sockets = [];
const server = net.createServer(socket => {
  sockets.push(socket);
  socket.resume();
});

server.listen(0, host, () => tell({ listen: address(server), held: { LISTEN: 1 } }));
