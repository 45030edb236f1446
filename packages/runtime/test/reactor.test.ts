import { metrics, sleep } from '@ouro/runtime';
import { nop, reactor } from '@ouro/runtime/driver';
import { describe, expect, it } from 'vitest';
import { itOnRing } from '../../../testing/engine.ts';
import { runProgram } from '../../../testing/program.ts';

const polled = (process.env.OURO_SQPOLL ?? '0') !== '0';

describe('the reactor', () => {
  // With SQPOLL it takes none or one.
  it.skipIf(polled)('hands all ops of a turn to the kernel in one call', async () => {
    const { stdout } = await runProgram(`
      import { metrics } from '@ouro/runtime';
      import { nop } from '@ouro/runtime/driver';
      await nop();
      // Several times, as Node itself wakes up now and then, which takes a call of its own.
      const rounds = [];
      for (let round = 0; round < 10; round++) {
        const before = metrics();
        await Promise.all(Array.from({ length: 200 }, () => nop()));
        const after = metrics();
        rounds.push([after.sqes - before.sqes, after.enters - before.enters, after.batches - before.batches].join());
      }
      console.log(rounds.filter((round) => round === '200,1,1').length >= 7, rounds.every((round) => /^200,[12],1$/.test(round)));
    `);
    expect(stdout).toBe('true true\n');
  });

  it('makes no Node-API call for an op', async () => {
    await Promise.all(Array.from({ length: 100 }, () => nop()));
    const before = metrics();
    for (let i = 0; i < 1000; i++) await nop();
    expect(metrics().apiCalls - before.apiCalls).toBe(0);
  });

  it('takes more ops in a turn than the queue has entries, in order', async () => {
    const { code, stdout, stderr } = await runProgram(`
      import { run, metrics } from '@ouro/runtime';
      import { nop } from '@ouro/runtime/driver';
      await run(async () => {
        const order = [];
        const all = [];
        for (let i = 0; i < 10_000; i++) all.push(nop(i % 100).then((result) => order.push([i, result])));
        await Promise.all(all);
        const right = order.every(([i, result], at) => i === at && result === i % 100);
        const { sqes, cqes, pending, inFlight, queued, stale } = metrics();
        console.log(JSON.stringify({ right, count: order.length, sqes: sqes >= 10_000, cqes, pending, inFlight, queued, stale }));
      }, { entries: 64, cqEntries: 64 });
    `);
    expect(stderr).toBe('');
    expect(JSON.parse(stdout)).toEqual({
      right: true,
      count: 10_000,
      sqes: true,
      cqes: 10_000,
      pending: 0,
      inFlight: 0,
      queued: 0,
      stale: 0,
    });
    expect(code).toBe(0);
  });

  itOnRing('overflow')('loses nothing when the completion queue overflows', async () => {
    const { stdout } = await runProgram(`
      import { run, sleep, metrics } from '@ouro/runtime';
      await run(async () => {
        // They end while nobody reaps: more completions at once than the queue holds.
        const all = Array.from({ length: 1000 }, () => sleep(5));
        await sleep(0);
        const until = performance.now() + 30;
        while (performance.now() < until);
        await Promise.all(all);
        console.log(metrics().overflows > 0, metrics().pending);
      }, { entries: 8, cqEntries: 8 });
    `);
    expect(stdout).toBe('true 0\n');
  });

  it('names an op by slot and generation, so that a late completion hits nobody', async () => {
    const r = reactor();
    const first = sleep(0);
    const { slot } = first as unknown as { slot: number };
    const generation = r.slots.generations[slot];
    await first;
    const second = sleep(20);
    expect((second as unknown as { slot: number }).slot).toBe(slot);
    r.cancel(slot, generation); // aimed at the first one, which has gone
    await second;
    expect(metrics().stale).toBe(0);
  });

  it('gives slots back', async () => {
    const before = metrics().pending;
    await Promise.all(Array.from({ length: 3000 }, () => nop()));
    expect(metrics().pending).toBe(before);
  });

  it('keeps the completions of a batch apart: one that throws does not cost the others', async () => {
    const { stdout, code } = await runProgram(`
      import { nop, reactor } from '@ouro/runtime/driver';
      process.on('uncaughtException', (error) => console.log('caught', error.message));
      const r = reactor();
      const bad = { resultIsFd: false, refed: true, complete() { throw new Error('defect'); } };
      const before = nop();
      r.push(r.take(bad), 0, -1, 0, 0, 0, 0, 0, 0);
      const after = nop();
      console.log(await before, await after);
    `);
    expect(stdout.split('\n').sort()).toEqual(['', '0 0', 'caught defect']);
    expect(code).toBe(0);
  });
});

describe('metrics', () => {
  it('are all zero before the first op, and asking for them makes no ring', async () => {
    const { stdout } = await runProgram(`
      import { readdirSync, readlinkSync } from 'node:fs';
      import { metrics } from '@ouro/runtime';
      const rings = () => readdirSync('/proc/self/fd').filter((fd) => {
        try { return readlinkSync('/proc/self/fd/' + fd).includes('io_uring'); } catch { return false; }
      }).length;
      console.log(JSON.stringify(metrics()), rings());
    `);
    const [json = '', rings] = stdout.trim().split(' ');
    const { ops, ...counts } = JSON.parse(json);
    expect(Object.values(counts).every((value) => value === 0 || value === null)).toBe(true);
    expect(ops).toEqual({});
    expect(rings).toBe('0');
  });

  it('count ops in flight', async () => {
    const waiting = sleep(1e6);
    await nop();
    expect(metrics().inFlight).toBe(1);
    expect(metrics().pending).toBe(1);
    waiting.cancel();
    await waiting.catch(() => {});
    expect(metrics().inFlight).toBe(0);
  });
});
