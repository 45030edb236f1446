/** A chat server for `nc` and telnet: what one says all others read. The first line is the name. */
import type { TcpStream } from '@ouro/net';
import { run } from '@ouro/runtime';
import { failed } from './lib/failure.ts';
import { serve, serverOptions } from './lib/server.ts';

const MOST_NAME = 32;
const MOST_LINE = 1024;
/** Bytes that may wait for somebody who does not read; then he is gone. */
const MOST_QUEUED = 65_536;
const NAME_MS = 60_000;

const room = new Map<string, TcpStream>();

/** What a terminal shows and does not obey. */
const printable = (text: string): string => text.replace(/[\p{C}\p{Z}]+/gu, ' ').trim();

function tell(text: string, except?: TcpStream): void {
  const line = Buffer.from(`${text}\n`);
  for (const stream of room.values()) {
    if (stream === except) continue;
    // Nobody waits for the slow: each line is queued, and who has too many of them is thrown out.
    if (stream.bytesQueued > MOST_QUEUED) void stream.close();
    else stream.writeAll(line).catch(() => {});
  }
}

async function nameOf(
  lines: AsyncIterator<string, undefined>,
  stream: TcpStream,
): Promise<string | undefined> {
  for (let asked = 'Your name?'; ; ) {
    await stream.writeAll(`${asked}\n`);
    const { done, value } = await lines.next();
    if (done) return undefined;
    const name = printable(value).slice(0, MOST_NAME);
    if (name === '') asked = 'A name of letters, please?';
    else if (room.has(name)) asked = `${name} is here already. Your name?`;
    else return name;
  }
}

async function client(stream: TcpStream): Promise<void> {
  const lines = stream.splitLines({ maxLength: MOST_LINE })[Symbol.asyncIterator]();
  stream.idleTimeout = NAME_MS;
  const name = await nameOf(lines, stream);
  if (name === undefined) return;
  stream.idleTimeout = 0;
  stream.setKeepAlive(true, 60_000);
  room.set(name, stream);
  try {
    await stream.writeAll(`Welcome, ${name}. Here: ${[...room.keys()].join(', ')}\n`);
    tell(`* ${name} has come`, stream);
    for (let line = await lines.next(); !line.done; line = await lines.next()) {
      const text = printable(line.value);
      if (text !== '') tell(`${name}: ${text}`, stream);
    }
  } finally {
    room.delete(name);
    tell(`* ${name} has gone`);
  }
}

const options = serverOptions('chat: what one says all others read');
run(() => serve(options, client)).catch(failed);
