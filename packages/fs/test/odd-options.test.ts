import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cp, File, readdir, readFile, rm, stat, walk, watch, writeFile } from '@ouro/fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { begun, shape, temporaryDirectory, thrown } from './support.ts';

const dir = temporaryDirectory();
const path = join(dir, 'file');
writeFileSync(path, 'content');
mkdirSync(join(dir, 'directory'));

let file: File;
beforeAll(async () => {
  file = await File.open(path, 'r+');
});
afterAll(() => file.close());

describe('options that are none', () => {
  it.each([
    ['File.open', (options: never) => File.open(path, 'r', options)],
    ['file.read', (options: never) => file.read(Buffer.alloc(1), 0, options)],
    ['file.write', (options: never) => file.write('x', 0, options)],
    ['file.truncate', (options: never) => file.truncate(7, options)],
    ['stat', (options: never) => stat(path, options)],
    ['rm', (options: never) => rm(join(dir, 'none'), options)],
  ])('are told by %s before anything begins', (_name, call) => {
    const { name, code, message } = thrown(() => call(null as never));
    expect({ name, code }).toEqual({ name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' });
    expect(message).toContain('"options"');
  });
});

describe('a value that no string can be made of', () => {
  const nothing = Object.create(null) as never;
  it.each([
    ['an encoding', () => readFile(path, { encoding: 1n as never })],
    ['an encoding of a write', () => writeFile(path, 'x', { encoding: 1n as never })],
    ['an order', () => walk(dir, { order: nothing })],
    ['what becomes of an overflow', () => watch(dir, { overflow: nothing })],
  ])('is told as %s', (_name, call) => {
    expect(thrown(call)).toMatchObject({ name: 'TypeError', code: 'ERR_INVALID_ARG_VALUE' });
  });
});

describe('options that are others when they are read again', () => {
  /** Undefined the first `times`. */
  const failing = (times: number): { readonly signal: undefined } => ({
    get signal(): undefined {
      if (times-- <= 0) throw new Error('no signal');
      return undefined;
    },
  });
  const lost: unknown[] = [];
  const lose = (error: unknown): void => void lost.push(error);

  it.each([
    ['readFile', (options: object) => readFile(path, options)],
    ['rm', (options: object) => rm(join(dir, 'none'), options)],
    ['cp', (options: object) => cp(join(dir, 'directory'), join(dir, 'copy'), options)],
    ['readdir', (options: object) => readdir(dir, options)],
  ])('do not stop %s halfway', async (_name, call) => {
    process.on('unhandledRejection', lose);
    for (let times = 0; times < 6; times++) {
      const queued = begun();
      let running: Promise<unknown>;
      try {
        running = call(failing(times));
      } catch {
        expect(begun()).toBe(queued);
        continue;
      }
      await running.catch(shape);
    }
    await new Promise((turn) => setTimeout(turn, 5));
    process.off('unhandledRejection', lose);
    expect(lost).toEqual([]);
    expect(existsSync(join(dir, 'copy'))).toBe(false);
  });
});
