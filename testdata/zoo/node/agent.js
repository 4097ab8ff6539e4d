'use strict';
// A pool of HTTP connections, all idle, with keepalive.

const http = require('node:http');
const { n, peer, tell } = require('./zoo.js');

const agent = new http.Agent({ keepAlive: true, maxFreeSockets: n });
let left = n;

for (let i = 0; i < n; i++) {
  http.get({ ...peer, agent }, answer => {
    answer.resume();
    answer.on('close', () => {
      if (--left === 0) {
        tell({ held: { 'ESTAB keepalive': n } });
      }
    });
  });
}
