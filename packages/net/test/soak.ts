import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { type ChunkLease, TcpListener, TcpStream } from '@ouro/net';
import { metrics, sleep } from '@ouro/runtime';
import { expect } from 'vitest';
import { bytes, leavesNothing, pair, Random } from './support.ts';

const AT_ONCE = 150;
const MOST_BYTES = 300_000;
/** What a few connections carry: it does not fit any queue. */
const MUCH = 5 << 20;
/** Where buffers end: of the thread's, of chunks, of slabs, of what is held unread. */
const BOUNDARIES = [4096, 16_384, 65_536, 131_072, 262_144] as const;

/** What all streams carry, each its own stretch of it; and where it is a file. */
interface Noise {
  readonly bytes: Buffer;
  readonly fd: number;
}

/** One direction of a connection: which bytes, and how many. */
class Content {
  readonly #noise: Noise;
  readonly #start: number;
  readonly length: number;

  constructor(noise: Noise, random: Random) {
    this.#noise = noise;
    this.length = lengthOf(random);
    this.#start = random.integer(0, noise.bytes.length - this.length);
  }

  slice(from: number, to: number): Buffer {
    return this.#noise.bytes.subarray(this.#start + from, this.#start + Math.min(to, this.length));
  }

  /** Where the same bytes are in a file. */
  file(from: number): { readonly fd: number; readonly offset: number } {
    return { fd: this.#noise.fd, offset: this.#start + from };
  }

  /** Throws unless `part` is what comes at `position`. */
  check(part: Uint8Array, position: number): void {
    const right = this.slice(position, position + part.length);
    if (!right.equals(part)) throw new Error(`${part.length} wrong bytes at ${position} of ${this.length}`);
  }
}

function lengthOf(random: Random): number {
  if (random.chance(0.1)) return random.integer(0, 10);
  if (random.chance(0.1)) return BOUNDARIES[random.integer(0, BOUNDARIES.length - 1)] + random.integer(-2, 2);
  return random.integer(0, random.chance(0.01) ? MUCH : MOST_BYTES);
}

/** How a connection comes to its end. */
type Ending = 'both finish' | 'client leaves' | 'server leaves';

interface Plan {
  readonly id: number;
  readonly peer: 'ours' | 'node';
  readonly there: Content;
  readonly back: Content;
  readonly ending: Ending;
  /** Bytes after which whoever leaves has had enough. */
  readonly enough: number;
}

function plan(id: number, noise: Noise, random: Random): Plan {
  const ending = random.chance(0.6) ? 'both finish' : random.chance(0.5) ? 'client leaves' : 'server leaves';
  const [there, back] = [new Content(noise, random), new Content(noise, random)];
  const enough = random.integer(0, ending === 'client leaves' ? back.length : there.length);
  return { id, peer: random.chance(0.7) ? 'ours' : 'node', there, back, ending, enough };
}

async function pause(random: Random): Promise<void> {
  if (random.chance(0.5)) await new Promise(setImmediate);
  else await sleep(random.integer(0, 3));
}

/** Cancels after a while that is random: before the op is submitted, while it waits, when it is over. */
function cancelSometime(future: { cancel(reason?: unknown): void }, random: Random): void {
  const turns = random.integer(0, 3);
  if (turns === 0) future.cancel();
  else if (turns === 1) queueMicrotask(() => future.cancel());
  else if (turns === 2) setImmediate(() => future.cancel());
  else sleep(1).then(() => future.cancel());
}

/** What was sent although the op was cancelled; throws what is no cancellation. */
function sentBefore(error: unknown): number {
  const { name, bytesTransferred = 0 } = error as { name: string; bytesTransferred?: number };
  if (name !== 'AbortError') throw error;
  return bytesTransferred;
}

function resizable(content: Uint8Array): { view: Uint8Array; resize(length: number): void } {
  const Kind = ArrayBuffer as unknown as new (
    length: number,
    options: { maxByteLength: number },
  ) => ArrayBuffer & { resize(length: number): void };
  const memory = new Kind(content.length, { maxByteLength: content.length + 1 });
  const view = new Uint8Array(memory);
  view.set(content);
  return { view, resize: (length) => memory.resize(length) };
}

/** Sends all of `content`, in every way there is. */
async function send(stream: TcpStream, content: Content, random: Random): Promise<void> {
  let at = 0;
  while (at < content.length) {
    const size = random.chance(0.5) ? random.integer(1, 200) : random.integer(1, 100_000);
    const part = content.slice(at, at + size);
    switch (random.integer(0, 8)) {
      case 0:
        at += await stream.writeAll(part);
        break;
      case 1:
        at += await stream.write(part);
        break;
      case 2: {
        const sending: Promise<number>[] = [];
        for (let i = random.integer(2, 8); i > 0 && at < content.length; i--) {
          const each = content.slice(at, at + random.integer(1, 20_000));
          sending.push(stream.writeAll(each));
          at += each.length;
        }
        const outcomes = await Promise.allSettled(sending);
        for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
        break;
      }
      case 3: {
        const sending = stream.writeAll(part);
        cancelSometime(sending, random);
        at += await sending.catch(sentBefore);
        break;
      }
      case 4: {
        const { view, resize } = resizable(part);
        const sending = stream.writeAll(view);
        resize(random.integer(0, 1));
        at += await sending;
        break;
      }
      case 5: {
        const cut = random.integer(0, part.length);
        at += await stream.writev([part.subarray(0, cut), part.subarray(cut)]);
        break;
      }
      case 6: {
        const { fd, offset } = content.file(at);
        const sending = stream.sendFile(fd, { offset, length: part.length });
        if (random.chance(0.3)) cancelSometime(sending, random);
        at += await sending.catch(sentBefore);
        break;
      }
      case 7:
        at += await stream.writeAll(part, { zeroCopy: true });
        break;
      default:
        await pause(random);
    }
  }
}

/** Receives in every way there is, until the end or until it has had `enough`; the bytes it got. */
async function receive(stream: TcpStream, content: Content, random: Random, enough: number): Promise<number> {
  let at = 0;
  let ended = false;
  const got = (part: Uint8Array): void => {
    content.check(part, at);
    at += part.length;
  };
  while (!ended && at < enough) {
    switch (random.integer(0, 9)) {
      case 0: {
        let chunks = random.integer(1, 10);
        ended = true;
        for await (const chunk of stream) {
          got(chunk);
          if (random.chance(0.1)) await pause(random);
          if (--chunks === 0) {
            ended = false;
            break;
          }
        }
        break;
      }
      case 1: {
        const buffer = Buffer.alloc(random.integer(1, 70_000));
        const count = await stream.read(buffer);
        got(buffer.subarray(0, count));
        ended = count === 0;
        break;
      }
      case 2: {
        const buffer = Buffer.alloc(random.integer(1, 5_000));
        const reading = stream.read(buffer);
        cancelSometime(reading, random);
        const count = await reading.catch((error: unknown) => {
          sentBefore(error);
          return -1;
        });
        if (count >= 0) got(buffer.subarray(0, count));
        ended = count === 0;
        break;
      }
      case 3: {
        const { view, resize } = resizable(new Uint8Array(random.integer(1, 5_000)));
        const reading = stream.read(view);
        const left = random.integer(0, view.length);
        if (random.chance(0.5)) resize(left);
        const count = await reading.catch((error: unknown) => {
          if (error instanceof TypeError) return -1; // nothing was left of the buffer
          throw error;
        });
        // What it got before it shrank is gone with its memory; the count tells how much.
        if (count > 0 && count <= view.length) got(view.slice(0, count));
        else if (count > 0) at += count;
        ended = count === 0;
        break;
      }
      case 4: {
        const reading = stream.read(Buffer.alloc(0));
        expect(await reading).toBe(0);
        break;
      }
      case 5: {
        let chunks = random.integer(1, 10);
        ended = true;
        for await (const lease of stream.chunks({ lease: true })) {
          got(lease.buffer);
          if (random.chance(0.1)) await pause(random);
          lease.release();
          if (--chunks === 0) {
            ended = false;
            break;
          }
        }
        break;
      }
      case 6: {
        ended = true;
        for await (const batch of stream.batches()) {
          for (const chunk of batch) got(chunk);
          if (random.chance(0.5)) {
            ended = false;
            break;
          }
        }
        break;
      }
      case 7: {
        const buffer = Buffer.alloc(random.integer(1, 70_000));
        const { count, over } = await orEnd(stream.readExact(buffer));
        got(buffer.subarray(0, count));
        ended = over;
        break;
      }
      case 8: {
        // (What is not found is still there.)
        const found = await stream.readUntil(random.integer(0, 255), { maxLength: 5000 }).catch(notFound);
        if (found !== undefined) got(found);
        ended = found?.length === 0;
        break;
      }
      default:
        await pause(random);
    }
  }
  return at;
}

/** What a read of a certain length has got, and whether that was the end. */
async function orEnd(reading: Promise<number>): Promise<{ readonly count: number; readonly over: boolean }> {
  try {
    return { count: await reading, over: false };
  } catch (error) {
    const { code, bytesTransferred = 0 } = error as { code?: string; bytesTransferred?: number };
    if (code !== 'ERR_OURO_UNEXPECTED_END') throw error;
    return { count: bytesTransferred, over: true };
  }
}

function notFound(error: unknown): undefined {
  const { code } = error as { code?: string };
  if (code !== 'ERR_OUT_OF_RANGE' && code !== 'ERR_OURO_UNEXPECTED_END') throw error;
}

/** Errors of a connection whose other end has left. */
const LEFT = new Set(['ECONNRESET', 'EPIPE', 'ECANCELED', 'EBADF', 'ENOTCONN']);
function tolerate(error: unknown): void {
  if (!LEFT.has((error as { code?: string }).code ?? '')) throw error;
}

/** One end of ours: sends and receives at once, and finishes or leaves as planned. */
async function end(
  stream: TcpStream,
  out: Content,
  into: Content,
  leaves: boolean,
  plan: Plan,
  random: Random,
): Promise<void> {
  const others = new Random(random.integer(0, 2 ** 31));
  const sending = send(stream, out, random).then(() => stream.shutdown());
  const receiving = receive(stream, into, others, leaves ? plan.enough : Number.POSITIVE_INFINITY);
  if (plan.ending === 'both finish') {
    const [, count] = await Promise.all([sending, receiving]);
    expect(count).toBe(into.length);
    await stream.close();
    return;
  }
  if (leaves) {
    await receiving.catch(tolerate);
    // With everything in flight.
    const closing = stream.close();
    await sending.catch(tolerate);
    await closing;
    return;
  }
  await Promise.all([sending.catch(tolerate), receiving.catch(tolerate)]);
  await stream.close();
}

/** The same for an end of node:net. */
async function nodeEnd(socket: net.Socket, plan: Plan, random: Random): Promise<void> {
  socket.on('error', () => {});
  let at = 0;
  let wrong: unknown;
  const closed = new Promise<void>((done) => void socket.on('close', () => done()));
  const finished = new Promise<void>((done) => {
    socket.on('data', (chunk: Buffer) => {
      try {
        plan.back.check(chunk, at);
      } catch (error) {
        wrong = error;
      }
      at += chunk.length;
      if (plan.ending !== 'client leaves' || at < plan.enough) return;
      // Behind an end() Node refuses to reset, and never emits 'close' then.
      if (socket.writableEnded) socket.destroy();
      else socket.resetAndDestroy();
    });
    socket.on('end', done);
    closed.then(done);
  });
  let sent = 0;
  while (sent < plan.there.length && !socket.destroyed) {
    const part = plan.there.slice(sent, sent + random.integer(1, 50_000));
    sent += part.length;
    if (!socket.write(part)) await Promise.race([once(socket, 'drain'), finished]).catch(() => {});
    if (random.chance(0.2)) await pause(random);
  }
  socket.end();
  await finished;
  if (wrong !== undefined) throw wrong;
  if (plan.ending === 'both finish') expect(at).toBe(plan.back.length);
  await closed;
}

const header = (id: number): Buffer => {
  const out = Buffer.alloc(4);
  out.writeUInt32LE(id);
  return out;
};

/**
 * Everything that this process holds, in bytes, when what is garbage has been collected: the least of several turns, because what
 * weak references, finalizers and closing sockets let go of goes in turns of its own.
 */
async function held(): Promise<number> {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 10; i++) {
    await new Promise(setImmediate);
    collect();
    const { heapUsed, external } = process.memoryUsage();
    least = Math.min(least, heapUsed + external);
  }
  return least;
}

