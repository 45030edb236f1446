import { execFileSync } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { runCommand } from '../../testing/program.ts';
import { parseHead } from '../lib/http-request.ts';
import { rangeOf } from '../lib/http-response.ts';
import { connect, Inbox, installed, startServer } from './servers.ts';

const dir = mkdtempSync(join(tmpdir(), 'ouro-static-'));
const root = join(dir, 'root');
const large = Buffer.alloc(3_000_001, 'what is served, ');
mkdirSync(join(root, 'sub'), { recursive: true });
writeFileSync(join(dir, 'secret.txt'), 'secret');
writeFileSync(join(root, 'index.html'), '<p>index');
writeFileSync(join(root, 'empty.txt'), '');
writeFileSync(join(root, 'a b+ü.txt'), 'odd name');
writeFileSync(join(root, 'large.bin'), large);
writeFileSync(join(root, 'sub/page.html'), '<p>page');
symlinkSync('sub/page.html', join(root, 'inside.html'));
symlinkSync('../secret.txt', join(root, 'outside.txt'));
symlinkSync(join(dir, 'secret.txt'), join(root, 'absolute.txt'));
execFileSync('mkfifo', [join(root, 'pipe')]);
utimesSync(join(root, 'index.html'), 1e9, 1e9);
afterAll(() => rmSync(dir, { recursive: true }));

interface Answer {
  readonly status: number | undefined;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: Buffer;
}

/** One request of node:http. */
function get(port: number, path: string, options: http.RequestOptions = {}): Promise<Answer> {
  return new Promise((done, failed) => {
    const request = http.request({ host: '127.0.0.1', port, path, ...options }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', failed);
      response.on('end', () => {
        done({ status: response.statusCode, headers: response.headers, body: Buffer.concat(chunks) });
      });
    });
    request.on('error', failed);
    request.end();
  });
}

const serve = () => startServer('static', '--root', root);

/** What is said to these bytes, up to the end of the connection. */
async function raw(text: string): Promise<string> {
  await using server = await serve();
  const inbox = new Inbox(await connect(server.port));
  inbox.socket.write(text, 'latin1');
  return await inbox.end();
}

