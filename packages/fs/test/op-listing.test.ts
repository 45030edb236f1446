import fs from 'node:fs';
import { join } from 'node:path';
import { Dir, readdir, rm } from '@ouro/fs';
import { metrics } from '@ouro/runtime';
import { expect, it } from 'vitest';
import { runProgram } from '../../../testing/program.ts';
import { failure, temporaryDirectory } from './support.ts';

const dir = temporaryDirectory();

/** Ops of a kind that this thread has ever begun. */
const count = (name: string): number => metrics().ops[name]?.submitted ?? 0;

it('LIST_DIRECTORY lists a directory of usual size at once', async () => {
  for (let i = 0; i < 500; i++) fs.writeFileSync(join(dir, `file-${i}`), '');
  const before = [count('LIST_DIRECTORY'), count('OPENAT')];
  expect((await readdir(dir)).length).toBe(500);
  expect([count('LIST_DIRECTORY'), count('OPENAT')]).toEqual([(before[0] ?? 0) + 1, before[1]]);
});

it('LIST_DIRECTORY goes on where it has ended, and fails where the directory is gone or none', async () => {
  const path = join(dir, 'going');
  fs.mkdirSync(path);
  await using going = await Dir.open(path);
  fs.rmdirSync(path);
  expect(await going.read()).toBeNull();
  expect((await failure(readdir(join(dir, 'file-0')))).code).toBe('ENOTDIR');
});

it('SWEEP_DIRECTORY removes what is in a directory, many names at once', async () => {
  const before = count('SWEEP_DIRECTORY');
  const unlinks = count('UNLINKAT');
  await rm(dir, { recursive: true });
  expect(count('SWEEP_DIRECTORY') - before).toBe(1);
  expect(count('UNLINKAT') - unlinks).toBe(2); // of the path itself, before and behind
  fs.mkdirSync(dir);
});

it('both are refused where they have been switched off', async () => {
  const program = `
    import { readdir, rm } from '@ouro/fs';
    const code = (promise) => promise.then(() => 'done', ({ code }) => code);
    console.log(await code(readdir('.')), await code(rm(process.argv[1], { recursive: true })));`;
  const { stdout } = await runProgram(program, {
    args: [dir],
    env: { OURO_WITHOUT: 'LIST_DIRECTORY,SWEEP_DIRECTORY' },
  });
  expect(stdout).toBe('ERR_OURO_UNSUPPORTED ERR_OURO_UNSUPPORTED\n');
});
