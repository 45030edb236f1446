import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { type BindOptions, TcpListener, type TcpStream } from '@ouro/net';
import { metrics } from '@ouro/runtime';
import { files, nop } from '@ouro/runtime/driver';
import { describe, expect, it } from 'vitest';
import { itOnRing } from '../../../testing/engine.ts';
import { runProgram } from '../../../testing/program.ts';
import { dial, echo, failure, fill, leavesNothing, POLL, readAll, readExactly, sockets } from './support.ts';
import { BOTH, collect, dialTo } from './tcp-support.ts';

describe.each(BOTH)('a listener with maxConnections, on %s', (_what, how) => {
  const bind = (options: BindOptions): Promise<TcpListener> =>
    TcpListener.bind({ host: '127.0.0.1', ...how, ...options });

  it('counts the connections that it has handed out and that are open', async () => {
    await using listener = await bind({});
    const clients = await Promise.all([1, 2, 3].map(() => dialTo('127.0.0.1', listener.address.port)));
    expect(listener.connections).toBe(0);
    const streams = [await listener.accept(), await listener.accept()];
    expect(listener.connections).toBe(2);
    await streams[0].close();
    await streams[0].close();
    expect(listener.connections).toBe(1);
    await streams[1].reset();
    expect(listener.connections).toBe(0);
    for (const client of clients) client.destroy();
  });

  // A backlog of 511 is taken one by one as long as less than that is left, one of 8 by multishot accepts.
  it.each([511, 8])(
    'has no more open at a time, and all of them in the end (backlog %i)',
    async (backlog) => {
      const most = 12;
      const clients = 20;
      await leavesNothing(async () => {
        await using listener = await bind({ maxConnections: most, backlog });
        let highest = 0;
        let served = 0;
        const loop = (async () => {
          for await (const stream of listener) {
            highest = Math.max(highest, listener.connections);
            void echo(stream)
              .then(() => stream.close())
              .then(() => served++);
          }
        })();
        const answers = Array.from({ length: clients }, async (_, i) => {
          await using client = await dial(listener);
          await client.writeAll(`client ${i}`);
          const answer = await readExactly(client, `client ${i}`.length);
          return answer.toString();
        });
        expect(await Promise.all(answers)).toEqual(answers.map((_, i) => `client ${i}`));
        await expect.poll(() => served, POLL).toBe(clients);
        expect(highest).toBeGreaterThan(0);
        expect(highest).toBeLessThanOrEqual(most);
        expect(listener.connections).toBe(0);
        await listener.close();
        await loop;
      });
    },
  );

  it('accepts the next only when one is closed', async () => {
    await using listener = await bind({ maxConnections: 2 });
    const streams = collect(listener);
    const clients = await Promise.all([1, 2, 3].map(() => dialTo('127.0.0.1', listener.address.port)));
    await expect.poll(() => streams.length, POLL).toBe(2);
    for (let turn = 0; turn < 5; turn++) await nop();
    expect(streams.length).toBe(2);
    await streams[0].close();
    await expect.poll(() => streams.length, POLL).toBe(3);
    expect(listener.connections).toBe(2);
    for (const client of clients) client.destroy();
    await Promise.all(streams.map((stream) => stream.close()));
  });

  it('can be closed while it is full, and its connections go on', async () => {
    await leavesNothing(async () => {
      const listener = await bind({ maxConnections: 1 });
      const streams = collect(listener);
      const clients = await Promise.all([1, 2].map(() => dialTo('127.0.0.1', listener.address.port)));
      await expect.poll(() => streams.length, POLL).toBe(1);
      await listener.close();
      await streams[0].writeAll('still here');
      await streams[0].close();
      expect(listener.connections).toBe(0);
      const answers = await Promise.allSettled(clients.map((client) => client.toArray()));
      const texts = answers.map((each) =>
        each.status === 'fulfilled' ? Buffer.concat(each.value).toString() : '',
      );
      expect(texts.sort()).toEqual(['', 'still here']);
      for (const client of clients) client.destroy();
    });
  });

  it('holds what arrives up to highWater, and TCP itself slows the peer down', async () => {
    const highWater = 10_000;
    await using listener = await bind({ highWater });
    const [server, client] = await Promise.all([listener.accept(), dial(listener)]);
    const before = metrics().ops.RECV?.inFlight ?? 0;
    const { waiting, size } = await fill(client);
    const chunks = server[Symbol.asyncIterator]();
    const first = await chunks.next();
    await expect.poll(() => metrics().ops.RECV?.inFlight, POLL).toBe(before);
    // No more than that, and what one turn brings: the provided buffers there are.
    const held = server.buffered;
    expect(held).toBeLessThan(5 << 20);
    for (let turn = 0; turn < 5; turn++) await nop();
    expect(server.buffered).toBe(held);
    const rest = await readToEnd(server, size - (first.value?.length ?? 0));
    expect(rest).toBe(size - (first.value?.length ?? 0));
    await waiting;
    await Promise.all([server.close(), client.close()]);
  });
});

