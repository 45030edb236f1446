import { promises as dns } from 'node:dns';
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { Scope } from '@ouro/runtime';
import { nop } from '@ouro/runtime/driver';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { runProgram } from '../../../testing/program.ts';
import { bytes, failure, flush, leavesNothing, POLL, sockets } from './support.ts';
import { collect, local, peer, texts } from './udp-support.ts';

/** Makes names take until `answer` is called; then they are 127.0.0.1. */
function slowNames(): { answer(): void } {
  let answer = (): void => {};
  const answered = new Promise<void>((now) => {
    answer = now;
  });
  vi.spyOn(dns, 'lookup').mockImplementation((async () => {
    await answered;
    return { address: '127.0.0.1', family: 4 };
  }) as never);
  return { answer };
}

afterEach(() => {
  vi.restoreAllMocks();
});

const NOWHERE = { address: '127.0.0.1', port: 9 };

describe('cancelling', () => {
  it('a recv loses no datagram', () =>
    leavesNothing(async () => {
      await using socket = await local();
      await using from = await peer();
      const waiting = socket.recv(Buffer.alloc(10));
      await nop();
      waiting.cancel('no more');
      await expect(waiting).rejects.toMatchObject({ code: 'ABORT_ERR', cause: 'no more' });
      await from.send('here', socket.address);
      const buffer = Buffer.alloc(10);
      expect(await socket.recv(buffer)).toMatchObject({ bytes: 4 });
      // One that has arrived is not taken back: the future says so.
      await from.send('again', socket.address);
      const late = socket.recv(buffer);
      flush();
      late.cancel();
      expect(
        await late.then(
          ({ bytes: count }) => count,
          () => 'cancelled',
        ),
      ).toBe(5);
    }));

  it('by signal, scope, timeout or the socket itself, ends recv', () =>
    leavesNothing(async () => {
      await using socket = await local();
      const buffer = Buffer.alloc(10);
      const controller = new AbortController();
      const scope = new Scope();
      const aborted = failure(socket.recv(buffer, { signal: controller.signal }));
      const scoped = failure(socket.recv(buffer, { scope }));
      const timed = failure(socket.recv(buffer, { timeout: 5 }));
      const plain = failure(socket.recv(buffer));
      await nop();
      controller.abort();
      scope.cancel();
      expect(await aborted).toMatchObject({ code: 'ABORT_ERR' });
      expect(await scoped).toMatchObject({ code: 'ABORT_ERR' });
      expect(await timed).toMatchObject({ code: 'ETIMEDOUT' });
      socket.cancel();
      expect(await plain).toMatchObject({ code: 'ABORT_ERR' });
      expect(await failure(socket.recv(buffer, { scope }))).toMatchObject({ code: 'ABORT_ERR' });
      expect(await failure(socket.recv(buffer, { timeout: 0 }))).toMatchObject({ code: 'ETIMEDOUT' });
    }));

  it('ends a recv that waits beside a loop too, and the loop goes on', () =>
    leavesNothing(async () => {
      await using socket = await local();
      await using from = await peer();
      const loop = collect(socket, 1);
      await nop();
      const timed = failure(socket.recv(Buffer.alloc(1), { timeout: 5 }));
      const plain = failure(socket.recv(Buffer.alloc(1)));
      expect(await timed).toMatchObject({ code: 'ETIMEDOUT' });
      socket.cancel();
      expect(await plain).toMatchObject({ code: 'ABORT_ERR' });
      await from.send('still', socket.address);
      expect(texts(await loop)).toEqual(['still']);
    }));

  it('refuses sends and connections of what has been cancelled before', async () => {
    await using socket = await local();
    await using to = await peer();
    const signal = AbortSignal.abort();
    const refused = { code: 'ABORT_ERR' };
    expect(await failure(socket.send('x', to, { signal }))).toMatchObject(refused);
    expect(await failure(socket.send('xx', to, { signal, segmentSize: 1 }))).toMatchObject(refused);
    expect(await failure(socket.sendMany([{ data: 'x', to }], { signal }))).toMatchObject(refused);
    expect(await failure(socket.connect(to, { signal }))).toMatchObject(refused);
    expect(() => socket.send('x', to, { signal: 5 as never })).toThrow(TypeError);
    await socket.connect(to);
    expect(await failure(socket.disconnect({ signal }))).toMatchObject(refused);
    await socket.disconnect();
    await socket.send('sent', to);
    expect((await to.next()).data.toString()).toBe('sent');
    expect(to.messages).toHaveLength(1);
  });

  it('ends the wait for a name, whenever its address is found', async () => {
    await using socket = await local();
    const names = slowNames();
    const to = { address: 'some.name', port: 9 };
    const all = [socket.send('x', to), socket.sendMany([{ data: 'x', to }]), socket.connect(to)];
    for (const each of all) each.cancel();
    for (const each of all) expect(await failure(each)).toMatchObject({ code: 'ABORT_ERR' });
    names.answer();
    await nop();
    expect(socket.remoteAddress).toBeUndefined();
  });
});

