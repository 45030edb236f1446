/** A TCP proxy: hands each connection on to another server, without a look at what is said. */
import { copyBidirectional, TcpStream } from '@ouro/net';
import { run } from '@ouro/runtime';
import { misused, numberFrom } from './lib/arguments.ts';
import { failed } from './lib/failure.ts';
import { serve, serverOptions } from './lib/server.ts';

const CONNECT_MS = 10_000;
/** Milliseconds that a connection may be silent. */
const IDLE_MS = 300_000;

const options = serverOptions('proxy: hands each connection on to --to HOST:PORT', {
  to: { help: 'HOST:PORT of the server' },
});
const found = /^(?:\[(.+)\]|([^:]+)):(\d+)$/.exec(options.to);
if (found === null) misused('--to HOST:PORT, please');
const host = found[1] ?? found[2];
const port = numberFrom('to', found[3], 1, 65535);

async function handOn(client: TcpStream): Promise<void> {
  await using server = await TcpStream.connect({ host, port, noDelay: true, timeout: CONNECT_MS });
  await copyBidirectional(client, server, { idleTimeout: IDLE_MS });
}

run(() => serve(options, handOn)).catch(failed);
