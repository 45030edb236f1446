import { spawnSync } from 'node:child_process';
import { mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { BenchError } from './error.ts';
import { BENCH, BIN } from './paths.ts';

const LOAD = join(BENCH, 'load');
const PROGRAMS = {
  echo_load: ['echo_load.c'],
  uring_echo: ['uring_echo.c', 'ring.h'],
  uring_files: ['uring_files.c', 'ring.h'],
} as const;

/** The path of one of our C programs, compiled if its sources are newer. */
export function program(name: keyof typeof PROGRAMS): string {
  const sources = PROGRAMS[name].map((file) => join(LOAD, file));
  const output = join(BIN, name);
  const built = modified(output);
  if (sources.some((source) => modified(source) >= built)) compile(sources[0], output);
  return output;
}

function modified(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}

function compile(source: string, output: string): void {
  mkdirSync(BIN, { recursive: true });
  const { CC: compiler = 'cc' } = process.env;
  const { error, status, stderr } = spawnSync(compiler, ['-O2', '-Wall', '-Wextra', '-o', output, source], {
    encoding: 'utf8',
  });
  if (error !== undefined) throw new BenchError(`cannot run the C compiler '${compiler}': ${error.message}`);
  if (status !== 0) throw new BenchError(`${compiler} ${source} failed:\n${stderr}`);
}
