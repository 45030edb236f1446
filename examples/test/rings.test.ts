import { once } from 'node:events';
import {
  chmodSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { start } from '../../testing/beside.ts';
import { describeOnRing, polls } from '../../testing/engine.ts';
import { type Ended, root, runCommand } from '../../testing/program.ts';

const dir = mkdtempSync(join(tmpdir(), 'ouro-examples-'));
afterAll(() => rmSync(dir, { recursive: true }));

const command = (name: string, ...args: string[]): string[] => [
  process.execPath,
  join(root, 'examples/dist', `${name}.js`),
  ...args,
];
const run = (name: string, ...args: string[]): Promise<Ended> => runCommand(command(name, ...args));

/** Sizes around those of pages and of the pieces that the copies use. */
const SIZES = [0, 1, 4095, 4096, 131_071, 131_072, 131_073, 1_000_003];

describe('the read-many example', () => {
  it('reads the beginning of each file, in far fewer system calls than ops', async () => {
    const many = join(dir, 'many', 'deeper');
    mkdirSync(many, { recursive: true });
    for (let i = 0; i < 300; i++) writeFileSync(join(many, `${i}`), Buffer.alloc(i));
    const { stdout, stderr, code } = await run('read-many', '--bytes', '100', join(dir, 'many'));
    expect(stderr).toBe('');
    const [files, ops] = stdout.split('\n');
    // 0 to 99 bytes, and 100 of each other.
    expect(files).toBe(`300 files, ${(99 * 100) / 2 + 200 * 100} bytes, 0 could not be read`);
    const [, sqes, enters] = /^(\d+) ops in (?:(\d+) system calls|user space)$/.exec(ops) ?? [];
    expect(Number(sqes)).toBeGreaterThanOrEqual(900);
    expect(enters === undefined).toBe(polls);
    expect(Number(enters ?? 0)).toBeLessThan(300);
    expect(code).toBe(0);
  });

  it('explains itself, and refuses what makes no sense', async () => {
    expect((await run('read-many', '--help')).stdout).toMatch(/^usage: read-many/);
    expect((await run('read-many', '--bytes', 'x')).code).toBe(2);
    expect((await run('read-many', dir, dir)).code).toBe(2);
  });

  it('says in one line what is wrong with the directory', async () => {
    const file = join(dir, 'no-directory');
    writeFileSync(file, '');
    expect(await run('read-many', file)).toMatchObject({
      stderr: `read-many: ${file}: Not a directory\n`,
      code: 1,
    });
    expect(await run('read-many', `${file}-gone`)).toMatchObject({
      stderr: `read-many: ${file}-gone: No such file or directory\n`,
      code: 1,
    });
  });

  it('fails if some could not be read, with the count of them', async () => {
    const some = join(dir, 'some');
    mkdirSync(some);
    writeFileSync(join(some, 'one'), 'x');
    writeFileSync(join(some, 'two'), 'y');
    chmodSync(join(some, 'two'), 0);
    // As somebody who may not read everything, even where the tests run as root.
    const humbly =
      process.getuid?.() === 0
        ? ['setpriv', '--inh-caps=-all', '--bounding-set=-dac_override,-dac_read_search']
        : [];
    const { stdout, code } = await runCommand([...humbly, ...command('read-many', some)]);
    expect(stdout).toMatch(/^1 files, 1 bytes, 1 could not be read\n/);
    expect(code).toBe(1);
  });
});

describe('the read-timeout example', () => {
  it('reads until the end', async () => {
    const { stdout, code } = await runCommand(command('read-timeout'), { input: 'some bytes' });
    expect(stdout).toBe('10 bytes\nthe end, after 10 bytes\n');
    expect(code).toBe(0);
  });

  it('gives up when nothing comes', async () => {
    // Its input stays open, and is silent after the first bytes.
    await using program = start(command('read-timeout', '--ms', '150'));
    program.send('abc');
    expect(await program.line()).toBe('3 bytes');
    expect(await program.line()).toBe('nothing for 150 ms, after 3 bytes');
    expect((await program.ended).code).toBe(1);
  });

  it('says in one line why it cannot read', async () => {
    const shell = `"$0" "$1" < ${dir}`;
    expect(await runCommand(['sh', '-c', shell, ...command('read-timeout')])).toMatchObject({
      stderr: 'read-timeout: standard input: Is a directory\n',
      code: 1,
    });
  });

  it('ends without a word when nobody reads what it says', async () => {
    const bash = 'set -o pipefail; (sleep 0.3; echo x; sleep 0.3; echo x) | "$0" "$1" | true';
    const { stderr, code } = await runCommand(['bash', '-c', bash, ...command('read-timeout')]);
    expect({ stderr, code }).toEqual({ stderr: '', code: 128 + 13 });
  });
});

describe.each(['link-copy', 'fixed-copy'])('the %s example', (name) => {
  it.each(SIZES)('copies %d bytes', async (size) => {
    const source = join(dir, `source-${size}`);
    const target = join(dir, `${name}-${size}`);
    writeFileSync(source, Buffer.alloc(size, 'what is copied '));
    writeFileSync(target, 'longer than nothing, and gone afterwards');
    const { stdout, stderr, code } = await run(name, source, target);
    expect(stderr).toBe('');
    expect(stdout).toMatch(new RegExp(`^${size} bytes`));
    expect(readFileSync(target).equals(readFileSync(source))).toBe(true);
    expect(code).toBe(0);
  });

  it('says what is wrong', async () => {
    const none = join(dir, 'none');
    expect(await run(name, none, join(dir, 'target'))).toMatchObject({
      stderr: `${name}: ${none}: No such file or directory\n`,
      code: 1,
    });
    const source = join(dir, 'something');
    writeFileSync(source, 'something');
    expect(await run(name, source, dir)).toMatchObject({
      stderr: `${name}: ${dir}: Is a directory\n`,
      code: 1,
    });
    expect(await run(name, source, '/dev/full')).toMatchObject({
      stderr: `${name}: /dev/full: No space left on device\n`,
      code: 1,
    });
  });

  it('explains itself, and refuses what makes no sense', async () => {
    expect((await run(name, '--help')).stdout).toMatch(new RegExp(`^usage: ${name}`));
    expect(await run(name, 'a')).toMatchObject({
      stderr: expect.stringMatching(
        `^${name}: 2 arguments, please \\(usage: ${name} .*SOURCE TARGET\\)\nTry --help\\.\n$`,
      ),
      code: 2,
    });
    expect(await run(name, 'a', 'b', 'c')).toMatchObject({
      stderr: expect.stringMatching(`^${name}: one argument too many: 'c' \\(usage: .*\\)\nTry --help\\.\n$`),
      code: 2,
    });
    expect((await run(name, '--nonsense')).code).toBe(2);
  });

  it('does not copy a file onto itself, whatever it is called there', async () => {
    const source = join(dir, `${name}-itself`);
    writeFileSync(source, 'precious');
    const others = [source, `${source}-hard`, `${source}-soft`] as const;
    linkSync(source, others[1]);
    symlinkSync(source, others[2]);
    for (const other of others) {
      expect(await run(name, source, other)).toMatchObject({
        stderr: `${name}: '${source}' and '${other}' are the same file\n`,
        code: 1,
      });
      expect(readFileSync(source, 'utf8')).toBe('precious');
    }
  });

  it('refuses what has no known end, and leaves the target alone', async () => {
    const target = join(dir, `${name}-kept`);
    writeFileSync(target, 'kept');
    const pipe = join(dir, `${name}-pipe`);
    await runCommand(['mkfifo', pipe]);
    for (const [source, problem] of [
      [pipe, 'is not a regular file'],
      ['/dev/zero', 'is not a regular file'],
      [dir, 'is not a regular file'],
      ['/proc/self/status', 'does not say how long it is'],
    ] as const) {
      expect(await run(name, source, target)).toMatchObject({
        stderr: `${name}: '${source}' ${problem}\n`,
        code: 1,
      });
    }
    expect(readFileSync(target, 'utf8')).toBe('kept');
  });

  it('copies to a device as well', async () => {
    const source = join(dir, `${name}-away`);
    writeFileSync(source, 'anything');
    const { stdout, stderr, code } = await run(name, source, '/dev/null');
    expect({ stderr, code }).toEqual({ stderr: '', code: 0 });
    expect(stdout).toMatch(/^8 bytes/);
  });
});

describe('the fixed-copy example', () => {
  it.each(SIZES)('copies %d bytes past the page cache', async (size) => {
    const source = join(dir, `source-${size}`);
    const target = join(dir, `direct-${size}`);
    writeFileSync(source, Buffer.alloc(size, 'what is copied '));
    const { stdout, stderr } = await run('fixed-copy', '--direct', source, target);
    expect(stderr).toBe('');
    expect(stdout).toMatch(new RegExp(`^${size} bytes through`));
    expect(readFileSync(target).equals(readFileSync(source))).toBe(true);
  });
});

describeOnRing('sqpoll')('the sqpoll-echo example', () => {
  it('sends back what it receives, and tells what that took', async () => {
    await using echo = start(command('sqpoll-echo'));
    const port = /:(\d+)$/.exec(await echo.line())?.[1];
    const socket = net.connect({ host: '127.0.0.1', port: Number(port) });
    await once(socket, 'connect');
    for (let i = 0; i < 100; i++) {
      socket.write('ping');
      const [data] = (await once(socket, 'data')) as [Buffer];
      expect(data.toString()).toBe('ping');
    }
    socket.destroy();
    echo.kill('SIGINT');
    expect(await echo.line()).toMatch(/^100 messages, \d+ ops, \d+ system calls, \d+ of them wake-ups$/);
  });
});