/**
 * Has the pools of the thread grow as far as they go: what is received into, and what is lent, is kept for the next who needs it. (That
 * of slabs to lend is 2 MiB large to begin with and 32 MiB when many leases have been out at once, which may happen in any round.)
 */
async function fillPools(): Promise<void> {
  await using ends = await pair();
  const data = Buffer.alloc(1 << 20);
  const send = async (): Promise<void> => {
    for (let i = 0; i < 40; i++) await ends.client.writeAll(data);
  };
  const all = 40 * data.length;
  const sending = send().then(send);
  let got = 0;
  for await (const chunk of ends.server) {
    got += chunk.length;
    if (got >= all) break;
  }
  const leases: ChunkLease[] = [];
  for await (const lease of ends.server.chunks({ lease: true })) {
    leases.push(lease);
    got += lease.length;
    if (got === 2 * all) break;
  }
  for (const lease of leases) lease.release();
  await sending;
}

/**
 * Many connections that do everything there is to be done with them, and end in every way. Throws if a byte is wrong, if anything is
 * left, or if a second round of them finds less than 90 % of the memory that the first one found free.
 */
export async function soak(connections: number, seed: number): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'ouro-soak-'));
  const path = join(dir, 'noise');
  const content = bytes(MUCH + (1 << 20), seed);
  writeFileSync(path, content);
  const noise = { bytes: content, fd: openSync(path, 'r') };
  try {
    const half = Math.ceil(connections / 2);
    await fillPools();
    await round(half, seed, noise);
    const before = await held();
    await round(half, seed + 4 * half, noise);
    expect(await held()).toBeLessThan(before * 1.1);
  } finally {
    closeSync(noise.fd);
    rmSync(dir, { recursive: true });
  }
  expect(metrics().stale).toBe(0);
}

