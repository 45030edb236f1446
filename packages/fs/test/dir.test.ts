import fs from 'node:fs';
import { join } from 'node:path';
import { Dir, type Dirent, opendir } from '@ouro/fs';
import { sleep } from '@ouro/runtime';
import { beforeAll, describe, expect, it } from 'vitest';
import { runProgram } from '../../../testing/program.ts';
import { begunWith } from './odd-trees.ts';
import { failure, openDescriptors, temporaryDirectory, thrown } from './support.ts';

const root = temporaryDirectory();
beforeAll(begunWith);

let made = 0;
/** A new directory with what `names` say: a slash at the end makes a directory. */
function fresh(...names: string[]): string {
  const path = join(root, `d${made++}`);
  fs.mkdirSync(path);
  for (const name of names) {
    if (name.endsWith('/')) fs.mkdirSync(join(path, name), { recursive: true });
    else fs.writeFileSync(join(path, name), name);
  }
  return path;
}

async function namesIn(entries: AsyncIterable<Dirent>): Promise<string[]> {
  const names: string[] = [];
  for await (const { name } of entries) names.push(name);
  return names.sort();
}

describe('a Dir lists', () => {
  it('its names, one by one, in batches, by read, each time from the beginning', async () => {
    const path = fresh('a', 'b', 'c/');
    await using dir = await Dir.open(path);
    expect(await namesIn(dir)).toEqual(['a', 'b', 'c']);
    expect(await namesIn(dir.entries())).toEqual(['a', 'b', 'c']);
    for await (const batch of dir.batches()) expect(batch.length).toBe(3);
    const read = await Promise.all([dir.read(), dir.read(), dir.read(), dir.read()]);
    expect(read.map((entry) => entry?.name ?? null).sort()).toEqual(['a', 'b', 'c', null]);
    expect(await dir.read()).toBeNull();
    const [entry] = read.filter((each) => each?.name === 'c');
    expect([entry?.isDirectory(), entry?.isFile(), entry?.parentPath]).toEqual([true, false, path]);
  });

  it('names as bytes', async () => {
    const path = fresh();
    fs.writeFileSync(Buffer.concat([Buffer.from(`${path}/`), Buffer.of(0xff, 0xfe)]), '');
    await using dir = await opendir(path, { encoding: 'buffer' });
    expect((await dir.read())?.name).toEqual(Buffer.of(0xff, 0xfe));
    expect(await dir.readdir('.')).toEqual([Buffer.of(0xff, 0xfe)]);
    for await (const { path: at } of dir.walk()) expect(at.subarray(-2)).toEqual(Buffer.of(0xff, 0xfe));
  });

  it('a directory of 10,000 names in pieces, and nothing stays open when the loop is left', async () => {
    const path = fresh('0');
    for (let i = 1; i < 10_000; i++) fs.linkSync(join(path, '0'), join(path, `${i}`));
    await using dir = await Dir.open(path);
    const before = openDescriptors();
    const names = new Set<string>();
    for await (const batch of dir.batches()) {
      expect(batch.length).toBeLessThan(2000);
      for (const { name } of batch) names.add(name);
    }
    expect(names.size).toBe(10_000);
    for await (const _ of dir) break;
    expect(openDescriptors()).toBe(before);
  });

  it('its tree', async () => {
    const path = fresh('a/', 'a/b', 'c');
    await using dir = await Dir.open(path);
    const found: string[] = [];
    for await (const entry of dir.walk({ order: 'sorted' })) found.push(entry.path);
    expect(found).toEqual([`${path}/a`, `${path}/a/b`, `${path}/c`]);
  });
});

