import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { root } from '../../../testing/program.ts';
import { sanitized } from '../../../testing/sanitized.ts';
import { temporaryDirectory } from './support.ts';

const dir = temporaryDirectory();
/** (With a sanitizer each writer takes a second to begin.) */
const KILLS = sanitized ? 20 : 200;
const SIDE_BY_SIDE = 4;

/** Writes version after version of a file, and says each that has been written. */
const WRITER = `
  import { writeFile } from '@ouro/fs';
  const [path, first] = process.argv.slice(1);
  for (let version = Number(first); ; version++) {
    const content = Buffer.alloc(8 + ((version * 7919) % 200_000), version & 0xff);
    content.writeDoubleLE(version);
    await writeFile(path, content, { durable: true });
    process.stdout.write(version + ' ');
  }`;

/** The version that a file holds, wholly. */
function versionOf(content: Buffer): number {
  const version = content.readDoubleLE();
  const whole = Buffer.alloc(8 + ((version * 7919) % 200_000), version & 0xff);
  whole.writeDoubleLE(version);
  if (!content.equals(whole)) throw new Error(`a mixture: ${content.length} bytes, version ${version}`);
  return version;
}

/** Kills writers of one file; resolves to how many temporaries they have left behind. */
async function kill(at: string, times: number): Promise<number> {
  mkdirSync(at);
  const path = join(at, 'file');
  let version = 1;
  let strays = 0;
  for (let round = 0; round < times; round++) {
    const flags = ['--input-type=module', '-e', WRITER, '--', path, String(version)];
    const child = spawn(process.execPath, flags, { cwd: root, stdio: ['ignore', 'pipe', 'inherit'] });
    let said = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    const ended = once(child, 'close');
    await Promise.race([once(child.stdout, 'data'), ended]);
    await new Promise((later) => setTimeout(later, Math.random() * 15));
    child.kill('SIGKILL');
    expect(await ended).toEqual([null, 'SIGKILL']);
    const last = Number(said.trim().split(' ').at(-1));
    const found = versionOf(readFileSync(path));
    // What it had said is there; what it was at is there or not.
    expect([last, last + 1]).toContain(found);
    version = found + 1;
    const left = readdirSync(at).filter((name) => name !== 'file');
    expect(left.length).toBeLessThanOrEqual(1);
    strays += left.length;
    for (const name of left) rmSync(join(at, name));
  }
  return strays;
}

it(`a file that is written durably is wholly old or wholly new after each of ${KILLS} kills`, async () => {
  const each = KILLS / SIDE_BY_SIDE;
  const places = Array.from({ length: SIDE_BY_SIDE }, (_, index) => join(dir, `${index}`));
  const strays = await Promise.all(places.map((at) => kill(at, each)));
  // Else they were all killed where it does not matter.
  expect(strays.reduce((sum, count) => sum + count)).toBeGreaterThan(0);
}, 400_000);
