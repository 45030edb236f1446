import { TcpListener, TcpStream, UdpSocket } from '@ouro/net';
import { describe, expect, it } from 'vitest';
import { runProgram } from '../../../testing/program.ts';
import { bytes, failure, leavesNothing, listen, pair } from './support.ts';
import { collect, local } from './udp-support.ts';

/** Says no to everything that might make text or a number of it. */
const LYING: unknown = {
  length: 3,
  [Symbol.toPrimitive]() {
    throw new Error('asked');
  },
};
const WRONG: [what: string, value: unknown][] = [
  ['a symbol', Symbol('s')],
  ['an object without a prototype', Object.create(null)],
  ['an object that throws', LYING],
  ['a String', Object('127.0.0.1')],
  ['a bigint', 10n],
];

describe.each(WRONG)('%s', (_, value) => {
  it('is no answer of a lookup', async () => {
    await using listener = await listen();
    const { port } = listener.address;
    for (const answer of [value, [value], [{ address: value, family: 4 }]]) {
      const lookup = (_host: string, _options: unknown, done: (...found: unknown[]) => void): void =>
        done(null, answer, 4);
      const connecting = TcpStream.connect({ host: 'some.invalid', port, lookup: lookup as never });
      expect(await failure(connecting)).toMatchObject({ code: 'ERR_INVALID_IP_ADDRESS' });
    }
  });

  it('is no direction, no encoding and no switch', async () => {
    await using ends = await pair();
    expect(() => ends.client.shutdown(value as never)).toThrow(TypeError);
    expect(() => ends.client.splitLines({ encoding: value as never })).toThrow(TypeError);
    for (const name of ['ipv6Only', 'reusePort', 'noDelay', 'direct']) {
      const options = { host: '127.0.0.1', [name]: value } as never;
      expect(() => TcpListener.bind(options)).toThrow(
        expect.objectContaining({ code: 'ERR_INVALID_ARG_TYPE' }),
      );
    }
  });
});

describe('a lookup', () => {
  it.each([
    ['nothing at all', [undefined]],
    ['null', [null]],
    ['no text', ''],
  ])('that finds %s fails the connect', async (_, answer) => {
    const lookup = (_host: string, _options: unknown, done: (...found: unknown[]) => void): void =>
      done(null, answer, 4);
    const connecting = TcpStream.connect({ host: 'some.invalid', port: 9, lookup: lookup as never });
    expect(await failure(connecting)).toMatchObject({ code: 'ERR_INVALID_IP_ADDRESS' });
  });
});

describe('datagrams', () => {
  it('have a destination that is not empty', async () => {
    await using socket = await UdpSocket.bind({ host: '127.0.0.1' });
    expect(() => socket.send('x', { address: '', port: 9 })).toThrow(TypeError);
    expect(() => socket.sendMany([{ data: 'x', to: { address: '', port: 9 } }])).toThrow(TypeError);
  });

  it('that cannot be sent in the middle of many hold up none, and are told; those that make no sense keep all back', async () => {
    await leavesNothing(async () => {
      await using to = await local();
      await using from = await local();
      const destination = to.address;
      const message = (data: string | Buffer) => ({ data, to: destination });
      const told = await from.sendMany([message('first'), message(bytes(65_508, 1)), message('last')]);
      expect(told.map((each) => (each.status === 'fulfilled' ? each.value : each.reason.code))).toEqual([
        5,
        'EMSGSIZE',
        4,
      ]);
      const wrong = [message('never'), { data: 5 }, message('never')] as never;
      expect(() => from.sendMany(wrong)).toThrow(TypeError);
      const all = [message('never')];
      Object.defineProperty(all, Symbol.iterator, {
        value: function* () {
          yield message('never');
          throw new Error('midway');
        },
      });
      expect(() => from.sendMany(all)).toThrow('midway');
      await from.send('end', destination);
      expect((await collect(to, 3)).map(({ data }) => data.toString())).toEqual(['first', 'last', 'end']);
    });
  });

  it('are what they were when they were handed in, whatever getters do meanwhile', async () => {
    await leavesNothing(async () => {
      await using to = await local();
      await using from = await local();
      const destination = to.address;
      const memory = new Uint8Array(1000).fill(1);
      const messages = [
        { data: memory.subarray(1, 4), to: destination },
        {
          get data() {
            // Where Node lets this take the memory away, the first message has a copy by now.
            structuredClone(memory.buffer, { transfer: [memory.buffer] });
            messages.length = 1;
            return 'second';
          },
          to: destination,
        },
        { data: 'third', to: destination },
      ];
      const sent = await (async () => from.sendMany(messages))().catch((error: Error) => error);
      if (sent instanceof Error) {
        expect(sent.name).toBe('DataCloneError'); // Node 22 and newer refuse: nothing has been sent
        return;
      }
      expect(sent.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'fulfilled']);
      const found = await collect(to, 3);
      expect(found.map(({ data }) => data.toString('latin1'))).toEqual(['\x01\x01\x01', 'second', 'third']);
    });
  });
});

it('what somebody has put into Object.prototype is no option, no destination and no descriptor', async () => {
  const { code, stdout, stderr } = await runProgram(`
    import { TcpListener, TcpStream, UnixDatagram, UnixStream } from '@ouro/net';
    const listener = await TcpListener.bind({ host: '127.0.0.1' });
    const dial = { host: '127.0.0.1', port: listener.address.port };
    const abort = new AbortController();
    abort.abort();
    const all = {
      fd: 0, descriptor: { fd: 0, direct: false, attach() {} }, to: { address: '127.0.0.1', port: 1 }, fds: [0], into: 'any',
      control: Buffer.alloc(3), pollFirst: true, maxLength: 1, encoding: 'hex', lease: true, zeroCopy: true, end: false,
      settle: true, segmentSize: 1, length: 1, offset: 1, highWater: 1, signal: abort.signal, flags: 1, local: 1, remote: 1,
    };
    const accepting = listener.accept();
    const client = await TcpStream.connect(dial);
    const server = await accepting;
    for (const [name, value] of Object.entries(all)) {
      Object.defineProperty(Object.prototype, name, { value, configurable: true, writable: true });
      await client.writeAll('line\\n');
      const line = (await server.readUntil('\\n')).toString();
      await client.writev([Buffer.from('a'), Buffer.from('b')]);
      const buffer = Buffer.alloc(2);
      await server.readExact(buffer);
      await client.writeAll('text\\n');
      const lines = server.splitLines();
      const { value: text } = await lines.next();
      await lines.return();
      const [from, to] = UnixDatagram.pair();
      const got = to.recv(Buffer.alloc(4));
      await from.send('ab');
      const { bytes } = await got;
      const [one, other] = UnixStream.pair();
      const reading = other.receiveDescriptors(Buffer.alloc(4));
      await one.sendDescriptors([1], 'x');
      const { descriptors } = await reading;
      const count = descriptors.length;
      await descriptors.close();
      delete Object.prototype[name];
      await Promise.all([from, to, one, other].map((each) => each.close()));
      if (line !== 'line\\n' || buffer.toString() !== 'ab' || text !== 'text' || bytes !== 2 || count !== 1)
        console.log(name, line, buffer, text, bytes, count);
    }
    await Promise.all([client, server, listener].map((each) => each.close()));
    console.log('done');
  `);
  expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: 'done\n', stderr: '' });
});
