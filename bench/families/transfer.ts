import { closeSync, mkdirSync, openSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { Budget } from '../harness/budget.ts';
import { Child } from '../harness/child.ts';
import { cross, type EchoServer, runEchoPlan, timing } from '../harness/echo.ts';
import { program } from '../harness/native.ts';
import { chosen, type Options } from '../harness/options.ts';
import { BIN, needed } from '../harness/paths.ts';
import { asLoad, asServer, type Command } from '../harness/pinning.ts';
import type { Cell, Report, Row } from '../harness/report.ts';
import { alternate, median, medianRatio } from '../harness/rounds.ts';
import { figure, printTable, times } from '../harness/table.ts';

const node = process.execPath;
const BASE = 'node';
const PERIOD = 1_048_576;
const SIZES = [65_536, 1_048_576, 104_857_600];

interface Contender {
  readonly name: string;
  readonly command: (args: readonly string[]) => Command;
}

const ouro = (driver: string): Contender['command'] => {
  return (args) => ({
    file: 'env',
    args: [
      `OURO_DRIVER=${driver}`,
      node,
      needed('ouro', 'bench/dist/workers/transfer-ouro.js', 'run `npm run build`'),
      ...args,
    ],
  });
};

const CONTENDERS: readonly Contender[] = [
  { name: 'ouro', command: ouro('uring') },
  { name: 'ouro-poll', command: ouro('poll') },
  {
    name: 'node',
    command: (args) => ({
      file: node,
      args: [needed('node', 'bench/peers/node-transfer.mjs', 'it is part of the repository'), ...args],
    }),
  },
  { name: 'c', command: (args) => ({ file: program('send_server'), args }) },
];

/** What send_load prints. */
interface Sent {
  readonly files: number;
  readonly bytes: number;
  readonly seconds: number;
  readonly serverCpuNs: number;
  readonly limited: boolean;
}

/** Medians over the rounds. */
interface SentRow extends Row {
  readonly mibPerSecond: number;
  readonly mibPerSecondRatio: number | undefined;
  readonly cpuUsPerMib: number;
  readonly cpuRatio: number | undefined;
  readonly limited: boolean;
}

/** Files sent, and connections joined: what it costs a server that need not look at the bytes. */
export async function transfer(options: Options): Promise<Report> {
  const contenders = chosen('contender', CONTENDERS, options.contenders);
  const workloads = options.workloads ?? ['send', 'proxy'];
  const { rounds, seconds, within } = options;
  const cells: Cell[] = [];
  if (workloads.includes('send')) {
    const conditions = cross(options.clients ?? [10], options.sizes ?? SIZES);
    const turns = contenders.length * rounds;
    const budget = within === undefined ? undefined : new Budget(within / 3, turns * conditions.length);
    for (const { clients, size } of conditions) {
      const each = budget === undefined ? seconds : budget.take(turns, seconds);
      if (each !== undefined) cells.push(await send(contenders, { rounds, seconds: each }, clients, size));
      else console.log(`note: no time is left for files of ${size} bytes sent`);
    }
  }
  const rest = within === undefined ? undefined : (within * 2) / 3;
  if (workloads.includes('proxy')) cells.push(...(await proxy(contenders, { ...options, within: rest })));
  return { family: 'transfer', conditions: { rounds, seconds, base: BASE }, cells };
}

/** A file of the pattern that send_load verifies, in the page cache. */
function patternFile(size: number): string {
  mkdirSync(BIN, { recursive: true });
  const path = join(BIN, `send-${size}.bin`);
  if (statSync(path, { throwIfNoEntry: false })?.size === size) return path;
  const period = Buffer.alloc(PERIOD);
  for (let i = 0; i < PERIOD; i++) period[i] = i * 31 + (i >> 12);
  const fd = openSync(path, 'w');
  for (let at = 0; at < size; at += PERIOD) writeSync(fd, period, 0, Math.min(PERIOD, size - at));
  closeSync(fd);
  return path;
}

async function send(
  contenders: readonly Contender[],
  { rounds, seconds }: Pick<Options, 'rounds' | 'seconds'>,
  clients: number,
  size: number,
): Promise<Cell> {
  const args = ['--file', patternFile(size), '--size', `${size}`];
  const results = await alternate(contenders, rounds, async ({ name, command }) => {
    const server = await Child.start(name, asServer(command(args)));
    try {
      const [, port] = await server.waitFor(/listening on \S+:(\d+)/, 20_000);
      const load = {
        port,
        clients,
        size,
        seconds,
        warmup: Math.max(0.4, seconds / 2),
        'server-pid': server.pid,
      };
      const flags = Object.entries(load).flatMap(([flag, value]) => [`--${flag}`, `${value}`]);
      const loading = await Child.start(
        `the load on '${name}'`,
        asLoad({ file: program('send_load'), args: flags }),
      );
      return (await loading.result((seconds * 2 + 60) * 1000)) as Sent;
    } finally {
      await server.stop();
    }
  });
  const base = results.get(BASE);
  const speed = ({ bytes, seconds: took }: Sent): number => bytes / took / PERIOD;
  const cpu = ({ bytes, serverCpuNs }: Sent): number => serverCpuNs / 1000 / (bytes / PERIOD);
  const rows = contenders.map(({ name }): SentRow => {
    const all = results.get(name) ?? [];
    return {
      contender: name,
      mibPerSecond: median(all.map(speed)),
      mibPerSecondRatio: medianRatio(all, base, speed),
      cpuUsPerMib: median(all.map(cpu)),
      cpuRatio: medianRatio(all, base, cpu),
      limited: all.filter(({ limited }) => limited).length * 2 > all.length,
    };
  });
  printTable(
    `Files of ${size} bytes sent to ${clients} clients`,
    ['', 'MiB/s', '×', 'CPU µs/MiB', '×', ''],
    rows.map((row) => [
      row.contender,
      figure(row.mibPerSecond),
      times(row.mibPerSecondRatio),
      figure(row.cpuUsPerMib),
      times(row.cpuRatio),
      row.limited ? 'limited' : '',
    ]),
  );
  return { cell: { workload: 'send', clients, size }, rows, rounds: Object.fromEntries(results) };
}

/** Echoes through a proxy, in front of a server in C that shares the load's CPU. */
async function proxy(contenders: readonly Contender[], options: Options): Promise<readonly Cell[]> {
  const echo = { file: program('uring_echo'), args: ['--host', '127.0.0.1', '--port', '0'] };
  const target = await Child.start('the echo behind the proxies', asLoad(echo));
  try {
    const [, port] = await target.waitFor(/listening on \S+:(\d+)/, 20_000);
    const servers = contenders.map(
      ({ name, command }): EchoServer => ({ name, command: command(['--target', `${port}`]) }),
    );
    const { cells } = await runEchoPlan({
      family: 'transfer',
      title: 'TCP proxy',
      servers,
      base: BASE,
      cells: cross(options.clients ?? [1, 50], options.sizes ?? [64, 65_536, 1_048_576]),
      ...timing(options),
    });
    return cells;
  } finally {
    await target.stop();
  }
}
