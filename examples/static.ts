/** A web server of the files below a directory: GET and HEAD, keep-alive, ranges, ETags, and nothing from outside. */
import { constants } from 'node:fs';
import { Dir, type File, type Stats } from '@ouro/fs';
import type { TcpStream } from '@ouro/net';
import { run } from '@ouro/runtime';
import { failed } from './lib/failure.ts';
import { HttpError, parseHead, type Request } from './lib/http-request.ts';
import { head, plain, rangeOf, typeOf } from './lib/http-response.ts';
import { serve, serverOptions } from './lib/server.ts';

/** Bytes of a head, and how long its client may take for it, idle time between two requests included. */
const MOST_HEAD = 16_384;
const HEAD_MS = 10_000;
/** Milliseconds in which a client that takes an answer must take some of it. */
const STALLED_MS = 30_000;
// A named pipe is not waited for, a terminal is not made ours.
const FLAGS = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY;

async function client(stream: TcpStream, root: Dir): Promise<void> {
  stream.idleTimeout = STALLED_MS;
  for (let goesOn = true; goesOn; ) {
    let request: Request;
    try {
      const bytes = await stream.readUntil('\r\n\r\n', { maxLength: MOST_HEAD, timeout: HEAD_MS });
      if (bytes.length === 0) return;
      request = parseHead(bytes);
    } catch (error) {
      const status = error instanceof HttpError ? error.status : error instanceof RangeError ? 431 : 0;
      if (status > 0) await stream.writeAll(plain(status, {}, false, true));
      return;
    }
    goesOn = await answer(stream, root, request);
  }
}

/** Returns whether the connection goes on. */
async function answer(stream: TcpStream, root: Dir, request: Request): Promise<boolean> {
  const { method, path, target, keepAlive } = request;
  const withContent = method !== 'HEAD';
  const short = async (status: number, headers = {}): Promise<boolean> => {
    await stream.writeAll(plain(status, headers, keepAlive, withContent));
    return keepAlive;
  };
  if (method !== 'GET' && method !== 'HEAD') return await short(405, { Allow: 'GET, HEAD' });
  const name = `.${path}${path.endsWith('/') ? 'index.html' : ''}`;
  let file: File;
  try {
    // The kernel itself sees to it that nothing leads out: no dots, no links, however they are written.
    file = await root.open(name, FLAGS, { resolve: 'beneath' });
  } catch {
    return await short(404);
  }
  try {
    const stats = await file.stat();
    // (Relative to where we are; the query goes along. Two slashes would be another host.)
    if (stats.isDirectory()) return await short(301, { Location: target.replace(/^\/+([^?]*)/, '/$1/') });
    if (!stats.isFile()) return await short(404);
    return await content(stream, file, stats, request, name);
  } finally {
    await file.close();
  }
}

async function content(
  stream: TcpStream,
  file: File,
  stats: Stats,
  request: Request,
  name: string,
): Promise<boolean> {
  const { method, headers, keepAlive } = request;
  const { size, mtimeMs } = stats;
  const tag = `"${size.toString(36)}-${Math.trunc(mtimeMs).toString(36)}"`;
  const common = { ETag: tag, 'Last-Modified': new Date(mtimeMs).toUTCString(), 'Accept-Ranges': 'bytes' };
  const short = async (status: number, more = {}): Promise<boolean> => {
    await stream.writeAll(plain(status, { ...common, ...more }, keepAlive, method !== 'HEAD'));
    return keepAlive;
  };
  if (headers.get('if-none-match')?.split(/ *, */).includes(tag)) return await short(304);
  const usable = (headers.get('if-range') ?? tag) === tag && method === 'GET';
  const range = rangeOf(usable ? headers.get('range') : undefined, size);
  if (range === undefined) return await short(416, { 'Content-Range': `bytes */${size}` });
  const { offset, length } = range ?? { offset: 0, length: size };
  const about = { ...common, 'Content-Type': typeOf(name), 'Content-Length': length };
  if (range === null) await stream.writeAll(head(200, about, keepAlive));
  else {
    const where = { 'Content-Range': `bytes ${offset}-${offset + length - 1}/${size}` };
    await stream.writeAll(head(206, { ...about, ...where }, keepAlive));
  }
  if (method === 'HEAD') return keepAlive;
  // Fewer bytes than we said, of a file that has been cut meanwhile, can only be told by ending the connection.
  return (await stream.sendFile(file, { offset, length })) === length && keepAlive;
}

const options = serverOptions('static: serves the files below a directory', {
  root: { help: 'directory', default: '.' },
});
run(async () => {
  await using root = await Dir.open(options.root);
  await serve(options, (stream) => client(stream, root));
}).catch(failed);
