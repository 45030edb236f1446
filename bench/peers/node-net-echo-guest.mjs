// node-net-echo.mjs with one idle ouro op in flight: from then on it is the ring that blocks, and libuv is its guest.

import { metrics, sleep } from '@ouro/runtime';

sleep(1e9);
// The op reaches the kernel when the loop first comes to block. Measuring without it would measure nothing.
setTimeout(() => {
  if (metrics().inFlight > 0) return;
  console.error('no op of ouro is in flight');
  process.exit(1);
}, 50);

await import('./node-net-echo.mjs');
