import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import tls from 'node:tls';
import { TcpListener, TcpStream, type TlsServerOptions } from '@ouro/net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bytes, dial, failure, leavesNothing, listen, nodeServer, POLL } from './support.ts';
import { BOTH, dialTo } from './tcp-support.ts';

/** Keys come from openssl, which is also the peer of some tests. */
const hasOpenssl = spawnSync('openssl', ['version']).status === 0;
const describeTls = describe.skipIf(!hasOpenssl);
if (!hasOpenssl) console.log('tls.test.ts: openssl is not installed, so there are no keys to test with');

let directory: string;
let key: Buffer;
let cert: Buffer;
let server: TlsServerOptions;

beforeAll(() => {
  if (!hasOpenssl) return;
  directory = mkdtempSync(join(tmpdir(), 'ouro-tls-'));
  const files = ['-keyout', join(directory, 'key.pem'), '-out', join(directory, 'cert.pem')];
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  const names = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'];
  spawnSync('openssl', ['req', '-x509', ...curve, ...files, ...names]);
  key = readFileSync(join(directory, 'key.pem'));
  cert = readFileSync(join(directory, 'cert.pem'));
  server = { isServer: true, key, cert };
});
afterAll(() => {
  if (hasOpenssl) rmSync(directory, { recursive: true });
});

/** All that a TLS socket brings. */
async function text(socket: tls.TLSSocket): Promise<Buffer> {
  return Buffer.concat((await socket.toArray()) as Buffer[]);
}

describeTls.each(BOTH)('TLS over streams on %s', (_what, how) => {
  it('carries bytes between two of ours, and closes them at the end', async () => {
    await leavesNothing(async () => {
      const listener = await TcpListener.bind({ host: '127.0.0.1', ...how });
      const [accepted, client] = await Promise.all([listener.accept(), dial(listener)]);
      await listener.close();
      const [answering, asking] = await Promise.all([accepted.toTls(server), client.toTls({ ca: cert })]);
      expect(asking.authorized).toBe(true);
      expect(asking.encrypted).toBe(true);
      const data = bytes(2_000_000, 9);
      answering.pipe(answering);
      asking.end(data);
      expect((await text(asking)).equals(data)).toBe(true);
      await expect.poll(() => [client.fd, accepted.fd], POLL).toEqual([-1, -1]);
    });
  });
});

