import { cross, runEchoPlan, timing } from '../harness/echo.ts';
import type { Options } from '../harness/options.ts';
import type { Report } from '../harness/report.ts';
import { servers, tcp } from '../harness/servers.ts';

const CONTENDERS = tcp('ouro', 'ouro-lease', 'ouro-poll', 'node', 'node-hook', 'bun', 'deno', 'c', 'c-epoll');
const CLIENTS = [1, 10, 100, 1000];
const SIZES = [64, 4096, 65536];
/** The conditions of monoio's own benchmark: 80 and 250 connections on one core, messages of 1 KiB and 100 bytes. */
const PING_PONG = { clients: [80, 250], sizes: [1024, 100] } as const;

/** A TCP echo in a closed loop: what the server does, what it costs, how long a client waits. */
export async function echo(options: Options): Promise<Report> {
  const all = options.clients === undefined && options.sizes === undefined;
  return await runEchoPlan({
    family: 'echo',
    title: 'TCP echo',
    servers: servers(CONTENDERS, options),
    base: 'node',
    cells: [
      ...cross(options.clients ?? CLIENTS, options.sizes ?? SIZES),
      ...(all ? cross(PING_PONG.clients, PING_PONG.sizes) : []),
    ],
    ...timing(options),
  });
}
