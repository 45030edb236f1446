// Loaded before a server of the idle family: at SIGUSR2 it collects garbage and writes what the heap holds. Runs on Node
// and Deno with gc exposed, and on Bun.

import process from 'node:process';

const collect = () => (globalThis.Bun === undefined ? globalThis.gc() : globalThis.Bun.gc(true));

let reports = 0;
process.on('SIGUSR2', () => {
  collect();
  collect();
  const { heapUsed, external } = process.memoryUsage();
  console.log(`memory ${++reports} ${JSON.stringify({ heapUsed, external })}`);
});
