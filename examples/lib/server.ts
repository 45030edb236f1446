import { TcpListener, type TcpStream } from '@ouro/net';
import { numberFrom, parse } from './arguments.ts';

/** The options that every example server takes. Prints the help and exits if asked to. */
export function serverOptions(description: string): { host: string; port: number } {
  const help = `${description}\n\n  --host HOST   address to listen on (127.0.0.1)\n  --port PORT   port, 0 for any (0)`;
  const { values } = parse(help, {
    options: {
      host: { type: 'string', default: '127.0.0.1' },
      port: { type: 'string', default: '0' },
    },
  });
  return { host: values.host, port: numberFrom('port', values.port, 0, 65535) };
}

/**
 * Listens, says where, and gives each connection to `handle`, which runs beside the others; closes the connection
 * when it is done. SIGINT and SIGTERM close the listener and all connections, so that the process ends.
 */
export async function serve(
  options: { host: string; port: number },
  handle: (stream: TcpStream) => Promise<void>,
): Promise<void> {
  await using listener = await TcpListener.bind({ ...options, noDelay: true });
  const open = new Set<TcpStream>();
  const stop = (): void => {
    listener.close();
    for (const stream of open) stream.close();
  };
  process.once('SIGINT', stop).once('SIGTERM', stop);

  // Only now: whoever reads it may send a signal at once.
  const { address, port, family } = listener.address;
  console.log(`listening on ${family === 'IPv6' ? `[${address}]` : address}:${port}`);

  for await (const stream of listener) {
    open.add(stream);
    handle(stream)
      .catch(() => {}) // a peer that resets is no failure of ours
      .finally(() => {
        open.delete(stream);
        return stream.close();
      });
  }
}
