import fs from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type GlobOptions, glob } from '@ouro/fs';
import { describe, expect, it } from 'vitest';
import { runProgram } from '../../../testing/program.ts';
import { failure, openDescriptors, temporaryDirectory, thrown } from './support.ts';

const cwd = temporaryDirectory();
for (const name of [
  'a.ts',
  'b.js',
  '.hidden.ts',
  'src/c.ts',
  'src/d.test.ts',
  'src/deep/e.ts',
  'src/deep/er/f.js',
  'src/.git/config.ts',
  'lib/g.ts',
  'lib/[odd]/h.ts',
  'node_modules/x/i.ts',
]) {
  fs.mkdirSync(join(cwd, name, '..'), { recursive: true });
  fs.writeFileSync(join(cwd, name), '');
}
fs.symlinkSync('src', join(cwd, 'link'));

async function find(pattern: string | string[], options: GlobOptions = {}): Promise<string[]> {
  const found: string[] = [];
  for await (const each of glob(pattern, { cwd, ...options, withFileTypes: false })) found.push(each);
  return found.sort();
}

describe('glob finds', () => {
  it.each<[string | string[], string[]]>([
    ['*', ['a.ts', 'b.js', 'lib', 'link', 'node_modules', 'src']],
    ['*.ts', ['a.ts']],
    ['./*.ts', ['a.ts']],
    ['?.{ts,js}', ['a.ts', 'b.js']],
    ['[ab].*', ['a.ts', 'b.js']],
    ['a.ts', ['a.ts']],
    ['gone', []],
    ['gone/*', []],
    ['.*.ts', ['.hidden.ts']],
    ['src/*.ts', ['src/c.ts', 'src/d.test.ts']],
    ['src/**/*.ts', ['src/c.ts', 'src/d.test.ts', 'src/deep/e.ts']],
    ['**/*.js', ['b.js', 'src/deep/er/f.js']],
    ['src/*/*/*.js', ['src/deep/er/f.js']],
    ['src/**/er/*', ['src/deep/er/f.js']],
    ['{src,lib}/*.ts', ['lib/g.ts', 'src/c.ts', 'src/d.test.ts']],
    ['{src/deep,lib}/*.ts', ['lib/g.ts', 'src/deep/e.ts']],
    ['src/!(c.ts|deep)', ['src/d.test.ts']],
    ['src/@(c|d.test).ts', ['src/c.ts', 'src/d.test.ts']],
    ['**/.git/*', ['src/.git/config.ts']],
    ['lib/\\[odd\\]/*', ['lib/[odd]/h.ts']],
    ['lib/\\[odd\\]/h.ts', ['lib/[odd]/h.ts']],
    ['link/*.ts', ['link/c.ts', 'link/d.test.ts']],
    ['s*/', ['src']],
    ['src/', ['src']],
    ['a.ts/', []],
    [
      ['*.ts', 'a.*', 'lib/*.ts'],
      ['a.ts', 'lib/g.ts'],
    ],
    ['src/../*.ts', ['a.ts']],
  ])('%j', async (pattern, wanted) => {
    expect(await find(pattern)).toEqual(wanted);
  });

  it('names with any byte in them', async () => {
    const odd = join(cwd, 'lib/odd');
    for (const name of ['new\nline', 'carriage\rreturn', 'separator\u2028', 'tab\t', '\u0001']) {
      fs.mkdirSync(join(odd, name), { recursive: true });
      fs.writeFileSync(join(odd, name, 'in'), '');
    }
    expect(await find('**/in', { cwd: odd })).toHaveLength(5);
    expect(await find('*/in', { cwd: odd })).toHaveLength(5);
    expect(await find('**', { cwd: odd })).toHaveLength(10);
    expect(await find('new*', { cwd: odd })).toEqual(['new\nline']);
    expect(await find('**', { cwd: odd, exclude: ['new*'] })).toHaveLength(8);
    fs.rmSync(odd, { recursive: true });
  });

  it('absolute paths for absolute patterns, and what begins at a URL', async () => {
    expect(await find(`${cwd}/*.ts`)).toEqual([join(cwd, 'a.ts')]);
    expect(await find('*.ts', { cwd: pathToFileURL(cwd) })).toEqual(['a.ts']);
  });

  it('not what is excluded, nor what is in it', async () => {
    const all = ['a.ts', 'lib/[odd]/h.ts', 'lib/g.ts', 'src/c.ts', 'src/d.test.ts', 'src/deep/e.ts'];
    expect(await find('**/*.ts', { exclude: ['node_modules'] })).toEqual(all);
    expect(await find('**/*.ts', { exclude: (path) => path === 'node_modules' })).toEqual(all);
    expect(await find('**/*.ts', { exclude: ['node_modules/**', '**/*.test.ts', 'lib/**'] })).toEqual([
      ...['a.ts', 'src/c.ts', 'src/deep/e.ts'],
    ]);
    expect(await find('a.ts', { exclude: ['a.*'] })).toEqual([]);
  });

  it('entries', async () => {
    for await (const entry of glob(['src/*.test.ts', 'src/d.*'], { cwd, withFileTypes: true })) {
      expect([entry.name, entry.isFile(), entry.path]).toEqual([
        'd.test.ts',
        true,
        join(cwd, 'src/d.test.ts'),
      ]);
    }
    for await (const entry of glob('link', { cwd, withFileTypes: true })) {
      expect([entry.name, entry.isSymbolicLink(), entry.parentPath]).toEqual(['link', true, cwd]);
    }
  });

  it('nothing where it need not look', async () => {
    const looked: string[] = [];
    await find('src/*.ts', { exclude: (path) => looked.push(path) < 0 });
    expect(looked.some((path) => path.startsWith('src/deep/'))).toBe(false);
    expect(looked.some((path) => path.startsWith('node_modules'))).toBe(false);
  });
});

describe('glob', () => {
  it('left early or aborted leaves nothing open', async () => {
    await find('**');
    const before = openDescriptors();
    for await (const _ of glob('**', { cwd })) break;
    const iterator = glob('**', { cwd, signal: AbortSignal.abort() });
    expect((await failure(iterator.next())).name).toBe('AbortError');
    expect(openDescriptors()).toBe(before);
  });

  it('does not take a process that may open nothing more for an empty directory', async () => {
    const program = `
      import fs from 'node:fs';
      import { glob, readdir } from '@ouro/fs';
      await readdir('/');
      try { for (;;) fs.openSync('/dev/null'); } catch {}
      try {
        for await (const _ of glob('**', { cwd: process.argv[1] })) console.log('found');
      } catch ({ code }) { console.log(code); }
      process.exit();`;
    const { stdout } = await runProgram(program, { args: [cwd], under: ['prlimit', '--nofile=400'] });
    expect(stdout).toBe('EMFILE\n');
  });

  it('refuses what makes no sense', () => {
    for (const [pattern, options] of [
      [7, {}],
      [['a', 7], {}],
      ['a', 7],
      ['a', { cwd: 7 }],
      ['a', { exclude: 7 }],
      ['a', { exclude: 'a'.length }],
    ]) {
      expect(thrown(() => glob(pattern as never, options as never)).code).toBe('ERR_INVALID_ARG_TYPE');
    }
  });
});
