'use strict';
// A pool of HTTPS connections, all idle, with keepalive.

const https = require('node:https');
const { n, peer, tell } = require('./zoo.js');

const agent = new https.Agent({ keepAlive: true, maxFreeSockets: n, rejectUnauthorized: false });
let left = n;

for (let i = 0; i < n; i++) {
  https.get({ ...peer, agent }, answer => {
    answer.resume();
    answer.on('close', () => {
      if (--left === 0) {
        tell({ held: { 'ESTAB keepalive': n } });
      }
    });
  });
}
