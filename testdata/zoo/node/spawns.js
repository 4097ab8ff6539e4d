'use strict';
// A server that starts a program for each connection. Node.js gives it none of its descriptors.

const net = require('node:net');
const { spawn } = require('node:child_process');
const { n, host, address, tell } = require('./zoo.js');

const server = net.createServer({ keepAlive: true }, socket => {
  const cat = spawn('cat', [], { stdio: ['pipe', 'pipe', 'ignore'] });
  socket.pipe(cat.stdin);
  cat.stdout.pipe(socket);
});

server.listen(0, host, () => tell({ listen: address(server), family: true, held: { 'ESTAB keepalive': n, LISTEN: 1 } }));
