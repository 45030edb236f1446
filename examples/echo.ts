/** A TCP echo server: sends back whatever it receives. */
import type { TcpStream } from '@ouro/net';
import { run } from '@ouro/runtime';
import { failed } from './lib/failure.ts';
import { serve, serverOptions } from './lib/server.ts';

async function echo(stream: TcpStream): Promise<void> {
  for await (const chunk of stream) await stream.writeAll(chunk);
}

const options = serverOptions('echo: sends back whatever it receives');
run(() => serve(options, echo)).catch(failed);
