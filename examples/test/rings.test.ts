import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { start } from '../../testing/beside.ts';
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
    const [, sqes, enters] = /^(\d+) ops in (\d+) system calls$/.exec(ops) ?? [];
    expect(Number(sqes)).toBeGreaterThanOrEqual(900);
    expect(Number(enters)).toBeLessThan(300);
    expect(code).toBe(0);
  });

  it('explains itself, and refuses what makes no sense', async () => {
    expect((await run('read-many', '--help')).stdout).toMatch(/^usage: read-many/);
    expect((await run('read-many', '--bytes', 'x')).code).toBe(2);
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
    const { stderr, code } = await run(name, join(dir, 'none'), join(dir, 'target'));
    expect(stderr).toBe(`${name}: No such file or directory\n`);
    expect(code).toBe(1);
    expect((await run(name)).code).toBe(2);
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

describe('the sqpoll-echo example', () => {
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
