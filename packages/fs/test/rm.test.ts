import fs from 'node:fs';
import { join } from 'node:path';
import { mkdtemp, rm } from '@ouro/fs';
import { sleep } from '@ouro/runtime';
import { beforeAll, describe, expect, it } from 'vitest';
import { runProgram } from '../../../testing/program.ts';
import { begunWith, countNames, randomTree } from './odd-trees.ts';
import { openDescriptors, shape, temporaryDirectory, thrown } from './support.ts';

const dir = temporaryDirectory();
beforeAll(begunWith);
const recursive = { recursive: true };

describe('rm removes', () => {
  it.each([21, 22, 23, 24, 25])('random tree %i, and nothing that its links lead to', async (seed) => {
    const root = join(dir, `tree${seed}`);
    randomTree(root, seed, 500);
    const outside = join(dir, 'outside');
    fs.mkdirSync(join(outside, 'inner'), { recursive: true });
    fs.writeFileSync(join(outside, 'inner/file'), 'kept');
    fs.symlinkSync('../outside', join(root, 'out'));
    const before = openDescriptors();
    await rm(root, recursive);
    expect(fs.existsSync(root)).toBe(false);
    expect(fs.readFileSync(join(outside, 'inner/file'), 'utf8')).toBe('kept');
    expect(openDescriptors()).toBe(before);
  });

  it('a file, a link, a link to a directory, an empty directory', async () => {
    const [file, link, toDir, empty] = ['f', 'l', 'd', 'e'].map((name) => join(dir, name)) as [
      string,
      string,
      string,
      string,
    ];
    fs.writeFileSync(file, '');
    fs.symlinkSync('nowhere', link);
    fs.symlinkSync('outside', toDir);
    fs.mkdirSync(empty);
    for (const path of [file, link, toDir]) await rm(path);
    await rm(`${empty}//`, recursive);
    expect(fs.readdirSync(dir)).toEqual(expect.not.arrayContaining(['f', 'l', 'd', 'e']));
    expect(fs.existsSync(join(dir, 'outside'))).toBe(true);
  });

  it('a directory of 2,500 files and 1,500 directories', async () => {
    const root = join(dir, 'many');
    fs.mkdirSync(root);
    for (let i = 0; i < 2500; i++) fs.writeFileSync(join(root, `f${i}`), '');
    for (let i = 0; i < 1500; i++) fs.mkdirSync(join(root, `d${i}`));
    await rm(root, recursive);
    expect(fs.existsSync(root)).toBe(false);
  });

  it('what mkdtemp has made, with all that is in it', async () => {
    const temporary = await mkdtemp(join(dir, 'temporary-'));
    fs.mkdirSync(join(temporary.path, 'a/b'), recursive);
    await temporary[Symbol.asyncDispose]();
    expect(fs.existsSync(temporary.path)).toBe(false);
  });

  it('a tree to which somebody adds meanwhile, with retries', async () => {
    const root = join(dir, 'growing');
    fs.mkdirSync(root);
    for (let i = 0; i < 200; i++) fs.mkdirSync(join(root, `d${i}`));
    const removed = rm(root, { recursive: true, maxRetries: 5, retryDelay: 1 });
    for (let i = 0; i < 40; i++) {
      try {
        fs.writeFileSync(join(root, `d${i}`, 'late'), '');
      } catch {
        // That one is gone already.
      }
      await sleep(0);
    }
    await removed;
    expect(fs.existsSync(root)).toBe(false);
  });
});

