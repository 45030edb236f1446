import { describe, expect, it, vi } from 'vitest';
import { itOnRing } from '../../../testing/engine.ts';
import { runProgram } from '../../../testing/program.ts';
import { HOOK, told } from './support.ts';

// Each test starts a program or two, which takes seconds on a busy machine.
vi.setConfig({ testTimeout: 120_000 });

const PRELUDE = `
  import dgram from 'node:dgram';
  import { once } from 'node:events';
  import fs from 'node:fs';
  import { stats } from '@ouro/adapters';
  const tell = (value) => fs.writeSync(1, JSON.stringify(value));
  const served = (name) => stats().dgram?.[name] ?? { ours: 0, node: 0 };
  const descriptors = () => fs.readdirSync('/proc/self/fd').length;
  async function bound(options = 'udp4') {
    const socket = dgram.createSocket(options).bind(0, '127.0.0.1');
    await once(socket, 'listening');
    return socket;
  }
  async function connected(port) {
    const socket = dgram.createSocket('udp4');
    socket.connect(port, '127.0.0.1');
    await once(socket, 'connect');
    return socket;
  }
  const sent = (socket, ...args) =>
    new Promise((done, failed) => socket.send(...args, (error, bytes) => (error ? failed(error) : done(bytes))));
`;
const FACE = { env: { OURO_ADAPTERS: 'dgram' } };
const program = (body: string): Promise<unknown> => told(`${PRELUDE} ${body}`, FACE);

/** A program, with the hook, as an argument of another one's: it is told a port. */
const flagsOf = (source: string): string =>
  JSON.stringify([
    ...HOOK,
    '--input-type=module',
    '-e',
    `${PRELUDE} const port = Number(process.argv[1]); ${source}`,
    '--',
  ]);

