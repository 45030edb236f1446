import { File } from '@ouro/fs';
import { copyBidirectional, type SocketStream, TcpListener, UnixStream } from '@ouro/net';
import type { Future } from '@ouro/runtime';
import { describe, expect, it } from 'vitest';
import { bytes, dial, failure, leavesNothing, type Pair, pair } from './support.ts';
import { fileOf, temporaryDirectory } from './transfer-support.ts';

const MIB = 1 << 20;
const directory = temporaryDirectory();

/** Two connected streams. */
interface Connected extends AsyncDisposable {
  readonly server: SocketStream;
  readonly client: SocketStream;
}

/** A pair whose server's end is a direct descriptor. */
async function directPair(): Promise<Connected> {
  await using listener = await TcpListener.bind({ host: '127.0.0.1', direct: true });
  const [server, client] = await Promise.all([listener.accept(), dial(listener)]);
  return {
    server,
    client,
    [Symbol.asyncDispose]: async () => {
      await Promise.all([client.close(), server.close()]);
    },
  };
}

const KINDS: [what: string, connect: () => Promise<Connected>][] = [
  ['TCP', pair],
  ['a direct descriptor', directPair],
  [
    'a Unix socket',
    async () => {
      const [server, client] = UnixStream.pair();
      return {
        server,
        client,
        [Symbol.asyncDispose]: async () => {
          await Promise.all([server.close(), client.close()]);
        },
      };
    },
  ],
];

/** Takes little at a time, for longer than a timeout of 400 ms would let pass. */
async function takeSlowly(stream: SocketStream): Promise<number> {
  const buffer = Buffer.alloc(32 << 10);
  let taken = 0;
  for (let i = 0; i < 40; i++) {
    taken += await stream.read(buffer);
    await new Promise((later) => setTimeout(later, 25));
  }
  return taken;
}

async function takeAll(stream: SocketStream): Promise<number> {
  let taken = 0;
  for await (const chunk of stream) taken += chunk.length;
  return taken;
}

describe.each(KINDS)('the idle timeout of a stream over %s', (_, connect) => {
  it.each(['writeAll', 'writev', 'zero copy', 'sendFile'])(
    'does not come while a slow peer takes what %s sends',
    async (how) => {
      await leavesNothing(async () => {
        await using ends = await connect();
        const { server, client } = ends;
        const data = bytes(24 * MIB, 1);
        await using file = await File.open(fileOf(directory, 'much', data));
        server.idleTimeout = 400;
        const sending: Record<string, () => Future<number>> = {
          writeAll: () => server.writeAll(data),
          writev: () => server.writev([data.subarray(0, MIB), data.subarray(MIB)]),
          'zero copy': () => server.writeAll(data, { zeroCopy: true }),
          sendFile: () => server.sendFile(file),
        };
        const sent = sending[how]?.().then(async (count) => {
          await server.shutdown();
          return count;
        });
        const slowly = await takeSlowly(client);
        expect(slowly + (await takeAll(client))).toBe(data.length);
        expect(await sent).toBe(data.length);
      });
    },
  );

  it.each(['writeAll', 'sendFile'])('ends %s to a peer who takes no more', async (how) => {
    await leavesNothing(async () => {
      await using ends = await connect();
      const { server } = ends;
      const data = bytes(24 * MIB, 1);
      await using file = await File.open(fileOf(directory, 'much', data));
      server.idleTimeout = 100;
      const sending = how === 'writeAll' ? server.writeAll(data) : server.sendFile(file);
      expect(await failure(sending)).toMatchObject({ code: 'ETIMEDOUT' });
      expect(server.bytesQueued).toBe(0);
    });
  });
});

describe('the idle timeout of a stream that is relayed', () => {
  const joined = async (body: (first: Pair, second: Pair) => Promise<void>): Promise<void> => {
    await leavesNothing(async () => {
      await using first = await pair();
      await using second = await pair();
      await body(first, second);
    });
  };

  it.each(['a', 'b'])('ends copyBidirectional (that of %s)', async (which) => {
    await joined(async (first, second) => {
      (which === 'a' ? first.server : second.client).idleTimeout = 100;
      const copying = copyBidirectional(first.server, second.client);
      await first.client.writeAll('hello');
      expect(await failure(copying)).toMatchObject({ code: 'ETIMEDOUT', aToB: 5, bToA: 0 });
    });
  });
});
