/** An echo server on a Unix socket, which says who its clients are. */
import { UnixListener, type UnixStream } from '@ouro/net';
import { run } from '@ouro/runtime';
import { misused, parse } from './lib/arguments.ts';
import { failed } from './lib/failure.ts';
import { attend } from './lib/server.ts';

const HELP = `unix-echo PATH: sends back whatever it receives

  --mode MODE   permissions of the socket file, in octal (600)`;

const { values, positionals } = parse(
  HELP,
  { options: { mode: { type: 'string', default: '600' } }, allowPositionals: true },
  [1, 1],
);
const [path] = positionals;
if (!/^[0-7]{3}$/.test(values.mode)) misused(`--mode must be three octal digits, not '${values.mode}'`);

async function echo(stream: UnixStream): Promise<void> {
  const { pid, uid } = stream.peerCredentials();
  console.log(`process ${pid} of user ${uid}`);
  for await (const chunk of stream) await stream.writeAll(chunk);
}

run(async () => {
  await using listener = await UnixListener.bind({
    path,
    mode: Number.parseInt(values.mode, 8),
    stale: 'replace',
  });
  await attend(listener, path, echo);
}).catch(failed);
