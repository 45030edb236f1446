import { AsyncLocalStorage } from 'node:async_hooks';
import { subscribe, tracingChannel, unsubscribe } from 'node:diagnostics_channel';
import { batch, chain, interval, type TracedOp, trace } from '@ouro/runtime';
import { nop, nopOp, reactor } from '@ouro/runtime/driver';
import { describe, expect, it } from 'vitest';
import { runProgram } from '../../../testing/program.ts';

const ENOENT = -2;

/** What subscribers to the channels of one kind of op hear while `work` runs. */
async function heard(op: string, work: () => Promise<unknown>): Promise<[event: string, op: TracedOp][]> {
  const events: [string, TracedOp][] = [];
  const channels = tracingChannel<unknown, TracedOp>(`ouro.${op}`);
  const on = (event: string) => (traced: unknown) => void events.push([event, traced as TracedOp]);
  const listeners = { start: on('start'), asyncEnd: on('asyncEnd'), error: on('error') };
  channels.start.subscribe(listeners.start);
  channels.asyncEnd.subscribe(listeners.asyncEnd);
  channels.error.subscribe(listeners.error);
  const tracing = trace();
  try {
    await work();
  } finally {
    tracing[Symbol.dispose]();
    channels.start.unsubscribe(listeners.start);
    channels.asyncEnd.unsubscribe(listeners.asyncEnd);
    channels.error.unsubscribe(listeners.error);
  }
  return events;
}

describe('trace()', () => {
  it('publishes the start and the end of an op, with one object', async () => {
    const events = await heard('nop', () => nop(7));
    expect(events.map(([event]) => event)).toEqual(['start', 'asyncEnd']);
    const [[, started], [, ended]] = events;
    expect(ended).toBe(started);
    expect(ended).toMatchObject({
      op: 'nop',
      opcode: 'NOP',
      fd: -1,
      direct: false,
      completions: 1,
      result: 7,
    });
    expect(ended.error).toBe(undefined);
  });

  it('publishes a failure before the end', async () => {
    const events = await heard('nop', () => nop(ENOENT).catch(() => {}));
    expect(events.map(([event]) => event)).toEqual(['start', 'error', 'asyncEnd']);
    expect(events[1][1]).toMatchObject({ result: ENOENT, error: { code: 'ENOENT', syscall: 'nop' } });
  });

  it('tells the end before whoever awaits the op goes on', async () => {
    const order: string[] = [];
    const listener = (): void => void order.push('asyncEnd');
    subscribe('tracing:ouro.nop:asyncEnd', listener);
    const tracing = trace();
    await nop();
    order.push('awaited');
    tracing[Symbol.dispose]();
    unsubscribe('tracing:ouro.nop:asyncEnd', listener);
    expect(order).toEqual(['asyncEnd', 'awaited']);
  });

  it('tells the start in the async context of whoever submits', async () => {
    const storage = new AsyncLocalStorage<string>();
    const seen: (string | undefined)[] = [];
    const listener = (): void => void seen.push(storage.getStore());
    subscribe('tracing:ouro.nop:start', listener);
    const tracing = trace();
    await Promise.all([storage.run('request 1', () => nop()), storage.run('request 2', () => nop())]);
    tracing[Symbol.dispose]();
    unsubscribe('tracing:ouro.nop:start', listener);
    expect(seen).toEqual(['request 1', 'request 2']);
  });

  it('covers every op of chains and batches', async () => {
    const events = await heard('nop', async () => {
      await batch([nopOp(1), nopOp(2)]);
      await chain([nopOp(), nopOp(ENOENT), nopOp()]).catch(() => {});
    });
    const results = events.filter(([event]) => event === 'asyncEnd').map(([, { result }]) => result);
    expect(results).toEqual([1, 2, 0, ENOENT, -125]);
  });

  it('tells of a multishot op once, with its completions counted', async () => {
    const events = await heard('timeout', async () => {
      let ticks = 0;
      for await (const ticked of interval(1)) {
        ticks += ticked;
        if (ticks >= 5) break;
      }
    });
    expect(events.map(([event]) => event)).toEqual(['start', 'error', 'asyncEnd']);
    expect(events[2][1].completions).toBeGreaterThanOrEqual(6);
    expect(events[2][1].error).toMatchObject({ code: 'ECANCELED' });
  });

  it('covers files and sockets: what is read whole, accepted and received too', async () => {
    const { stdout, stderr } = await runProgram(`
      import { subscribe } from 'node:diagnostics_channel';
      import { trace } from '@ouro/runtime';
      import { readFile, File } from '@ouro/fs';
      import { TcpListener, TcpStream } from '@ouro/net';
      trace();
      const ended = new Set();
      for (const op of ['open', 'openat', 'read', 'fstat', 'statx', 'close', 'accept', 'connect', 'write', 'recv']) {
        subscribe('tracing:ouro.' + op + ':asyncEnd', ({ op, opcode }) => void ended.add(opcode));
      }
      await readFile('package.json');
      const file = await File.open('package.json');
      await file.read(Buffer.alloc(10));
      await file.close();
      const listener = await TcpListener.bind({ host: '127.0.0.1' });
      const accepting = listener[Symbol.asyncIterator]();
      const accepted = accepting.next();
      const client = await TcpStream.connect({ host: '127.0.0.1', port: listener.address.port });
      const server = (await accepted).value;
      await client.writeAll('hello');
      await client.close();
      for await (const chunk of server) ;
      await server.close();
      await listener.close();
      const wanted = ['OPENAT', 'READ', 'CLOSE', 'CONNECT', 'SEND', 'RECV', 'ACCEPT'];
      console.log(wanted.filter((opcode) => !ended.has(opcode)));
    `);
    expect(stderr).toBe('');
    expect(stdout).toBe('[]\n');
  });
});

