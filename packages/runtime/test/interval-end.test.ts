import { describe, expect, it } from 'vitest';
import { runProgram } from '../../../testing/program.ts';

describe('an interval that is left', () => {
  it.each(['0', '1'])('ends even if it fires at that very moment (OURO_SQPOLL=%s)', async (sqpoll) => {
    const { stdout, stderr } = await runProgram(
      `
        import { interval, metrics } from '@ouro/runtime';
        for (let i = 0; i < 40; i++) for await (const ticks of interval(0.1)) break;
        console.log(metrics().pending);
      `,
      { env: { OURO_SQPOLL: sqpoll } },
    );
    expect(stderr).toBe('');
    expect(stdout).toBe('0\n');
  });
});
