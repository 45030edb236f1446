import { join } from 'node:path';
import type { EchoServer } from './echo.ts';
import { HOOKED, hooked } from './hooked.ts';
import { type NativeProgram, program } from './native.ts';
import { chosen, type Options } from './options.ts';
import { BENCH, needed } from './paths.ts';
import { runtimes } from './peers.ts';
import type { Command } from './pinning.ts';

/** A server that a family can choose. All take `--host`, `--port`. */
export interface ServerProgram {
  readonly name: string;
  readonly runtime: 'node' | 'bun' | 'deno' | 'c';
  /** Relative to the repository; of one in C its name. */
  readonly file: string;
  /** Options of its own. */
  readonly args?: readonly string[];
  /** As `NAME=value`. */
  readonly env?: readonly string[];
}

const ADDRESS = ['--host', '127.0.0.1', '--port', '0'] as const;
const OURO_ECHO = { runtime: 'node', file: 'examples/dist/echo.js' } as const;

const TCP: readonly ServerProgram[] = [
  { ...OURO_ECHO, name: 'ouro', env: ['OURO_DRIVER=uring'] },
  {
    name: 'ouro-lease',
    runtime: 'node',
    file: 'bench/dist/workers/echo-lease.js',
    env: ['OURO_DRIVER=uring'],
  },
  { ...OURO_ECHO, name: 'ouro-poll', env: ['OURO_DRIVER=poll'] },
  { ...OURO_ECHO, name: 'ouro-spin', env: ['OURO_DRIVER=uring', 'OURO_SPIN=1'] },
  { name: 'node', runtime: 'node', file: 'bench/peers/node-net-echo.mjs' },
  {
    name: 'node-hook',
    runtime: 'node',
    file: 'bench/peers/node-net-echo.mjs',
    env: hooked('net'),
  },
  { name: 'bun', runtime: 'bun', file: 'bench/peers/bun-echo.mjs' },
  { name: 'deno', runtime: 'deno', file: 'bench/peers/deno-echo.mjs' },
  { name: 'c', runtime: 'c', file: 'uring_echo' },
  { name: 'c-spin', runtime: 'c', file: 'uring_echo', args: ['--spin', '50'] },
  { name: 'c-epoll', runtime: 'c', file: 'epoll_echo' },
];

/** A program of Node's as it is, and with the register hook, all of it, on each engine. */
export function withAndWithoutHook(file: string, args: readonly string[]): ServerProgram[] {
  return HOOKED.map(({ name, env }) => ({ name, env, runtime: 'node', file, args }));
}

/** TCP echo servers by their names. */
export const tcp = (...names: readonly string[]): ServerProgram[] => chosen('contender', TCP, names);

/** Those of `programs` that were asked for, as far as their runtimes are there. */
export function servers(
  programs: readonly ServerProgram[],
  options: Options,
  { memory = false }: { readonly memory?: boolean } = {},
): EchoServer[] {
  const wanted = chosen('contender', programs, options.contenders);
  const others = wanted.some(({ runtime }) => runtime === 'bun' || runtime === 'deno')
    ? runtimes(options.peers)
    : new Map<string, string>();
  return wanted
    .filter(({ runtime }) => runtime === 'node' || runtime === 'c' || others.has(runtime))
    .map((server) => ({ name: server.name, command: commandFor(server, others, memory) }));
}

/** With `memory`, of those that have a heap, loaded with what reports it: see peers/memory.mjs. */
function commandFor(server: ServerProgram, others: ReadonlyMap<string, string>, memory: boolean): Command {
  const { name, runtime, file, args = [], env = [] } = server;
  const rest = [...args, ...ADDRESS];
  // Looked up only when chosen: whoever measures node against C needs no ouro.
  if (runtime === 'c') return { file: program(file as NativeProgram), args: rest };
  const path = needed(
    name,
    file,
    file.startsWith('bench/peers') ? 'it is part of the repository' : 'run `npm run build`',
  );
  const preload = join(BENCH, 'peers/memory.mjs');
  const other = others.get(runtime) ?? runtime;
  switch (runtime) {
    case 'bun':
      return { file: other, args: [...(memory ? ['--preload', preload] : []), path, ...rest] };
    case 'deno': {
      const flags = memory ? ['--v8-flags=--expose-gc', '--preload', preload] : [];
      return { file: other, args: ['run', '-A', '--unstable-net', ...flags, path, ...rest] };
    }
    default: {
      const flags = memory ? ['--expose-gc', '--import', preload] : [];
      return { file: 'env', args: [...env, process.execPath, ...flags, path, ...rest] };
    }
  }
}
