'use strict';
// Answers that nobody listens to: the agent would reuse the connections, and reads no more than it has room for.

const http = require('node:http');
const { n, peer, tell } = require('./zoo.js');

const agent = new http.Agent({ keepAlive: true });
const answers = [];

for (let i = 0; i < n; i++) {
  http.get({ ...peer, agent }, answer => {
    if (answers.push(answer) === n) {
      tell({ truth: { 'unread-data': n }, held: { 'ESTAB unread': n } });
    }
  });
}
