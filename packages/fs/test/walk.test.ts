import fs from 'node:fs';
import { join } from 'node:path';
import { type Stats, type WalkEntry, walk } from '@ouro/fs';
import { sleep } from '@ouro/runtime';
import { beforeAll, describe, expect, it } from 'vitest';
import { root as checkout, runProgram } from '../../../testing/program.ts';
import { begunWith, randomTree } from './odd-trees.ts';
import { failure, openDescriptors, temporaryDirectory, thrown } from './support.ts';

const dir = temporaryDirectory();
beforeAll(begunWith);

/** All below a directory, as node:fs tells it. */
function below(path: Buffer): Map<string, fs.Stats> {
  const all = new Map<string, fs.Stats>();
  for (const name of fs.readdirSync(path, 'buffer')) {
    const at = Buffer.concat([path, Buffer.from('/'), name]);
    const stats = fs.lstatSync(at);
    all.set(at.toString('latin1'), stats);
    if (stats.isDirectory()) for (const [inner, of] of below(at)) all.set(inner, of);
  }
  return all;
}

const fields = (stats: fs.Stats | Stats | null): unknown =>
  stats && [stats.ino, stats.mode, stats.size, stats.nlink, stats.mtimeMs, stats.dev, stats.birthtimeMs];

async function pathsOf(entries: AsyncIterable<WalkEntry>): Promise<string[]> {
  const found: string[] = [];
  for await (const { path } of entries) found.push(path);
  return found;
}

describe('walk finds what node:fs finds', () => {
  it.each([11, 12, 13, 14])(
    'in random tree %i, with stats, each directory before what is in it',
    async (seed) => {
      const root = join(dir, `tree${seed}`);
      randomTree(root, seed, 400);
      const before = openDescriptors();
      for (const options of [{}, { order: 'sorted' }, { concurrency: 1 }, { concurrency: 64 }] as const) {
        const theirs = below(Buffer.from(root));
        const seen = new Set([root]);
        for await (const entry of walk(root, { ...options, stats: true, encoding: 'buffer' })) {
          const path = entry.path.toString('latin1');
          expect(seen.has(entry.parentPath.toString('latin1'))).toBe(true);
          expect(seen.has(path)).toBe(false);
          seen.add(path);
          expect(fields(entry.stats)).toEqual(fields(theirs.get(path) ?? null));
          expect(entry.isDirectory()).toBe(theirs.get(path)?.isDirectory());
          expect(entry.depth).toBe(path.slice(root.length).split('/').length - 1);
        }
        expect(seen.size).toBe(theirs.size + 1);
      }
      expect(openDescriptors()).toBe(before);
    },
  );

  it('in 300 directories of 30 files, in batches', async () => {
    const root = join(dir, 'wide');
    for (let i = 0; i < 300; i++) {
      fs.mkdirSync(join(root, `${i}`), { recursive: true });
      for (let j = 0; j < 30; j++) fs.writeFileSync(join(root, `${i}`, `${j}`), '');
    }
    let count = 0;
    for await (const batch of walk(root).batches()) {
      count += batch.length;
      expect(openDescriptors()).toBeLessThan(120);
    }
    expect(count).toBe(300 * 31);
    expect((await pathsOf(walk(root))).length).toBe(300 * 31);
  });

  it('in a directory of 20,000 names', async () => {
    const root = join(dir, 'flat');
    fs.mkdirSync(root);
    for (let i = 0; i < 20_000; i++) fs.linkSync(join(dir, 'wide', '0', '0'), join(root, `${i}`));
    expect(new Set(await pathsOf(walk(root, { stats: true }))).size).toBe(20_000);
  });

  it('10,000 levels deep, with few descriptors', async () => {
    const root = join(dir, 'deep');
    fs.mkdirSync(root);
    const home = process.cwd();
    const program = `
      process.chdir(${JSON.stringify(root)});
      const fs = await import('node:fs');
      for (let i = 0; i < 10_000; i++) { fs.mkdirSync('level'); fs.writeFileSync('f', ''); process.chdir('level'); }
      process.chdir(${JSON.stringify(root)});
      const { walk, rm } = await import('@ouro/fs');
      let count = 0, deepest = 0;
      for await (const batch of walk('.', { stats: true }).batches()) {
        count += batch.length;
        for (const { depth } of batch) deepest = Math.max(deepest, depth);
      }
      await rm('level', { recursive: true });
      console.log(JSON.stringify([count, deepest, fs.readdirSync('.')]));`;
    const { stdout, stderr } = await runProgram(program, {
      under: ['bash', '-c', `cd ${checkout} && exec prlimit --nofile=100:100 "$@"`, 'bash'],
      limitMs: 100_000,
    });
    expect(stderr).toBe('');
    expect(JSON.parse(stdout)).toEqual([20_000, 10_000, ['f']]);
    expect(process.cwd()).toBe(home);
  }, 120_000);
});

