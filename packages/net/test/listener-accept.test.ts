import type { TcpListener, TcpStream } from '@ouro/net';
import { metrics } from '@ouro/runtime';
import { describe, expect, it } from 'vitest';
import { runProgram } from '../../../testing/program.ts';
import {
  dial,
  echo,
  failure,
  flush,
  leavesNothing,
  listen,
  POLL,
  readAll,
  readExactly,
  sockets,
} from './support.ts';

/** The port at the other end. */
const peerPort = (stream: TcpStream): number | undefined => stream.remoteAddress?.port;
const ownPort = (stream: TcpStream): number | undefined => stream.localAddress?.port;
const closeAll = (streams: readonly TcpStream[]): Promise<unknown> =>
  Promise.all(streams.map((stream) => stream.close()));

describe('a listener', () => {
  it('is an async iterable of connections', async () => {
    await using listener = await listen();
    const clients = await Promise.all([dial(listener), dial(listener), dial(listener)]);
    const servers: TcpStream[] = [];
    for await (const stream of listener) if (servers.push(stream) === 3) break;
    expect(servers.map(peerPort).sort()).toEqual(clients.map(ownPort).sort());
    await closeAll([...clients, ...servers]);
  });

  it('gives connections in the order in which they came', async () => {
    await using listener = await listen();
    const clients: TcpStream[] = [];
    for (let i = 0; i < 20; i++) clients.push(await dial(listener));
    const servers: TcpStream[] = [];
    for await (const stream of listener) if (servers.push(stream) === 20) break;
    expect(servers.map(peerPort)).toEqual(clients.map(ownPort));
    await closeAll([...clients, ...servers]);
  });

  it('can be iterated again after a loop was left', async () => {
    await using listener = await listen();
    const clients = await Promise.all([dial(listener), dial(listener)]);
    const servers: TcpStream[] = [];
    for (let i = 0; i < 2; i++) {
      for await (const stream of listener) {
        servers.push(stream);
        break;
      }
    }
    expect(servers.map(peerPort).sort()).toEqual(clients.map(ownPort).sort());
    await closeAll([...clients, ...servers]);
  });

  it('keeps connections that come while nobody waits', async () => {
    await using listener = await listen();
    const first = await Promise.all([listener.accept(), dial(listener)]);
    const clients = [await dial(listener), await dial(listener), await dial(listener)];
    const servers = [await listener.accept(), await listener.accept(), await listener.accept()];
    expect(servers.map(peerPort)).toEqual(clients.map(ownPort));
    await closeAll([...first, ...clients, ...servers]);
  });

  it('gives each connection to one of a loop and an accept, never to both', async () => {
    await using listener = await listen();
    const servers: TcpStream[] = [];
    const loop = (async () => {
      for await (const stream of listener) servers.push(stream);
    })();
    const accepted = listener.accept();
    const clients = await Promise.all(Array.from({ length: 10 }, () => dial(listener)));
    servers.push(await accepted);
    await expect.poll(() => servers.length, POLL).toBe(10);
    expect(servers.map(peerPort).sort()).toEqual(clients.map(ownPort).sort());
    await closeAll([...clients, ...servers]);
    await listener.close();
    await loop;
  });

  it('holds a bounded number of connections that nobody takes, and has them all later', async () => {
    const batch = 20;
    await leavesNothing(async () => {
      await using listener = await listen();
      const first = await Promise.all([listener.accept(), dial(listener)]);
      const before = sockets();
      const clients: TcpStream[] = [];
      for (let i = 0; i < 500 / batch; i++) {
        clients.push(...(await Promise.all(Array.from({ length: batch }, () => dial(listener)))));
      }
      const untaken = sockets() - before - clients.length;
      expect(untaken).toBeGreaterThan(0);
      // 128, and what arrived before the kernel had heard of it.
      expect(untaken).toBeLessThanOrEqual(128 + 3 * batch);

      const servers: TcpStream[] = [];
      for await (const stream of listener) if (servers.push(stream) === clients.length) break;
      const echoing = servers.map((stream) => echo(stream).then(() => stream.close()));
      await Promise.all(
        clients.map(async (client, i) => {
          await client.writeAll(`connection ${i}`);
          await client.shutdown();
          expect((await readAll(client)).toString()).toBe(`connection ${i}`);
        }),
      );
      await Promise.all(echoing);
      await closeAll([...first, ...clients]);
    });
  });
});

