import { AsyncLocalStorage } from 'node:async_hooks';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { TcpListener, TcpStream } from '@ouro/net';
import { sleep } from '@ouro/runtime';
import { afterEach, describe, expect, it } from 'vitest';
import { dial, failure, listen, mixed, POLL, readExactly, serve } from './support.ts';
import { BOTH, deafPort } from './tcp-support.ts';

type Message = Record<string, unknown>;

/** What has been published since: channel by channel. */
function hear(...names: string[]): [name: string, message: Message][] {
  const heard: [string, Message][] = [];
  for (const name of names) {
    const told = (message: unknown): void => void heard.push([name, message as Message]);
    subscribe(name, told);
    undo.push(() => unsubscribe(name, told));
  }
  return heard;
}
const undo: (() => void)[] = [];
afterEach(() => {
  for (const each of undo.splice(0)) each();
});

describe.each(BOTH)('diagnostics channels, with %s', (_what, how) => {
  it('tell of listeners, connections made and taken, and of their ends', async () => {
    const heard = hear(
      'ouro.net.listen',
      'ouro.net.connect',
      'ouro.net.accept',
      'ouro.net.close',
      'ouro.net.connect.error',
    );
    const listener = await TcpListener.bind({ host: '127.0.0.1', ...how });
    const client = await dial(listener);
    const server = await listener.accept();
    await client.close();
    await client.close();
    await server.reset();
    await listener.close();
    expect(heard).toEqual([
      ['ouro.net.listen', { listener }],
      ['ouro.net.connect', { stream: client }],
      ['ouro.net.accept', { listener, stream: server }],
      ['ouro.net.close', { stream: client }],
      ['ouro.net.close', { stream: server }],
    ]);
    expect(heard[0][1].listener).toBe(listener);
    expect(heard[2][1].stream).toBe(server);
  });
});

describe('diagnostics channels', () => {
  it('tell of connects that fail or are cancelled', async () => {
    const heard = hear('ouro.net.connect', 'ouro.net.connect.error');
    using deaf = deafPort();
    const { port } = deaf;
    await failure(TcpStream.connect({ host: '127.0.0.1', port }));
    const connecting = TcpStream.connect({ host: '127.0.0.1', port });
    connecting.cancel();
    await failure(connecting);
    expect(heard).toEqual([
      [
        'ouro.net.connect.error',
        { host: '127.0.0.1', port, error: expect.objectContaining({ code: 'ECONNREFUSED' }) },
      ],
      [
        'ouro.net.connect.error',
        { host: '127.0.0.1', port, error: expect.objectContaining({ code: 'ABORT_ERR' }) },
      ],
    ]);
  });

  it('tell of connections that a loop takes', async () => {
    const heard = hear('ouro.net.accept');
    await using server = await serve(async (stream) => {
      for await (const chunk of stream) await stream.writeAll(chunk);
    });
    const clients = await Promise.all([1, 2, 3].map(() => dial(server.listener)));
    await expect.poll(() => heard.length, POLL).toBe(3);
    await Promise.all(clients.map((client) => client.close()));
  });

  it('tell when a stream is gone, after its descriptor', async () => {
    const ends = await mixed();
    const fds: number[] = [];
    const told = (message: unknown): void => {
      fds.push((message as { stream: TcpStream }).stream.fd);
    };
    subscribe('ouro.net.close', told);
    undo.push(() => unsubscribe('ouro.net.close', told));
    await ends[Symbol.asyncDispose]();
    expect(fds).toEqual([-1]);
  });
});

describe('AsyncLocalStorage', () => {
  it('entered by a handler stays with the awaits of its connection, and nobody else’s', async () => {
    const storage = new AsyncLocalStorage<number>();
    const seen: [number, (number | undefined)[]][] = [];
    const handle = async (stream: TcpStream, id: number): Promise<void> => {
      storage.enterWith(id);
      const stores: (number | undefined)[] = [];
      for await (const chunk of stream) {
        stores.push(storage.getStore());
        await stream.writeAll(chunk);
        stores.push(storage.getStore());
        await sleep(1);
        stores.push(storage.getStore());
        await stream.info();
        stores.push(storage.getStore());
      }
      await stream.close();
      stores.push(storage.getStore());
      seen.push([id, stores]);
    };
    for (const [, how] of BOTH) {
      seen.length = 0;
      await using listener = await TcpListener.bind({ host: '127.0.0.1', ...how });
      let next = 0;
      const loop = (async () => {
        // As a handler is begun in a context of its own.
        for await (const stream of listener) void storage.exit(() => handle(stream, next++));
      })();
      await Promise.all(
        Array.from({ length: 10 }, async () => {
          await using client = await dial(listener);
          for (const text of ['one', 'two']) {
            await client.writeAll(text);
            await readExactly(client, 3);
          }
        }),
      );
      await expect.poll(() => seen.length, POLL).toBe(10);
      for (const [id, stores] of seen) expect(new Set(stores)).toEqual(new Set([id]));
      await listener.close();
      await loop;
    }
  });

  it('is that of the program for what is published of a connect', async () => {
    const storage = new AsyncLocalStorage<string>();
    const stores: (string | undefined)[] = [];
    const told = (): void => void stores.push(storage.getStore());
    subscribe('ouro.net.connect', told);
    undo.push(() => unsubscribe('ouro.net.connect', told));
    await using listener = await listen();
    await storage.run('request', async () => {
      await using _ = await dial(listener);
    });
    expect(stores).toEqual(['request']);
  });
});
