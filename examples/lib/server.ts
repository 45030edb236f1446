import { TcpListener, type TcpStream } from '@ouro/net';
import { misused, numberFrom, parse } from './arguments.ts';

/** More wait in the kernel until somebody has gone. */
const MOST_CONNECTIONS = 10_000;

/** Where a server listens. */
export interface ServerOptions {
  readonly host: string;
  readonly port: number;
}

/** An option of one server's own. */
export interface OwnOption {
  readonly help: string;
  /** Without one it must be given. */
  readonly default?: string;
}

/** The options that every example server takes, and its own. Prints the help and exits if asked to. */
export function serverOptions<K extends string = never>(
  description: string,
  own?: Readonly<Record<K, OwnOption>>,
): ServerOptions & Readonly<Record<K, string>> {
  const all: Record<string, OwnOption> = {
    host: { help: 'address to listen on', default: '127.0.0.1' },
    port: { help: 'port, 0 for any', default: '0' },
    ...own,
  };
  const lines = Object.entries(all).map(([name, { help, default: usual }]) => {
    const option = `--${name} ${name.toUpperCase()}`.padEnd(14);
    return `\n  ${option}${help}${usual === undefined ? '' : ` (${usual})`}`;
  });
  const config = Object.keys(all).map((name) => [name, { type: 'string' }] as const);
  const { values } = parse(`${description}\n${lines.join('')}`, { options: Object.fromEntries(config) });
  const given: Record<string, string> = {};
  for (const [name, { default: usual }] of Object.entries(all)) {
    const value = values[name] ?? usual;
    if (typeof value !== 'string') misused(`--${name} is missing`);
    given[name] = value;
  }
  return { ...given, host: given.host, port: numberFrom('port', given.port, 0, 65535) } as ServerOptions &
    Record<K, string>;
}

/** What all streams and listeners have, as far as a server needs it. */
interface Closable {
  close(): PromiseLike<void>;
}

/**
 * Listens, says where, and gives each connection to `handle`, which runs beside the others; closes the connection
 * when it is done. SIGINT and SIGTERM close the listener and all connections, so that the process ends.
 */
export async function serve(
  options: ServerOptions,
  handle: (stream: TcpStream) => Promise<void>,
): Promise<void> {
  await using listener = await TcpListener.bind({
    ...options,
    noDelay: true,
    maxConnections: MOST_CONNECTIONS,
  });
  const { address, port, family } = listener.address;
  await attend(listener, `${family === 'IPv6' ? `[${address}]` : address}:${port}`, handle);
}

/** The same for a listener of any kind. */
export async function attend<S extends Closable>(
  listener: AsyncIterable<S> & Closable,
  where: string,
  handle: (stream: S) => Promise<void>,
): Promise<void> {
  const open = new Set<S>();
  untilSignal(() => {
    listener.close();
    for (const stream of open) stream.close();
  });
  // Only now: whoever reads it may send a signal at once.
  console.log(`listening on ${where}`);

  for await (const stream of listener) {
    open.add(stream);
    const over = (): PromiseLike<void> => {
      open.delete(stream);
      return stream.close();
    };
    handle(stream).then(over, over); // a peer that resets is no failure of ours
  }
}

/** Calls `stop` at the first SIGINT or SIGTERM. */
export function untilSignal(stop: () => void): void {
  process.once('SIGINT', stop).once('SIGTERM', stop);
}