describe('closing', () => {
  it('ends all that waits', () =>
    leavesNothing(async () => {
      const socket = await local();
      const receiving = failure(socket.recv(Buffer.alloc(1)));
      await nop();
      const loop = collect(socket, 1);
      const batches = socket.batches().next();
      const beside = failure(socket.recv(Buffer.alloc(1)));
      await nop();
      await Promise.all([socket.close(), socket.close()]);
      expect(await receiving).toMatchObject({ message: 'recvmsg ECANCELED', code: 'ECANCELED' });
      expect(await beside).toMatchObject({ message: 'recvmsg ECANCELED', code: 'ECANCELED' });
      expect(await loop).toEqual([]);
      expect(await batches).toEqual({ done: true, value: undefined });
    }));

  it('in the same turn as everything else leaves nothing behind', () =>
    leavesNothing(async () => {
      await using from = await peer();
      for (let round = 0; round < 30; round++) {
        const socket = await local({ receiveBuffers: 2 });
        for (let i = 0; i < 4; i++) await from.send(bytes(100, i), socket.address);
        const ended = Promise.allSettled<unknown>([
          socket.recv(Buffer.alloc(5)),
          collect(socket, 100),
          socket.send('x', from),
          socket.sendMany([{ data: 'xyz', to: from, segmentSize: 1 }]),
          socket.send('x', { address: 'localhost', port: from.port }),
          socket.datagrams({ lease: true }).next(),
          socket.connect(from),
        ]);
        for (let i = 0; i < round % 5; i++) await nop();
        await socket.close();
        for (const each of await ended) {
          if (each.status === 'rejected')
            expect(each.reason).toMatchObject({
              code: expect.stringMatching(/^(ECANCELED|EBADF|ERR_SOCKET_DGRAM_IS_CONNECTED)$/),
            });
          else if (typeof each.value === 'object' && each.value !== null && 'value' in each.value)
            (each.value.value as Disposable | undefined)?.[Symbol.dispose]();
        }
      }
    }));

  it('while names are looked up fails what waits for them', async () => {
    const socket = await local();
    const names = slowNames();
    const to = { address: 'some.name', port: 9 };
    const [sending, many, connecting] = [
      socket.send('x', to),
      socket.sendMany([{ data: 'x', to }]),
      socket.connect(to),
    ];
    const ended = Promise.allSettled([sending, many, connecting]);
    await socket.close();
    names.answer();
    await ended;
    expect(await failure(sending)).toMatchObject({ code: 'ECANCELED', syscall: 'send' });
    expect(await many).toEqual([
      { status: 'rejected', reason: expect.objectContaining({ code: 'ECANCELED' }) },
    ]);
    expect(await failure(connecting)).toMatchObject({ code: 'EBADF', syscall: 'connect' });
  });

  it('leaves datagrams that were sent to those they are for', async () => {
    const socket = await local();
    await using to = await peer();
    const sending = socket.send('last words', to);
    await sending;
    await socket.close();
    expect((await to.next()).data.toString()).toBe('last words');
  });
});

describe('memory that is taken away', () => {
  it('is not written to: a detached buffer is refused, and one detached while it waits costs no other', () =>
    leavesNothing(async () => {
      await using socket = await local();
      await using from = await peer();
      const gone = new Uint8Array(8);
      structuredClone(gone.buffer, { transfer: [gone.buffer] });
      expect(() => socket.recv(gone)).toThrow(TypeError);
      expect(() => socket.send(gone, from)).toThrow(TypeError);
      // Behind a loop a recv waits with nothing pinned.
      const loop = collect(socket, 1);
      await nop();
      const buffer = new Uint8Array(8);
      const waiting = failure(socket.recv(buffer));
      structuredClone(buffer.buffer, { transfer: [buffer.buffer] });
      await from.send('1', socket.address);
      expect(texts(await loop)).toEqual(['1']);
      await from.send('2', socket.address);
      const outcome = await waiting.catch(() => undefined);
      const rest = await Promise.race([
        collect(socket, 1),
        nop()
          .then(() => nop())
          .then(() => nop()),
      ]);
      if (outcome !== undefined && Array.isArray(rest)) expect(texts(rest)).toEqual(['2']);
    }));

  it('may be resizable: what has no room any more is cut', async () => {
    await using socket = await local();
    await using from = await peer();
    const make = (length: number, maxByteLength: number): ArrayBuffer & { resize?(length: number): void } =>
      new (ArrayBuffer as unknown as new (length: number, options: object) => ArrayBuffer)(length, {
        maxByteLength,
      });
    const memory = make(100, 200);
    if (memory.resize === undefined) return;
    const receiving = socket.recv(new Uint8Array(memory));
    await nop();
    memory.resize(4);
    await from.send('resized', socket.address);
    expect(await receiving).toMatchObject({ bytes: 4, truncated: true, size: 7 });
    expect(Buffer.from(memory).toString()).toBe('resi');
    // What is sent is what was there.
    const data = make(5, 10);
    new Uint8Array(data).set(Buffer.from('hello'));
    const sending = socket.send(new Uint8Array(data), from);
    data.resize?.(0);
    expect(await sending).toBe(5);
    expect((await from.next()).data.toString()).toBe('hello');
  });

  it('may be shared', async () => {
    await using socket = await local();
    await using from = await peer();
    const memory = new SharedArrayBuffer(16);
    await from.send('shared', socket.address);
    expect(await socket.recv(new Uint8Array(memory))).toMatchObject({ bytes: 6 });
    expect(Buffer.from(memory).toString('utf8', 0, 6)).toBe('shared');
  });
});

