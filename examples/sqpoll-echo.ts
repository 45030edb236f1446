/**
 * sqpoll-echo: the TCP echo server with a thread of the kernel that takes the submissions (`IORING_SETUP_SQPOLL`). While
 * there is work the server makes no system calls at all; SIGINT prints how many there were.
 */
import type { TcpStream } from '@ouro/net';
import { metrics, run } from '@ouro/runtime';
import { failed } from './lib/failure.ts';
import { serve, serverOptions } from './lib/server.ts';

let messages = 0;

async function echo(stream: TcpStream): Promise<void> {
  for await (const chunk of stream) {
    messages++;
    await stream.writeAll(chunk);
  }
}

const options = serverOptions('sqpoll-echo: sends back whatever it receives, without system calls');
async function main(): Promise<void> {
  await serve(options, echo);
  const { enters, sqes, wakeups } = metrics();
  console.log(`${messages} messages, ${sqes} ops, ${enters} system calls, ${wakeups} of them wake-ups`);
}

try {
  // Spins as long as the thread polls: the one would be in vain without the other.
  await run(main, { sqpoll: { idle: 2000 }, spin: { max: 1000, share: 1 } });
} catch (error) {
  failed(error);
}
