import * as fs from '@ouro/fs';
import { BufferPool } from '@ouro/runtime';
import { BLOCK } from '../harness/pattern.ts';
import { type BlockSource, type FileContender, PIECE } from './contender.ts';

/** Results of readFiles, failed or not. */
function contentOf(result: fs.FileResult<Buffer>): Buffer {
  if (result.error !== null) throw result.error;
  return result.content;
}

export const contender: FileContender = {
  async readReused(paths, _buffers, seen) {
    const results = await fs.readFiles(paths, { lease: true });
    for (let i = 0; i < results.length; i++) {
      seen(i, contentOf(results[i]));
      results[i].release();
    }
  },

  async readFresh(paths) {
    return (await fs.readFiles(paths)).map(contentOf);
  },

  async write(paths, data) {
    const results = await fs.writeFiles(paths.map((path, i) => ({ path, data: data[i] })));
    for (const { error } of results) if (error !== null) throw error;
  },

  async random(path: string, depth: number, blocks: BlockSource, direct: boolean) {
    await using file = await fs.File.open(path, 'r', { direct });
    using pool = new BufferPool({ count: depth, size: BLOCK });
    await Promise.all(
      Array.from({ length: depth }, async () => {
        using lease = pool.lease();
        const { buffer } = lease;
        for (let block = blocks.next(); block >= 0; block = blocks.next()) {
          blocks.check(buffer, await file.read(buffer, block * BLOCK), block);
        }
      }),
    );
  },

  async sequential(path) {
    await using file = await fs.File.open(path);
    using pool = new BufferPool({ count: 1, size: PIECE });
    using lease = pool.lease();
    let bytes = 0;
    for (;;) {
      const count = await file.read(lease.buffer, bytes);
      if (count === 0) return bytes;
      bytes += count;
    }
  },

  async copy(from, to) {
    await fs.copyFile(from, to);
  },

  async stats(directory) {
    let count = 0;
    for await (const _entry of fs.walk(directory, { stats: true })) count++;
    return count;
  },

  async stat(path) {
    return await fs.stat(path);
  },

  async list(directory) {
    return await fs.readdir(directory);
  },
};
