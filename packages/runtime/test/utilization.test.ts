import { utilization } from '@ouro/runtime';
import { describe, expect, it } from 'vitest';
import { runProgram } from '../../../testing/program.ts';

describe('utilization()', () => {
  it('is low for a program that sleeps in the ring, where Node takes that for work', async () => {
    const { stdout } = await runProgram(`
      import { performance } from 'node:perf_hooks';
      import { sleep, utilization } from '@ouro/runtime';
      await sleep(1);
      const [before, nodeBefore] = [utilization(), performance.eventLoopUtilization()];
      await sleep(300);
      console.log(utilization(before).utilization < 0.5, performance.eventLoopUtilization(nodeBefore).utilization > 0.5);
    `);
    expect(stdout).toBe('true true\n');
  });

  it('is low for a program that sleeps in libuv', async () => {
    const { stdout } = await runProgram(`
      import { setTimeout } from 'node:timers/promises';
      import { utilization } from '@ouro/runtime';
      await setTimeout(1);
      const before = utilization();
      await setTimeout(300);
      console.log(utilization(before).utilization < 0.5);
    `);
    expect(stdout).toBe('true\n');
  });

  it('is high for a program that computes', async () => {
    const { stdout } = await runProgram(`
      import { sleep, utilization } from '@ouro/runtime';
      await sleep(1);
      const before = utilization();
      for (const end = performance.now() + 300; performance.now() < end; );
      await sleep(1);
      console.log(utilization(before).utilization > 0.5);
    `);
    expect(stdout).toBe('true\n');
  });

  it('without the ring says what Node says', async () => {
    const { stdout } = await runProgram(`
      import { utilization, metrics } from '@ouro/runtime';
      setTimeout(() => {
        const { idle, active, utilization: share } = utilization();
        console.log(idle > 0, active > 0, share > 0 && share < 1, metrics().driver);
      }, 20);
    `);
    expect(stdout).toBe('true true true null\n');
  });

  it('of two moments is what lies between them', () => {
    const earlier = { idle: 10, active: 10, utilization: 0.5 };
    const later = { idle: 40, active: 20, utilization: 1 / 3 };
    expect(utilization(later, earlier)).toEqual({ idle: 30, active: 10, utilization: 0.25 });
  });

  it('of no time at all is 0', () => {
    const now = utilization();
    expect(utilization(now, now)).toEqual({ idle: 0, active: 0, utilization: 0 });
  });
});
