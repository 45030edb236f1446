import { spawnSync } from 'node:child_process';
import { mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { BenchError } from './error.ts';
import { BENCH, BIN } from './paths.ts';

const LOAD = join(BENCH, 'load');
const PROGRAMS = {
  echo_load: ['echo_load.c', 'closed_loop.h', 'load.h'],
  http_load: ['http_load.c', 'closed_loop.h', 'load.h'],
  churn_load: ['churn_load.c', 'load.h'],
  idle_load: ['idle_load.c', 'load.h'],
  udp_load: ['udp_load.c', 'load.h'],
  uring_echo: ['uring_echo.c', 'ring.h'],
  epoll_echo: ['epoll_echo.c'],
  udp_echo: ['udp_echo.c'],
  uring_files: ['uring_files.c', 'ring.h'],
  send_load: ['send_load.c'],
  send_server: ['send_server.c'],
} as const;

export type NativeProgram = keyof typeof PROGRAMS;

/** The path of one of our C programs, compiled if its sources are newer. */
export function program(name: NativeProgram): string {
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
