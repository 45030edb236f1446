import { cpSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { root, runProgram } from '../../../testing/program.ts';

/** Starts workers from `source`, which may import `@ouro/*`. */
const WORKERS = `
  import { Worker } from 'node:worker_threads';
  import { readdirSync, readlinkSync } from 'node:fs';
  const resolved = (source) => source.replaceAll(/'(@ouro\\/[a-z]+)'/g, (_, name) => JSON.stringify(import.meta.resolve(name)));
  const start = (source) => new Worker(new URL('data:text/javascript,' + encodeURIComponent(resolved(source))));
  const ended = (worker) => new Promise((done) => worker.once('exit', done));
  const openOf = (path) => readdirSync('/proc/self/fd').filter((fd) => {
    try { return readlinkSync('/proc/self/fd/' + fd) === path; } catch { return false; }
  }).length;
`;

describe('a worker terminated', () => {
  it('while it sets up its ring does not take the process with it', async () => {
    const { code, stdout, stderr } = await runProgram(
      `${WORKERS}
      const source = "import { parentPort } from 'node:worker_threads'; import { sleep } from '@ouro/runtime'; parentPort.postMessage(0); await sleep(1);";
      for (let i = 0; i < 60; i++) {
        const worker = start(source);
        worker.on('error', () => {});
        const exit = ended(worker);
        await Promise.race([exit, new Promise((begun) => worker.once('message', begun))]);
        const until = performance.now() + (i % 12) * 0.5;
        while (performance.now() < until);
        worker.terminate();
        await exit;
      }
      console.log('survived');`,
      { limitMs: 60_000 },
    );
    expect(stderr).toBe('');
    expect(stdout).toBe('survived\n');
    expect(code).toBe(0);
  }, 70_000);

  it('in the middle of a batch leaves none of its descriptors open', async () => {
    const { stdout } = await runProgram(
      `${WORKERS}
      const source = \`
        import { parentPort } from 'node:worker_threads';
        import { File } from '@ouro/fs';
        const other = await File.open('/etc/passwd');
        parentPort.postMessage(0);
        for (let i = 0; i < 200; i++) (async () => {
          for (;;) { const file = await File.open('/etc/hostname'); await file.close(); await other.stat(); }
        })().catch(() => {});
      \`;
      let left = 0;
      for (let i = 0; i < 40; i++) {
        const before = openOf('/etc/hostname');
        const worker = start(source);
        worker.on('error', () => {});
        const exit = ended(worker);
        await new Promise((begun) => worker.once('message', begun));
        await new Promise((later) => setTimeout(later, i));
        worker.terminate();
        await exit;
        left += openOf('/etc/hostname') - before;
      }
      console.log(left);`,
      { limitMs: 60_000 },
    );
    expect(stdout).toBe('0\n');
  }, 70_000);
});

describe('memory that a byte stream detaches while the kernel uses it', () => {
  /** A byte stream takes the buffer of what is put into it, whatever it is marked with. */
  const TAKE = `
    const take = (bytes) => new ReadableStream({ type: 'bytes', start(controller) { controller.enqueue(bytes); controller.close(); } });
    const collect = async () => { for (let i = 0; i < 5; i++) { gc(); await new Promise((later) => setTimeout(later, 5)); } };
    const fill = () => Array.from({ length: 400 }, () => new Uint8Array(65536).fill(83));
    const hit = (others) => others.filter((other) => other.some((byte) => byte !== 83)).length;
    const write = (text) => require('node:fs').writeSync(1, text + '\\n');
  `;
  const REQUIRE = `import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);`;

  it('stays where it is under a read', async () => {
    const { stdout } = await runProgram(
      `${REQUIRE}
      import { execFileSync } from 'node:child_process';
      import { mkdtempSync, rmSync } from 'node:fs';
      import { File } from '@ouro/fs';
      ${TAKE}
      const folder = mkdtempSync('/tmp/ouro-attack-');
      execFileSync('mkfifo', [folder + '/pipe']);
      const pipe = await File.open(folder + '/pipe', 'r+');
      let bytes = new Uint8Array(65536);
      const reading = pipe.read(bytes);
      await new Promise((later) => setTimeout(later, 5));
      await take(bytes).getReader().read();
      bytes = null;
      await collect();
      const others = fill();
      await pipe.write(Buffer.alloc(65536, 97));
      const count = await reading;
      write(count + ' ' + hit(others));
      await pipe.close();
      rmSync(folder, { recursive: true });`,
      { flags: ['--expose-gc'] },
    );
    expect(stdout).toBe('65536 0\n');
  });

  it('stays where it is under a send that waits for others', async () => {
    const { stdout } = await runProgram(
      `${REQUIRE}
      import net from 'node:net';
      import { TcpStream } from '@ouro/net';
      ${TAKE}
      let peer;
      const server = net.createServer((socket) => { peer = socket; socket.pause(); }).listen(0, '127.0.0.1');
      await new Promise((listening) => server.once('listening', listening));
      const stream = await TcpStream.connect({ host: '127.0.0.1', port: server.address().port });
      stream.writeAll(Buffer.alloc(8 << 20, 46));
      let bytes = new Uint8Array(65536).fill(97);
      const sending = stream.writeAll(bytes);
      await new Promise((later) => setTimeout(later, 10));
      await take(bytes).getReader().read();
      bytes = null;
      await collect();
      const others = fill();
      const got = [];
      let length = 0;
      const all = new Promise((done) => peer.on('data', (data) => { got.push(data); length += data.length; if (length === (8 << 20) + 65536) done(); }));
      peer.resume();
      await sending;
      await all;
      const tail = Buffer.concat(got).subarray(8 << 20);
      write(tail.filter((byte) => byte === 97).length + ' ' + hit(others));
      process.exit();`,
      { flags: ['--expose-gc'] },
    );
    expect(stdout).toBe('65536 0\n');
  });

  it('costs no other connection its unread bytes', async () => {
    const { stdout } = await runProgram(
      `${REQUIRE}
      import { TcpListener, TcpStream } from '@ouro/net';
      import { sleep } from '@ouro/runtime';
      ${TAKE}
      const listener = await TcpListener.bind({ host: '127.0.0.1' });
      const pair = async () => {
        const accepted = listener.accept();
        const client = await TcpStream.connect({ host: '127.0.0.1', port: listener.address.port });
        return [client, await accepted];
      };
      const [[a, serverA], [b, serverB]] = [await pair(), await pair()];
      const [loopA, loopB] = [serverA[Symbol.asyncIterator](), serverB[Symbol.asyncIterator]()];
      const firsts = [loopA.next(), loopB.next()];
      await a.writeAll('first of a');
      await b.writeAll('first of b');
      const [{ value }] = await Promise.all(firsts);
      await b.writeAll('second of b');
      while (serverB.buffered === 0) await sleep(1);
      take(value);
      const second = await loopB.next();
      write(second.value.toString());
      process.exit();`,
      { flags: ['--expose-gc'] },
    );
    expect(stdout).toBe('second of b\n');
  });
});

describe('misuse', () => {
  it('of a resizable buffer that is transferred under a read rejects the read and leaves the file usable', async () => {
    const { stdout, stderr } = await runProgram(`
      import { execFileSync } from 'node:child_process';
      import { mkdtempSync, rmSync } from 'node:fs';
      import { File } from '@ouro/fs';
      const folder = mkdtempSync('/tmp/ouro-attack-');
      execFileSync('mkfifo', [folder + '/pipe']);
      const pipe = await File.open(folder + '/pipe', 'r+');
      const buffer = new ArrayBuffer(4096, { maxByteLength: 8192 });
      const reading = pipe.read(new Uint8Array(buffer));
      await new Promise((later) => setTimeout(later, 5));
      structuredClone(buffer, { transfer: [buffer] });
      await pipe.write('hello');
      await reading.catch((error) => console.log(error.name));
      await pipe.close();
      console.log('closed');
      rmSync(folder, { recursive: true });
    `);
    expect(stderr).toBe('');
    expect(stdout).toBe('TypeError\nclosed\n');
  });

  it('of the engine without a ring is answered with EBADF', async () => {
    const { stdout } = await runProgram(`
      import { addon } from '@ouro/native';
      const native = addon();
      console.log(native.submit(), native.arm(), native.register(1, 0, 0), native.allocate(4096), native.own(1));
    `);
    expect(stdout).toBe('-9 -9 -9 -9 -9\n');
  });

  it('of a path whose length lies touches no other memory', async () => {
    const { stdout } = await runProgram(`
      import { File } from '@ouro/fs';
      const path = Object.defineProperty(Buffer.alloc(4000, 'a'), 'length', { value: 10 });
      const all = Array.from({ length: 8 }, () => File.open(path).catch((error) => error.code));
      console.log([...new Set(await Promise.all(all))].join());
      console.log((await File.open('package.json')).fd > 0);
      process.exit();
    `);
    expect(stdout).toBe('ENAMETOOLONG\ntrue\n');
  });

  it('two copies of the runtime in one thread share one ring', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'ouro-copies-'));
    cpSync(join(root, 'packages/runtime/dist'), join(folder, 'dist'), { recursive: true });
    cpSync(join(root, 'packages/runtime/package.json'), join(folder, 'package.json'));
    symlinkSync(join(root, 'packages/runtime/node_modules'), join(folder, 'node_modules'));
    const { stdout, stderr } = await runProgram(`
      import * as one from '@ouro/runtime';
      const two = await import(${JSON.stringify(join(folder, 'dist/index.js'))});
      console.log(one.sleep === two.sleep);
      await Promise.all([one.sleep(20), two.sleep(20)]);
      console.log(one.metrics().enters === two.metrics().enters, one.metrics().enters < 100);
    `);
    rmSync(folder, { recursive: true });
    expect(stderr).toBe('');
    expect(stdout).toBe('false\ntrue true\n');
  });
});
