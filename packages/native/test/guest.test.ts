import { describe, expect, it } from 'vitest';
import { runProgram } from '../../../testing/program.ts';

/** Each program has a ring op in flight that never ends, and work of Node's that must go on beside it. */
const beside = (body: string): string => `
  import { sleep, metrics } from '@ouro/runtime';
  const forever = sleep(1e9);
  forever.catch(() => {});
  await sleep(0);
  ${body}
  forever.cancel();
`;

async function output(body: string, warnings: string | RegExp = /^$/): Promise<string> {
  const { stdout, stderr, code } = await runProgram(beside(body));
  expect(stderr).toMatch(warnings);
  expect(code).toBe(0);
  return stdout;
}

describe('libuv is a guest that lacks nothing', () => {
  it('setTimeout and setInterval', async () => {
    const out = await output(`
      const order = [];
      await new Promise((done) => {
        setTimeout(() => order.push('late'), 500);
        setTimeout(() => order.push('1'), 1);
        let n = 0;
        const interval = setInterval(() => { if (++n === 3) { clearInterval(interval); order.push('interval'); } }, 2);
        setTimeout(done, 600);
      });
      console.log(order.join());
    `);
    expect(out).toBe('1,interval,late\n');
  });

  it('100,000 immediates', async () => {
    const out = await output(`
      let n = 0;
      await new Promise((done) => { const next = () => (++n === 100_000 ? done() : setImmediate(next)); next(); });
      console.log(n);
    `);
    expect(out).toBe('100000\n');
  });

  it("nextTick and microtasks, in Node's order", async () => {
    const out = await output(`
      const order = [];
      await new Promise((done) => {
        sleep(1).then(() => {
          process.nextTick(() => order.push('tick'));
          queueMicrotask(() => order.push('micro'));
          setImmediate(() => { order.push('immediate'); done(); });
          order.push('sync');
        });
      });
      console.log(order.join());
    `);
    expect(out).toBe('sync,micro,tick,immediate\n');
  });

  it('node:fs through the thread pool', async () => {
    const out = await output(`
      const { readFile } = await import('node:fs/promises');
      const contents = await Promise.all(Array.from({ length: 50 }, () => readFile('package.json', 'utf8')));
      console.log(contents.every((text) => text.includes('ouro')));
    `);
    expect(out).toBe('true\n');
  });

  it('crypto and zlib through the thread pool', async () => {
    const out = await output(`
      const { pbkdf2 } = await import('node:crypto');
      const { gzip } = await import('node:zlib');
      const { promisify } = await import('node:util');
      console.log((await promisify(pbkdf2)('a', 'b', 10, 16, 'sha1')).length, (await promisify(gzip)('x')).length > 10);
    `);
    expect(out).toBe('16 true\n');
  });

  it('DNS', async () => {
    const out = await output(`
      const { lookup } = await import('node:dns/promises');
      console.log((await lookup('localhost', 4)).address);
    `);
    expect(out).toBe('127.0.0.1\n');
  });

  it('messages to and from workers', async () => {
    const out = await output(`
      const { Worker } = await import('node:worker_threads');
      const worker = new Worker("import { parentPort } from 'worker_threads'; parentPort.on('message', (n) => parentPort.postMessage(n + 1));", { eval: true });
      let n = 0;
      await new Promise((done) => { worker.on('message', (m) => { n = m; if (n === 500) done(); else worker.postMessage(n); }); worker.postMessage(0); });
      await worker.terminate();
      console.log(n);
    `);
    expect(out).toBe('500\n');
  });

  it('child processes, their streams and their ends', async () => {
    const out = await output(`
      const { spawn } = await import('node:child_process');
      const child = spawn('cat');
      child.stdin.end('through a child');
      let text = '';
      child.stdout.on('data', (data) => (text += data));
      const code = await new Promise((done) => child.on('close', done));
      console.log(text, code);
    `);
    expect(out).toBe('through a child 0\n');
  });

  it('signals', async () => {
    const out = await output(`
      await new Promise((done) => { process.once('SIGUSR2', done); process.kill(process.pid, 'SIGUSR2'); });
      console.log('signal');
    `);
    expect(out).toBe('signal\n');
  });

  it('stdin', async () => {
    const { stdout } = await runProgram(
      beside(`
        let text = '';
        for await (const data of process.stdin) text += data;
        console.log(text);
      `),
      { input: 'typed in' },
    );
    expect(stdout).toBe('typed in\n');
  });

  it('node:net and node:http servers', async () => {
    const out = await output(`
      const http = await import('node:http');
      const server = http.createServer((_, response) => response.end('hello')).listen(0, '127.0.0.1');
      await new Promise((done) => server.once('listening', done));
      const texts = [];
      for (let i = 0; i < 20; i++) texts.push(await (await fetch('http://127.0.0.1:' + server.address().port)).text());
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
      console.log(new Set(texts).size, texts[0]);
    `);
    expect(out).toBe('1 hello\n');
  });

  it('a file watcher', async () => {
    const out = await output(`
      const { watch, writeFileSync, mkdtempSync, rmSync } = await import('node:fs');
      const folder = mkdtempSync('/tmp/ouro-watch-');
      const event = await new Promise((done) => {
        const watcher = watch(folder, (type, name) => { watcher.close(); done(name); });
        setTimeout(() => writeFileSync(folder + '/new', ''), 5);
      });
      rmSync(folder, { recursive: true });
      console.log(event);
    `);
    expect(out).toBe('new\n');
  });

  it('the inspector: a session in the process, and one from outside', async () => {
    const out = await output(
      `
        const inspector = await import('node:inspector');
        const session = new inspector.Session();
        session.connect();
        session.post('Runtime.evaluate', { expression: '6 * 7' }, (_, { result }) => console.log(result.value));
        session.disconnect();
        inspector.open(0, '127.0.0.1');
        const { port } = new URL(inspector.url());
        const list = await (await fetch('http://127.0.0.1:' + port + '/json/list')).json();
        console.log(list[0].type);
        const socket = await new Promise((done) => {
          import('node:net').then(({ connect }) => { const s = connect(Number(port), '127.0.0.1', () => done(s)); });
        });
        socket.destroy();
        inspector.close();
      `,
      /^Debugger listening on/,
    );
    expect(out).toBe('42\nnode\n');
  });

  it('a debugger that pauses and resumes, asked for by SIGUSR1', async () => {
    const { stdout, stderr } = await runProgram(
      beside(`
        process.kill(process.pid, 'SIGUSR1');
        const inspector = await import('node:inspector');
        while (inspector.url() === undefined) await sleep(1);
        console.log('listening');
        inspector.close();
      `),
      { flags: ['--inspect-port=127.0.0.1:0'] },
    );
    expect(stderr).toContain('Debugger listening');
    expect(stdout).toBe('listening\n');
  });

  it('beforeExit and exit', async () => {
    const { stdout, code } = await runProgram(`
      import { sleep } from '@ouro/runtime';
      let rounds = 0;
      process.on('beforeExit', () => { if (rounds++ < 2) sleep(1).then(() => console.log('again')); });
      process.on('exit', () => console.log('exit'));
      await sleep(1);
    `);
    expect(stdout).toBe('again\nagain\nexit\n');
    expect(code).toBe(0);
  });

  it('top-level await that never ends exits with 13, as in Node', async () => {
    const { code } = await runProgram(`
      import { sleep } from '@ouro/runtime';
      await sleep(1);
      await new Promise(() => {});
    `);
    expect(code).toBe(13);
  });
});

