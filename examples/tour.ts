/**
 * A tour: reads every file of this repository through the ring and checks each byte against node:fs, runs an echo
 * server with 100 clients, and prints what that took beside Node's own modules.
 */
import { accessSync, constants, readdirSync, readFileSync } from 'node:fs';
import { readFile as nodeReadFile } from 'node:fs/promises';
import { type AddressInfo, connect, createServer } from 'node:net';
import { join, resolve } from 'node:path';
import { readFile } from '@ouro/fs';
import { TcpListener, TcpStream } from '@ouro/net';
import { metrics, run, sleep } from '@ouro/runtime';
import { numberFrom, parse } from './lib/arguments.ts';
import { failed } from './lib/failure.ts';

const HELP = `tour: reads this repository and echoes through the ring, beside node:fs and node:net

  --clients N   connections of the echo (100)
  --seconds S   how long each echo runs (2)`;

const { values } = parse(HELP, {
  options: {
    clients: { type: 'string', default: '100' },
    seconds: { type: 'string', default: '2' },
  },
});
const CLIENTS = numberFrom('clients', values.clients, 1, 5000);
const MILLISECONDS = numberFrom('seconds', values.seconds, 0.1, 60, false) * 1000;
const MESSAGE = Buffer.alloc(64, 'ouro ');

const BATCH = 128;
const NOT_OURS = /^(node_modules|\.git|build|build-asan|dist|tmp|reports)$/;

/** Every regular file below `folder` that can be read, without what npm, git and the compilers put there. */
function filesBelow(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isFile()) return readable(path) ? [path] : [];
    return entry.isDirectory() && !NOT_OURS.test(entry.name) ? filesBelow(path) : [];
  });
}

function readable(path: string): boolean {
  try {
    accessSync(path, constants.R_OK);
    return true;
  } catch {
    return false;
  }
}

/** Reads all files, so many at once that no limit of descriptors is met. */
async function readAll(paths: string[], read: (path: string) => Promise<Buffer>): Promise<Buffer[]> {
  const contents: Buffer[] = [];
  for (let at = 0; at < paths.length; at += BATCH) {
    contents.push(...(await Promise.all(paths.slice(at, at + BATCH).map(read))));
  }
  return contents;
}

const median = (numbers: number[]): number =>
  numbers.sort((a, b) => a - b)[numbers.length >> 1] ?? Number.NaN;

async function time(work: () => Promise<unknown>): Promise<number> {
  const begin = process.hrtime.bigint();
  await work();
  return Number(process.hrtime.bigint() - begin) / 1e6;
}

/** Reads all files with both, in turns, and returns the median times in milliseconds. */
async function files(paths: string[]): Promise<{ ours: number; theirs: number; bytes: number }> {
  let bytes = 0;
  const contents = await readAll(paths, (path) => readFile(path));
  contents.forEach((content, i) => {
    const path = paths[i] ?? '';
    bytes += content.length;
    if (!content.equals(readFileSync(path))) throw new Error(`${path} differs from what node:fs reads`);
  });
  const ours: number[] = [];
  const theirs: number[] = [];
  for (let round = 0; round < 7; round++) {
    ours.push(await time(() => readAll(paths, (path) => readFile(path))));
    theirs.push(await time(() => readAll(paths, (path) => nodeReadFile(path))));
  }
  return { ours: median(ours), theirs: median(theirs), bytes };
}

/** Sends messages round and round through our own server and clients; returns how many came back. */
async function ourEcho(): Promise<number> {
  const listener = await TcpListener.bind({ host: '127.0.0.1', noDelay: true });
  const serving = (async () => {
    for await (const stream of listener) {
      (async () => {
        for await (const chunk of stream) await stream.writeAll(chunk);
        await stream.close();
      })();
    }
  })();
  let running = true;
  let messages = 0;
  const clients = Array.from({ length: CLIENTS }, async () => {
    const stream = await TcpStream.connect({ host: '127.0.0.1', port: listener.address.port, noDelay: true });
    const buffer = Buffer.alloc(MESSAGE.length);
    while (running) {
      await stream.writeAll(MESSAGE);
      for (let got = 0; got < MESSAGE.length; ) {
        const count = await stream.read(buffer.subarray(got));
        if (count === 0) throw new Error('the echo ended early');
        got += count;
      }
      if (!buffer.equals(MESSAGE)) throw new Error('the echo differs from what was sent');
      messages++;
    }
    await stream.close();
  });
  await sleep(MILLISECONDS);
  running = false;
  await Promise.all(clients);
  await listener.close();
  await serving;
  return messages;
}