describe('with the hook', () => {
  it('sockets are ours, also those that bind themselves, and the context is the maker’s', async () => {
    const result = await program(`
      import { AsyncLocalStorage } from 'node:async_hooks';
      const storage = new AsyncLocalStorage();
      const receiver = storage.run('maker', () => new dgram.Socket('udp4'));
      const heard = [];
      receiver.on('message', () => heard.push(storage.getStore()));
      storage.run('binder', () => receiver.bind(0, '127.0.0.1'));
      await once(receiver, 'listening');
      const sender = storage.run('maker', () => dgram.createSocket('udp4'));
      sender.on('message', () => heard.push(storage.getStore()));
      const { port } = receiver.address();
      receiver.on('message', (data, { port }) => receiver.send(data, port));
      const answered = once(sender, 'message');
      await storage.run('sender', () => sent(sender, 'x', port, '127.0.0.1'));
      await answered;
      tell([heard, served('bind'), served('send').ours, served('receive').ours]);
      receiver.close();
      sender.close();`);
    expect(result).toEqual([['maker', 'maker'], { ours: 2, node: 0 }, 2, 2]);
  });

  it('who holds a descriptor or a handle is left to Node', async () => {
    const result = await program(`
      const first = await bound();
      const { port } = first.address();
      process.noDeprecation = true;
      const state = first[Object.getOwnPropertySymbols(first).find((each) => each.description === 'state symbol')];
      const { UDP } = process.binding('udp_wrap');
      const handle = new UDP();
      handle.bind('127.0.0.1', 0, 0);
      const [ofHandle, ofFd] = [dgram.createSocket('udp4'), dgram.createSocket('udp4')];
      ofHandle.bind(handle);
      const heard = once(ofFd, 'message');
      ofFd.bind({ fd: state.handle.fd });
      state.handle.recvStop();
      await sent(await connected(port), 'hello');
      const [data] = await heard;
      tell([String(data), served('bind')]);
      process.exit();`);
    expect(result).toEqual(['hello', { ours: 2, node: 2 }]);
  });

  it.each([
    ['there is no engine to be had', { env: { ...FACE.env, OURO_NATIVE_PATH: '/nowhere/ouro.node' } }],
    ['it is not asked for', { env: { OURO_ADAPTERS: 'net' } }],
  ])('all is Node’s where %s', async (_why, options) => {
    const result = await told(
      `${PRELUDE}
      const receiver = await bound();
      const heard = once(receiver, 'message');
      await sent(await connected(receiver.address().port), 'hello');
      const [data] = await heard;
      tell([String(data), served('bind').ours, served('send').ours]);
      process.exit();`,
      options,
    );
    expect(result).toEqual(['hello', 0, 0]);
  });

  it('who could not be bound as asked may be bound otherwise, by Node too', async () => {
    const result = await program(`
      const first = await bound();
      const { port } = first.address();
      const refused = async () => {
        const socket = dgram.createSocket('udp4').bind(port, '127.0.0.1');
        const [error] = await once(socket, 'error').catch((error) => [error]);
        return [socket, error.code];
      };
      const [[second, code], [third]] = [await refused(), await refused()];
      first.close();
      second.bind(port, '127.0.0.1');
      await once(second, 'listening');
      const handle = new (process.binding('udp_wrap').UDP)();
      handle.bind('127.0.0.1', 0, 0);
      third.bind(handle);
      const heard = once(third, 'message');
      await sent(second, 'x', third.address().port, '127.0.0.1');
      await heard;
      tell([code, second.address().port === port, served('bind')]);
      second.close();
      third.close();`);
    expect(result).toEqual(['EADDRINUSE', true, { ours: 4, node: 1 }]);
  });

  itOnRing('memlock')('datagrams come one by one where the kernel gives no buffers', async () => {
    const { code, stdout, stderr } = await runProgram(
      `${PRELUDE}
      const receiver = await bound();
      const sender = await connected(receiver.address().port);
      const sizes = [];
      receiver.on('message', (data) => sizes.push(data.length));
      for (const size of [0, 1, 1000, 65_507]) await sent(sender, Buffer.alloc(size));
      while (sizes.length < 4) await once(receiver, 'message');
      receiver.close();
      await once(receiver, 'close');
      sender.on('error', ({ code, syscall }) => {
        tell([sizes, code, syscall, served('receive').ours]);
        sender.close();
      });
      sender.send('x');`,
      {
        under: ['prlimit', '--memlock=0'],
        flags: HOOK,
        env: { ...FACE.env, OURO_DRIVER: 'uring' },
        limitMs: 60_000,
      },
    );
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(JSON.parse(stdout)).toEqual([[0, 1, 1000, 65_507], 'ECONNREFUSED', 'recvmsg', 4]);
  });

  it('workers of a cluster share the primary’s', async () => {
    const result = await told(
      `${PRELUDE}
      import cluster from 'node:cluster';
      import { fileURLToPath } from 'node:url';
      const source = ${JSON.stringify(`
        const dgram = require('node:dgram');
        const socket = dgram.createSocket('udp4');
        socket.on('message', (data, { port }) => socket.send(String(process.pid), port, '127.0.0.1'));
        socket.bind(0, '127.0.0.1', () => process.send(socket.address().port));
        process.on('disconnect', () => process.exit());`)};
      fs.writeFileSync(process.argv[1], source);
      cluster.setupPrimary({ exec: process.argv[1], execArgv: ${JSON.stringify(HOOK)} });
      const workers = [cluster.fork(), cluster.fork()];
      const ports = await Promise.all(workers.map((worker) => once(worker, 'message').then(([port]) => port)));
      const socket = await bound();
      await sent(socket, 'x', ports[0], '127.0.0.1');
      const [answer] = await once(socket, 'message');
      tell([ports[0] === ports[1], workers.some(({ process: { pid } }) => String(pid) === String(answer))]);
      process.exit();`,
      { ...FACE, args: [`${process.env.TMPDIR ?? '/tmp'}/ouro-worker-${process.pid}.cjs`] },
    );
    expect(result).toEqual([true, true]);
  });

  it('a socket sent to another process arrives there', async () => {
    const child = `process.on('message', (_, socket) => {
      socket.send('from the child', Number(process.argv[1]), '127.0.0.1', () => process.exit());
    });`;
    const result = await program(`
      import { spawn } from 'node:child_process';
      const receiver = await bound();
      const shared = await bound();
      const child = spawn(process.execPath, ['-e', ${JSON.stringify(child)}, '--', String(receiver.address().port)], {
        stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
      });
      // (Its end may be heard of before its message is.)
      const exited = once(child, 'exit');
      child.send('here', shared);
      const [data, { port }] = await once(receiver, 'message');
      tell([String(data), port === shared.address().port]);
      await exited;
      shared.close();
      receiver.close();`);
    expect(result).toEqual(['from the child', true]);
  });
});