describe('a Dir opens as opendir of node:fs', () => {
  it('and fails as that', async () => {
    const path = fresh('file');
    for (const bad of [`${path}/gone`, `${path}/file`, `${path}/file/x`]) {
      expect(await failure(Dir.open(bad))).toEqual(await failure(fs.promises.opendir(bad)));
    }
    expect(thrown(() => Dir.open(7 as never)).code).toBe('ERR_INVALID_ARG_TYPE');
    expect(thrown(() => Dir.open('.', { encoding: 'x' as never })).code).toBe('ERR_INVALID_ARG_VALUE');
    expect(thrown(() => Dir.open('.', { resolve: 'up' as never })).code).toBe('ERR_INVALID_ARG_VALUE');
  });

  it('and once closed refuses with EBADF', async () => {
    const dir = await Dir.open(fresh('a'));
    await dir.close();
    await dir.close();
    expect(dir.fd).toBe(-1);
    for (const op of [
      dir.read(),
      dir.stat('a'),
      dir.open('a'),
      dir.readdir('.'),
      dir.rm('a'),
      dir.readFile('a'),
    ]) {
      expect((await failure(op)).code).toBe('EBADF');
    }
    expect((await failure(namesIn(dir))).code).toBe('EBADF');
  });

  it('and is closed and reported where it is lost', async () => {
    const program = `
      import { Dir } from '@ouro/fs'; import { nop } from '@ouro/runtime/driver'; import fs from 'node:fs';
      const open = () => fs.readdirSync('/proc/self/fd').map((fd) => { try { return fs.readlinkSync('/proc/self/fd/' + fd); } catch { return ''; } }).filter((to) => to === process.argv[1]).length;
      const warned = new Promise((done) => process.on('warning', done));
      await (async () => { await Dir.open(process.argv[1]); })();
      const before = open();
      while (open() > 0) { await new Promise((done) => setTimeout(done, 100)); await nop(); gc(); }
      console.log(JSON.stringify([before, open(), (await warned).code]));`;
    const { stdout } = await runProgram(program, {
      args: [fresh()],
      flags: ['--expose-gc', '--no-warnings'],
    });
    expect(JSON.parse(stdout)).toEqual([1, 0, 'OURO_FILE_NOT_CLOSED']);
  });
});

describe('paths begin at a Dir', () => {
  it('wherever that has been moved meanwhile', async () => {
    const path = fresh('a');
    await using dir = await Dir.open(path);
    fs.renameSync(path, `${path}-moved`);
    fs.mkdirSync(path); // somebody else's
    await dir.writeFile('b', 'mine');
    await dir.mkdir('c');
    expect(await dir.readFile('b', 'utf8')).toBe('mine');
    expect((await dir.readdir('.')).sort()).toEqual(['a', 'b', 'c']);
    expect(fs.readdirSync(path)).toEqual([]);
    await dir.rm('c', { recursive: true });
    expect(fs.readdirSync(`${path}-moved`).sort()).toEqual(['a', 'b']);
  });

  it('for everything that can be done with a name', async () => {
    const path = fresh('file', 'sub/');
    await using dir = await Dir.open(path);
    await using sub = await dir.openDir('sub');
    await dir.symlink('file', 'soft');
    expect(await dir.readlink('soft')).toBe('file');
    expect((await dir.lstat('soft')).isSymbolicLink()).toBe(true);
    expect((await dir.stat('soft')).isFile()).toBe(true);
    await dir.link('file', 'hard', { to: sub });
    expect((await dir.stat('file')).nlink).toBe(2);
    await dir.rename('file', 'renamed');
    await sub.rename('hard', 'back', { to: dir });
    expect((await dir.readdir('.', { withFileTypes: true })).map(({ name }) => name).sort()).toEqual([
      ...['back', 'renamed', 'soft', 'sub'],
    ]);
    await dir.chmod('back', 0o600);
    await dir.utimes('back', 1, 2n * 1_000_000_000n);
    await dir.chown('back', -1, -1);
    const stats = fs.statSync(join(path, 'back'));
    expect([stats.mode & 0o777, stats.atimeMs, stats.mtimeMs]).toEqual([0o600, 1000, 2000]);
    await dir.mkdir('deep/er', { recursive: true, mode: 0o700 });
    expect((await dir.stat('deep/er')).mode & 0o777).toBe(0o700);
    await dir.rmdir('deep/er');
    await dir.unlink('soft');
    await using file = await dir.open('new', 'wx', { mode: 0o640 });
    await file.write('content');
    expect(await dir.readFile('new', 'utf8')).toBe('content');
    expect((await dir.readdir('.', { recursive: true })).sort()).toEqual([
      'back',
      'deep',
      'new',
      'renamed',
      'sub',
    ]);
    await dir.rm('deep', { recursive: true });
    expect((await failure(dir.rm('deep'))).code).toBe('ENOENT');
  });

  it('and fail as those of node:fs', async () => {
    const path = fresh('file');
    await using dir = await Dir.open(path);
    const gone = await failure(dir.stat('gone'));
    expect([gone.code, gone.syscall, gone.path]).toEqual(['ENOENT', 'stat', 'gone']);
    expect((await failure(dir.openDir('file'))).code).toBe('ENOTDIR');
    expect((await failure(dir.mkdir('file'))).code).toBe('EEXIST');
    expect((await failure(dir.readlink('file'))).code).toBe('EINVAL');
    expect((await failure(dir.rename('gone', 'x'))).code).toBe('ENOENT');
    expect(thrown(() => dir.rename('a', 'b', { to: path as never })).code).toBe('ERR_INVALID_ARG_TYPE');
    expect(thrown(() => dir.stat('a\0')).code).toBe('ERR_INVALID_ARG_VALUE');
    expect(thrown(() => dir.mkdir('a/b', { recursive: true, resolve: 'beneath' })).code).toBe(
      'ERR_INVALID_ARG_TYPE',
    );
  });
});

