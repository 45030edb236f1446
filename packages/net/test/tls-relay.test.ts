import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import tls from 'node:tls';
import { copyBidirectional, TcpListener, TcpStream, type TlsServerOptions } from '@ouro/net';
import { afterAll, beforeAll, describe, it } from 'vitest';
import { sanitized } from '../../../testing/sanitized.ts';
import { bytes, dial, leavesNothing, Random } from './support.ts';
import { BOTH } from './tcp-support.ts';

const SEED = Number(process.env.OURO_SOAK_SEED ?? Date.now() % 2 ** 31);
const CLIENTS = sanitized ? 30 : 90;
const AT_ONCE = 10;
const MOST_BYTES = 400_000;
/** After so many milliseconds somebody who waits for nothing hangs up. */
const PATIENCE_MS = 2500;

const hasOpenssl = spawnSync('openssl', ['version']).status === 0;
if (!hasOpenssl)
  console.log('tls-relay.test.ts: openssl is not installed, so there are no keys to test with');

const directory = mkdtempSync(join(tmpdir(), 'ouro-tls-relay-'));
let server: TlsServerOptions;
const noise = bytes(MOST_BYTES, SEED);

beforeAll(() => {
  if (!hasOpenssl) return;
  const files = ['-keyout', join(directory, 'key.pem'), '-out', join(directory, 'cert.pem')];
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  spawnSync('openssl', ['req', '-x509', ...curve, ...files, '-subj', '/CN=localhost']);
  const [key, cert] = ['key.pem', 'cert.pem'].map((name) => readFileSync(join(directory, name)));
  server = { isServer: true, key, cert };
});
afterAll(() => rmSync(directory, { recursive: true }));

/** What goes wrong where somebody leaves: anything a connection or TLS says. A wrong byte is none of it. */
function tolerate(error: unknown): void {
  const { code = '', name } = error as { code?: string; name: string };
  if (
    !/^(ECONNRESET|EPIPE|ECANCELED|EBADF|ENOTCONN|EPROTO|ETIMEDOUT|ABORT_ERR|ERR_SSL_.*|ERR_STREAM_.*)$/.test(
      code,
    )
  ) {
    if (name !== 'Leaves') throw error;
  }
}

/** Calls `leave` now and then, when some milliseconds have passed. */
function sometimes(random: Random, probability: number, leave: () => unknown): void {
  if (!random.chance(probability)) return;
  const later = async (): Promise<unknown> => await leave();
  setTimeout(() => later().catch(() => {}), random.integer(0, 12)).unref(); // (it may be closed by then)
}

/** One end: writes a stretch of noise in pieces, checks what comes, and leaves as chance has it. Resolves when it is closed. */
async function talk(socket: Duplex, random: Random): Promise<void> {
  const closed = new Promise<void>((done) => void socket.once('close', done));
  const failures: unknown[] = [];
  socket.on('error', (error) => failures.push(error));
  const enough = random.chance(0.3) ? random.integer(0, 100_000) : Number.POSITIVE_INFINITY;
  const slow = random.chance(0.5);
  let at = 0;
  socket.on('data', (chunk: Buffer) => {
    // (Whoever speaks no TLS may hear it spoken.)
    if (socket instanceof tls.TLSSocket && !noise.subarray(at, at + chunk.length).equals(chunk))
      failures.push(new Error(`wrong bytes at ${at}`));
    at += chunk.length;
    if (at >= enough) socket.destroy(random.chance(0.3) ? named('Leaves') : undefined);
    else if (slow && random.chance(0.2)) {
      socket.pause();
      setTimeout(() => socket.resume(), random.integer(0, 3));
    }
  });
  sometimes(random, 0.1, () => socket.destroy());
  const hangUp = setTimeout(() => socket.destroy(), PATIENCE_MS);
  const out = noise.subarray(0, random.integer(0, MOST_BYTES));
  for (let sent = 0; sent < out.length && !socket.destroyed; ) {
    const part = out.subarray(sent, sent + random.integer(1, random.chance(0.3) ? 300_000 : 20_000));
    sent += part.length;
    if (!socket.write(part)) await Promise.race([once(socket, 'drain').catch(() => {}), closed]);
  }
  socket.end();
  await closed;
  clearTimeout(hangUp);
  for (const each of failures) tolerate(each);
}

function named(name: string): Error {
  return Object.assign(new Error(name), { name });
}

/** Takes connections until the listener is closed, and waits for what becomes of them. */
async function serveAll(listener: TcpListener, handle: (stream: TcpStream) => Promise<void>): Promise<void> {
  const failures: unknown[] = [];
  const all: Promise<void>[] = [];
  for await (const stream of listener) {
    const handled = handle(stream).catch((error: unknown) => void failures.push(error));
    all.push(handled.finally(() => stream.close()));
  }
  await Promise.all(all);
  for (const each of failures) tolerate(each);
}

describe.skipIf(!hasOpenssl).each(BOTH)('TLS and Duplexes behind a relay, on %s,', (_what, how) => {
  it(`leave nothing and mix up nothing, however they end (OURO_SOAK_SEED=${SEED})`, async () => {
    const random = new Random(SEED);
    const own = (): Random => new Random(random.integer(0, 2 ** 31));
    await leavesNothing(async () => {
      const [backend, relay] = await Promise.all(
        [0, 1].map(() => TcpListener.bind({ host: '127.0.0.1', ...how })),
      );
      const serving = serveAll(backend, async (stream) => {
        const mine = own();
        if (mine.chance(0.05)) return await stream.reset();
        if (mine.chance(0.3)) return await talk(stream.toDuplex({ allowHalfOpen: mine.chance(0.5) }), mine);
        const upgrading = stream.toTls(server);
        sometimes(mine, 0.1, () => upgrading.cancel());
        sometimes(mine, 0.05, () => stream.close());
        await talk(await upgrading, mine);
      });
      const relaying = serveAll(relay, async (stream) => {
        const mine = own();
        await using other = await dial(backend);
        const copying = copyBidirectional(
          stream,
          other,
          mine.chance(0.3) ? { idleTimeout: PATIENCE_MS } : {},
        );
        sometimes(mine, 0.1, () => copying.cancel());
        sometimes(mine, 0.1, () => (mine.chance(0.5) ? stream : other).reset());
        sometimes(mine, 0.1, () => (mine.chance(0.5) ? stream : other).close());
        await copying;
      });
      const { port } = relay.address;
      const client = async (mine: Random): Promise<void> => {
        const kind = mine.next();
        if (kind < 0.2) return await talk(net.connect({ host: '127.0.0.1', port }), mine);
        if (kind < 0.5)
          return await talk(tls.connect({ host: '127.0.0.1', port, rejectUnauthorized: false }), mine);
        await using stream = await TcpStream.connect({ host: '127.0.0.1', port });
        const upgrading = stream.toTls({ rejectUnauthorized: false, timeout: PATIENCE_MS });
        sometimes(mine, 0.1, () => upgrading.cancel());
        sometimes(mine, 0.1, () => stream.close());
        await talk(await upgrading, mine);
      };
      let begun = 0;
      const worker = async (): Promise<void> => {
        while (begun++ < CLIENTS) await client(own()).catch(tolerate);
      };
      await Promise.all(Array.from({ length: AT_ONCE }, worker));
      await Promise.all([relay.close(), backend.close()]);
      await Promise.all([relaying, serving]);
    });
  }, 120_000);
});
