import dgram from 'node:dgram';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { start } from '../../testing/beside.ts';
import { type Ended, root, runCommand } from '../../testing/program.ts';
import { buildSeccompLauncher, type SeccompLauncher } from '../../testing/seccomp.ts';
import { connect, Inbox } from './servers.ts';

const dir = mkdtempSync(join(tmpdir(), 'ouro-denied-'));
const source = join(dir, 'source');
const target = join(dir, 'target');
const many = join(dir, 'many');
const path = join(dir, 'socket');
writeFileSync(source, Buffer.alloc(1_000_003, 'what is copied '));
mkdirSync(many);
for (let i = 0; i < 100; i++) writeFileSync(join(many, `${i}`), Buffer.alloc(i));

let seccomp: SeccompLauncher;
beforeAll(async () => {
  seccomp = await buildSeccompLauncher();
});
afterAll(() => {
  seccomp.remove();
  rmSync(dir, { recursive: true });
});

type Under = readonly string[];
const command = (under: Under, name: string, ...args: string[]): string[] => [
  ...under,
  process.execPath,
  join(root, 'examples/dist', `${name}.js`),
  ...args,
];
const run = (under: Under, name: string, ...args: string[]): Promise<Ended> =>
  runCommand(command(under, name, ...args), { input: 'what is read' });

/** What an example copies. */
async function copied(under: Under, name: string, ...options: string[]): Promise<object> {
  writeFileSync(target, '');
  const ended = await run(under, name, ...options, source, target);
  return { ...ended, same: readFileSync(target).equals(readFileSync(source)) };
}

/** What gzip makes, unpacked by node:zlib. */
async function packed(under: Under): Promise<object> {
  const path = join(dir, 'packed.gz');
  rmSync(path, { force: true });
  const ended = await run(under, 'gzip', source, path);
  return { ...ended, same: gunzipSync(readFileSync(path)).equals(readFileSync(source)) };
}

/** What a server says when it has begun and when it has been ended, and what `talk` gets out of it. */
async function served<T extends object>(
  under: Under,
  talk: (port: number) => Promise<T>,
  name: string,
  ...args: string[]
): Promise<object> {
  await using server = start(command(under, name, ...args));
  const first = await server.line();
  const talked = await talk(Number(/:(\d+)$/.exec(first)?.[1]));
  server.kill('SIGTERM');
  return { first, ...talked, ended: await server.ended };
}

const message = Buffer.alloc(100_000, 'echo ').toString('latin1');

/** Whether what is sent to a port, or a path, comes back. */
async function echoes(where: number | string): Promise<{ readonly same: boolean }> {
  const inbox = new Inbox(typeof where === 'string' ? net.connect(where) : await connect(where));
  inbox.socket.write(message, 'latin1');
  const same = (await inbox.count(message.length)) === message;
  inbox.socket.destroy();
  return { same };
}

/** What is said up to `end`. */
const asked = (request: string, end: string) => async (port: number) => {
  const inbox = new Inbox(await connect(port));
  inbox.socket.write(request, 'latin1');
  const answer = await inbox.take(end);
  inbox.socket.destroy();
  return { answer };
};

