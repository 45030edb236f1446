import { readFileSync, writeFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { runProgram } from '../../../testing/program.ts';

const SYSCTL = '/proc/sys/kernel/io_uring_disabled';

/** Only when asked for, with nothing beside it, and by root: it takes the ring from the whole machine. */
it.runIf(process.env.OURO_TEST_SYSCTL === '1')(
  'where kernel.io_uring_disabled is 2 programs run in user space, and those with a ring keep it',
  async (context) => {
    const before = settable();
    if (before === null) {
      context.skip('kernel.io_uring_disabled cannot be set here');
      return;
    }
    const { run } = await import('@ouro/runtime');
    const { readFile } = await import('@ouro/fs');
    const content = await run(() => readFile('package.json', 'utf8'), { driver: 'uring' });
    const program = (OURO_DRIVER: string) =>
      runProgram(
        `
          import { capabilities, metrics, run } from '@ouro/runtime';
          import { readFile } from '@ouro/fs';
          await run(() => readFile('package.json')).catch(({ reason }) => console.log('refused:', reason));
          const { available, error } = capabilities();
          console.log(metrics().driver, metrics().fallback?.reason, available, error.message.includes('is 2'));
        `,
        { env: { OURO_DRIVER } },
      );
    try {
      writeFileSync(SYSCTL, '2');
      expect((await program('')).stdout).toBe('poll sysctl false true\n');
      expect((await program('uring')).stdout).toBe('refused: sysctl\nnull undefined false true\n');
      expect(await run(() => readFile('package.json', 'utf8'))).toBe(content);
    } finally {
      writeFileSync(SYSCTL, before);
    }
  },
);

/** What it is, if it can be set here, and io_uring is allowed. */
function settable(): string | null {
  try {
    const before = readFileSync(SYSCTL, 'utf8');
    writeFileSync(SYSCTL, before);
    return before.trim() === '0' ? before : null;
  } catch {
    return null;
  }
}
