import { describe, expect, it } from 'vitest';
import { runCommand } from '../../testing/program.ts';
import { RequestReader } from '../lib/resp.ts';
import { connect, Inbox, installed, startServer } from './servers.ts';

/** A request as clients send it. */
const request = (...words: string[]): string =>
  `*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word, 'latin1')}\r\n${word}\r\n`).join('')}`;

/** What is said to each of these requests. */
async function ask(...requests: string[][]): Promise<string> {
  await using server = await startServer('kv');
  const inbox = new Inbox(await connect(server.port));
  inbox.socket.write([...requests.map((words) => request(...words)), request('QUIT')].join(''), 'latin1');
  return (await inbox.end()).replace(/\+OK\r\n$/, '');
}

describe('the reader of requests', () => {
  const LIMITS = { words: 16, bytes: 1000 };
  const read = (...pieces: string[]): (readonly string[])[] => {
    const reader = new RequestReader(LIMITS);
    return pieces.flatMap((piece) => [...reader.read(Buffer.from(piece, 'latin1'))]);
  };

  it('takes requests that come in pieces of any size', () => {
    const requests = [
      ['SET', 'key', 'x\r\n$3\r\n\xff\0'],
      ['GET', ''],
      ['PING'],
      Array(16).fill('w'.repeat(1000)),
    ];
    const text = requests.map((words) => request(...words)).join('');
    expect(read(text)).toEqual(requests);
    expect(read(...text)).toEqual(requests);
    for (let size = 2; size < 40; size++) {
      const count = Math.ceil(text.length / size);
      const pieces = Array.from({ length: count }, (_, i) => text.slice(i * size, (i + 1) * size));
      expect(read(...pieces)).toEqual(requests);
    }
  });

  it('takes lines of words, and passes over empty ones', () => {
    expect(read('PING\r\n\r\n\nSET  a\t b\n*0\r\nGET a\r', '\n')).toEqual([
      ['PING'],
      ['SET', 'a', 'b'],
      ['GET', 'a'],
    ]);
  });

  it.each([
    ['too many words', '*17\r\n'],
    ['a word that is too long', '*1\r\n$1001\r\n'],
    ['a word without a length', '*1\r\nPING\r\n'],
    ['a length below zero', '*1\r\n$-1\r\n'],
    ['a length that is none', '*1\r\n$1x\r\n'],
    ['a line without an end', 'x'.repeat(65_537)],
  ])('refuses %s', (_what, text) => {
    expect(() => read(text)).toThrow();
    expect(() => read(...text)).toThrow();
  });
});

describe('the kv example', () => {
  it('keeps values, counts, and forgets', async () => {
    expect(
      await ask(
        ['SET', 'a', '1'],
        ['GET', 'a'],
        ['GET', 'none'],
        ['INCR', 'a'],
        ['DECRBY', 'a', '5'],
        ['INCRBY', 'new', '7'],
        ['APPEND', 'a', 'x'],
        ['STRLEN', 'a'],
        ['INCR', 'a'],
        ['MSET', 'b', '2', 'c', '3'],
        ['MGET', 'b', 'none', 'c'],
        ['EXISTS', 'b', 'c', 'd'],
        ['DEL', 'b', 'd'],
        ['DBSIZE'],
        ['TYPE', 'c'],
        ['FLUSHALL'],
        ['DBSIZE'],
      ),
    ).toBe(
      '+OK\r\n$1\r\n1\r\n$-1\r\n:2\r\n:-3\r\n:7\r\n' +
        ':3\r\n:3\r\n-ERR value is not an integer or out of range\r\n+OK\r\n*3\r\n$1\r\n2\r\n$-1\r\n$1\r\n3\r\n' +
        ':2\r\n:1\r\n:3\r\n+string\r\n+OK\r\n:0\r\n',
    );
  });

  it('sets on conditions, and says what was there', async () => {
    expect(
      await ask(
        ['SET', 'a', '1', 'XX'],
        ['SET', 'a', '1', 'nx'],
        ['SET', 'a', '2', 'NX'],
        ['SET', 'a', '3', 'XX', 'GET'],
        ['SET', 'a', '4', 'EX'],
        ['SET', 'a', '4', 'PX', '0'],
        ['GET', 'a'],
      ),
    ).toBe(
      "$-1\r\n+OK\r\n$-1\r\n$1\r\n1\r\n-ERR syntax error\r\n-ERR invalid expire time in 'set' command\r\n$1\r\n3\r\n",
    );
  });

  it('lets keys end', async () => {
    await using server = await startServer('kv');
    const inbox = new Inbox(await connect(server.port));
    const say = async (...words: string[]): Promise<string> => {
      inbox.socket.write(request(...words));
      return await inbox.take('\r\n');
    };
    expect(await say('SET', 'a', '1', 'PX', '40')).toBe('+OK\r\n');
    expect(await say('SET', 'b', '1', 'EX', '100')).toBe('+OK\r\n');
    expect(await say('TTL', 'b')).toBe(':100\r\n');
    expect(await say('PERSIST', 'b')).toBe(':1\r\n');
    expect(await say('TTL', 'b')).toBe(':-1\r\n');
    while ((await say('EXISTS', 'a')) === ':1\r\n');
    expect(await say('TTL', 'a')).toBe(':-2\r\n');
    expect(await say('EXPIRE', 'a', '5')).toBe(':0\r\n');
    expect(await say('EXPIRE', 'b', '0')).toBe(':1\r\n');
    expect(await say('DBSIZE')).toBe(':0\r\n');
    inbox.socket.destroy();
  });

  it('keeps bytes as they are, up to 8 MiB, and answers a thousand requests that come at once', async () => {
    await using server = await startServer('kv');
    const inbox = new Inbox(await connect(server.port));
    const every = Buffer.from(Array.from({ length: 256 }, (_, i) => i)).toString('latin1');
    const large = every.repeat(32_768);
    inbox.socket.write(request('SET', every, large) + request('GET', every), 'latin1');
    expect(await inbox.count(5)).toBe('+OK\r\n');
    expect((await inbox.count(10 + large.length + 2)) === `$8388608\r\n${large}\r\n`).toBe(true);
    inbox.socket.write(Array.from({ length: 1000 }, () => request('INCR', 'n')).join(''));
    const replies = Array.from({ length: 1000 }, (_, i) => `:${i + 1}\r\n`).join('');
    expect(await inbox.count(replies.length)).toBe(replies);
    inbox.socket.destroy();
  });

  it.each([
    ['an unknown command', ['NONSENSE', 'x'], "-ERR unknown command 'NONSENSE'\r\n"],
    ['a name of Object', ['constructor'], "-ERR unknown command 'constructor'\r\n"],
    ['too few words', ['GET'], "-ERR wrong number of arguments for 'get' command\r\n"],
    ['an odd pair', ['MSET', 'a', '1', 'b'], "-ERR wrong number of arguments for 'mset' command\r\n"],
  ])('refuses %s and goes on', async (_what, words, reply) => {
    expect(await ask(words, ['PING'])).toBe(`${reply}+PONG\r\n`);
  });

  it('ends the connection of whoever does not speak the protocol, and serves the others', async () => {
    await using server = await startServer('kv');
    const rude = new Inbox(await connect(server.port));
    rude.socket.write('*1\r\n$999999999\r\n');
    expect(await rude.end()).toBe('-ERR Protocol error: invalid bulk length\r\n');
    const polite = new Inbox(await connect(server.port));
    polite.socket.write('PING\r\n');
    expect(await polite.take('\r\n')).toBe('+PONG\r\n');
    polite.socket.destroy();
  });

  it('says that it speaks version 2, in the words that clients of version 3 fall back on', async () => {
    const told = await ask(['HELLO'], ['HELLO', '2', 'SETNAME', 'me']);
    const one = told.slice(0, told.length / 2);
    expect(one).toContain('*12\r\n$6\r\nserver\r\n$5\r\nredis\r\n');
    expect(one).toContain('$5\r\nproto\r\n:2\r\n$7\r\nmodules\r\n*0\r\n');
    expect(told).toBe(one + one);
    expect(await ask(['HELLO', '3'], ['HELLO', 'x'], ['HELLO', '2', 'NONSENSE'], ['PING'])).toBe(
      '-NOPROTO unsupported protocol version\r\n' +
        '-ERR Protocol version is not an integer or out of range\r\n' +
        "-ERR Syntax error in HELLO option 'nonsense'\r\n+PONG\r\n",
    );
  });

  it.skipIf(!installed('redis-cli'))('talks to a redis-cli that would rather speak version 3', async () => {
    await using server = await startServer('kv');
    const cli = (...words: string[]) => runCommand(['redis-cli', '-3', '-p', String(server.port), ...words]);
    expect((await cli('SET', 'key', 'two words')).stdout).toContain('OK\n');
    const { stdout, stderr } = await cli('GET', 'key');
    expect(stdout).toContain('two words\n');
    expect(stdout + stderr).toContain('NOPROTO');
  });

  it.skipIf(!installed('redis-cli'))('talks to redis-cli', async () => {
    await using server = await startServer('kv');
    const cli = (...words: string[]) => runCommand(['redis-cli', '-p', String(server.port), ...words]);
    expect((await cli('SET', 'key', 'two words')).stdout).toBe('OK\n');
    expect((await cli('GET', 'key')).stdout).toBe('two words\n');
    expect((await cli('GET', 'none')).stdout).toBe('\n');
    expect((await cli('EXPIRE', 'key', '10')).stdout).toBe('1\n');
  });

  it.skipIf(!installed('redis-benchmark'))(
    'stands redis-benchmark',
    async () => {
      await using server = await startServer('kv');
      for (const pipeline of ['1', '16']) {
        const args = [
          '-p',
          String(server.port),
          '-t',
          'ping,set,get,incr,mset',
          '-n',
          '5000',
          '-P',
          pipeline,
          '--csv',
        ];
        const { code, stdout } = await runCommand(['redis-benchmark', ...args], { limitMs: 60_000 });
        expect(code).toBe(0);
        expect(stdout.trim().split('\n')).toHaveLength(7); // a heading, and six tests
      }
      expect(
        (await runCommand(['redis-cli', '-p', String(server.port), 'EXISTS', 'key:__rand_int__'])).stdout,
      ).toBe('1\n');
    },
    130_000,
  );
});
