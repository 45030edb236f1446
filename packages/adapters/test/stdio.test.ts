import { describe, expect, it, vi } from 'vitest';
import { runCommand, runProgram } from '../../../testing/program.ts';
import { HOOK } from './support.ts';

vi.setConfig({ testTimeout: 120_000 });

const MUCH = 10_000_000;
const limitMs = 60_000;

/** A program whose standard output goes through a pipe to one that begins late, and that prints how much it was and its sum. */
const through = (source: string): Promise<{ code: number | null; stdout: string; stderr: string }> =>
  runCommand(
    [
      'bash',
      '-c',
      `set -o pipefail; "$1" --import @ouro/adapters/register --input-type=module -e "$2" | (sleep 0.3; sha256sum)`,
      '--',
      process.execPath,
      source,
    ],
    { limitMs },
  );

const summed = (source: string): Promise<{ stdout: string }> =>
  runProgram(
    `import { createHash } from 'node:crypto';
    ${source}
    console.log(createHash('sha256').update(bytes).digest('hex') + '  -');`,
    { limitMs },
  );

describe('standard streams that are pipes', () => {
  const bytes = `const bytes = Buffer.alloc(${MUCH}); for (let i = 0; i < bytes.length; i += 4) bytes.writeUInt32LE(i, i);`;

  it.each([
    ['at the end of the program', ''],
    // (Not at once: then Node itself sends no more than the pipe takes.)
    ['at process.exit, called when all is written', `process.stdout.write('', () => process.exit());`],
  ])('lose nothing of 10 MB %s', async (_, end) => {
    const { code, stdout, stderr } = await through(`${bytes}
      process.stdout.write(bytes.subarray(0, 100));
      for (let at = 100; at < bytes.length; at += 333_333) process.stdout.write(bytes.subarray(at, at + 333_333));
      ${end}`);
    const { stdout: sum } = await summed(bytes);
    expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: sum, stderr: '' });
  });

  it('have handles of Node', async () => {
    const { code, stdout, stderr } = await runProgram(
      `import { stats } from '@ouro/adapters';
       const handles = [process.stdin, process.stdout, process.stderr].map(({ _handle }) => _handle.isStreamBase);
       let count = 0;
       for await (const chunk of process.stdin) count += chunk.length;
       process.stdout.write(JSON.stringify({ handles, count, ours: stats().net?.write?.ours ?? 0 }));`,
      { flags: HOOK, input: 'x'.repeat(1_000_000), limitMs },
    );
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(JSON.parse(stdout)).toEqual({ handles: [true, true, true], count: 1_000_000, ours: 0 });
  });

  it('of a child lose nothing either, both ways', async () => {
    const { code, stdout, stderr } = await runProgram(
      `import { spawn } from 'node:child_process';
       ${bytes}
       const child = spawn('cat');
       child.stdin.end(bytes);
       const chunks = [];
       for await (const chunk of child.stdout) chunks.push(chunk);
       console.log(Buffer.concat(chunks).equals(bytes));`,
      { flags: HOOK, limitMs },
    );
    expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: 'true\n', stderr: '' });
  });
});
