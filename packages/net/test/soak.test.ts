import { once } from 'node:events';
import net from 'node:net';
import { TcpListener, TcpStream } from '@ouro/net';
import { metrics, sleep } from '@ouro/runtime';
import { describe, expect, it } from 'vitest';
import { bytes, leavesNothing, Random } from './support.ts';

const CONNECTIONS = Number(process.env.OURO_SOAK_CONNECTIONS ?? 1_000);
const AT_ONCE = 150;
const MOST_BYTES = 300_000;

const SEED = Number(process.env.OURO_SOAK_SEED ?? Date.now() % 2 ** 31);

/** What all streams carry: each its own stretch of it. */
const NOISE = bytes(4 << 20, SEED);

/** One direction of a connection: which bytes, and how many. */
class Content {
  readonly #start: number;
  readonly length: number;

  constructor(random: Random) {
    this.length = random.chance(0.1) ? random.integer(0, 10) : random.integer(0, MOST_BYTES);
    this.#start = random.integer(0, NOISE.length - this.length);
  }

  slice(from: number, to: number): Buffer {
    return NOISE.subarray(this.#start + from, this.#start + Math.min(to, this.length));
  }

  /** Throws unless `part` is what comes at `position`. */
  check(part: Uint8Array, position: number): void {
    const right = this.slice(position, position + part.length);
    if (!right.equals(part)) throw new Error(`${part.length} wrong bytes at ${position} of ${this.length}`);
  }
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

function plan(id: number, random: Random): Plan {
  const ending = random.chance(0.6) ? 'both finish' : random.chance(0.5) ? 'client leaves' : 'server leaves';
  const [there, back] = [new Content(random), new Content(random)];
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
    switch (random.integer(0, 5)) {
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
    switch (random.integer(0, 5)) {
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
      default:
        await pause(random);
    }
  }
  return at;
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

describe('a soak', () => {
  it(`of ${CONNECTIONS} connections gets every byte right and leaves nothing (OURO_SOAK_SEED=${SEED})`, async () => {
    console.log(`soak: OURO_SOAK_SEED=${SEED}`);
    const random = new Random(SEED);
    const plans = Array.from({ length: CONNECTIONS }, (_, id) => plan(id, random));
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
        const own = new Random(SEED + 2 * which.id);
        const leaves = which.ending === 'server leaves';
        await end(stream, which.back, which.there, leaves, which, own).catch(note(which));
      };
      const handlers: Promise<void>[] = [];
      const serving = (async () => {
        const own = new Random(SEED - 1);
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
        const own = new Random(SEED + 2 * which.id + 1);
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
      expect(handlers).toHaveLength(CONNECTIONS);
      expect(failures).toEqual([]);
    });
    expect(metrics().stale).toBe(0);
  });
});
