import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, describe, expect, it } from 'vitest';
import { runCommand } from '../../testing/program.ts';
import { noise } from './noise.ts';

const dir = mkdtempSync(join(tmpdir(), 'ouro-streams-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
const at = (name: string): string => join(dir, name);
writeFileSync(at('noise'), noise(3_000_000));
writeFileSync(at('text'), 'one two\r\nthree\n\nfour');

const gzip = (...args: string[]) => runCommand([process.execPath, 'examples/dist/gzip.js', ...args]);
const count = (args: string[], input = '') =>
  runCommand([process.execPath, 'examples/dist/count.js', ...args], { input });

describe('gzip', () => {
  it('packs a file, and unpacks it', async () => {
    expect(await gzip(at('noise'), at('packed'))).toMatchObject({ code: 0, stderr: '' });
    expect(gunzipSync(readFileSync(at('packed'))).equals(readFileSync(at('noise')))).toBe(true);
    expect(await gzip('-d', at('packed'), at('unpacked'))).toMatchObject({ code: 0, stderr: '' });
    expect(readFileSync(at('unpacked')).equals(readFileSync(at('noise')))).toBe(true);
  });

  it('says what is wrong, in one line', async () => {
    expect(await gzip(at('none'), at('x'))).toMatchObject({
      code: 1,
      stderr: `gzip: ${at('none')}: No such file or directory\n`,
    });
    expect(await gzip(at('noise'), at('text'))).toMatchObject({
      code: 1,
      stderr: `gzip: ${at('text')}: File exists\n`,
    });
    const { code, stderr } = await gzip('-d', at('text'), at('y'));
    expect([code, stderr.split('\n').length]).toEqual([1, 2]);
  });
});

describe('count', () => {
  it('counts lines, words and characters', async () => {
    expect(await count([at('text'), '-'], 'some\nmore')).toMatchObject({
      code: 0,
      stdout: `4 lines, 4 words, 16 characters: ${at('text')}\n2 lines, 2 words, 8 characters: -\n`,
    });
  });

  it('goes on where a file cannot be read', async () => {
    const { code, stdout, stderr } = await count([at('none'), dir, at('text')]);
    expect([code, stdout.includes('4 lines')]).toEqual([1, true]);
    expect(stderr).toBe(`count: ${at('none')}: No such file or directory\ncount: ${dir}: Is a directory\n`);
  });
});
