'use strict';
// Connections over time: grows.js SHAPE RATE, as in ../README.md.

const net = require('net');
const zoo = require('./zoo.js');

const [shape, rate] = [process.argv[2], Number(process.argv[3])];
const kept = [];

const connect = then => {
  const s = net.connect(zoo.peer, () => s.write('hello\n'));
  s.once('data', () => then(s));
  return s;
};

// As many as are due by now, a hundred times a second.
const evenly = step => {
  const start = process.hrtime.bigint();
  let done = 0;
  setInterval(() => {
    const due = Number(process.hrtime.bigint() - start) / 1e9 * rate;
    for (; done < due; done++) step();
  }, 10);
};

const shapes = {
  leak: () => evenly(() => connect(s => kept.push(s))),
  churn: () => evenly(() => connect(s => s.destroy())),
  sawtooth: () => evenly(() => {
    connect(s => kept.push(s));
    if (kept.length > 40) kept.splice(2).forEach(s => s.destroy());
  }),
};

zoo.tell({});
shapes[shape]();
