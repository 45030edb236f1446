import { expect, it, vi } from 'vitest';
import { told } from './support.ts';

vi.setConfig({ testTimeout: 60_000 });

const ROUNDS = 200;

/** An echo server that one client in another process asks over and over; it tells what that has cost. */
const SERVER = `
  import { spawn } from 'node:child_process';
  import { once } from 'node:events';
  import net from 'node:net';
  import { metrics } from '@ouro/runtime';
  const server = net.createServer((socket) => socket.on('data', (chunk) => socket.write(chunk))).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = \`
    const net = require('net');
    let left = ${ROUNDS};
    const socket = net.connect(process.argv[1], '127.0.0.1', () => socket.write('a question'));
    socket.setNoDelay(true).on('data', () => {
      if (--left > 0) socket.write('a question');
      else socket.destroy();
    });\`;
  const env = { ...process.env, NODE_OPTIONS: '', LD_PRELOAD: '' };
  const before = metrics();
  const child = spawn(process.execPath, ['-e', client, server.address().port], { env, stdio: 'inherit' });
  await once(child, 'exit');
  const after = metrics();
  server.close();
  console.log(JSON.stringify({ cqes: after.cqes - before.cqes, sqes: after.sqes - before.sqes }));`;

it('a lone client costs a completion for each message, and no op', async () => {
  const { cqes, sqes } = (await told(SERVER, { env: { OURO_ADAPTERS: 'net' } })) as Record<string, number>;
  // (Beside them: the connection, its end, and libuv's turns.)
  expect(cqes).toBeLessThan(ROUNDS * 1.3);
  expect(sqes).toBeLessThan(ROUNDS * 0.3);
});
