import { describe, expect, it } from 'vitest';
import { polls } from '../../../testing/engine.ts';
import { runProgram } from '../../../testing/program.ts';

// The kernel takes a timeout that fires off its list until it arms it again. A cancellation that comes in between finds
// nothing, and the ticking would go on for ever. (SQPOLL is the ring's.)
describe.each(polls ? ['0'] : ['0', '1'])(
  'ticking that is left at the very moment it fires ends (OURO_SQPOLL=%s)',
  (sqpoll) => {
    it.each([
      ['an interval', 'interval(0.1)'],
      ['a stream of a repeated timeout', 'stream(timeout(0.1, { repeat: true }))'],
    ])('%s', async (_, ticking) => {
      const { stdout, stderr } = await runProgram(
        `
        import { interval, metrics, stream } from '@ouro/runtime';
        import { timeout } from '@ouro/runtime/ops';
        for (let i = 0; i < 40; i++) for await (const _ of ${ticking}) break;
        console.log(metrics().pending);
      `,
        { env: { OURO_SQPOLL: sqpoll } },
      );
      expect(stderr).toBe('');
      expect(stdout).toBe('0\n');
    });
  },
);
