import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type CopyOptions, cp } from '@ouro/fs';
import { expect, it } from 'vitest';
import { failure, openDescriptors, temporaryDirectory } from './support.ts';

const dir = temporaryDirectory();
const src = join(dir, 'src');
mkdirSync(join(src, 'inner'), { recursive: true });
for (let i = 0; i < 20; i++) writeFileSync(join(src, 'inner', `f${i}`), `${i}`);

const never = (): Promise<boolean> => new Promise(() => {});

it.each<[string, CopyOptions['filter']]>([
  ['the whole', never],
  ['a file in it', (source) => (/f1$/.test(source) ? never() : Promise.resolve(true))],
])('a copy whose filter never answers about %s is cancelled all the same', async (name, filter) => {
  const dest = join(dir, name);
  await cp(src, `${dest} first`, { recursive: true });
  const before = openDescriptors();
  const copying = cp(src, dest, { recursive: true, filter, timeout: 50 });
  expect((await failure(copying)).code).toBe('ETIMEDOUT');
  const second = cp(src, dest, { recursive: true, filter });
  setTimeout(() => second.cancel(), 20);
  expect((await failure(second)).code).toBe('ABORT_ERR');
  expect(openDescriptors()).toBe(before);
});

it('a filter that fails ends the copy, whether it does so at once or later', async () => {
  const dest = join(dir, 'failed');
  const broken = (): never => {
    throw new Error('broken');
  };
  for (const filter of [broken, async () => broken()]) {
    expect((await failure(cp(src, dest, { recursive: true, filter }))).message).toBe('broken');
    expect(existsSync(dest)).toBe(false);
  }
});