describe('rm fails as that of node:fs', () => {
  it('where there is nothing, where a directory is not to be removed, and below a file', async () => {
    const file = join(dir, 'plain');
    fs.writeFileSync(file, '');
    fs.mkdirSync(join(dir, 'some'), recursive);
    const cases: [string, fs.RmOptions][] = [
      [join(dir, 'nothing'), {}],
      [join(dir, 'nothing'), recursive],
      [join(dir, 'nothing/at/all'), { force: true }],
      [join(dir, 'some'), {}],
      [join(dir, 'some'), { force: true }],
      [join(file, 'x'), {}],
      [join(file, 'x'), { force: true }],
      [`${dir}/${'x'.repeat(300)}`, recursive],
      [`${dir}/some/.`, recursive],
      [`${dir}/some`, recursive],
    ];
    for (const [path, options] of cases) {
      const outcome = (promise: Promise<void>): Promise<unknown> =>
        promise.catch((error: unknown) => {
          const { code, syscall } = shape(error);
          return [code, syscall, (error as NodeJS.ErrnoException).path];
        });
      const ours = await outcome(rm(path, options));
      if (path.endsWith('some') && options.recursive) fs.mkdirSync(path);
      expect(ours).toEqual(await outcome(fs.promises.rm(path, options)));
    }
  });

  it('where it may not: with the path of what is left', async () => {
    const root = join(dir, 'guarded');
    fs.mkdirSync(join(root, 'open'), recursive);
    fs.mkdirSync(join(root, 'shut'));
    fs.mkdirSync(join(root, 'empty'));
    fs.writeFileSync(join(root, 'shut/file'), '');
    fs.mkdirSync(join(root, 'blind'));
    fs.writeFileSync(join(root, 'blind/file'), '');
    fs.chmodSync(join(root, 'shut'), 0o555);
    fs.chmodSync(join(root, 'empty'), 0);
    const program = `
      import { rm } from '@ouro/fs'; import fs from 'node:fs';
      const [root] = process.argv.slice(1);
      const outcome = (path) => rm(path, { recursive: true }).then(() => 'gone', ({ code, syscall, path }) => [code, syscall, path]);
      const result = [await outcome(root + '/shut'), await outcome(root + '/empty')];
      fs.chmodSync(root + '/blind', 0o300);
      result.push(await outcome(root + '/blind'));
      fs.chmodSync(root, 0o555);
      result.push(await outcome(root + '/open'), await outcome(root + '/shut'));
      result.push(await rm(root + '/open').catch(({ code, syscall, path }) => [code, syscall, path]));
      console.log(JSON.stringify(result));`;
    const under =
      process.getuid?.() === 0
        ? ['setpriv', '--inh-caps=-all', '--bounding-set=-dac_override,-dac_read_search']
        : [];
    const { stdout, stderr } = await runProgram(program, { args: [root], under });
    for (const name of ['.', 'shut', 'blind']) fs.chmodSync(join(root, name), 0o755);
    expect(stderr).toBe('');
    expect(JSON.parse(stdout)).toEqual([
      ['EACCES', 'unlink', join(root, 'shut/file')],
      'gone',
      ['EACCES', 'scandir', join(root, 'blind')],
      ['EACCES', 'rmdir', join(root, 'open')],
      ['EACCES', 'rmdir', join(root, 'shut')],
      ['ERR_FS_EISDIR', 'rm', join(root, 'open')],
    ]);
  });

  it('refuses what makes no sense', () => {
    for (const options of [
      { recursive: 1 },
      { force: 'x' },
      { maxRetries: -1 },
      { retryDelay: 0.5 },
      7,
      null,
    ]) {
      const ours = thrown(() => void rm('x', options as never)).code;
      expect(['ERR_INVALID_ARG_TYPE', 'ERR_OUT_OF_RANGE']).toContain(
        options === null ? 'ERR_INVALID_ARG_TYPE' : ours,
      );
    }
    expect(thrown(() => rm(7 as never)).code).toBe('ERR_INVALID_ARG_TYPE');
  });
});

describe('rm, while others are at the tree,', () => {
  it('never follows a link that was a directory a moment ago', async () => {
    const target = join(dir, 'target');
    for (let round = 0; round < 20; round++) {
      const root = join(dir, 'swapped');
      fs.mkdirSync(target, recursive);
      for (let i = 0; i < 50; i++) {
        fs.mkdirSync(join(root, `${i}/inner`), recursive);
        fs.writeFileSync(join(target, `${i}`), 'kept');
      }
      const removed = rm(root, { recursive: true, maxRetries: 3, retryDelay: 1 });
      for (let i = 0; i < 50; i++) {
        try {
          fs.renameSync(join(root, `${i}`), join(dir, 'aside'));
          fs.symlinkSync(target, join(root, `${i}`));
          fs.rmSync(join(dir, 'aside'), recursive);
        } catch {
          // It is gone already.
        }
        if (i % 10 === round % 10) await sleep(0);
      }
      await removed.catch(() => {});
      expect(fs.readdirSync(target).length).toBe(50);
      fs.rmSync(root, { recursive: true, force: true });
      fs.rmSync(join(dir, 'aside'), { recursive: true, force: true });
    }
  });

  it('cancelled, stops and leaves nothing open', async () => {
    const before = openDescriptors();
    for (let turns = 0; turns < 12; turns++) {
      const root = join(dir, 'cancelled');
      randomTree(root, 90 + turns, 300);
      const future = rm(root, recursive);
      for (let i = 0; i < turns; i++) await sleep(0);
      future.cancel('enough');
      await future.catch((error: unknown) => expect(shape(error).name).toBe('AbortError'));
      const left = countNames(root);
      await sleep(2);
      expect(countNames(root)).toBe(left);
    }
    await sleep(20);
    expect(openDescriptors()).toBe(before);
  });
});
