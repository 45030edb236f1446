/**
 * O_NONBLOCK is for those who make the calls themselves: an op waits all the same, so that the descriptors of node:net, which
 * all have it, can be used. (Where ouro supports the kernel at all. Splices are the exception, in the kernel too.)
 */
import { describe, expect, it } from 'vitest';
import { runProgram } from '../../../testing/program.ts';

const TOOLS = `
  import { execFileSync } from 'node:child_process';
  import { constants, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
  import net from 'node:net';
  import { Worker } from 'node:worker_threads';
  import { BufferRing, run, sleep, stream, submit } from '@ouro/runtime';
  import { readMultishot } from '@ouro/runtime/ops';
  import { read, readv, splice, write } from '@ouro/fs/ops';
  import { accept, bind, listen, recv, recvMultishot, recvmsg, send, socket } from '@ouro/net/ops';
  const AF_UNIX = 1;
  const SOCK_STREAM = 1;
  const folder = mkdtempSync('/tmp/ouro-nonblocking-');
  const pipe = (name) => {
    execFileSync('mkfifo', [folder + '/' + name]);
    return openSync(folder + '/' + name, constants.O_RDWR | constants.O_NONBLOCK);
  };
  const event = (emitter, name) => new Promise((done) => emitter.once(name, done));
  /** Both ends of a connection of node:net, and the number of one. */
  const connection = async () => {
    const server = net.createServer({ pauseOnConnect: true }).listen(0, '127.0.0.1');
    await event(server, 'listening');
    const client = net.connect(server.address().port, '127.0.0.1');
    const [peer] = await Promise.all([event(server, 'connection'), event(client, 'connect')]);
    server.close();
    return { peer, fd: client._handle.fd, end: () => (peer.destroy(), client.destroy()) };
  };
`;

async function program(body: string): Promise<string> {
  const { stdout, stderr } = await runProgram(
    `${TOOLS} await run(async () => { ${body} rmSync(folder, { recursive: true }); });`,
  );
  expect(stderr).toBe('');
  return stdout.trim();
}

describe('what is non-blocking', () => {
  it.each([
    'submit(recv(fd, buffer))',
    'submit(recv(fd, buffer, 0x100))', // MSG_WAITALL
    'submit(recvmsg(fd, [buffer])).then(({ bytes }) => bytes)',
    'submit(read(fd, buffer))',
    'submit(readv(fd, [buffer]))',
    'stream(recvMultishot(fd, new BufferRing({ entries: 8, size: 64 }))).next().then(({ value }) => value.length)',
  ])('%s waits for a socket of node:net', async (op) => {
    const body = `
      const { peer, fd, end } = await connection();
      const buffer = Buffer.alloc(5);
      const result = ${op};
      await sleep(1);
      peer.write('hel');
      if (${op.includes('0x100')}) await sleep(1);
      else console.log(await result);
      peer.write('lo');
      if (${op.includes('0x100')}) console.log(await result);
      end();`;
    expect(await program(body)).toBe(op.includes('0x100') ? '5' : '3');
  });

  it('a send of all waits until all of it is sent', async () => {
    const body = `
      const { peer, fd, end } = await connection();
      const sending = submit(send(fd, Buffer.alloc(32 << 20), 0x100));
      await sleep(1);
      peer.resume();
      console.log(await sending);
      end();`;
    expect(await program(body)).toBe(`${32 << 20}`);
  });

  it('an accept waits', async () => {
    const body = `
      const listener = await submit(socket(AF_UNIX, SOCK_STREAM | constants.O_NONBLOCK));
      await submit(bind(listener, { path: folder + '/socket' }));
      await submit(listen(listener, 1));
      const accepting = submit(accept(listener));
      await sleep(1);
      const client = net.connect(folder + '/socket');
      console.log(await accepting > 0);
      client.destroy();`;
    expect(await program(body)).toBe('true');
  });

  it('pipes are waited for, to be read and to be written', async () => {
    const body = `
      const fd = pipe('one');
      const reading = submit(read(fd, Buffer.alloc(3)));
      await sleep(1);
      writeSync(fd, 'abc');
      console.log(await reading);
      writeSync(fd, Buffer.alloc(65536));
      const writing = submit(write(fd, Buffer.alloc(10)));
      await sleep(1);
      readSync(fd, Buffer.alloc(65536));
      console.log(await writing);`;
    expect(await program(body)).toBe('3\n10');
  });

  it('a splice does not wait', async () => {
    const body = `
      const from = pipe('from'), to = pipe('to');
      console.log((await submit(splice(from, null, to, null, 10)).catch((error) => error)).code);`;
    expect(await program(body)).toBe('EAGAIN');
  });
});

describe('an accept on a listener that several threads use', () => {
  it('never blocks one of them', async () => {
    const body = `
      const source = \`
        import { parentPort, workerData } from 'node:worker_threads';
        import { submit } from '\${import.meta.resolve('@ouro/runtime')}';
        import { close } from '\${import.meta.resolve('@ouro/runtime/driver')}';
        import { accept } from '\${import.meta.resolve('@ouro/net/ops')}';
        parentPort.on('message', (round) => parentPort.postMessage(round));
        for (;;) await close(await submit(accept(workerData)));\`;
      const listener = await submit(socket(AF_UNIX, SOCK_STREAM));
      await submit(bind(listener, { path: folder + '/socket' }));
      await submit(listen(listener, 100));
      const start = () => new Worker(new URL('data:text/javascript,' + encodeURIComponent(source)), { workerData: listener });
      const workers = [start(), start(), start(), start()];
      const answers = (round) => Promise.all(workers.map((worker) => {
        worker.postMessage(round);
        return event(worker, 'message');
      }));
      const connection = () => new Promise((done) => net.connect(folder + '/socket').resume().on('close', done).on('error', done));
      const until = performance.now() + 3000;
      for (let round = 0; performance.now() < until; round++) {
        await Promise.all([connection(), connection(), connection(), connection()]);
        await answers(round);
      }
      console.log('done');
      for (const worker of workers) worker.terminate();`;
    expect(await program(body)).toBe('done');
  }, 30_000);
});