async function round(connections: number, seed: number, noise: Noise): Promise<void> {
  const random = new Random(seed);
  const plans = Array.from({ length: connections }, (_, id) => plan(id, noise, random));
  await leavesNothing(async () => {
    const listener = await TcpListener.bind({ host: '127.0.0.1' });
    const { port } = listener.address;
    const failures: unknown[] = [];
    const note = (which: Plan) => (error: unknown) => {
      const { id, peer, ending, enough, there, back } = which;
      failures.push(
        Object.assign(error as Error, { id, peer, ending, enough, there: there.length, back: back.length }),
      );
    };

    const handle = async (stream: TcpStream): Promise<void> => {
      const id = Buffer.alloc(4);
      for (let filled = 0; filled < 4; ) {
        const count = await stream.read(id.subarray(filled));
        if (count === 0) throw new Error('The end before the header');
        filled += count;
      }
      const which = plans[id.readUInt32LE()];
      if (which === undefined) throw new Error(`No connection ${id.readUInt32LE()}`);
      const own = new Random(seed + 2 * which.id);
      const leaves = which.ending === 'server leaves';
      await end(stream, which.back, which.there, leaves, which, own).catch(note(which));
    };
    const handlers: Promise<void>[] = [];
    const serving = (async () => {
      const own = new Random(seed - 1);
      for (;;) {
        try {
          const accepted = listener.accept();
          if (own.chance(0.2)) cancelSometime(accepted, own);
          const stream = await accepted;
          handlers.push(
            handle(stream).catch(async (error: unknown) => {
              failures.push(error);
              await stream.close();
            }),
          );
        } catch (error) {
          const { code } = error as { code: string };
          if (code === 'ECANCELED' || code === 'EBADF') return;
          if (code !== 'ABORT_ERR') throw error;
        }
      }
    })();

    const client = async (which: Plan): Promise<void> => {
      const own = new Random(seed + 2 * which.id + 1);
      if (which.peer === 'node') {
        const socket = net.connect({ host: '127.0.0.1', port, allowHalfOpen: true });
        socket.write(header(which.id));
        return nodeEnd(socket, which, own);
      }
      const stream = await TcpStream.connect({ host: '127.0.0.1', port });
      await stream.writeAll(header(which.id));
      await end(stream, which.there, which.back, which.ending === 'client leaves', which, own);
    };
    let next = 0;
    const worker = async (): Promise<void> => {
      for (let which = plans[next++]; which !== undefined; which = plans[next++]) {
        await client(which).catch(note(which));
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
    await Promise.all(handlers);
    await listener.close();
    await serving;
    expect(handlers).toHaveLength(connections);
    expect(failures).toEqual([]);
  });
}