/** The same with node:net. */
async function theirEcho(): Promise<number> {
  const server = createServer((socket) => {
    socket.setNoDelay(true).on('data', (chunk) => socket.write(chunk));
  }).listen(0, '127.0.0.1');
  await new Promise((listening) => server.once('listening', listening));
  const { port } = server.address() as AddressInfo;
  let running = true;
  let messages = 0;
  const clients = Array.from(
    { length: CLIENTS },
    () =>
      new Promise((done) => {
        const socket = connect({ port, host: '127.0.0.1', noDelay: true }, () => socket.write(MESSAGE));
        let got = 0;
        socket.on('data', (chunk) => {
          got += chunk.length;
          if (got < MESSAGE.length) return;
          got = 0;
          messages++;
          if (running) socket.write(MESSAGE);
          else socket.destroy();
        });
        socket.on('close', done);
      }),
  );
  await sleep(MILLISECONDS);
  running = false;
  await Promise.all(clients);
  await new Promise((closed) => server.close(closed));
  return messages;
}

/** read(2), write(2) and their kin that this process has made: what Linux counts of Node's system calls. */
function readsAndWrites(): number {
  const counts = /syscr: (\d+)\nsyscw: (\d+)/.exec(readFileSync('/proc/self/io', 'utf8'));
  return Number(counts?.[1]) + Number(counts?.[2]);
}

const row = (...cells: string[]): void => {
  console.log(cells.map((cell, i) => (i === 0 ? cell.padEnd(30) : cell.padStart(14))).join(''));
};

async function tour(): Promise<void> {
  const root = resolve(import.meta.dirname, '../..');
  const paths = filesBelow(root);
  const { ours, theirs, bytes } = await files(paths);
  const { driver, fallback } = metrics();
  console.log(`engine: ${driver}${fallback === null ? '' : ` (${fallback.reason}; ouro doctor says more)`}`);
  console.log(`${paths.length} files, ${bytes} bytes: every one the same as node:fs reads it`);

  const before = metrics();
  const ourMessages = await ourEcho();
  const after = metrics();
  const enters = after.enters - before.enters;
  const visits = after.loopVisits - before.loopVisits;
  const callsBefore = readsAndWrites();
  const theirMessages = await theirEcho();
  const theirCalls = readsAndWrites() - callsBefore;
  console.log(`${ourMessages} messages went round through ${CLIENTS} connections and came back the same\n`);

  row('', 'ouro', 'node', 'ours : node');
  row('read all files, ms', ours.toFixed(1), theirs.toFixed(1), (ours / theirs).toFixed(2));
  const seconds = MILLISECONDS / 1000;
  const [perMessage, theirPerMessage] = [1e6 / (ourMessages / seconds), 1e6 / (theirMessages / seconds)];
  row(
    'echo, µs a message',
    perMessage.toFixed(2),
    theirPerMessage.toFixed(2),
    (perMessage / theirPerMessage).toFixed(2),
  );
  // User space makes calls for each op, which nobody counts.
  if (after.driver !== 'uring') return;
  row('SQEs per enter', ((after.sqes - before.sqes) / enters).toFixed(1), '-', '-');
  // Each message makes two trips: client to server and back. Node's figure lacks its epoll_wait calls.
  const calls = (enters + visits) / ourMessages;
  const theirs_ = theirCalls / theirMessages;
  row('system calls a message', calls.toFixed(3), `> ${theirs_.toFixed(2)}`, (calls / theirs_).toFixed(3));
}

run(tour).catch(failed);