describe('walk', () => {
  const root = join(dir, 'small');
  for (const path of ['a/b/c', 'a/d', 'e/f']) fs.mkdirSync(join(root, path), { recursive: true });
  for (const path of ['a/1', 'a/b/2', 'e/f/3', '4']) fs.writeFileSync(join(root, path), path);
  fs.symlinkSync('../a', join(root, 'e/toA'));
  fs.symlinkSync('..', join(root, 'a/b/up'));
  fs.symlinkSync('gone', join(root, 'dangling'));
  const relative = (paths: readonly string[]): string[] => paths.map((path) => path.slice(root.length + 1));

  it('sorted: what is in a directory follows it, by name', async () => {
    expect(relative(await pathsOf(walk(root, { order: 'sorted' })))).toEqual([
      ...['4', 'a', 'a/1', 'a/b', 'a/b/2', 'a/b/c', 'a/b/up', 'a/d', 'dangling'],
      ...['e', 'e/f', 'e/f/3', 'e/toA'],
    ]);
  });

  it('goes as deep as it may', async () => {
    const at = async (depth: number): Promise<string[]> =>
      relative(await pathsOf(walk(root, { depth, order: 'sorted' })));
    expect(await at(1)).toEqual(['4', 'a', 'dangling', 'e']);
    expect(await at(2)).toEqual(['4', 'a', 'a/1', 'a/b', 'a/d', 'dangling', 'e', 'e/f', 'e/toA']);
  });

  it('filter chooses what is given, enter where it goes', async () => {
    const files = walk(root, { order: 'sorted', filter: (entry) => entry.isFile() });
    expect(relative(await pathsOf(files))).toEqual(['4', 'a/1', 'a/b/2', 'e/f/3']);
    const notA = walk(root, { order: 'sorted', enter: ({ name }) => name !== 'a' });
    expect(relative(await pathsOf(notA))).toEqual(['4', 'a', 'dangling', 'e', 'e/f', 'e/f/3', 'e/toA']);
  });

  it('follows links where it is told to, and says where they go round in circles', async () => {
    const circles: string[] = [];
    const entries = walk(root, {
      followSymlinks: true,
      stats: true,
      order: 'sorted',
      onError: (error, path) =>
        circles.push(`${(error as NodeJS.ErrnoException).code} ${path.toString().slice(root.length + 1)}`),
    });
    const found: string[] = [];
    for await (const { path, stats } of entries) {
      found.push(`${path.slice(root.length + 1)}${stats?.isDirectory() ? '/' : ''}`);
    }
    expect(found).toContain('e/toA/');
    expect(found).toContain('e/toA/b/2');
    expect(found).toContain('dangling');
    expect(circles.sort()).toEqual(['ELOOP a/b/up', 'ELOOP e/toA/b/up']);
    expect((await failure(pathsOf(walk(root, { followSymlinks: true })))).code).toBe('ELOOP');
  });

  it('begins anew each time it is iterated', async () => {
    const entries = walk(root);
    expect((await pathsOf(entries)).sort()).toEqual((await pathsOf(entries)).sort());
  });

  it('serves those who ask for several at a time', async () => {
    const iterator = walk(root)[Symbol.asyncIterator]();
    const all = await Promise.all(Array.from({ length: 20 }, () => iterator.next()));
    expect(all.filter(({ done }) => done !== true).length).toBe(13);
  });

  it('fails where the root is none, as readdir does', async () => {
    const entries = walk(join(root, 'nowhere'));
    expect(await failure(pathsOf(entries))).toMatchObject({ code: 'ENOENT', syscall: 'scandir' });
    expect(await failure(pathsOf(walk(join(root, '4'))))).toMatchObject({
      code: 'ENOTDIR',
      syscall: 'scandir',
    });
  });

  it('left early, stopped by its signal or by what its functions throw, leaves nothing open', async () => {
    const big = join(dir, 'wide');
    const before = openDescriptors();
    for (const most of [1, 2, 500, 5000]) {
      let count = 0;
      for await (const _ of walk(big, { stats: true })) if (++count === most) break;
      const controller = new AbortController();
      count = 0;
      const aborted = (async () => {
        for await (const _ of walk(big, { signal: controller.signal }))
          if (++count === most) controller.abort('why');
      })();
      expect(await failure(aborted)).toMatchObject({ name: 'AbortError' });
      count = 0;
      const filter = (): boolean => {
        if (++count === most) throw new RangeError('mine');
        return true;
      };
      expect((await failure(pathsOf(walk(big, { filter })))).message).toBe('mine');
    }
    expect((await failure(pathsOf(walk(big, { stats: true, timeout: 0 })))).code).toBe('ETIMEDOUT');
    await sleep(10);
    expect(openDescriptors()).toBe(before);
  });

  it('holds a bounded number of entries for a reader that is slow', async () => {
    const batches = walk(join(dir, 'flat')).batches();
    await batches.next();
    await sleep(100);
    // 20,000 names lie there: what it reads ahead has an end.
    let ready = 0;
    for (let turn = 0; turn < 3; turn++) ready += (await batches.next()).value?.length ?? 0;
    expect(ready).toBeLessThan(15_000);
    await batches.return?.();
  });

  it('goes through a tree that others change', async () => {
    const live = join(dir, 'live');
    const make = (i: number): void => {
      fs.mkdirSync(join(live, `${i % 7}`, `${i}`), { recursive: true });
      fs.writeFileSync(join(live, `${i % 7}`, `${i}`, 'file'), '');
    };
    for (let i = 0; i < 300; i++) make(i);
    for (let round = 0; round < 5; round++) {
      let i = 0;
      for await (const entry of walk(live, { stats: true })) {
        expect(entry.stats).not.toBeNull();
        if (i % 3 === 0) fs.rmSync(join(live, `${i % 7}`, `${i}`), { recursive: true, force: true });
        if (i % 5 === 0) make(1000 + round * 1000 + i);
        i++;
      }
    }
  });

  it('goes through /proc/self', async () => {
    const errors: string[] = [];
    let count = 0;
    for await (const _ of walk('/proc/self', {
      stats: true,
      depth: 2,
      onError: ({ message }) => errors.push(message),
    }))
      count++;
    expect(count).toBeGreaterThan(100);
  });

  it('says what may not be read: to onError, or by failing', async () => {
    const shut = join(dir, 'shut');
    fs.mkdirSync(join(shut, 'a/b'), { recursive: true });
    fs.mkdirSync(join(shut, 'c'));
    fs.writeFileSync(join(shut, 'c/file'), '');
    fs.chmodSync(join(shut, 'a'), 0);
    fs.chmodSync(join(shut, 'c'), 0o444);
    const program = `
      import { walk } from '@ouro/fs';
      const [shut] = process.argv.slice(1);
      const errors = [], found = [];
      const onError = ({ code, syscall, path }, where) => errors.push([code, syscall, path, String(where)]);
      for await (const { path, stats } of walk(shut, { stats: true, onError, order: 'sorted' })) found.push([path, stats !== null]);
      const failed = await (async () => { for await (const _ of walk(shut)); })().catch(({ code, syscall, path }) => [code, syscall, path]);
      console.log(JSON.stringify({ errors, found, failed }));`;
    const under =
      process.getuid?.() === 0
        ? ['setpriv', '--inh-caps=-all', '--bounding-set=-dac_override,-dac_read_search']
        : [];
    const { stdout, stderr } = await runProgram(program, { args: [shut], under });
    fs.chmodSync(join(shut, 'a'), 0o755);
    fs.chmodSync(join(shut, 'c'), 0o755);
    expect(stderr).toBe('');
    const [a, c] = [join(shut, 'a'), join(shut, 'c')];
    expect(JSON.parse(stdout)).toEqual({
      errors: [
        ['EACCES', 'scandir', a, a],
        ['EACCES', 'lstat', `${c}/file`, `${c}/file`],
      ],
      found: [
        [a, true],
        [c, true],
        [`${c}/file`, false],
      ],
      failed: ['EACCES', 'scandir', a],
    });
  });

  it('is ended by what its functions throw, also by errors that look like those of directories', async () => {
    const root = join(dir, 'callbacks');
    fs.mkdirSync(join(root, 'a/b'), { recursive: true });
    const missing = (): boolean => fs.statSync(join(root, 'none')).isFile();
    const told: Error[] = [];
    const onError = (error: Error): void => void told.push(error);
    const statError = thrown(missing);
    for (const order of ['any', 'sorted'] as const) {
      for (const options of [
        { filter: ({ depth }: WalkEntry) => depth < 2 || missing(), onError },
        { enter: ({ depth }: WalkEntry) => depth < 2 || missing(), onError },
      ]) {
        expect(await failure(pathsOf(walk(root, { ...options, order })))).toEqual(statError);
      }
    }
    expect(told).toEqual([]);
  });

  it('passes over a directory that has become something else', async () => {
    const root = join(dir, 'replaced');
    fs.mkdirSync(join(root, 'a/b'), { recursive: true });
    fs.mkdirSync(join(root, 'elsewhere/c'), { recursive: true });
    const enter = ({ name, path }: WalkEntry): boolean => {
      if (name !== 'a') return false;
      fs.rmSync(path, { recursive: true });
      fs.symlinkSync('elsewhere', path);
      return true;
    };
    expect((await pathsOf(walk(root, { enter }))).sort()).toEqual([join(root, 'a'), join(root, 'elsewhere')]);
  });

  it('refuses what makes no sense before anything happens', () => {
    for (const [options, code] of [
      [{ depth: 0 }, 'ERR_OUT_OF_RANGE'],
      [{ concurrency: 0 }, 'ERR_OUT_OF_RANGE'],
      [{ concurrency: 1.5 }, 'ERR_OUT_OF_RANGE'],
      [{ order: 'random' }, 'ERR_INVALID_ARG_VALUE'],
      [{ filter: 7 }, 'ERR_INVALID_ARG_TYPE'],
      [{ encoding: 'x' }, 'ERR_INVALID_ARG_VALUE'],
    ] as const) {
      expect(thrown(() => walk('.', options as never)).code).toBe(code);
    }
  });
});
