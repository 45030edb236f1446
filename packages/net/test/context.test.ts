import { AsyncLocalStorage } from 'node:async_hooks';
import { TcpStream } from '@ouro/net';
import { sleep } from '@ouro/runtime';
import { describe, expect, it } from 'vitest';
import { runProgram } from '../../../testing/program.ts';
import { dial, echo, mixed, pair, readExactly, serve } from './support.ts';

describe('AsyncLocalStorage', () => {
  const storage = new AsyncLocalStorage<string>();

  it("holds in each connection's handler, across every kind of wait", async () => {
    const wrong: string[] = [];
    let next = 0;
    await using server = await serve((stream) => {
      const id = `handler ${next++}`;
      const check = (where: string): void => {
        if (storage.getStore() !== id) wrong.push(`${where}: ${storage.getStore()} instead of ${id}`);
      };
      return storage.run(id, async () => {
        check('begin');
        for await (const chunk of stream) {
          check('chunk');
          await stream.writeAll(chunk);
          check('writeAll');
          await sleep(1);
          check('sleep');
          if (chunk.includes(0x21)) break;
        }
        check('end of the loop');
        await stream.read(Buffer.alloc(1));
        check('read');
        await stream.shutdown();
        check('shutdown');
        await stream.close();
        check('close');
      });
    });
    const clients = Array.from({ length: 50 }, (_, i) =>
      storage.run(`client ${i}`, async () => {
        const stream = await dial(server.listener);
        for (const text of ['one', 'two', 'bye!']) {
          await stream.writeAll(text);
          await readExactly(stream, text.length);
          if (storage.getStore() !== `client ${i}`) wrong.push(`client ${i}`);
        }
        await stream.writeAll('.');
        await stream.read(Buffer.alloc(1));
        await stream.close();
        return storage.getStore();
      }),
    );
    expect(await Promise.all(clients)).toEqual(clients.map((_, i) => `client ${i}`));
    expect(wrong).toEqual([]);
    expect(server.failures).toEqual([]);
    expect(next).toBe(50);
  });

  it('holds in the loop of the listener', async () => {
    const seen: (string | undefined)[] = [];
    await storage.run('outside', async () => {
      await using server = await serve(async (stream) => {
        seen.push(storage.getStore());
        await echo(stream);
      });
      await storage.run('client', async () => {
        for (let i = 0; i < 3; i++) {
          await using _ = await dial(server.listener);
          await sleep(1);
        }
      });
    });
    expect(seen).toEqual(['outside', 'outside', 'outside']);
  });

  it('holds where an op fails', async () => {
    await using ends = await mixed();
    await storage.run('reader', async () => {
      const reading = ends.stream.read(Buffer.alloc(1)).catch(() => storage.getStore());
      ends.socket.resetAndDestroy();
      expect(await reading).toBe('reader');
    });
  });
});

describe('a stream and the life of the process', () => {
  // A timer that keeps nothing alive tells whether something else does.
  const program = (body: string): string => `
    import { TcpListener, TcpStream } from '@ouro/net';
    const listener = await TcpListener.bind({ host: '127.0.0.1' });
    const [stream, peer] = await Promise.all([
      listener.accept(),
      TcpStream.connect({ host: '127.0.0.1', port: listener.address.port }),
    ]);
    await listener.close();
    ${body}
    setTimeout(() => {
      console.log('alive');
      stream.close();
    }, 50).unref();
  `;
  const loop = '(async () => { for await (const chunk of stream); })();';
  const read = 'stream.read(Buffer.alloc(1)).catch(() => {});';
  const send = 'stream.writeAll(Buffer.alloc(32 << 20)).catch(() => {});';

  it.each([
    ['a loop', loop],
    ['a read', read],
    ['a writeAll', send],
  ])('%s that waits keeps it alive', async (_what, op) => {
    expect(await runProgram(program(op))).toMatchObject({ code: 0, stdout: 'alive\n', stderr: '' });
  });

  it.each([
    ['a loop', loop],
    ['a read', read],
    ['a writeAll', send],
  ])('%s does not after unref', async (_what, op) => {
    expect(await runProgram(program(`${op} stream.unref();`))).toMatchObject({
      code: 0,
      stdout: '',
      stderr: '',
    });
  });

  it.each([
    ['a loop', loop],
    ['a read', read],
    ['a writeAll', send],
  ])('%s does not if unref came first', async (_what, op) => {
    expect(await runProgram(program(`stream.unref(); ${op}`))).toMatchObject({
      code: 0,
      stdout: '',
      stderr: '',
    });
  });

  it('it does again after ref', async () => {
    const ended = await runProgram(program(`stream.unref(); ${loop} ${send} stream.ref();`));
    expect(ended).toMatchObject({ code: 0, stdout: 'alive\n', stderr: '' });
  });

  it('does not keep it alive with nothing to wait for', async () => {
    expect(await runProgram(program(''))).toMatchObject({ code: 0, stdout: '', stderr: '' });
  });

  it('says itself from ref and unref', async () => {
    await using ends = await pair();
    expect(ends.client.unref()).toBe(ends.client);
    expect(ends.client.ref()).toBe(ends.client);
    expect(ends.client).toBeInstanceOf(TcpStream);
  });
});
