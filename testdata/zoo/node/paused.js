'use strict';
// Sockets that are put aside for later, and later never comes: nobody reads them, so nobody hears of their end.

const net = require('node:net');
const { n, host, address, tell } = require('./zoo.js');

const later = [];
const server = net.createServer({ pauseOnConnect: true }, socket => later.push(socket));

server.listen(0, host, () => tell({
  listen: address(server),
  truth: { 'close-wait': n },
  held: { 'CLOSE-WAIT unread': n, LISTEN: 1 },
}));