describe('nobody starves', () => {
  it('timers and immediates go on while the ring is never idle', async () => {
    const out = await output(`
      const { nop } = await import('@ouro/runtime/driver');
      let running = true;
      const busy = Promise.all(Array.from({ length: 64 }, async () => { while (running) await nop(); }));
      let immediates = 0;
      const again = () => { immediates++; if (running) setImmediate(again); };
      again();
      await new Promise((done) => setTimeout(done, 50));
      const { readFile } = await import('node:fs/promises');
      await readFile('package.json');
      running = false;
      await busy;
      console.log(immediates > 5);
    `);
    expect(out).toBe('true\n');
  });

  it('the ring goes on while immediates never end', async () => {
    const out = await output(`
      let running = true;
      const again = () => { if (running) setImmediate(again); };
      again();
      for (let i = 0; i < 100; i++) await sleep(0);
      running = false;
      console.log('done');
    `);
    expect(out).toBe('done\n');
  });

  it('an idle process sleeps: no turn is made without a cause', async () => {
    const out = await output(`
      await new Promise((done) => setTimeout(done, 20));
      const before = metrics();
      await new Promise((done) => setTimeout(done, 200));
      const after = metrics();
      console.log(after.enters - before.enters <= 4, after.loopVisits - before.loopVisits <= 4);
    `);
    expect(out).toBe('true true\n');
  });
});