describe('accept', () => {
  it('goes on if all are taken while the listener is just giving up because of too many', async () => {
    await using listener = await listen();
    const streams = await Promise.all(Array.from({ length: 300 }, () => dial(listener)));
    // The first one brings them all in one turn, in which the others are taken as well.
    for (let i = 0; i < 300; i++) streams.push(await listener.accept());
    const last = listener.accept();
    streams.push(await dial(listener), await last);
    await closeAll(streams);
  });

  it('resolves to the next connection', async () => {
    await using listener = await listen();
    const accepted = listener.accept();
    await using client = await dial(listener);
    await using server = await accepted;
    expect(peerPort(server)).toBe(ownPort(client));
    await client.writeAll('hello');
    expect((await readExactly(server, 5)).toString()).toBe('hello');
  });

  it('serves several that wait in their order, each with a connection of its own', async () => {
    await using listener = await listen();
    const accepted = [listener.accept(), listener.accept(), listener.accept()];
    const clients = [await dial(listener), await dial(listener), await dial(listener)];
    const servers = await Promise.all(accepted);
    expect(servers.map(peerPort)).toEqual(clients.map(ownPort));
    await closeAll([...clients, ...servers]);
  });

  it('takes connections with one SQE for all of them', async () => {
    await using listener = await listen();
    const streams = await Promise.all([listener.accept(), dial(listener)]);
    const before = metrics().sqes;
    const more = await Promise.all(Array.from({ length: 50 }, () => dial(listener)));
    for (let i = 0; i < 50; i++) more.push(await listener.accept());
    expect(metrics().sqes - before).toBe(50); // the connects
    await closeAll([...streams, ...more]);
  });

  it('cancelled, rejects with an AbortError', async () => {
    await using listener = await listen();
    const accepted = listener.accept();
    const reason = new Error('closing time');
    accepted.cancel(reason);
    await expect(accepted).rejects.toMatchObject({ name: 'AbortError', code: 'ABORT_ERR', cause: reason });
  });

  it('is cancelled by a signal', async () => {
    await using listener = await listen();
    const controller = new AbortController();
    const accepted = listener.accept({ signal: controller.signal });
    controller.abort('enough');
    await expect(accepted).rejects.toMatchObject({ name: 'AbortError', cause: 'enough' });
  });

  it('does not begin with a signal that was aborted before', async () => {
    await using listener = await listen();
    const before = metrics().pending;
    const accepted = listener.accept({ signal: AbortSignal.abort('before') });
    expect(metrics().pending).toBe(before);
    await expect(accepted).rejects.toMatchObject({ name: 'AbortError', cause: 'before' });
  });

  it.each(['cancel', 'signal'])('cancelled by %s, leaves the connection to the next one', async (how) => {
    await using listener = await listen();
    const controller = new AbortController();
    const cancelled = listener.accept({ signal: controller.signal });
    const next = listener.accept();
    if (how === 'cancel') cancelled.cancel();
    else controller.abort();
    expect(await failure(cancelled)).toMatchObject({ code: 'ABORT_ERR' });
    await using client = await dial(listener);
    await using server = await next;
    expect(peerPort(server)).toBe(ownPort(client));
  });

  it('cancelled as the last one, leaves the connection to whoever asks later', async () => {
    await using listener = await listen();
    const cancelled = listener.accept();
    cancelled.cancel();
    expect(await failure(cancelled)).toMatchObject({ code: 'ABORT_ERR' });
    await using client = await dial(listener);
    await using server = await listener.accept();
    expect(peerPort(server)).toBe(ownPort(client));
  });

  it('gives the connection if that was quicker than the cancellation', async () => {
    await using listener = await listen();
    const streams = await Promise.all([listener.accept(), dial(listener)]);
    const before = sockets();
    await using client = await dial(listener);
    // The listener has taken it from the kernel already.
    await expect.poll(sockets, POLL).toBe(before + 2);
    const accepted = listener.accept();
    accepted.cancel();
    await using server = await accepted;
    expect(peerPort(server)).toBe(ownPort(client));
    await closeAll(streams);
  });

  it('never loses a connection to cancellations', async () => {
    await using listener = await listen();
    const servers: TcpStream[] = [];
    const dialling = (async () => {
      const clients: TcpStream[] = [];
      for (let i = 0; i < 100; i++) clients.push(await dial(listener));
      return clients;
    })();
    let aborted = 0;
    while (servers.length < 100) {
      const [first, second] = [listener.accept(), listener.accept()];
      queueMicrotask(() => first.cancel());
      for (const outcome of await Promise.allSettled([first, second])) {
        if (outcome.status === 'fulfilled') servers.push(outcome.value);
        else aborted++;
      }
      if (servers.length === 99) servers.push(await listener.accept());
    }
    const clients = await dialling;
    expect(aborted).toBeGreaterThan(0);
    expect(new Set(servers.map(peerPort))).toEqual(new Set(clients.map(ownPort)));
    await closeAll([...clients, ...servers]);
  });
});

