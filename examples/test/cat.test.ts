import { mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { start } from '../../testing/beside.ts';
import { runCommand } from '../../testing/program.ts';
import { sanitized } from '../../testing/sanitized.ts';
import { noise } from './noise.ts';

const program = 'examples/dist/cat.js';
const dir = mkdtempSync(join(tmpdir(), 'ouro-cat-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const make = (name: string, content: string | Buffer): void => writeFileSync(join(dir, name), content);
make('one', 'one\n');
make('two', 'two, without an end');
make('empty', '');
make('a name with spaces', 'spaces\n');
for (const length of [1, 131_071, 131_072, 131_073, 10_000_019]) make(`noise-${length}`, noise(length));
mkdirSync(join(dir, 'directory'));
symlinkSync('loop', join(dir, 'loop'));
symlinkSync('one', join(dir, 'link'));

/** What a script in bash that uses `cat` does: the hash of its output, its complaints, and how it ends. */
async function outcome(cat: string, script: string): Promise<object> {
  const source = `set -o pipefail; cat() { ${cat} "$@"; }; cd "$1"; { ${script}; } | sha256sum`;
  const { code, stdout, stderr } = await runCommand(['bash', '-c', source, 'bash', dir]);
  return { code, stdout, stderr };
}

const ours = `"${process.execPath}" "$OLDPWD/${program}"`;

describe('cat does what that of coreutils does:', () => {
  it.each([
    'cat one two',
    'cat empty one empty',
    'cat "a name with spaces" link',
    'cat noise-1 noise-131071 noise-131072 noise-131073 noise-10000019',
    'cat <noise-10000019',
    'cat noise-10000019 | cat | cat',
    'cat /proc/version /proc/filesystems',
    'cat /proc/kallsyms | head -c 1000000',
    'cat /dev/null',
    'cat </dev/null',
    'cat - <one',
    'printf x | cat',
    'printf x | cat - two',
    'printf x | cat one - two -',
    'cat one - two - <two',
    'printf "a\\nb\\n" | while read line; do echo "$line" | cat - one; done',
    '{ printf first; sleep 0.1; printf second; } | cat - one',
    'cat <(command cat noise-10000019) <(printf x)',
    'cat one >out; cat two >>out; command cat out',
    '{ cat one; cat two; } >out; command cat out',
    'cat noise-10000019 >out; cmp out noise-10000019',
    '{ read line; cat; } <one',
    'head -c 300000 noise-10000019 | { head -c 1000 >/dev/null; cat | wc -c >/dev/null; }',
    'cat -- one',
    'cat missing',
    'cat one missing two',
    'cat directory one',
    'cat one/below missing/below loop',
    `cat ${'x'.repeat(256)}`,
    'cat one >/dev/full',
    'cat noise-10000019 one >/dev/full',
    'printf x >self; cat self >>self',
    'printf x >self; cat one self two >>self; command cat self',
    'printf x >self; cat <self >>self',
    'cat empty one >empty2; command cat empty2',
  ])('%s', async (script) => {
    const expected = await outcome('command cat', script);
    expect(await outcome(ours, script)).toEqual(expected);
  });
});

describe('cat', () => {
  it('ends quietly when nobody reads it any more', async () => {
    const source = `yes | "$1" ${program} | head -n 1; echo "\${PIPESTATUS[1]}"`;
    const { stdout, stderr } = await runCommand(['bash', '-c', source, 'bash', process.execPath]);
    expect({ stdout, stderr }).toEqual({ stdout: 'y\n141\n', stderr: '' });
  });

  it('ends at once when its output fails, even while its input is silent', async () => {
    const source = `mkfifo "$2"; exec 3<>"$2"; echo x >&3; "$1" ${program} <"$2" >/dev/full`;
    const args = [process.execPath, join(dir, 'silent')];
    const { code, stderr } = await runCommand(['bash', '-c', source, 'bash', ...args]);
    expect({ code, stderr }).toEqual({ code: 1, stderr: 'cat: write error: No space left on device\n' });
  });

  it('writes what it has while it waits for more', async () => {
    await using cat = start([process.execPath, program]);
    for (const line of ['first', 'second', 'third']) {
      cat.send(`${line}\n`);
      expect(await cat.line()).toBe(line);
    }
  });

  it('takes closed standard input, which Node replaces by /dev/null, for an empty one', async () => {
    const source = `"$1" ${program} - examples/echo.ts <&- | cmp - examples/echo.ts`;
    const { code, stderr } = await runCommand(['bash', '-c', source, 'bash', process.execPath]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  });

  it('needs no more memory for 1 GiB than for one byte', async () => {
    const big = join(dir, 'big');
    make('big', '');
    truncateSync(big, 2 ** 30);
    const report = 'process.on("exit",()=>console.error(process.resourceUsage().maxRSS))';
    const mebibytes = async (path: string): Promise<number> => {
      const command = [process.execPath, '--import', `data:text/javascript,${report}`, program, path];
      const source = '"$@" >/dev/null';
      return Number((await runCommand(['bash', '-c', source, 'bash', ...command])).stderr) / 1024;
    };
    // (AddressSanitizer keeps what has been freed, 256 MiB of it.)
    const most = sanitized ? 350 : 50;
    expect((await mebibytes(big)) - (await mebibytes(join(dir, 'noise-1')))).toBeLessThan(most);
  });

  it('explains itself', async () => {
    const { code, stdout } = await runCommand([process.execPath, program, '--help']);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^usage: cat /);
  });

  it('refuses options it does not have', async () => {
    const { code, stderr } = await runCommand([process.execPath, program, '--number']);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^cat: Unknown option '--number'/);
  });
});