/** How many bytes come until there are `wanted`. */
async function readToEnd(stream: TcpStream, wanted: number): Promise<number> {
  let got = 0;
  while (got < wanted) {
    const { value } = await stream[Symbol.asyncIterator]().next();
    if (value === undefined) break;
    got += value.length;
  }
  return got;
}

describe('a full listener and the life of the process', () => {
  // The connection has no op in flight, and a timer that keeps nothing alive tells whether the listener does.
  const program = (how: string, then: string): string => `
    import net from 'node:net';
    import { TcpListener } from '@ouro/net';
    const listener = await TcpListener.bind({ host: '127.0.0.1', ...${how} });
    const socket = net.connect(listener.address.port, '127.0.0.1');
    await new Promise((done) => socket.once('connect', done));
    socket.unref();
    const stream = await listener.accept();
    const waiting = listener.accept().catch((error) => console.log(error.code));
    ${then}
    setTimeout(async () => {
      console.log('alive');
      await listener.close();
      await stream.close();
      socket.destroy();
    }, 100).unref();
  `;
  const full: [string, string, NodeJS.ProcessEnv][] = [
    ['maxConnections', '{ maxConnections: 1 }', {}],
    ['a full table', '{ direct: true }', { OURO_FIXED_FILES: '2' }],
  ];

  it.each(full)('(%s) keeps it alive', async (_what, how, env) => {
    expect(await runProgram(program(how, ''), { env })).toMatchObject({
      code: 0,
      stdout: 'alive\nECANCELED\n',
      stderr: '',
    });
  });

  it.each(full)('(%s) does not after unref', async (_what, how, env) => {
    expect(await runProgram(program(how, 'listener.unref();'), { env })).toMatchObject({
      code: 0,
      stdout: '',
      stderr: '',
    });
  });
});

describe('bad limits', () => {
  it.each<[string, object, string]>([
    ['maxConnections of 0', { maxConnections: 0 }, 'ERR_OUT_OF_RANGE'],
    ['maxConnections of 1.5', { maxConnections: 1.5 }, 'ERR_OUT_OF_RANGE'],
    ['maxConnections that is a string', { maxConnections: '5' }, 'ERR_INVALID_ARG_TYPE'],
    ['direct that is no boolean', { direct: 'yes' }, 'ERR_INVALID_ARG_TYPE'],
    ['a highWater of 0', { highWater: 0 }, 'ERR_OUT_OF_RANGE'],
    ['keepAlive that is a string', { keepAlive: 'yes' }, 'ERR_INVALID_ARG_TYPE'],
    ['keepAlive with a count of 200', { keepAlive: { count: 200 } }, 'ERR_OUT_OF_RANGE'],
  ])('%s is thrown at once', (_what, options, code) => {
    const before = sockets();
    expect(() => TcpListener.bind(options)).toThrow(expect.objectContaining({ code }));
    expect(sockets()).toBe(before);
  });
});

