import { latencies, measureLatency, metrics, sleep } from '@ouro/runtime';
import { nop } from '@ouro/runtime/driver';
import { describe, expect, it } from 'vitest';
import { runProgram } from '../../../testing/program.ts';

describe('latencies()', () => {
  it('is empty before anything was measured, and asking makes no ring', async () => {
    const { stdout } = await runProgram(`
      import { latencies, measureLatency, metrics } from '@ouro/runtime';
      measureLatency(false);
      console.log(latencies().size, metrics().driver);
    `);
    expect(stdout).toBe('0 null\n');
  });

  it('has a histogram for each kind of op, in nanoseconds', async () => {
    measureLatency();
    await Promise.all(Array.from({ length: 100 }, () => nop()));
    await sleep(2);
    measureLatency(false);
    const nops = latencies().get('nop');
    expect(nops?.count).toBe(100);
    expect(nops?.min).toBeGreaterThan(0);
    expect(nops?.max).toBeGreaterThanOrEqual(nops?.percentile(50) ?? 0);
    // Two figures: what is shown may lie one in a hundred below what was measured.
    expect(latencies().get('timeout')?.min).toBeGreaterThan(2e6 * 0.98);
  });

  it('stays when measuring ends, and what comes later is not in it', async () => {
    const before = latencies().get('nop')?.count;
    await nop();
    expect(latencies().get('nop')?.count).toBe(before);
  });

  it('does not count what was in flight when measuring began or was interrupted', async () => {
    const early = sleep(5);
    measureLatency();
    latencies().get('timeout')?.reset();
    const interrupted = sleep(5);
    measureLatency(false);
    measureLatency(true);
    await Promise.all([early, interrupted]);
    expect(latencies().get('timeout')?.count).toBe(0);
    await sleep(1);
    expect(latencies().get('timeout')?.count).toBe(1);
    measureLatency(false);
  });

  it('goes on being right when more slots are needed meanwhile', async () => {
    measureLatency();
    latencies().get('nop')?.reset();
    await Promise.all(Array.from({ length: 5000 }, () => nop()));
    measureLatency(false);
    expect(latencies().get('nop')?.count).toBe(5000);
    expect(metrics().stale).toBe(0);
  });

  it('counts a multishot op once, by its first completion', async () => {
    const { stdout } = await runProgram(`
      import { interval, latencies, measureLatency } from '@ouro/runtime';
      measureLatency();
      let ticks = 0;
      for await (const ticked of interval(1)) if ((ticks += ticked) >= 5) break;
      console.log(latencies().get('timeout').count);
    `);
    expect(stdout).toBe('1\n');
  });
});
