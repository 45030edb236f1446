import { chmodSync, linkSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { type Ended, runCommand } from '../../testing/program.ts';

const dir = mkdtempSync(join(tmpdir(), 'ouro-du-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
const du = (...args: readonly string[]): Promise<Ended> =>
  runCommand([process.execPath, 'examples/dist/du.js', ...args]);

const MIB = 2 ** 20;

it('du says how much room directories take, the largest first, each file once', async () => {
  mkdirSync(join(dir, 'tree/large/inner'), { recursive: true });
  mkdirSync(join(dir, 'tree/small'));
  writeFileSync(join(dir, 'tree/large/inner/file'), Buffer.alloc(3 * MIB, 1));
  linkSync(join(dir, 'tree/large/inner/file'), join(dir, 'tree/large/again'));
  writeFileSync(join(dir, 'tree/small/file'), Buffer.alloc(MIB, 1));
  const { stdout, stderr, code } = await du(`${join(dir, 'tree')}/`, '--top', '2');
  expect([stderr, code]).toEqual(['', 0]);
  const [first, second, names] = stdout.split('\n');
  const { blocks } = statSync(join(dir, 'tree/large/inner/file'));
  expect(first).toMatch(new RegExp(`^ +[45]\\.\\d MiB {2}${dir}/tree$`));
  expect(Number.parseFloat(second)).toBeCloseTo((blocks * 512) / MIB, 0);
  expect(second).toMatch(/tree\/large(\/inner)?$/);
  expect(names).toBe('6 names');
});

it('du goes on where it may not look, and fails in the end', async () => {
  mkdirSync(join(dir, 'shut/off'), { recursive: true });
  chmodSync(join(dir, 'shut/off'), 0);
  // As somebody who may not read everything, even where the tests run as root.
  const humbly =
    process.getuid?.() === 0
      ? ['setpriv', '--inh-caps=-all', '--bounding-set=-dac_override,-dac_read_search']
      : [];
  const ended = await runCommand([...humbly, process.execPath, 'examples/dist/du.js', join(dir, 'shut')]);
  expect(ended.stderr).toMatch(/^du: .*ermission denied.*\n$/);
  expect([ended.code, ended.stdout.split('\n').at(-2)]).toEqual([1, '1 names']);
});

it('du explains itself, and refuses what makes no sense', async () => {
  expect((await du('--help')).stdout).toMatch(/^usage: du/);
  for (const args of [['a', 'b'], ['--top', 'x', '.'], ['--unknown']]) {
    const { code, stderr } = await du(...args);
    expect(code).toBe(2);
    expect(stderr).toMatch(/^du: /);
  }
  expect((await du(join(dir, 'gone'))).stderr).toMatch(/^du: .*o such file or directory/);
});
