/** A key-value server that speaks the protocol of Redis: try `redis-cli -p PORT`, `redis-benchmark -p PORT -t set,get`. */
import type { TcpStream } from '@ouro/net';
import { run } from '@ouro/runtime';
import { execute } from './lib/commands.ts';
import { failed } from './lib/failure.ts';
import { failure, OK, ProtocolError, RequestReader } from './lib/resp.ts';
import { serve, serverOptions } from './lib/server.ts';
import { Store } from './lib/store.ts';

/** What a client may ask for: it can make us hold this much before it has said anything. */
const LIMITS = { words: 65_536, bytes: 8 << 20 };
/** Characters of replies that are gathered before they are sent. */
const MOST_GATHERED = 1 << 20;

/** Milliseconds that a client may take to read its replies. */
const STALLED_MS = 30_000;

const store = new Store();

/** All requests of a chunk are answered with one write: who sends a hundred at once costs one op each way. */
async function client(stream: TcpStream): Promise<void> {
  const reader = new RequestReader(LIMITS);
  let replies = '';
  const flush = async (): Promise<void> => {
    const bytes = Buffer.from(replies, 'latin1');
    replies = '';
    await stream.writeAll(bytes, { timeout: STALLED_MS });
  };
  for await (const chunk of stream) {
    try {
      for (const request of reader.read(chunk)) {
        if (request[0].toUpperCase() === 'QUIT') {
          replies += OK;
          return await flush();
        }
        replies += execute(store, request);
        if (replies.length > MOST_GATHERED) await flush();
      }
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      replies += failure(`ERR Protocol error: ${error.message}`);
      return await flush();
    }
    if (replies !== '') await flush();
  }
}

const options = serverOptions('kv: a key-value server that redis-cli can talk to');
run(() => serve(options, client)).catch(failed);
