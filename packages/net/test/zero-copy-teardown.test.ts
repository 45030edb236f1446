import { describe, expect, it } from 'vitest';
import { runProgram } from '../../../testing/program.ts';

describe('a worker that is terminated while the kernel sends from its memory', () => {
  it('ends although the peer does not read, by resetting the connection', async () => {
    const { code, stdout, stderr } = await runProgram(`
      import { once } from 'node:events';
      import { readdirSync } from 'node:fs';
      import { createServer } from 'node:net';
      import { Worker } from 'node:worker_threads';
      const server = createServer({ pauseOnConnect: true });
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      const descriptors = () => readdirSync('/proc/self/fd').length;
      const worker = new Worker(\`
        import { parentPort, workerData } from 'node:worker_threads';
        import { TcpStream } from '@ouro/net';
        import { sendZc } from '@ouro/net/ops';
        import { sleep, submit } from '@ouro/runtime';
        const stream = await TcpStream.connect({ host: '127.0.0.1', port: workerData });
        submit(sendZc(stream, Buffer.alloc(16 << 20))).catch(() => {});
        await sleep(50);
        parentPort.postMessage('stuck');
      \`, { eval: true, workerData: server.address().port });
      const [socket] = await once(server, 'connection');
      let received = 0;
      socket.on('data', (data) => { received += data.length; }).on('error', () => {}).pause();
      await once(worker, 'message');
      await worker.terminate();
      console.log('terminated');
      socket.resume();
      if (!socket.closed) await new Promise((closed) => socket.once('close', closed));
      console.log(received < 16 << 20 ? 'reset' : 'all of it');
      server.close();
    `);
    expect(stderr).toBe('');
    expect(stdout).toBe('terminated\nreset\n');
    expect(code).toBe(0);
  });

  it.each([
    [
      'from a direct descriptor',
      'const d = await files().register(fd); globalThis.d = d; await stream.close(); send(d);',
    ],
    ['from a stream that is closed already', 'send(stream); await sleep(20); await stream.close();'],
  ])('%s ends, and the peer gets what was sent', async (_name, body) => {
    const { code, stdout, stderr } = await runProgram(`
      import { once } from 'node:events';
      import { createServer } from 'node:net';
      import { Worker } from 'node:worker_threads';
      const server = createServer({ pauseOnConnect: true });
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      const worker = new Worker(\`
        import { parentPort, workerData } from 'node:worker_threads';
        import { TcpStream } from '@ouro/net';
        import { sendZc } from '@ouro/net/ops';
        import { files, sleep, submit } from '@ouro/runtime';
        const stream = await TcpStream.connect({ host: '127.0.0.1', port: workerData });
        const { fd } = stream.descriptor;
        // Many small ones: memory of the C library's, which it would give to others at once.
        const send = (to) => {
          for (let i = 0; i < 400; i++) submit(sendZc(to, Buffer.alloc(65536, 0xab))).catch(() => {});
        };
        ${body}
        await sleep(50);
        parentPort.postMessage('stuck');
      \`, { eval: true, workerData: server.address().port });
      const [socket] = await once(server, 'connection');
      let received = 0;
      let other = 0;
      socket.on('data', (data) => {
        received += data.length;
        for (const byte of data) if (byte !== 0xab) other++;
      }).on('error', () => {}).pause();
      await once(worker, 'message');
      await worker.terminate();
      console.log('terminated');
      const churn = Array.from({ length: 400 }, () => Buffer.alloc(65536, 0x11));
      socket.resume();
      if (!socket.closed) await new Promise((closed) => socket.once('close', closed));
      console.log(received > 1 << 20, other, churn.length);
      server.close();
    `);
    expect(stderr).toBe('');
    expect(stdout).toBe('terminated\ntrue 0 400\n');
    expect(code).toBe(0);
  });
});
