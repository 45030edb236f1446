import { join } from 'node:path';
import { copyBidirectional, TcpStream, UdpSocket, UnixDatagram, UnixListener, UnixStream } from '@ouro/net';
import { describe, expect, it } from 'vitest';
import { failure, fill, listen, pair } from './support.ts';
import { fullListener } from './tcp-support.ts';
import { socketDirectory } from './unix-support.ts';

const dir = socketDirectory();
const TAKES = { code: 'ETIMEDOUT', timeout: 5, idle: false };
const took = (syscall: string, whom = ''): object => ({
  ...TAKES,
  syscall,
  message: `${syscall} ETIMEDOUT${whom}: the operation timed out after 5 ms`,
});

describe('a timeout that has run out says', () => {
  it.each([
    ['read', (stream: TcpStream) => stream.read(Buffer.alloc(1), { timeout: 5 })],
    ['readExact', (stream: TcpStream) => stream.readExact(Buffer.alloc(1), { timeout: 5 })],
    ['readUntil', (stream: TcpStream) => stream.readUntil('\n', { timeout: 5 })],
    ['a loop', (stream: TcpStream) => stream.chunks({ timeout: 5 }).next()],
    ['lines', (stream: TcpStream) => stream.splitLines({ timeout: 5 }).next()],
    ['pipe', (stream: TcpStream) => stream.pipe({ writeAll: async () => {} }, { timeout: 5 })],
  ] as const)('what it was that took so long: %s', async (_, wait) => {
    await using ends = await pair();
    expect(await failure(wait(ends.server))).toMatchObject(took('read'));
  });

  it('that it was sending, also where a send has waited for its turn', async () => {
    await using ends = await pair();
    await fill(ends.server);
    expect(await failure(ends.server.writeAll('x', { timeout: 5 }))).toMatchObject(took('write'));
    const stuck = failure(ends.server.writeAll('x'));
    expect(await failure(ends.server.writeAll('y', { timeout: 5 }))).toMatchObject(took('write'));
    await ends.server.close();
    expect(await stuck).toMatchObject({ code: 'ECANCELED' });
  });

  it('that it was accepting, and that nobody has sent', async () => {
    await using listener = await listen();
    expect(await failure(listener.accept({ timeout: 5 }))).toMatchObject(took('accept'));
    await using socket = await UdpSocket.bind({ host: '127.0.0.1' });
    expect(await failure(socket.recv(Buffer.alloc(1), { timeout: 5 }))).toMatchObject(took('recvmsg'));
    expect(await failure(socket.datagrams({ timeout: 5 }).next())).toMatchObject(took('recvmsg'));
    await using unix = UnixDatagram.unbound();
    expect(await failure(unix.recv(Buffer.alloc(1), { timeout: 5 }))).toMatchObject(took('recvmsg'));
  });

  it('whom it was to be connected to: the address, or the name that is still being looked up', async () => {
    await using full = await fullListener();
    const { port } = full;
    const place = { address: '127.0.0.1', port };
    expect(await failure(TcpStream.connect({ host: '127.0.0.1', port, timeout: 5 }))).toMatchObject({
      ...took('connect', ` 127.0.0.1:${port}`),
      ...place,
    });
    const lookup = (): void => {}; // never answers
    expect(await failure(TcpStream.connect({ host: 'name.test', port, lookup, timeout: 5 }))).toMatchObject({
      ...took('connect', ` name.test:${port}`),
      address: 'name.test',
      port,
    });
  });

  it('where it was to be connected to: the path', async () => {
    const path = join(dir, 'full');
    await using listener = await UnixListener.bind({ path, backlog: 0 });
    await using first = await UnixStream.connect({ path });
    expect(await failure(UnixStream.connect({ path, timeout: 5 }))).toMatchObject({
      ...took('connect', ` ${path}`),
      address: path,
    });
    expect([first.closed, listener.connections]).toEqual([false, 0]);
  });
});

describe('an idle timeout that has run out', () => {
  const idle = (syscall: string): object => ({
    code: 'ETIMEDOUT',
    syscall,
    timeout: 40,
    idle: true,
    message: `${syscall} ETIMEDOUT: no byte has moved for 40 ms`,
  });

  it.each([
    ['read', (stream: TcpStream) => stream.read(Buffer.alloc(1), { timeout: 60_000 })],
    ['a loop', (stream: TcpStream) => stream.chunks().next()],
  ] as const)('is told from a timeout of the operation: %s', async (_, wait) => {
    await using ends = await pair();
    ends.server.idleTimeout = 40;
    expect(await failure(wait(ends.server))).toMatchObject(idle('read'));
  });

  it('is told so by sends and by copyBidirectional', async () => {
    await using ends = await pair();
    await using others = await pair();
    expect(await failure(copyBidirectional(ends.server, others.client, { idleTimeout: 40 }))).toMatchObject(
      idle('splice'),
    );
    await fill(ends.server);
    ends.server.idleTimeout = 40;
    expect(await failure(ends.server.writeAll('x'))).toMatchObject(idle('write'));
  });
});
