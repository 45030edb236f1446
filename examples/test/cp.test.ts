import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { type Ended, runCommand } from '../../testing/program.ts';
import { noise } from './noise.ts';

const dir = mkdtempSync(join(tmpdir(), 'ouro-cp-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const MINUTES = 60_000;
const PIECE = 131_072;
const cp = (...args: readonly string[]): Promise<Ended> =>
  runCommand([process.execPath, 'examples/dist/cp.js', ...args], { limitMs: 5 * MINUTES });
const success = { code: 0, signal: null, stdout: '', stderr: '' };
const failure = (stderr: string): Ended => ({ code: 1, signal: null, stdout: '', stderr: `cp: ${stderr}\n` });

let files = 0;
const fresh = (): string => join(dir, `file-${files++}`);
function fileOf(content: string | Buffer): string {
  const path = fresh();
  writeFileSync(path, content);
  return path;
}

describe('cp copies', () => {
  it.each([0, 1, 4095, PIECE - 1, PIECE, PIECE + 1, 32 * PIECE, 32 * PIECE + 1, 10_000_019])(
    'a file of %i bytes',
    async (length) => {
      const [source, target] = [fileOf(noise(length)), fresh()];
      expect(await cp(source, target)).toEqual(success);
      expect(readFileSync(target).equals(readFileSync(source))).toBe(true);
    },
  );

  it('over a file that is there, whether it was longer or shorter', async () => {
    const source = fileOf(noise(1000));
    for (const length of [0, 10, 1_000_000]) {
      const target = fileOf(Buffer.alloc(length, 7));
      expect(await cp(source, target)).toEqual(success);
      expect(readFileSync(target).equals(noise(1000))).toBe(true);
    }
  });

  it('into a directory', async () => {
    const source = fileOf('content');
    const directory = fresh();
    mkdirSync(directory);
    for (const target of [directory, `${directory}/`]) {
      expect(await cp(source, target)).toEqual(success);
      expect(readFileSync(join(directory, source.slice(dir.length)), 'utf8')).toBe('content');
    }
  });

  it('what a symbolic link points to', async () => {
    const [link, target] = [fresh(), fresh()];
    symlinkSync(fileOf('content'), link);
    expect(await cp(link, target)).toEqual(success);
    expect(readFileSync(target, 'utf8')).toBe('content');
  });

  it.each([0o400, 0o600, 0o640, 0o666, 0o755, 0o777])('the permissions too (%i)', async (mode) => {
    const source = fileOf('content');
    chmodSync(source, mode);
    for (const target of [fresh(), fileOf('something else')]) {
      expect(await cp(source, target)).toEqual(success);
      expect(statSync(target).mode & 0o777).toBe(mode);
    }
  });

  it('a file of /proc, whose size the kernel does not say', async () => {
    const target = fresh();
    expect(await cp('/proc/kallsyms', target)).toEqual(success);
    expect(readFileSync(target).equals(readFileSync('/proc/kallsyms'))).toBe(true);
  });

  it('from a pipe', async () => {
    const [source, target] = [fileOf(noise(1_000_003)), fresh()];
    const script = 'command cat "$2" | "$1" examples/dist/cp.js /dev/stdin "$3" && cmp "$2" "$3"';
    expect(await runCommand(['bash', '-c', script, 'bash', process.execPath, source, target])).toEqual(
      success,
    );
  });

  it('to a pipe, in order', async () => {
    const source = fileOf(noise(1_000_003));
    const script = '"$1" examples/dist/cp.js "$2" /dev/stdout | cmp - "$2"';
    expect(await runCommand(['bash', '-c', script, 'bash', process.execPath, source])).toEqual(success);
  });

  it('to a device', async () => {
    expect(await cp(fileOf(noise(1_000_003)), '/dev/null')).toEqual(success);
    expect(statSync('/dev/null').isCharacterDevice()).toBe(true);
  });
});

describe('cp of a sparse file', () => {
  /** A file of `size` bytes that are 0, which take no room, except for `marks`. */
  function sparse(size: number, marks: readonly number[]): string {
    const path = fileOf('');
    truncateSync(path, size);
    const fd = openSync(path, 'r+');
    for (const position of marks) writeSync(fd, 'here', position);
    closeSync(fd);
    return path;
  }
  const blocks = (path: string): number => statSync(path).blocks;

  it.each([
    ['a hole at the end', 5 * PIECE + 17, [0]],
    ['a hole at the beginning', 5 * PIECE + 17, [5 * PIECE]],
    ['nothing but a hole', 5 * PIECE + 17, []],
    ['islands across the seams of pieces', 99 * PIECE, [PIECE - 2, 50 * PIECE - 2, 98 * PIECE - 2]],
  ] as const)('copies %s', async (_, size, marks) => {
    const [source, target] = [sparse(size, marks), fresh()];
    expect(await cp(source, target)).toEqual(success);
    expect(readFileSync(target).equals(readFileSync(source))).toBe(true);
  });

  it('of 3 GiB copies what is in it, and the holes as holes', { timeout: 10 * MINUTES }, async () => {
    const [source, target] = [sparse(3 * 2 ** 30 + 5, [0, 2 ** 31 - 2, 2 ** 31 + 9, 3 * 2 ** 30]), fresh()];
    expect(await cp(source, target)).toEqual(success);
    execFileSync('cmp', [source, target]);
    // Of 512 bytes each: no more than the pieces that the marks lie in.
    expect(blocks(target)).toBeLessThanOrEqual((5 * PIECE) / 512);
    rmSync(source);
    rmSync(target);
  });
});

describe('cp refuses', () => {
  it('to copy a file onto itself, by whatever name, and leaves it alone', async () => {
    const source = fileOf('content');
    const [link, name] = [fresh(), fresh()];
    symlinkSync(source, link);
    linkSync(source, name);
    for (const target of [source, link, name]) {
      expect(await cp(source, target)).toEqual(failure(`'${source}' and '${target}' are the same file`));
    }
    expect(await cp(source, dir)).toEqual(failure(`'${source}' and '${source}' are the same file`));
    expect(readFileSync(source, 'utf8')).toBe('content');
  });

  it('to copy a directory', async () => {
    const target = fresh();
    expect(await cp(dir, target)).toEqual(failure(`'${dir}' is a directory`));
  });

  it.each([[], ['one'], ['one', 'two', 'three'], ['--recursive', 'one', 'two']].map((args) => [args]))(
    'to start with %j',
    async (args) => {
      const { code, stderr } = await cp(...args);
      expect(code).toBe(1);
      expect(stderr).toMatch(/^cp: .*\n\nusage: cp /s);
    },
  );
});

describe('cp says what is wrong with', () => {
  it('a source that is not there, and makes no target', async () => {
    const [source, target] = [fresh(), fresh()];
    expect(await cp(source, target)).toEqual(failure(`${source}: No such file or directory`));
    expect(() => statSync(target)).toThrow('ENOENT');
  });

  it('a target that cannot be made', async () => {
    const source = fileOf('x');
    const [missing, below] = [join(dir, 'missing/file'), join(source, 'below')];
    expect(await cp(source, missing)).toEqual(failure(`${missing}: No such file or directory`));
    expect(await cp(source, below)).toEqual(failure(`${below}: Not a directory`));
  });

  it('a target that is full', async () => {
    expect(await cp(fileOf('x'), '/dev/full')).toEqual(failure('/dev/full: No space left on device'));
  });

  it('a source that cannot be read', async () => {
    expect(await cp('/proc/self/mem', fresh())).toEqual(failure('/proc/self/mem: Input/output error'));
  });
});

it('cp explains itself', async () => {
  const { code, stdout } = await cp('--help');
  expect(code).toBe(0);
  expect(stdout).toMatch(/^usage: cp /);
});
