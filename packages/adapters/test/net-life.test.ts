import { describe, expect, it, vi } from 'vitest';
import { runProgram } from '../../../testing/program.ts';
import { HOOK, told } from './support.ts';

// Each test starts a program or two, which takes seconds on a busy machine.
vi.setConfig({ testTimeout: 120_000 });

const PRELUDE = `
  import { once } from 'node:events';
  import fs from 'node:fs';
  import net from 'node:net';
  const tell = (value) => fs.writeSync(1, JSON.stringify(value));
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  /** A connection, and its other end. */
  async function pair() {
    const accepted = once(server, 'connection');
    const client = net.connect(port, '127.0.0.1');
    const [[peer]] = await Promise.all([accepted, once(client, 'connect')]);
    return [client, peer];
  }
  /** All that arrives. */
  async function all(socket) {
    const chunks = [];
    for await (const chunk of socket) chunks.push(chunk);
    return Buffer.concat(chunks);
  }
`;
const program = (body: string) => told(`${PRELUDE} ${body}`, { env: { OURO_ADAPTERS: 'net' } });

describe('what is written to a socket', () => {
  it.each([3, 0, 20, -5, 1e6])('is as long as it is, although it says %s', async (lie) => {
    const result = await program(`
      const bytes = Object.defineProperty(Buffer.from('abcdefghij'), 'length', { value: ${lie} });
      const [client, peer] = await pair();
      client.write('<');
      client.write(bytes);
      client.write('>');
      client.cork();
      client.write(bytes);
      client.write('.');
      client.end();
      tell([String(await all(peer)), client.bytesWritten]);
      server.close();`);
    expect(result).toEqual(['<abcdefghij>abcdefghij.', 23]);
  });

  it('has room enough, however the name of its encoding is written', async () => {
    const result = await program(`
      const [[client, peer], [other, peerOfOther]] = [await pair(), await pair()];
      client.write('<');
      other.end('of another');
      client.cork();
      for (let i = 0; i < 2; i++) client.write('€'.repeat(900), 'UTF8');
      for (const encoding of ['HEX', 'Base64', 'LATIN1', 'UCS2']) client.write('abcd', encoding);
      client.end();
      const bytes = await all(peer);
      tell([bytes.length, bytes.toString('latin1', bytes.length - 15), String(await all(peerOfOther))]);
      server.close();`);
    expect(result).toEqual([1 + 5400 + 2 + 3 + 4 + 8, 'i·\u001dabcda\0b\0c\0d\0', 'of another']);
  });

  it('may be gone before it is sent: nothing of it is, and all else', async () => {
    const result = await program(`
      const [client, peer] = await pair();
      const gone = Buffer.from(new ArrayBuffer(10));
      const called = [];
      client.cork();
      client.write(Buffer.alloc(300_000), () => called.push('first'));
      client.write(gone, () => called.push('gone'));
      client.write(Buffer.alloc(5), () => called.push('last'));
      structuredClone(0, { transfer: [gone.buffer] });
      client.uncork();
      client.end();
      tell([(await all(peer)).length, called]);
      server.close();`);
    expect(result).toEqual([300_005, ['first', 'gone', 'last']]);
  });

  it('lets go of the socket when it is destroyed, although its end waits behind what nobody reads', async () => {
    const result = await program(`
      const [client, peer] = await pair();
      peer.pause();
      const events = [];
      for (const event of ['error', 'finish', 'close']) client.on(event, () => events.push(event));
      // What the kernel takes of a flood; and then a little, which waits in the process and is said to have been written.
      const flood = Buffer.alloc(16_384);
      let before = -1;
      for (let written = 0; before !== written || client._handle.writeQueueSize === 0; ) {
        before = written;
        for (let i = 0; i < 100 && client.writableLength === 0 && client._handle.writeQueueSize < 32_768; i++) {
          client.write(flood);
          written += flood.length;
          await new Promise(setImmediate);
        }
        await new Promise((done) => setTimeout(done, 100));
      }
      client.end('the end');
      while (client.writableLength > 0) await new Promise(setImmediate);
      await new Promise(setImmediate);
      const { fd } = client._handle;
      client.destroy();
      await once(client, 'close');
      const link = (() => {
        try {
          return fs.readlinkSync('/proc/self/fd/' + fd).startsWith('socket');
        } catch {
          return false;
        }
      })();
      tell([events, link]);
      peer.destroy();
      server.close();`);
    expect(result).toEqual([['close'], false]);
  });

  // (Each fits the kernel's buffers, which take some megabytes.)
  it.each([
    ['process.exit()', '10000,60000'],
    ['process.exit()', '200000'],
    ['process.exit()', '100,200000'],
    ['process.exit()', '20000,20000'],
    ['process.exit()', '200000,200000,100,200000'],
    ['client.destroy()', '200000,200000,100,200000'],
  ])('has been sent at %s: %s bytes', async (end, sizes) => {
    const writer = `
      import net from 'node:net';
      const client = net.connect(Number(process.argv[1]), '127.0.0.1', () => {
        for (const size of process.argv[2].split(',')) client.write(Buffer.alloc(Number(size), size));
        ${end};
      });`;
    const { code, stdout, stderr } = await runProgram(
      `
        import { spawn } from 'node:child_process';
        import { once } from 'node:events';
        import net from 'node:net';
        const server = net.createServer().listen(0, '127.0.0.1');
        await once(server, 'listening');
        const flags = ${JSON.stringify([...HOOK, '--input-type=module', '-e', writer, '--'])};
        const [sizes] = process.argv.slice(1);
        spawn(process.execPath, [...flags, server.address().port, sizes], { stdio: 'inherit' });
        const [socket] = await once(server, 'connection');
        const chunks = [];
        for await (const chunk of socket) chunks.push(chunk);
        const sent = sizes.split(',').map((size) => Buffer.alloc(Number(size), size));
        console.log(Buffer.concat(chunks).equals(Buffer.concat(sent)));
        server.close();`,
      { args: [sizes], env: { OURO_ADAPTERS: 'net' }, limitMs: 60_000 },
    );
    expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: 'true\n', stderr: '' });
  });

  it('in part, when the peer takes no more, goes on from there', async () => {
    const result = await program(`
      const [client, peer] = await pair();
      peer.pause();
      // Of one write as of many pieces, with something small before and behind.
      const bytes = Buffer.alloc(12_000_000);
      for (let i = 0; i < bytes.length; i += 4) bytes.writeUInt32LE(i, i);
      const written = [];
      client.write('<');
      written.push(client.write(bytes));
      client.write('|');
      client.cork();
      for (let at = 0; at < bytes.length; at += 100_000) client.write(bytes.subarray(at, at + 100_000));
      client.uncork();
      client.end('>');
      const arriving = all(peer);
      peer.resume();
      const whole = Buffer.concat([Buffer.from('<'), bytes, Buffer.from('|'), bytes, Buffer.from('>')]);
      tell([written, (await arriving).equals(whole), client.bytesWritten - whole.length]);
      server.close();`);
    expect(result).toEqual([[false], true, 0]);
  });

  /** A connection whose peer resets it while the loop does not turn, so that nobody has seen it; then `write` writes. */
  const afterReset = (write: string): Promise<unknown> =>
    program(`
      import { Worker } from 'node:worker_threads';
      const reset = new Int32Array(new SharedArrayBuffer(4));
      const peer = new Worker(
        \`import { parentPort, workerData } from 'node:worker_threads';
        import net from 'node:net';
        const socket = net.connect(workerData.port, '127.0.0.1');
        parentPort.once('message', () => {
          socket.resetAndDestroy();
          socket.once('close', () => {
            Atomics.store(workerData.reset, 0, 1);
            Atomics.notify(workerData.reset, 0);
          });
        });\`,
        { eval: true, workerData: { port, reset } },
      );
      const [socket] = await once(server, 'connection');
      const told = [];
      socket.on('error', (error) => told.push('error ' + error.code));
      socket.on('end', () => told.push('end'));
      socket.resume();
      peer.postMessage('reset');
      Atomics.wait(reset, 0, 0);
      ${write}
      await once(socket, 'close').catch(() => {});
      await new Promise(setImmediate);
      tell([told, socket.destroyed]);
      server.close();`);

  it('fails at once, and is told of once, when the connection has been reset', async () => {
    const result = await afterReset(`
      socket.write('small');
      socket.write(Buffer.alloc(100_000), (error) => told.push('write ' + error?.code));`);
    expect(result).toEqual([['write ECONNRESET', 'error ECONNRESET'], true]);
  });

  it.each([
    ['written', `socket.write('small');`],
    ['written last', `socket.end('small');`],
    ['written a turn before its end', `socket.write('small'); setImmediate(() => socket.end());`],
  ])('that is little does not hide a reset behind an end (%s)', async (_how, write) => {
    expect(await afterReset(write)).toEqual([['error ECONNRESET'], true]);
  });

  it('arrives when a listener of the end of the process has written it', async () => {
    const result = await program(`
      import { spawn } from 'node:child_process';
      const writer = \`
        const client = require('net').connect(process.argv[1], '127.0.0.1', () => {
          client.write('early ');
          setTimeout(() => {
            process.on('exit', () => client.write('late'));
            process.exit();
          }, 50);
        });\`;
      spawn(process.execPath, [...process.execArgv.filter((flag) => /^--import|register$/.test(flag)), '-e', writer, port], {
        stdio: 'inherit',
      });
      const [socket] = await once(server, 'connection');
      tell(String(await all(socket)));
      server.close();`);
    expect(result).toBe('early late');
  });
});

describe('sockets of a test that has replaced the timers before there was one', () => {
  it('connect, carry bytes and close', async () => {
    const source = `
      import { once } from 'node:events';
      import fs from 'node:fs';
      import net from 'node:net';
      const never = () => ({ ref() {}, unref() {}, hasRef: () => false });
      Object.assign(globalThis, { setImmediate: never, setTimeout: never, setInterval: never });
      const server = net.createServer((socket) => socket.end('hello')).listen(0, '127.0.0.1');
      await once(server, 'listening');
      const client = net.connect(server.address().port, '127.0.0.1');
      let got = '';
      client.on('data', (chunk) => { got += chunk; });
      await once(client, 'close');
      // One that has no descriptor yet.
      const early = net.connect(server.address().port, 'localhost').destroy();
      await once(early, 'close');
      server.close();
      await once(server, 'close');
      fs.writeSync(1, JSON.stringify(got));`;
    expect(await told(source, { env: { OURO_ADAPTERS: 'net' } })).toBe('hello');
  });
});