describe('a listener with direct descriptors', () => {
  itOnRing('direct')('has no descriptor for a connection, and its streams do all the same', async () => {
    await leavesNothing(async () => {
      await using listener = await TcpListener.bind({ host: '127.0.0.1', direct: true });
      const before = sockets();
      const adopted = files().adopted;
      const clients = await Promise.all(
        Array.from({ length: 50 }, () => dialTo('127.0.0.1', listener.address.port)),
      );
      const streams = await Promise.all(clients.map(() => listener.accept()));
      expect(sockets()).toBe(before + clients.length); // those of the clients
      expect(files().adopted).toBe(adopted + streams.length);
      const loops = streams.map((stream) => echo(stream).then(() => stream.close()));
      for (const client of clients) client.end('hello');
      const answers = await Promise.all(clients.map((client) => client.toArray()));
      expect(answers.map((parts) => Buffer.concat(parts).toString())).toEqual(clients.map(() => 'hello'));
      await Promise.all(loops);
      expect(files().adopted).toBe(adopted);
    });
  });

  it('closes connections that nobody has taken, and those that come while it is being closed', async () => {
    await leavesNothing(async () => {
      const adopted = files().adopted;
      const listener = await TcpListener.bind({ host: '127.0.0.1', direct: true, backlog: 2 });
      await (async () => {
        const accepted = listener.accept();
        const clients = await Promise.all([1, 2, 3].map(() => dialTo('127.0.0.1', listener.address.port)));
        await (await accepted).close();
        await listener.close();
        for (const client of clients) {
          await client.toArray().catch(() => {});
          client.destroy();
        }
      })();
      await expect.poll(() => files().adopted, POLL).toBe(adopted);
    });
  });

  it('with a full table waits, loses nobody, and goes on when a connection is closed', async () => {
    const { code, stdout, stderr } = await runProgram(
      `
      import net from 'node:net';
      import { TcpListener } from '@ouro/net';
      import { files } from '@ouro/runtime/driver';
      import { metrics } from '@ouro/runtime';
      const CLIENTS = 60;
      let highest = 0;
      let served = 0;
      const serve = async (listener) => {
        for await (const stream of listener) {
          highest = Math.max(highest, files().adopted);
          (async () => {
            for await (const chunk of stream) await stream.writeAll(chunk);
            await stream.close();
            served++;
          })();
        }
      };
      // Two that share the table: one takes all that come by a multishot accept as long as there is much room.
      const listeners = await Promise.all([511, 2].map((backlog) =>
        TcpListener.bind({ host: '127.0.0.1', direct: true, backlog })));
      const loops = listeners.map(serve);
      const ask = (listener, i) => new Promise((done) => {
        const socket = net.connect(listener.address.port, '127.0.0.1', () => socket.write('client ' + i));
        socket.once('data', (data) => { done(String(data)); socket.end(); });
        socket.once('error', (error) => done(error.message));
      });
      const many = Promise.all(Array.from({ length: CLIENTS - 10 }, (_, i) => ask(listeners[0], i)));
      const answers = [];
      for (let i = CLIENTS - 10; i < CLIENTS; i++) answers.push(await ask(listeners[1], i));
      answers.unshift(...(await many));
      console.log(answers.filter((answer, i) => answer !== 'client ' + i).length, highest <= 8, highest > 2);
      await Promise.all(listeners.map((listener) => listener.close()));
      await Promise.all(loops);
      while (served < CLIENTS) await new Promise(setImmediate);
      console.log(served, files().adopted, metrics().pending);
      `,
      { env: { OURO_FIXED_FILES: '16' } },
    );
    expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: '0 true true\n60 0 0\n', stderr: '' });
  });

  it('with a full table holds accepts back without going round in circles', async () => {
    const { code, stdout, stderr } = await runProgram(
      `
      import net from 'node:net';
      import { TcpListener } from '@ouro/net';
      import { metrics, sleep } from '@ouro/runtime';
      const listener = await TcpListener.bind({ host: '127.0.0.1', direct: true });
      const streams = [];
      const loop = (async () => { for await (const stream of listener) streams.push(stream); })();
      const clients = Array.from({ length: 10 }, () => net.connect(listener.address.port, '127.0.0.1'));
      // Those that are in the backlog when the listener is closed are reset.
      for (const client of clients) client.on('error', () => {});
      await Promise.all(clients.map((client) => new Promise((done) => client.once('connect', done))));
      while (streams.length < 4) await sleep(1);
      await sleep(5);
      const before = metrics().sqes;
      await sleep(300);
      console.log(streams.length, metrics().sqes - before <= 3);
      await Promise.all(streams.splice(0).map((stream) => stream.close()));
      while (streams.length < 4) await sleep(1);
      await listener.close();
      await loop;
      for (const client of clients) client.destroy();
      await Promise.all(streams.map((stream) => stream.close()));
      console.log(metrics().pending);
      `,
      { env: { OURO_FIXED_FILES: '8' } },
    );
    expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: '4 true\n0\n', stderr: '' });
  });

  it('says so where the table has no places for it', async () => {
    const { stdout, stderr } = await runProgram(
      `
      import { TcpListener } from '@ouro/net';
      const error = await TcpListener.bind({ direct: true }).catch((error) => error);
      console.log(error.code, error.message);
      `,
      { env: { OURO_FIXED_FILES: '1' } },
    );
    expect(stderr).toBe('');
    expect(stdout).toBe(
      'ENFILE ENFILE: RunOptions.fixedFiles is 1, which leaves no place for connections, listen\n',
    );
  });

  it('in a worker that is terminated leaves nothing, whatever is in flight', async () => {
    await leavesNothing(async () => {
      for (let round = 0; round < 3; round++) {
        const worker = new Worker(
          `
          const { parentPort } = require('node:worker_threads');
          (async () => {
            const { TcpListener } = await import('@ouro/net');
            const listener = await TcpListener.bind({ host: '127.0.0.1', direct: true });
            parentPort.postMessage(listener.address.port);
            for await (const stream of listener) {
              stream.writeAll(Buffer.alloc(8 << 20)).catch(() => {});
              (async () => { for await (const chunk of stream); })();
            }
          })();
          `,
          { eval: true },
        );
        const [port] = (await once(worker, 'message')) as [number];
        const clients = await Promise.all(Array.from({ length: 20 }, () => dialTo('127.0.0.1', port)));
        const closed = clients.map(async (client) => {
          client.resume();
          await once(client, 'close').catch(() => {});
        });
        await worker.terminate();
        for (const client of clients) client.end();
        await Promise.all(closed);
        await using _ = await TcpListener.bind({ host: '127.0.0.1', port });
      }
    });
  });

  it('ends with the process, whatever is in flight', async () => {
    const { code, stdout, stderr } = await runProgram(`
      import net from 'node:net';
      import { TcpListener } from '@ouro/net';
      const listener = await TcpListener.bind({ host: '127.0.0.1', direct: true });
      for (let i = 0; i < 5; i++) net.connect(listener.address.port, '127.0.0.1').write('x');
      let served = 0;
      for await (const stream of listener) {
        stream.writeAll(Buffer.alloc(8 << 20)).catch(() => {});
        (async () => {
          for await (const chunk of stream) if (++served === 5) process.exit(7);
        })();
      }
    `);
    expect({ code, stdout, stderr }).toEqual({ code: 7, stdout: '', stderr: '' });
  });

  it('accepts that are cancelled take no connection with them', async () => {
    await leavesNothing(async () => {
      await using listener = await TcpListener.bind({ host: '127.0.0.1', direct: true });
      for (let round = 0; round < 20; round++) {
        const given = listener.accept();
        const other = listener.accept();
        const client = await dialTo('127.0.0.1', listener.address.port);
        given.cancel();
        const [one, two] = await Promise.allSettled([given, other]);
        const taken = [one, two].flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
        if (taken.length === 0) taken.push(await listener.accept());
        else if (two.status === 'rejected') expect(two.reason).toMatchObject({ code: 'ABORT_ERR' });
        client.end('x');
        expect((await readAll(taken[0])).toString()).toBe('x');
        await taken[0].close();
        client.destroy();
        if (taken[0] && one.status === 'fulfilled') {
          other.cancel();
          await Promise.allSettled([other]);
        }
      }
    });
  });

  it('makes accept fail with EBADF once it is closed', async () => {
    const listener = await TcpListener.bind({ host: '127.0.0.1', direct: true });
    await listener.close();
    expect(await failure(listener.accept())).toMatchObject({ code: 'EBADF', syscall: 'accept' });
  });
});
