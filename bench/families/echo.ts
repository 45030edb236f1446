import { type EchoServer, runEchoPlan } from '../harness/echo.ts';
import { program } from '../harness/native.ts';
import { chosen, type Options } from '../harness/options.ts';
import { needed } from '../harness/paths.ts';
import type { Report } from '../harness/report.ts';

const ADDRESS = ['--host', '127.0.0.1', '--port', '0'];
const node = process.execPath;

// Looked up only when chosen: whoever measures node against C needs no ouro.
const ouro = (): string => needed('ouro', 'examples/dist/echo.js', 'run `npm run build`');
const SERVERS: readonly { readonly name: string; readonly file: () => string; readonly driver?: string }[] = [
  { name: 'ouro', file: ouro, driver: 'uring' },
  { name: 'ouro-poll', file: ouro, driver: 'poll' },
  {
    name: 'node',
    file: () => needed('node', 'bench/peers/node-net-echo.mjs', 'it is part of the repository'),
  },
  { name: 'c', file: () => program('uring_echo') },
];

/** A TCP echo in a closed loop: what the server does, what it costs, how long a client waits. */
export async function echo(options: Options): Promise<Report> {
  const servers = chosen('contender', SERVERS, options.contenders).map(
    ({ name, file, driver }): EchoServer => {
      const path = file();
      if (name === 'c') return { name, command: { file: path, args: ADDRESS } };
      const engine = driver === undefined ? [] : [`OURO_DRIVER=${driver}`];
      return { name, command: { file: 'env', args: [...engine, node, path, ...ADDRESS] } };
    },
  );
  return await runEchoPlan({
    family: 'echo',
    title: 'TCP echo',
    servers,
    base: 'node',
    clients: options.clients ?? [1, 10, 100, 1000],
    sizes: options.sizes ?? [64, 4096, 65536],
    rounds: options.rounds,
    seconds: options.seconds,
    strace: options.strace,
  });
}
