import { cross, runEchoPlan, timing } from '../harness/echo.ts';
import { chosen, type Options } from '../harness/options.ts';
import { needed } from '../harness/paths.ts';
import type { Report } from '../harness/report.ts';

const SERVERS: readonly { readonly name: string; readonly script: string }[] = [
  { name: 'node', script: 'bench/peers/node-net-echo.mjs' },
  { name: 'node+ouro', script: 'bench/peers/node-net-echo-guest.mjs' },
];

/** What libuv loses as ouro's guest: the same node:net server with and without one idle op in the ring. */
export async function guest(options: Options): Promise<Report> {
  needed('node+ouro', 'packages/runtime/dist/index.js', 'run `npm run build`');
  const servers = chosen('contender', SERVERS, options.contenders);
  return await runEchoPlan({
    family: 'guest',
    title: 'node:net echo with ouro beside it',
    servers: servers.map(({ name, script }) => ({
      name,
      command: { file: process.execPath, args: [needed(name, script, 'it is part of the repository')] },
    })),
    base: 'node',
    cells: cross(options.clients ?? [1, 100], options.sizes ?? [64]),
    ...timing(options),
  });
}