/** Whether a file is served as it is. */
async function fetched(port: number): Promise<object> {
  const inbox = new Inbox(await connect(port));
  inbox.socket.write('GET /source HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
  const head = await inbox.take('\r\n\r\n');
  const same = (await inbox.end()) === readFileSync(source, 'latin1');
  return { head: head.replace(/Date: .*/, ''), same };
}

/** What comes back through the proxy. */
async function relayed(under: Under): Promise<object> {
  const behind = net.createServer((socket) => socket.on('error', () => {}).pipe(socket));
  behind.listen(0, '127.0.0.1');
  await once(behind, 'listening');
  const { port } = behind.address() as net.AddressInfo;
  try {
    return await served(under, echoes, 'proxy', '--to', `127.0.0.1:${port}`);
  } finally {
    behind.close();
  }
}

async function datagram(port: number): Promise<object> {
  const socket = dgram.createSocket('udp4');
  socket.send('what is sent', port, '127.0.0.1');
  const [answer] = (await once(socket, 'message')) as [Buffer];
  socket.close();
  return { answer: String(answer) };
}

const EXAMPLES: Readonly<Record<string, (under: Under) => Promise<object>>> = {
  tour: (under) => run(under, 'tour', '--seconds', '0.3', '--clients', '10'),
  cat: (under) => run(under, 'cat', source, '-', source),
  cp: (under) => copied(under, 'cp'),
  count: (under) => run(under, 'count', source),
  du: (under) => run(under, 'du', many),
  echo: (under) => served(under, echoes, 'echo'),
  'fixed-copy': (under) => copied(under, 'fixed-copy'),
  gzip: packed,
  'link-copy': (under) => copied(under, 'link-copy'),
  'read-many': (under) => run(under, 'read-many', many),
  'read-timeout': (under) => run(under, 'read-timeout'),
  chat: (under) => served(under, asked('ada\n', 'Here: ada\n'), 'chat'),
  kv: (under) => served(under, asked('SET a 1\r\nINCR a\r\nGET a\r\n', '$1\r\n2\r\n'), 'kv'),
  proxy: relayed,
  static: (under) => served(under, fetched, 'static', '--root', dir),
  'udp-echo': (under) => served(under, datagram, 'udp-echo'),
  'unix-echo': (under) => served(under, () => echoes(path), 'unix-echo', path),
};

/** Without what differs from run to run, and without what only the ring can count. */
function settled(outcome: object): unknown {
  return JSON.parse(
    JSON.stringify(outcome)
      .replace(/\d+ ops in (\d+ system calls|user space)/g, 'N ops')
      .replace(/\\n(SQEs per enter|system calls a message)[^\\]*/g, '')
      .replace(/engine: [^\\]*\\n/, '')
      .replace(/ *\d+(\.\d+)?(?=[ \\])/g, ' N')
      .replace(/127\.0\.0\.1:\d+/, 'there'),
  );
}

/** The one that is nothing without the ring. */
const RING_ONLY = 'sqpoll-echo';

it('no example is left out', () => {
  const there = readdirSync(join(root, 'examples')).filter((name) => name.endsWith('.ts'));
  expect([...Object.keys(EXAMPLES), RING_ONLY].sort()).toEqual(there.map((name) => name.slice(0, -3)).sort());
});

const ANY = ['env', 'OURO_DRIVER='];
const POLL = ['env', 'OURO_DRIVER=poll'];

describe.each(Object.entries(EXAMPLES))('the example %s has the same outcome', (_, example) => {
  let usual: unknown;
  beforeAll(async () => {
    usual = settled(await example(ANY));
    expect(JSON.stringify(usual)).toContain('"code":0');
    expect(JSON.stringify(usual)).not.toContain('"same":false');
  });

  it.each([
    ['EPERM', '1'],
    ['ENOSYS', '38'],
  ])('by itself where io_uring answers %s', async (_name, errno) => {
    expect(settled(await example([...seccomp.denyWith(errno), ...ANY]))).toEqual(usual);
  });

  it('with OURO_DRIVER=poll where a call of io_uring kills', async () => {
    expect(settled(await example([...seccomp.kill(), ...POLL]))).toEqual(usual);
  });
});

describe('the sqpoll-echo example, which insists on the ring,', () => {
  it('says in one line what denies it', async () => {
    const { code, stdout, stderr } = await run([...seccomp.denyWith('1'), ...ANY], RING_ONLY);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(/^sqpoll-echo: io_uring is not available: a seccomp filter .*\n$/);
  });

  it('does not ask for it with OURO_DRIVER=poll', async () => {
    const { code, signal, stderr } = await run([...seccomp.kill(), ...POLL], RING_ONLY);
    expect({ code, signal }).toEqual({ code: 1, signal: null });
    expect(stderr).toMatch(
      /^sqpoll-echo: io_uring is not available: OURO_DRIVER=poll switches it off.*sqpoll\n$/,
    );
  });
});

/** What they cannot do without. */
const OPERANDS: Readonly<Record<string, readonly string[]>> = {
  count: [source],
  cp: [source, target],
  'fixed-copy': [source, target],
  gzip: [source, target],
  'link-copy': [source, target],
  proxy: ['--to', '127.0.0.1:1'],
  'unix-echo': [path],
};

describe('with OURO_DRIVER=uring where io_uring is denied', () => {
  it.each(Object.keys(EXAMPLES))('%s says so in one line', async (name) => {
    const under = [...seccomp.denyWith('1'), 'env', 'OURO_DRIVER=uring'];
    const { code, stdout, stderr } = await run(under, name, ...(OPERANDS[name] ?? []));
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(/^[^\n]*io_uring is not available: a seccomp filter [^\n]*\n$/);
  });
});
