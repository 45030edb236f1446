import { cross, runEchoPlan, timing } from '../harness/echo.ts';
import type { Options } from '../harness/options.ts';
import type { Report } from '../harness/report.ts';
import { servers, tcp } from '../harness/servers.ts';

const CONTENDERS = tcp('ouro', 'ouro-poll', 'node', 'node-hook', 'bun', 'deno', 'c', 'c-epoll');

/** Connections that are made, carry one message there and back, and end. */
export async function churn(options: Options): Promise<Report> {
  return await runEchoPlan({
    family: 'churn',
    title: 'connections of one message',
    servers: servers(CONTENDERS, options),
    base: 'node',
    cells: cross(options.clients ?? [1, 50], options.sizes ?? [64]),
    load: 'churn_load',
    unit: 'conn',
    ...timing(options),
  });
}