describe('ref and unref', () => {
  const program = (body: string) =>
    runProgram(`
      import { UdpSocket } from '@ouro/net';
      const socket = await UdpSocket.bind({ host: '127.0.0.1' });
      ${body}
    `);

  it('a socket that nobody waits for lets the process end', async () => {
    expect(await program('')).toMatchObject({ code: 0, stderr: '' });
  });

  it('unref lets it end although somebody waits', async () => {
    const waits = [
      'socket.unref(); socket.recv(Buffer.alloc(1)); socket[Symbol.asyncIterator]().next();',
      'socket[Symbol.asyncIterator]().next(); socket.recv(Buffer.alloc(1)); setTimeout(() => socket.unref(), 20);',
      'socket.unref().ref().unref().batches({ lease: true }).next();',
    ];
    for (const body of waits) expect(await program(body), body).toMatchObject({ code: 0, stderr: '' });
  });

  it('without it the process goes on', async () => {
    const { code, stdout } = await program(`
      const from = await UdpSocket.bind({ host: '127.0.0.1' });
      setTimeout(() => from.send('late', socket.address), 50).unref();
      process.on('exit', () => console.log('end'));
      // Timers that are not refed do not keep it alive: the wait does.
      const timer = setInterval(() => {}, 10).unref();
      for await (const { data } of socket) { console.log(String(data)); break; }
    `);
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'late\nend\n' });
  });
});

describe('a worker thread', () => {
  const ECHO = `
    const { parentPort } = require('node:worker_threads');
    (async () => {
      const { UdpSocket } = await import('@ouro/net');
      const socket = await UdpSocket.bind({ host: '127.0.0.1', receiveBuffers: 4, gro: true });
      parentPort.postMessage(socket.address.port);
      socket.recv(Buffer.alloc(0)).catch(() => {});
      for await (const { data, address } of socket) socket.send(data, address);
    })();
  `;

  it('that is terminated closes its sockets, whatever is in flight', () =>
    leavesNothing(async () => {
      for (let round = 0; round < 4; round++) {
        const worker = new Worker(ECHO, { eval: true });
        const [port] = (await once(worker, 'message')) as [number];
        await using from = await local({ receiveBufferSize: 1 << 20 });
        const to = { address: '127.0.0.1', port };
        await from.send('first', to);
        await from.send('second', to);
        expect((await collect(from, 1)).length).toBe(1);
        await from.sendMany(Array.from({ length: 100 }, (_, i) => ({ data: bytes(500, i), to })));
        await worker.terminate();
        // The port is free again.
        await using _ = await local({ port });
      }
    }));
});

describe('the end of the process', () => {
  it('with everything in flight is an end like any other', async () => {
    const { code, stderr } = await runProgram(`
      import { UdpSocket } from '@ouro/net';
      const socket = await UdpSocket.bind({ host: '127.0.0.1' });
      const other = await UdpSocket.bind({ host: '127.0.0.1' });
      other.recv(Buffer.alloc(100)).catch(() => {});
      const leases = socket.datagrams({ lease: true });
      for (let i = 0; i < 50; i++) other.send(Buffer.alloc(1000), socket.address);
      await leases.next();
      leases.next();
      other.sendMany(Array.from({ length: 300 }, () => ({ data: Buffer.alloc(60000), to: socket.address })));
      process.exit(7);
    `);
    expect({ code, stderr }).toEqual({ code: 7, stderr: '' });
  });

  it('by a failed receive that nobody catches says so', async () => {
    const { code, stderr } = await runProgram(`
      import { UdpSocket } from '@ouro/net';
      const gone = await UdpSocket.bind({ host: '127.0.0.1' });
      const { port } = gone.address;
      await gone.close();
      const socket = await UdpSocket.bind({ host: '127.0.0.1' });
      await socket.connect({ address: '127.0.0.1', port });
      setTimeout(() => socket.send('x'), 10);
      for await (const _ of socket);
    `);
    expect(code).toBe(1);
    expect(stderr).toContain('recvmsg ECONNREFUSED');
  });
});

it('sockets are closed when nobody needs them any more', async () => {
  const before = sockets();
  const all = await Promise.all(Array.from({ length: 50 }, () => local()));
  await Promise.all(all.map((socket) => socket.send('x', NOWHERE)));
  await Promise.all(all.map((socket) => socket.close()));
  await expect.poll(sockets, POLL).toBe(before);
});