describe('resolve', () => {
  function guarded(): string {
    const path = fresh('in/', 'in/sub/', 'in/file', 'in/sub/inner', 'out/', 'secret');
    fs.symlinkSync('../secret', join(path, 'in/leaf'));
    fs.symlinkSync('../out', join(path, 'in/away'));
    fs.symlinkSync('sub', join(path, 'in/toSub'));
    fs.symlinkSync('/sub/inner', join(path, 'in/absolute'));
    return path;
  }

  it("'beneath': nothing leads out, in any method", async () => {
    const path = guarded();
    await using dir = await Dir.open(join(path, 'in'));
    const resolve = 'beneath';
    for (const out of ['../secret', 'leaf', `${path}/secret`, 'sub/../../secret', 'absolute']) {
      for (const op of [
        () => dir.open(out, 'r', { resolve }),
        () => dir.readFile(out, { resolve }),
        () => dir.stat(out, { resolve }),
        () => dir.chmod(out, 0o777, { resolve }),
        () => dir.utimes(out, 0, 0, { resolve }),
        () => dir.chown(out, -1, -1, { resolve }),
        () => dir.writeFile(out, 'overwritten', { resolve }),
      ]) {
        expect([out, (await failure(op())).code]).toEqual([out, 'EXDEV']);
      }
    }
    for (const out of ['../out', 'away', `${path}/out`]) {
      for (const op of [
        () => dir.openDir(out, { resolve }),
        () => dir.readdir(out, { resolve }),
        () => dir.readdir(out, { resolve, recursive: true }),
        () => dir.mkdir(`${out}/new`, { resolve }),
        () => dir.symlink('x', `${out}/new`, { resolve }),
        () => dir.unlink(`${out}/file`, { resolve }),
        () => dir.rmdir(`${out}/file`, { resolve }),
        () => dir.rm(`${out}/file`, { resolve, recursive: true }),
        () => dir.rename('file', `${out}/new`, { resolve }),
        () => dir.rename(`${out}/file`, 'new', { resolve }),
        () => dir.link('file', `${out}/new`, { resolve }),
        () => dir.readlink(`${out}/file`, { resolve }),
        () => dir.lstat(`${out}/file`, { resolve }),
      ]) {
        expect([out, (await failure(op())).code]).toEqual([out, 'EXDEV']);
      }
    }
    expect(fs.readFileSync(join(path, 'secret'), 'utf8')).toBe('secret');
    expect(fs.readdirSync(join(path, 'out'))).toEqual([]);
  });

  it("'beneath': everything else goes on as usual, links among it", async () => {
    const path = guarded();
    await using dir = await Dir.open(join(path, 'in'));
    const resolve = 'beneath';
    const before = openDescriptors();
    expect(await dir.readFile('toSub/inner', { resolve, encoding: 'utf8' })).toBe('in/sub/inner');
    expect((await dir.stat('toSub', { resolve })).isDirectory()).toBe(true);
    expect((await dir.lstat('toSub', { resolve })).isSymbolicLink()).toBe(true);
    expect(await dir.readlink('sub/../leaf', { resolve })).toBe('../secret');
    await dir.mkdir('toSub/made/', { resolve });
    await dir.writeFile('sub/made/f', 'x', { resolve });
    await dir.chmod('sub/made/f', 0o600, { resolve });
    await dir.utimes('sub/made/f', 5, 5, { resolve });
    await dir.rename('toSub/made/f', 'g', { resolve });
    await dir.link('g', 'sub/h', { resolve });
    await dir.symlink('h', 'sub/i', { resolve });
    const { mode, mtimeMs, nlink } = fs.statSync(join(path, 'in/g'));
    expect([mode & 0o777, mtimeMs, nlink]).toEqual([0o600, 5000, 2]);
    expect((await dir.readdir('toSub', { resolve })).sort()).toEqual(['h', 'i', 'inner', 'made']);
    expect((await dir.readdir('toSub', { resolve, recursive: true })).sort()).toEqual([
      'h',
      'i',
      'inner',
      'made',
    ]);
    await dir.rm('toSub/made', { resolve, recursive: true });
    await dir.unlink('toSub/i', { resolve });
    await dir.rm('sub', { resolve, recursive: true });
    expect((await dir.readdir('.')).sort()).toEqual(['absolute', 'away', 'file', 'g', 'leaf', 'toSub']);
    expect(openDescriptors()).toBe(before);
  });

  it("'in-root': the directory is the root", async () => {
    const path = guarded();
    await using dir = await Dir.open(join(path, 'in'));
    const resolve = 'in-root';
    expect(await dir.readFile('absolute', { resolve, encoding: 'utf8' })).toBe('in/sub/inner');
    expect(await dir.readFile('/../../file', { resolve, encoding: 'utf8' })).toBe('in/file');
    expect((await failure(dir.readFile('leaf', { resolve }))).code).toBe('ENOENT');
  });

  it("'no-symlinks': no link on the way, nor at the end", async () => {
    const path = guarded();
    await using dir = await Dir.open(join(path, 'in'));
    const resolve = 'no-symlinks';
    expect(await dir.readFile('sub/inner', { resolve, encoding: 'utf8' })).toBe('in/sub/inner');
    for (const link of ['toSub/inner', 'absolute']) {
      expect((await failure(dir.readFile(link, { resolve }))).code).toBe('ELOOP');
    }
  });
});

