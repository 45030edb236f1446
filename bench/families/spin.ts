import { cross, runEchoPlan, timing } from '../harness/echo.ts';
import type { Options } from '../harness/options.ts';
import type { Report } from '../harness/report.ts';
import { servers, tcp } from '../harness/servers.ts';

const CONTENDERS = tcp('ouro-spin', 'ouro', 'node', 'bun', 'c-spin', 'c');

/** Round trips of one client where the server waits awake for a while before it sleeps, beside those that sleep at once. */
export async function spin(options: Options): Promise<Report> {
  return await runEchoPlan({
    family: 'spin',
    title: 'TCP echo, spinning',
    servers: servers(CONTENDERS, options),
    base: 'node',
    cells: cross(options.clients ?? [1], options.sizes ?? [64]),
    ...timing(options),
  });
}
