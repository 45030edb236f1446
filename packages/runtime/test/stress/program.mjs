/**
 * Ops of many kinds, cancelled, timed out and closed at random: every future must settle, and nothing be left behind.
 *
 *   node program.mjs SEED OPS ENTRIES
 */
import { closeSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { File, readFile } from '@ouro/fs';
import { TcpListener, TcpStream } from '@ouro/net';
import {
  BufferPool,
  batch,
  chain,
  files,
  interval,
  link,
  metrics,
  run,
  Scope,
  select,
  sleep,
  submit,
  timeout,
} from '@ouro/runtime';
import { nop } from '@ouro/runtime/driver';
import { close, nop as nopOp } from '@ouro/runtime/ops';

const [seed, total, entries] = process.argv.slice(2).map(Number);

/** mulberry32 */
let state = seed >>> 0;
function random() {
  state = (state + 0x6d2b79f5) >>> 0;
  let t = state;
  t = Math.imul(t ^ (t >>> 15), t | 1);
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
  return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
}
const below = (n) => Math.floor(random() * n);
const chance = (p) => random() < p;

const descriptors = () => readdirSync('/proc/self/fd').length;
const ringMappings = () => readFileSync('/proc/self/maps', 'utf8').split('io_uring').length - 1;

const dir = mkdtempSync(join(tmpdir(), 'ouro-stress-'));
const path = join(dir, 'file');
writeFileSync(path, Buffer.alloc(1 << 20, 'stress'));

const outcomes = new Map();
let started = 0;
let settled = 0;

/** Counts a future in and out; `ops` is how many SQEs of work it stands for. */
function watch(future, ops = 1) {
  started += ops;
  const end = (outcome) => {
    settled += ops;
    outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
  };
  return future.then(
    () => end('ok'),
    (error) => {
      const code = error?.code ?? error?.name ?? String(error);
      if (!EXPECTED.has(code)) console.error('unexpected', error);
      end(code);
    },
  );
}
const EXPECTED = new Set([
  'ABORT_ERR',
  'ETIMEDOUT',
  'ECANCELED',
  'EBADF',
  'EIO',
  'ENOENT',
  'EPIPE',
  'ECONNRESET',
  'ERR_OURO_SHORT',
  'ERR_INVALID_STATE',
  'ENOBUFS',
  'ENOTCONN',
]);

/** Leaves a future alone, or cancels it: at once, in a microtask, or a turn later. */
function disturb(future) {
  const dice = random();
  if (dice < 0.08) future.cancel('at once');
  else if (dice < 0.14) queueMicrotask(() => future.cancel('in a microtask'));
  else if (dice < 0.2) setImmediate(() => future.cancel('a turn later'));
  return future;
}

/** Options of an op: none, a short timeout, a signal or a scope that may end. */
function options(shared) {
  const dice = random();
  if (dice < 0.6) return undefined;
  if (dice < 0.75) return { timeout: random() * 2 };
  if (dice < 0.9) return { scope: shared.scope };
  return { signal: shared.controller.signal };
}

async function lane(shared, pool) {
  const buffer = Buffer.allocUnsafeSlow(4096);
  let file = await File.open(path, 'r+');
  while (started < total) {
    switch (below(14)) {
      case 0:
      case 1:
      case 2:
        await watch(disturb(nop(chance(0.2) ? -5 : below(1000))));
        break;
      case 3:
        await watch(disturb(submit(nopOp(), options(shared))));
        break;
      case 4:
        await watch(disturb(sleep(random(), options(shared))));
        break;
      case 5:
      case 6:
        await watch(disturb(file.read(buffer, below(255) * 4096, options(shared))));
        break;
      case 7: {
        const lease = chance(0.5) && pool.available > 0 ? pool.lease() : null;
        await watch(disturb(file.write(lease?.buffer ?? buffer, below(255) * 4096, options(shared))));
        lease?.release();
        break;
      }
      case 8: {
        const ops = Array.from({ length: 1 + below(40) }, () => nopOp(chance(0.02) ? -5 : 1));
        await watch(disturb(batch(ops, { settle: chance(0.5), ...options(shared) })), ops.length);
        break;
      }
      case 9: {
        const links = Array.from({ length: 1 + below(7) }, () =>
          link(nopOp(chance(0.05) ? -5 : 1), { hard: chance(0.3) }),
        );
        await watch(disturb(chain(links, options(shared))), links.length);
        break;
      }
      case 10: {
        // In flight while it is closed.
        const reads = Array.from({ length: 4 }, () =>
          watch(disturb(file.read(Buffer.allocUnsafeSlow(512), below(1000)))),
        );
        const closing = watch(file.close());
        await Promise.all([...reads, closing]);
        file = await File.open(path, 'r+');
        break;
      }
      case 11:
        await watch(disturb(select({ a: sleep(random() * 3), b: nop(), c: sleep(random()) })), 3);
        break;
      case 12: {
        if (chance(0.5))
          await watch(disturb(readFile(chance(0.9) ? path : join(dir, 'none'), options(shared))));
        else await watch(disturb(timeout(sleep(5), random())));
        break;
      }
      default: {
        const fd = openSync(path);
        const direct = await files()
          .register(fd)
          .catch(() => null);
        closeSync(fd);
        if (direct === null) break;
        if (chance(0.5))
          await watch(chain([link(nopOp(chance(0.3) ? -5 : 0), { hard: true }), close(direct)]), 2);
        await watch(direct.close());
      }
    }
  }
  await file.close();
}

async function sockets(shared) {
  const listener = await TcpListener.bind({ host: '127.0.0.1' });
  const buffer = Buffer.allocUnsafeSlow(1024);
  while (started < total) {
    const accepting = listener.accept({ timeout: 1000 });
    const client = await TcpStream.connect({ host: '127.0.0.1', port: listener.address.port });
    const server = await accepting;
    for (let i = 0; i < 50 && started < total; i++) {
      const all = [
        watch(disturb(server.read(buffer, options(shared)))),
        watch(disturb(client.writeAll('some bytes', options(shared)))),
      ];
      if (chance(0.3)) client.cancel('all of it');
      if (chance(0.1)) all.push(watch(server.close()));
      if (chance(0.2)) await watch(disturb(listener.accept({ timeout: random() })));
      if (!server.descriptor.closed && chance(0.9)) await watch(client.writeAll('more'));
      await Promise.all([all[1], Promise.race([all[0], sleep(1).then(() => client.close())]), all[2]]);
      if (client.descriptor.closed || server.descriptor.closed) break;
    }
    await Promise.all([client.close(), server.close()]);
  }
  await listener.close();
}

async function main() {
  const before = { descriptors: 0, rings: 0 };
  await nop();
  files();
  before.descriptors = descriptors();
  before.rings = ringMappings();
  const pool = new BufferPool({ count: 16, size: 4096 });
  const shared = { scope: new Scope(), controller: new AbortController() };
  const renewing = (async () => {
    for await (const _ of interval(3)) {
      if (started >= total) break;
      shared.scope.cancel('renewed');
      shared.scope = new Scope();
      shared.controller.abort('renewed');
      shared.controller = new AbortController();
    }
  })();
  await Promise.all([
    ...Array.from({ length: 24 }, () => lane(shared, pool)),
    sockets(shared),
    sockets(shared),
    renewing,
  ]);
  await sleep(20); // what was cancelled without waiting
  await nop();
  const leased = pool.count - pool.available;
  pool.close();
  await nop();
  const { pending, inFlight, queued, stale } = metrics();
  console.log(
    JSON.stringify({
      started,
      settled,
      pending,
      inFlight,
      queued,
      stale,
      leased,
      direct: files().used,
      descriptors: descriptors() - before.descriptors,
      rings: ringMappings() - before.rings,
      outcomes: Object.fromEntries(outcomes),
    }),
  );
  rmSync(dir, { recursive: true });
}

run(main, { entries });
