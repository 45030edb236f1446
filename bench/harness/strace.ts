import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Child } from './child.ts';

let available: boolean | undefined;

/** Whether system calls can be counted here, found out by trying; prints a note, once, if not. */
export async function canCountCalls(): Promise<boolean> {
  if (available === undefined) {
    const target = await Child.start('sleep', { file: 'sleep', args: ['60'] });
    try {
      await countCalls(target.pid, async () => {});
      available = true;
    } catch (error) {
      available = false;
      console.log(`note: system calls are not counted: ${error instanceof Error ? error.message : error}`);
    } finally {
      await target.stop();
    }
  }
  return available;
}

/** The system calls that process `pid`, all its threads, makes while `body` runs. It runs many times slower meanwhile. */
export async function countCalls<T>(
  pid: number,
  body: () => Promise<T>,
): Promise<{ calls: number; value: T }> {
  const directory = mkdtempSync(join(tmpdir(), 'ouro-bench-strace-'));
  const summary = join(directory, 'summary');
  try {
    const args = ['-c', '-f', '-p', `${pid}`, '-o', summary];
    const strace = await Child.start('strace', { file: 'strace', args });
    await strace.waitFor(/attached/, 5000);
    const value = await body().finally(() => strace.stop('SIGINT'));
    return { calls: totalCalls(readFileSync(summary, 'utf8')), value };
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** Adds up the fourth column, `calls`, of the rows of an `strace -c` table. */
function totalCalls(summary: string): number {
  let calls = 0;
  for (const line of summary.split('\n')) {
    const cells = line.trim().split(/\s+/);
    if (/^[\d.]+$/.test(cells[0]) && cells.at(-1) !== 'total') calls += Number(cells[3]);
  }
  return calls;
}