describe('a subscriber', () => {
  it('may submit ops of his own without tearing the chain that he hears of', async () => {
    let mine = 0;
    const listener = ({ op }: { op: string }): void => {
      if (op === 'nop' && mine < 50) {
        mine++;
        void nop();
      }
    };
    const tracing = trace();
    for (const event of ['start', 'asyncEnd']) subscribe(`tracing:ouro.nop:${event}`, listener as never);
    for (let i = 0; i < 10; i++) {
      const failed = await chain([nopOp(), nopOp(ENOENT), nopOp()]).catch((error: unknown) => error);
      expect(failed).toMatchObject({ code: 'ENOENT', index: 1 });
    }
    for (const event of ['start', 'asyncEnd']) unsubscribe(`tracing:ouro.nop:${event}`, listener as never);
    tracing[Symbol.dispose]();
    expect(mine).toBe(50);
    expect(reactor().stale).toBe(0);
  });

  it('who throws costs nobody an op', async () => {
    const { stdout } = await runProgram(`
      import { subscribe } from 'node:diagnostics_channel';
      import { trace } from '@ouro/runtime';
      import { nop } from '@ouro/runtime/driver';
      process.on('uncaughtException', (error) => console.log(error.message));
      subscribe('tracing:ouro.nop:asyncEnd', () => { throw new Error('mine'); });
      trace();
      console.log(await nop(), await nop());
    `);
    expect(stdout).toBe('mine\nmine\n0 0\n');
  });
});

describe('tracing', () => {
  it('ends when the last who asked for it has left', async () => {
    const events: unknown[] = [];
    const listener = (traced: unknown): void => void events.push(traced);
    subscribe('tracing:ouro.nop:asyncEnd', listener);
    const [first, second] = [trace(), trace()];
    first[Symbol.dispose]();
    first[Symbol.dispose]();
    await nop();
    expect(events.length).toBe(1);
    second[Symbol.dispose]();
    await nop();
    expect(events.length).toBe(1);
    unsubscribe('tracing:ouro.nop:asyncEnd', listener);
  });

  it('does not tell of the end of what began before', async () => {
    const began = nop();
    expect(await heard('nop', () => began)).toEqual([]);
  });

  it('can be had from the environment, without a change to the program', async () => {
    const program = `
      import { subscribe } from 'node:diagnostics_channel';
      import { nop } from '@ouro/runtime/driver';
      subscribe('tracing:ouro.nop:asyncEnd', ({ result }) => console.log(result));
      await nop(3);
    `;
    expect((await runProgram(program, { env: { OURO_TRACE: '1' } })).stdout).toBe('3\n');
    expect((await runProgram(program)).stdout).toBe('');
  });
});
