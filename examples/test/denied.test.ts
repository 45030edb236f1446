import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { start } from '../../testing/beside.ts';
import { type Ended, root, runCommand } from '../../testing/program.ts';
import { buildSeccompLauncher, type SeccompLauncher } from '../../testing/seccomp.ts';

const dir = mkdtempSync(join(tmpdir(), 'ouro-denied-'));
const source = join(dir, 'source');
const target = join(dir, 'target');
const many = join(dir, 'many');
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

/** What the echo example says, and sends back. */
async function echoed(under: Under): Promise<object> {
  await using echo = start(command(under, 'echo'));
  const first = await echo.line();
  const socket = net.connect({ host: '127.0.0.1', port: Number(/:(\d+)$/.exec(first)?.[1]) });
  const message = Buffer.alloc(100_000, 'echo ');
  socket.write(message);
  const chunks: Buffer[] = [];
  for (let length = 0; length < message.length; length += chunks.at(-1)?.length ?? 0) {
    chunks.push(((await once(socket, 'data')) as [Buffer])[0]);
  }
  socket.destroy();
  echo.kill('SIGTERM');
  return { first, same: Buffer.concat(chunks).equals(message), ended: await echo.ended };
}

const EXAMPLES: Readonly<Record<string, (under: Under) => Promise<object>>> = {
  tour: (under) => run(under, 'tour', '--seconds', '0.3', '--clients', '10'),
  cat: (under) => run(under, 'cat', source, '-', source),
  cp: (under) => copied(under, 'cp'),
  echo: echoed,
  'fixed-copy': (under) => copied(under, 'fixed-copy'),
  'link-copy': (under) => copied(under, 'link-copy'),
  'read-many': (under) => run(under, 'read-many', many),
  'read-timeout': (under) => run(under, 'read-timeout'),
};

/** Without what differs from run to run, and without what only the ring can count. */
function settled(outcome: object): unknown {
  return JSON.parse(
    JSON.stringify(outcome)
      .replace(/\d+ ops in (\d+ system calls|user space)/g, 'N ops')
      .replace(/\\n(SQEs per enter|system calls a message)[^\\]*/g, '')
      .replace(/ *\d+(\.\d+)?(?=[ \\])/g, ' N')
      .replace(/127\.0\.0\.1:\d+/, 'there'),
  );
}

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
    const { code, stdout, stderr } = await run([...seccomp.denyWith('1'), ...ANY], 'sqpoll-echo');
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(/^sqpoll-echo: io_uring is not available: a seccomp filter .*\n$/);
  });

  it('does not ask for it with OURO_DRIVER=poll', async () => {
    const { code, signal, stderr } = await run([...seccomp.kill(), ...POLL], 'sqpoll-echo');
    expect({ code, signal }).toEqual({ code: 1, signal: null });
    expect(stderr).toMatch(/^sqpoll-echo: The value of "options.sqpoll" is out of range\. .*'poll'.*\n$/);
  });
});