describe('closing a listener', () => {
  it('ends its loops', async () => {
    const listener = await listen();
    let ended = 0;
    const loop = async (): Promise<void> => {
      for await (const _ of listener) throw new Error('Nobody has connected');
      ended++;
    };
    const loops = [loop(), loop()];
    await listener.close();
    await Promise.all(loops);
    expect(ended).toBe(2);
  });

  it('rejects the accepts that wait with ECANCELED', async () => {
    const listener = await listen();
    const accepted = [listener.accept(), listener.accept()];
    const closing = listener.close();
    for (const each of accepted) {
      expect(await failure(each)).toEqual({
        message: 'accept ECANCELED',
        code: 'ECANCELED',
        errno: -125,
        syscall: 'accept',
      });
    }
    await closing;
  });

  it('closes the connections that nobody has taken', async () => {
    await leavesNothing(async () => {
      const listener = await listen();
      const first = await Promise.all([listener.accept(), dial(listener)]);
      const clients = await Promise.all(Array.from({ length: 50 }, () => dial(listener)));
      await listener.close();
      // Of some the listener had the descriptor, others lay in the kernel's queue: those are reset.
      const ends = await Promise.all(clients.map((client) => client.read(Buffer.alloc(1)).catch(() => 0)));
      expect(new Set(ends)).toEqual(new Set([0]));
      await closeAll([...first, ...clients]);
    });
  });

  it('closes the connections that come nevertheless', async () => {
    await leavesNothing(async () => {
      const listener = await listen();
      const clients = await Promise.all(Array.from({ length: 20 }, () => dial(listener)));
      const accepted = failure(listener.accept());
      flush(); // the accept has brought them all, and nobody has heard of it
      await listener.close();
      expect(await accepted).toMatchObject({ code: 'ECANCELED' });
      for (const client of clients) expect(await client.read(Buffer.alloc(1))).toBe(0);
      await closeAll(clients);
    });
  });

  it('leaves connections alone that were taken', async () => {
    const listener = await listen();
    const [server, client] = await Promise.all([listener.accept(), dial(listener)]);
    await listener.close();
    await server.writeAll('still here');
    expect((await readExactly(client, 10)).toString()).toBe('still here');
    await closeAll([server, client]);
  });

  it('refuses new connections', async () => {
    const listener = await listen();
    await listener.close();
    expect(await failure(dial(listener))).toMatchObject({ code: 'ECONNREFUSED' });
  });

  it('twice is closing once', async () => {
    const listener = await listen();
    const closing = listener.close();
    expect(listener.close()).toBe(closing);
    await closing;
    expect(listener.close()).toBe(closing);
  });

  it('leaves no descriptor, and -1 in its place', async () => {
    await leavesNothing(async () => {
      const listener = await listen();
      expect(listener.fd).toBeGreaterThan(2);
      const { port } = listener.address;
      await listener.close();
      expect(listener.fd).toBe(-1);
      expect(listener.address.port).toBe(port);
    });
  });

  it('is what `await using` does', async () => {
    let kept: TcpListener;
    {
      await using listener = await listen();
      kept = listener;
    }
    expect(kept.fd).toBe(-1);
  });

  it('makes accept fail with EBADF', async () => {
    const listener = await listen();
    await listener.close();
    expect(await failure(listener.accept())).toMatchObject({ code: 'EBADF', syscall: 'accept' });
  });

  it('makes a new loop fail with EBADF', async () => {
    const listener = await listen();
    await listener.close();
    const loop = async (): Promise<void> => {
      for await (const _ of listener) break;
    };
    expect(await failure(loop())).toMatchObject({ code: 'EBADF', syscall: 'accept' });
  });

  it('works with connections coming in all the time', async () => {
    await leavesNothing(async () => {
      for (let round = 0; round < 20; round++) {
        const listener = await listen();
        const servers: TcpStream[] = [];
        const loop = (async () => {
          for await (const stream of listener) servers.push(stream);
        })();
        const dialling = Array.from({ length: 20 }, () => dial(listener).catch(() => undefined));
        if (round % 2 === 0) await dialling[round];
        await listener.close();
        await loop;
        const clients = await Promise.all(dialling);
        await closeAll([...servers, ...clients.filter((client) => client !== undefined)]);
      }
    });
  });
});

describe('a listener and the life of the process', () => {
  // A timer that keeps nothing alive tells whether something else does.
  const program = (change: string): string => `
    import { TcpListener } from '@ouro/net';
    const listener = await TcpListener.bind({ host: '127.0.0.1' });
    ${change}
    setTimeout(() => {
      console.log('alive');
      listener.close();
    }, 50).unref();
  `;
  const loop = '(async () => { for await (const stream of listener); })();';

  it('keeps it alive while it waits for connections', async () => {
    expect(await runProgram(program(loop))).toMatchObject({ code: 0, stdout: 'alive\n', stderr: '' });
  });

  it('does not after unref', async () => {
    expect(await runProgram(program(`${loop} listener.unref();`))).toMatchObject({
      code: 0,
      stdout: '',
      stderr: '',
    });
  });

  it('does not if unref came first', async () => {
    expect(await runProgram(program(`listener.unref(); ${loop}`))).toMatchObject({
      code: 0,
      stdout: '',
      stderr: '',
    });
  });

  it('does again after ref', async () => {
    const ended = await runProgram(program(`listener.unref(); ${loop} listener.ref();`));
    expect(ended).toMatchObject({ code: 0, stdout: 'alive\n', stderr: '' });
  });

  it('says itself from ref and unref', async () => {
    await using listener = await listen();
    expect(listener.unref()).toBe(listener);
    expect(listener.ref()).toBe(listener);
  });
});