describe('the static example', () => {
  it('serves files, with what they are and how long', async () => {
    await using server = await serve();
    const index = await get(server.port, '/');
    expect(index.status).toBe(200);
    expect(String(index.body)).toBe('<p>index');
    expect(index.headers).toMatchObject({
      'content-type': 'text/html; charset=utf-8',
      'content-length': '8',
      'last-modified': 'Sun, 09 Sep 2001 01:46:40 GMT',
    });
    expect((await get(server.port, '/large.bin')).body.equals(large)).toBe(true);
    expect((await get(server.port, '/empty.txt')).body).toHaveLength(0);
    expect(String((await get(server.port, '/a%20b+%C3%BC.txt?query')).body)).toBe('odd name');
    expect(String((await get(server.port, '/sub/page.html')).body)).toBe('<p>page');
    expect(String((await get(server.port, '/inside.html')).body)).toBe('<p>page');
  });

  it.each([
    '/../secret.txt',
    '/sub/../../secret.txt',
    '/%2e%2e/secret.txt',
    '/..%2fsecret.txt',
    '/sub/%2e%2e%2f%2e%2e%2fsecret.txt',
    '//secret.txt',
    '/outside.txt',
    '/absolute.txt',
    '/none.txt',
    '/index.html/',
    '/pipe',
  ])('has nothing at %s', async (path) => {
    await using server = await serve();
    expect(await get(server.port, path)).toMatchObject({ status: 404 });
  });

  it('answers HEAD without content, and no other method', async () => {
    await using server = await serve();
    const head = await get(server.port, '/large.bin', { method: 'HEAD' });
    expect(head).toMatchObject({ status: 200, headers: { 'content-length': String(large.length) } });
    expect(head.body).toHaveLength(0);
    const post = await get(server.port, '/', { method: 'DELETE' });
    expect(post).toMatchObject({ status: 405, headers: { allow: 'GET, HEAD' } });
  });

  it('sends who asks for a directory to its index', async () => {
    await using server = await serve();
    expect(await get(server.port, '/sub?q=1')).toMatchObject({
      status: 301,
      headers: { location: '/sub/?q=1' },
    });
    // Not to another host.
    expect(await get(server.port, '//sub')).toMatchObject({ status: 301, headers: { location: '/sub/' } });
  });

  it('sends parts, and says what has not changed', async () => {
    await using server = await serve();
    const part = await get(server.port, '/large.bin', { headers: { range: 'bytes=100000-2099999' } });
    expect(part.status).toBe(206);
    expect(part.headers['content-range']).toBe(`bytes 100000-2099999/${large.length}`);
    expect(part.body.equals(large.subarray(100_000, 2_100_000))).toBe(true);
    const none = await get(server.port, '/index.html', { headers: { range: 'bytes=8-' } });
    expect(none).toMatchObject({ status: 416, headers: { 'content-range': 'bytes */8' } });
    const { etag = '' } = (await get(server.port, '/')).headers;
    const same = await get(server.port, '/', { headers: { 'if-none-match': `"other", ${etag}` } });
    expect(same).toMatchObject({ status: 304, headers: { etag } });
    const other = await get(server.port, '/', { headers: { range: 'bytes=0-1', 'if-range': '"other"' } });
    expect(other.status).toBe(200);
  });

  it('answers requests that come at once, in their order, on one connection', async () => {
    const line = (path: string, more = ''): string => `GET ${path} HTTP/1.1\r\nHost: x\r\n${more}\r\n`;
    const all = await raw(
      line('/index.html') + line('/none') + line('/sub/page.html', 'Connection: close\r\n'),
    );
    expect(all.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 200', 'HTTP/1.1 404', 'HTTP/1.1 200']);
    expect(all.replace(/HTTP[\s\S]*?\r\n\r\n/g, '')).toBe('<p>index404 Not Found\n<p>page');
  });

  it('serves a hundred connections at once', async () => {
    await using server = await serve();
    const answers = await Promise.all(Array.from({ length: 100 }, () => get(server.port, '/large.bin')));
    expect(answers.filter(({ body }) => body.equals(large))).toHaveLength(100);
  });

  it.each([
    ['what is no HTTP', 'nonsense\r\n\r\n', 400],
    ['a request without a host', 'GET / HTTP/1.1\r\n\r\n', 400],
    ['a header with a space before its colon', 'GET / HTTP/1.1\r\nHost : x\r\n\r\n', 400],
    ['a folded header', 'GET / HTTP/1.1\r\nHost: x\r\n y\r\n\r\n', 400],
    ['a path that is not encoded right', 'GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n', 400],
    ['a zero byte', 'GET /%00 HTTP/1.1\r\nHost: x\r\n\r\n', 400],
    ['a body', 'GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc', 413],
    ['a body in chunks', 'GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', 413],
    ['a head without an end', `GET / HTTP/1.1\r\nHost: ${'x'.repeat(20_000)}`, 431],
  ])('refuses %s, and ends the connection', async (_what, text, status) => {
    expect(await raw(text)).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
  });

  it('ends the connection when a file turns out to be shorter', async () => {
    const path = join(root, 'shrinks.bin');
    writeFileSync(path, Buffer.alloc(64 << 20, 's'));
    await using server = await serve();
    const inbox = new Inbox(await connect(server.port));
    inbox.socket.write('GET /shrinks.bin HTTP/1.1\r\nHost: x\r\n\r\n');
    await inbox.take('\r\n\r\n');
    inbox.socket.pause();
    truncateSync(path, 100_000);
    inbox.socket.resume();
    expect((await inbox.end()).length).toBeLessThan(64 << 20);
  });

  it.skipIf(!installed('curl'))('serves curl', async () => {
    await using server = await serve();
    const url = `http://127.0.0.1:${server.port}`;
    const { stdout } = await runCommand(['curl', '-sS', '--path-as-is', `${url}/`, `${url}/../secret.txt`]);
    expect(stdout).toBe('<p>index404 Not Found\n');
    const range = ['-r', '10-19', '-o', '-', '-w', ' %{http_code}'];
    expect((await runCommand(['curl', '-sS', ...range, `${url}/large.bin`])).stdout).toBe(
      `${large.subarray(10, 20)} 206`,
    );
  });
});

describe('the head of a request', () => {
  it('is read as RFC 9112 has it', () => {
    const parse = (text: string) => parseHead(Buffer.from(`${text}\r\n\r\n`, 'latin1'));
    expect(parse('GET /a%20b?c HTTP/1.0\r\nX: 1\r\nx:  2 ')).toMatchObject({
      path: '/a b',
      keepAlive: false,
    });
    expect(parse('GET / HTTP/1.0\r\nConnection: a, Keep-Alive')).toMatchObject({ keepAlive: true });
    expect(parse('GET / HTTP/1.1\r\nHost:\r\nConnection: CLOSE')).toMatchObject({ keepAlive: false });
    expect(parse('GET / HTTP/1.1\r\nHost:\r\nX: 1\r\nx:  2 ').headers.get('x')).toBe('1, 2');
  });
});

describe('a range', () => {
  it.each([
    ['bytes=0-0', { offset: 0, length: 1 }],
    ['bytes=5-', { offset: 5, length: 5 }],
    ['bytes=-3', { offset: 7, length: 3 }],
    ['bytes=-30', { offset: 0, length: 10 }],
    ['bytes=5-100', { offset: 5, length: 5 }],
    ['bytes=10-', undefined],
    ['bytes=-0', undefined],
    ['bytes=5-4', null],
    ['bytes=0-1,3-4', null],
    ['lines=0-1', null],
    ['bytes=-', null],
    [undefined, null],
  ])('%s of ten bytes is %o', (header, range) => {
    expect(rangeOf(header, 10)).toEqual(range);
  });
});
