import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { Dir, File } from '@ouro/fs';
import { TcpListener, UdpSocket, UnixDatagram, UnixListener, UnixSeqpacket, UnixStream } from '@ouro/net';
import { describe, expect, it } from 'vitest';
import { pair } from './support.ts';
import { socketDirectory } from './unix-support.ts';

const dir = socketDirectory();
const show = (handle: unknown): string => inspect(handle, { breakLength: Number.POSITIVE_INFINITY });

describe('console.log shows', () => {
  it('of a stream its ends and counts, and whether it is open', async () => {
    await using ends = await pair();
    const { server, client } = ends;
    await client.writeAll('hello');
    await server.read(Buffer.alloc(9));
    server.idleTimeout = 5000;
    const [local, remote] = [server, client].map(({ localAddress }) => `'127.0.0.1:${localAddress?.port}'`);
    const rest = `local: ${local}, remote: ${remote}, bytesRead: 5, bytesWritten: 0, bytesQueued: 0, buffered: 0`;
    expect(show(server)).toBe(`TcpStream { state: 'open', fd: ${server.fd}, ${rest}, idleTimeout: 5000 }`);
    expect(show({ a: { b: { server } } })).toBe('{ a: { b: { server: [TcpStream] } } }');
    await server.close();
    expect(show(server)).toBe(`TcpStream { state: 'closed', ${rest}, idleTimeout: 5000 }`);
  });

  it('of a listener where it listens and how many connections it has', async () => {
    await using tcp = await TcpListener.bind({ host: '::1' });
    expect(show(tcp)).toBe(
      `TcpListener { state: 'open', fd: ${tcp.fd}, address: '[::1]:${tcp.address.port}', connections: 0 }`,
    );
    const path = join(dir, 'listener');
    await using unix = await UnixListener.bind({ path });
    await using _ = await UnixStream.connect({ path });
    await using accepted = await unix.accept();
    expect(show(unix)).toBe(
      `UnixListener { state: 'open', fd: ${unix.fd}, address: '${path}', connections: 1 }`,
    );
    expect(show(accepted)).toContain(`local: '${path}', bytesRead: 0`);
  });

  it('of sockets for messages their addresses', async () => {
    await using udp = await UdpSocket.bind({ host: '127.0.0.1' });
    await udp.connect({ address: '127.0.0.1', port: 9 });
    const address = `127.0.0.1:${udp.address.port}`;
    expect(show(udp)).toBe(
      `UdpSocket { state: 'open', fd: ${udp.fd}, address: '${address}', remote: '127.0.0.1:9', buffered: 0 }`,
    );
    const path = join(dir, 'datagrams');
    await using unix = await UnixDatagram.bind({ path });
    expect(show(unix)).toBe(
      `UnixDatagram { state: 'open', fd: ${unix.fd}, local: '${path}', bytesQueued: 0 }`,
    );
    for (const each of UnixSeqpacket.pair()) {
      expect(show(each)).toBe(`UnixSeqpacket { state: 'open', fd: ${each.fd}, bytesQueued: 0 }`);
      await each.close();
    }
  });

  it('of files and directories their paths', async () => {
    const path = join(dir, 'file');
    writeFileSync(path, '');
    const file = await File.open(path);
    expect(show(file)).toBe(`File { state: 'open', fd: ${file.fd}, path: '${path}' }`);
    await file.close();
    expect(show(file)).toBe(`File { state: 'closed', path: '${path}' }`);
    await using directory = await Dir.open(dir);
    expect(show(directory)).toBe(`Dir { state: 'open', fd: ${directory.fd}, path: '${dir}' }`);
  });
});