describeTls('the client side of TLS', () => {
  it('talks to a server of node:tls, and checks the name that it connected to', async () => {
    const peer = tls.createServer({ key, cert }, (socket) => socket.end('hello'));
    await once(peer.listen(0, '127.0.0.1'), 'listening');
    const address = peer.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const named = await TcpStream.connect({ host: 'localhost', port });
    expect((await text(await named.toTls({ ca: cert }))).toString()).toBe('hello');
    const numeric = await TcpStream.connect({ host: '127.0.0.1', port });
    expect((await text(await numeric.toTls({ ca: cert }))).toString()).toBe('hello');
    const wrong = await TcpStream.connect({ host: '127.0.0.1', port });
    expect(await failure(wrong.toTls({ ca: cert, servername: 'example.org' }))).toMatchObject({
      code: 'ERR_TLS_CERT_ALTNAME_INVALID',
    });
    expect(wrong.fd).toBe(-1);
    peer.close();
    await once(peer, 'close');
  });

  it('fails where the certificate is nobody’s that is trusted, and closes the stream', async () => {
    await leavesNothing(async () => {
      await using listener = await listen();
      const [accepted, client] = await Promise.all([listener.accept(), dial(listener)]);
      const answering = Promise.allSettled([accepted.toTls(server)]);
      expect(await failure(client.toTls())).toMatchObject({ code: 'DEPTH_ZERO_SELF_SIGNED_CERT' });
      expect(client.fd).toBe(-1);
      // The server may be through with the handshake before the client has looked at the certificate.
      const [answer] = await answering;
      if (answer.status === 'fulfilled') answer.value.destroy();
      await expect.poll(() => accepted.fd, POLL).toBe(-1);
    });
  });

  it('fails where the peer speaks something else', async () => {
    await using peer = await nodeServer((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'));
    const client = await TcpStream.connect({ host: '127.0.0.1', port: peer.port });
    expect((await failure(client.toTls())).code).toMatch(/^ERR_SSL_|EPROTO/);
    expect(client.fd).toBe(-1);
  });

  it('fails where the peer closes in the middle of the handshake', async () => {
    await using peer = await nodeServer((socket) => socket.once('data', () => socket.end()));
    const client = await TcpStream.connect({ host: '127.0.0.1', port: peer.port });
    expect(await failure(client.toTls())).toMatchObject({ code: 'ECONNRESET' });
    expect(client.fd).toBe(-1);
  });

  it('is given up by cancel, signal and timeout, and the stream is closed', async () => {
    await leavesNothing(async () => {
      await using listener = await listen();
      for (const way of ['cancel', 'signal', 'timeout']) {
        const [accepted, client] = await Promise.all([listener.accept(), dial(listener)]);
        const controller = new AbortController();
        const upgrade = client.toTls({
          signal: controller.signal,
          ...(way === 'timeout' ? { timeout: 30 } : {}),
        });
        if (way === 'cancel') upgrade.cancel('enough');
        if (way === 'signal') controller.abort('enough');
        const error = await failure(upgrade);
        expect(error).toMatchObject(way === 'timeout' ? { code: 'ETIMEDOUT' } : { code: 'ABORT_ERR' });
        expect(client.fd).toBe(-1);
        await accepted.close();
      }
    });
  });

  it('stays when the upgrade is cancelled after it is done', async () => {
    await using listener = await listen();
    const [accepted, client] = await Promise.all([listener.accept(), dial(listener)]);
    const upgrades = [client.toTls({ ca: cert, servername: 'localhost' }), accepted.toTls(server)];
    const [asking, answering] = await Promise.all(upgrades);
    for (const upgrade of upgrades) upgrade.cancel('too late');
    answering.end('still here');
    expect((await text(asking)).toString()).toBe('still here');
  });

  it('goes on in the middle of a connection, when both sides have agreed to (STARTTLS)', async () => {
    await using listener = await listen();
    const [accepted, client] = await Promise.all([listener.accept(), dial(listener)]);
    const answering = (async () => {
      const line = Buffer.alloc(10);
      const length = await accepted.read(line);
      expect(line.toString('utf8', 0, length)).toBe('STARTTLS\r\n');
      await accepted.writeAll('220\r\n');
      return accepted.toTls(server);
    })();
    await client.writeAll('STARTTLS\r\n');
    for await (const chunk of client) {
      expect(chunk.toString()).toBe('220\r\n');
      break;
    }
    const [asking, other] = await Promise.all([
      client.toTls({ ca: cert, servername: 'localhost' }),
      answering,
    ]);
    other.end('secret');
    expect((await text(asking)).toString()).toBe('secret');
    asking.destroy();
  });
});

describeTls('the server side of TLS', () => {
  it('asks for certificates, and refuses who has none that is trusted', async () => {
    const mutual: TlsServerOptions = { ...server, requestCert: true, ca: cert };
    await using listener = await listen();
    const meet = async (
      own: tls.ConnectionOptions,
    ): Promise<[PromiseSettledResult<tls.TLSSocket>, tls.TLSSocket]> => {
      const [accepted, socket] = await Promise.all([
        listener.accept(),
        dialTo('127.0.0.1', listener.address.port),
      ]);
      const client = tls.connect({ socket, ca: cert, servername: 'localhost', ...own });
      client.on('error', () => {});
      const [outcome] = await Promise.allSettled([accepted.toTls(mutual)]);
      if (outcome.status === 'rejected') expect(accepted.fd).toBe(-1);
      return [outcome, client];
    };
    const [known, one] = await meet({ key, cert });
    expect(known).toMatchObject({ status: 'fulfilled', value: { authorized: true } });
    const [unknown, other] = await meet({});
    expect(unknown.status).toBe('rejected');
    if (known.status === 'fulfilled') known.value.destroy();
    one.destroy();
    other.destroy();
  });

  it('agrees on a protocol, and knows the name that was asked for', async () => {
    await using listener = await listen();
    const alpn: TlsServerOptions = { ...server, ALPNProtocols: ['ouro/1'] };
    const [accepted, client] = await Promise.all([listener.accept(), dial(listener)]);
    const [answering, asking] = await Promise.all([
      accepted.toTls(alpn),
      client.toTls({ ca: cert, servername: 'localhost', ALPNProtocols: ['other', 'ouro/1'] }),
    ]);
    expect([asking.alpnProtocol, answering.alpnProtocol]).toEqual(['ouro/1', 'ouro/1']);
    expect((answering as tls.TLSSocket & { servername: string }).servername).toBe('localhost');
    asking.destroy();
    answering.destroy();
  });

  it('resumes sessions of connections with the same options', async () => {
    await using listener = await listen();
    let session: Buffer | undefined;
    const reused: boolean[] = [];
    for (let round = 0; round < 2; round++) {
      const [accepted, client] = await Promise.all([listener.accept(), dial(listener)]);
      const options = { ca: cert, servername: 'localhost', ...(session === undefined ? {} : { session }) };
      const asking = client.toTls(options);
      const answering = await accepted.toTls(server);
      const socket = await asking;
      socket.once('session', (ticket) => {
        session = ticket;
      });
      reused.push(socket.isSessionReused());
      answering.end('x');
      await text(socket);
    }
    expect(reused).toEqual([false, true]);
  });

  it('fails where the client speaks something else, or leaves', async () => {
    await using listener = await listen();
    for (const say of ['GET / HTTP/1.1\r\n\r\n', '']) {
      const [accepted, socket] = await Promise.all([
        listener.accept(),
        dialTo('127.0.0.1', listener.address.port),
      ]);
      socket.end(say);
      expect((await failure(accepted.toTls(server))).code).toMatch(/^ERR_SSL_|ECONNRESET/);
      expect(accepted.fd).toBe(-1);
      socket.destroy();
    }
  });
});

describeTls('openssl', () => {
  const running: ChildProcess[] = [];
  afterAll(() => {
    for (const child of running) child.kill('SIGKILL');
  });

  it('s_client is answered', async () => {
    await using listener = await listen();
    const child = spawn(
      'openssl',
      [
        's_client',
        '-quiet',
        '-verify_return_error',
        '-CAfile',
        join(directory, 'cert.pem'),
        '-connect',
        `127.0.0.1:${listener.address.port}`,
      ],
      {
        stdio: ['pipe', 'pipe', 'ignore'],
      },
    );
    running.push(child);
    const answering = await (await listener.accept()).toTls(server);
    child.stdin.write('hello from openssl\n');
    const [line] = (await once(answering, 'data')) as [Buffer];
    expect(line.toString()).toBe('hello from openssl\n');
    const answer = once(child.stdout, 'data');
    answering.write('hello openssl\n');
    expect(String((await answer)[0])).toBe('hello openssl\n');
    const exited = once(child, 'exit');
    answering.end();
    child.stdin.end();
    await exited;
  });

  it('s_server answers', async () => {
    const port = await portOfNobody();
    const child = spawn(
      'openssl',
      [
        's_server',
        '-quiet',
        '-rev',
        '-key',
        join(directory, 'key.pem'),
        '-cert',
        join(directory, 'cert.pem'),
        '-accept',
        `127.0.0.1:${port}`,
      ],
      {
        stdio: ['pipe', 'ignore', 'ignore'],
      },
    );
    running.push(child);
    let client: TcpStream | undefined;
    const connect = async (): Promise<boolean> => {
      client = await TcpStream.connect({ host: '127.0.0.1', port }).catch(() => undefined);
      return client !== undefined;
    };
    await expect.poll(connect, POLL).toBe(true);
    const socket = await client?.toTls({ ca: cert });
    socket?.write('drawer\n');
    const [line] = (await once(socket as tls.TLSSocket, 'data')) as [Buffer];
    expect(line.toString()).toBe('reward\n');
    socket?.destroy();
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  });
});

/** A port that was free a moment ago. */
async function portOfNobody(): Promise<number> {
  await using listener = await listen();
  return listener.address.port;
}

describe('bad arguments of toTls', () => {
  it('are thrown, and leave the stream as it was', async () => {
    await using listener = await listen();
    const [accepted, client] = await Promise.all([listener.accept(), dial(listener)]);
    expect(() => client.toTls(null as never)).toThrow(TypeError);
    await expect(accepted.toTls({ isServer: true, key: 'no key' })).rejects.toThrow();
    await client.writeAll('still in the clear');
    const buffer = Buffer.alloc(5);
    expect(await accepted.read(buffer)).toBe(5);
    await Promise.all([client.close(), accepted.close()]);
    expect(await failure(client.toTls())).toMatchObject({ code: 'EBADF' });
  });
});