describe('the end', () => {
  it.each([
    ['at once', 'socket.send("1"); socket.send("2"); process.exit();'],
    ['while it exits', 'process.on("exit", () => { socket.send("2"); }); socket.send("1"); process.exit();'],
    ['by itself', 'socket.send("1"); socket.send("2", () => socket.close());'],
    [
      'by an error',
      'socket.send("1"); socket.send("2"); process.on("uncaughtException", () => process.exit()); throw new Error();',
    ],
  ])('of a process that exits %s: what was sent before is sent', async (_name, source) => {
    const result = await program(`
      import { spawn } from 'node:child_process';
      const receiver = await bound();
      const heard = [];
      receiver.on('message', (data) => heard.push(String(data)));
      const flags = ${flagsOf(`const socket = await connected(port); ${source}`)};
      const child = spawn(process.execPath, [...flags, String(receiver.address().port)], { stdio: 'inherit' });
      const [code] = await once(child, 'exit');
      while (heard.length < 2) await once(receiver, 'message');
      tell([code, heard]);
      receiver.close();`);
    expect(result).toEqual([0, ['1', '2']]);
  });

  it('does not wait for a socket that is unreferenced, whenever it was', async () => {
    const result = await program(`
      const [before, after] = [dgram.createSocket('udp4').unref(), dgram.createSocket('udp4')];
      before.bind(0, '127.0.0.1');
      after.bind(0, '127.0.0.1', () => after.unref());
      process.on('exit', () => tell('over'));`);
    expect(result).toBe('over');
  });

  it('waits for one that is referenced', async () => {
    const { code, signal } = await runProgram(
      `${PRELUDE}
      const socket = await bound();
      setTimeout(() => process.kill(process.pid, 'SIGTERM'), 1000).unref();`,
      { ...FACE, flags: HOOK },
    );
    expect([code, signal]).toEqual([null, 'SIGTERM']);
  });

  it('of workers leaves no descriptor behind, with datagrams on their way', async () => {
    const worker = `
      import dgram from 'node:dgram';
      import { parentPort } from 'node:worker_threads';
      const sockets = Array.from({ length: 4 }, () => dgram.createSocket('udp4'));
      let heard = 0;
      for (const socket of sockets) {
        socket.on('message', (data, { port }) => {
          if (++heard === 100) parentPort.postMessage('busy');
          socket.send(data, port, '127.0.0.1');
          socket.send(Buffer.alloc(20000), port, '127.0.0.1');
        });
        socket.bind(0, '127.0.0.1', () => socket.send('x', socket.address().port, '127.0.0.1'));
      }`;
    const result = await program(`
      import { Worker } from 'node:worker_threads';
      const run = async () => {
        const worker = new Worker(${JSON.stringify(worker)}, { eval: true });
        await once(worker, 'message');
        await worker.terminate();
      };
      await run();
      const before = descriptors();
      for (let i = 0; i < 2; i++) await run();
      tell(descriptors() - before);`);
    expect(result).toBe(0);
  });
});
