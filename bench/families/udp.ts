import { cross, runEchoPlan, timing } from '../harness/echo.ts';
import { hooked } from '../harness/hooked.ts';
import type { Options } from '../harness/options.ts';
import type { Report } from '../harness/report.ts';
import { type ServerProgram, servers } from '../harness/servers.ts';

const OURO = { runtime: 'node', file: 'bench/dist/workers/udp-ouro.js' } as const;
const NODE = { runtime: 'node', file: 'bench/peers/node-dgram-echo.mjs' } as const;
const CONTENDERS: readonly ServerProgram[] = [
  { ...OURO, name: 'ouro', env: ['OURO_DRIVER=uring'] },
  { ...OURO, name: 'ouro-batches', env: ['OURO_DRIVER=uring'], args: ['--batches'] },
  { ...OURO, name: 'ouro-poll', env: ['OURO_DRIVER=poll'] },
  { ...NODE, name: 'node' },
  { ...NODE, name: 'node-hook', env: hooked('dgram') },
  { name: 'bun', runtime: 'bun', file: 'bench/peers/bun-udp-echo.mjs' },
  { name: 'deno', runtime: 'deno', file: 'bench/peers/deno-udp-echo.mjs' },
  { name: 'c', runtime: 'c', file: 'udp_echo' },
];

/** A UDP echo in a closed loop. */
export async function udp(options: Options): Promise<Report> {
  return await runEchoPlan({
    family: 'udp',
    title: 'UDP echo',
    servers: servers(CONTENDERS, options),
    base: 'node',
    // Not a thousand: so many datagrams do not fit a receive queue of the usual size, and it would be losses that are measured.
    cells: cross(options.clients ?? [1, 10, 100], options.sizes ?? [64, 1400]),
    load: 'udp_load',
    ...timing(options),
  });
}
