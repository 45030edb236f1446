/**
 * fixed-copy: copies a file through registered buffers. Their pages are locked and looked up once, when the pool is made;
 * each read and write then only names its buffer (`READ_FIXED`, `WRITE_FIXED`). With --direct past the page cache
 * (`O_DIRECT`), for which the buffers lie on page boundaries.
 */
import { constants } from 'node:fs';
import type { File } from '@ouro/fs';
import { BufferPool, run } from '@ouro/runtime';
import { parse } from './lib/arguments.ts';
import { copyFailed, openSource, openTarget } from './lib/copy.ts';
import { failed } from './lib/failure.ts';

const HELP = `usage: fixed-copy [--direct] SOURCE TARGET

Copies a file through registered buffers, with --direct past the page cache.`;
const options = { direct: { type: 'boolean', default: false } } as const;
const { values, positionals } = parse(HELP, { options, allowPositionals: true }, [2, 2]);
const [source = '', target = ''] = positionals;

const PIECE = 131_072;
const IN_FLIGHT = 16;
const direct = values.direct ? constants.O_DIRECT : 0;

async function copy(from: File, to: File, pool: BufferPool): Promise<number> {
  let next = 0;
  let length = 0;
  const copySome = async (): Promise<void> => {
    using lease = pool.lease();
    for (;;) {
      const position = next;
      next += PIECE;
      const count = await from.read(lease.buffer, position);
      if (count === 0) return;
      length = Math.max(length, position + count);
      // O_DIRECT writes whole blocks only: what is too much is cut off afterwards.
      await to.write(lease.buffer.subarray(0, values.direct ? PIECE : count), position);
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, copySome));
  if (values.direct) await to.truncate(length);
  return length;
}

run(async () => {
  try {
    using pool = new BufferPool({ count: IN_FLIGHT, size: PIECE });
    await using from = await openSource(source, direct);
    await using to = await openTarget(target, from, direct);
    const how = pool.registered ? 'registered buffers' : `plain buffers (${pool.refusal?.message})`;
    console.log(`${await copy(from, to, pool)} bytes through ${how}`);
  } catch (error) {
    copyFailed(error, source, target);
  }
}).catch(failed);