describe('a Dir, cancelled,', () => {
  it('leaves nothing open, whenever that is', async () => {
    const path = fresh('a/', 'a/b');
    await using dir = await Dir.open(path);
    const before = openDescriptors();
    for (let turns = 0; turns < 10; turns++) {
      const futures = [
        Dir.open(path),
        dir.readFile('a/b', { resolve: 'beneath' }),
        dir.stat('a/b', { resolve: 'beneath' }),
        dir.openDir('a', { resolve: 'beneath' }),
        dir.readdir('a', { recursive: true }),
      ];
      for (let i = 0; i < turns; i++) await sleep(0);
      for (const future of futures) {
        future.cancel();
        const opened: unknown = await future.catch(() => null);
        if (opened instanceof Dir) await opened.close();
      }
    }
    await sleep(20);
    expect(openDescriptors()).toBe(before);
  });
});

it('what a function by path has and a method of a Dir has not is refused, not left undone', async () => {
  const path = fresh('a');
  const dir = await Dir.open(path);
  const durable = { durable: true } as object;
  const buffer = { buffer: Buffer.alloc(9) } as object;
  for (const call of [() => dir.writeFile('a', 'x', durable), () => dir.readFile('a', buffer)]) {
    expect(thrown(call).code).toBe('ERR_INVALID_ARG_TYPE');
  }
  expect(fs.readFileSync(join(path, 'a'), 'utf8')).toBe('a');
  await dir.close();
});
