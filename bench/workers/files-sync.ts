import { closeSync, openSync, readFileSync, readSync, writeFileSync } from 'node:fs';
import { BLOCK } from '../harness/pattern.ts';
import type { BlockSource, FileContender } from './contender.ts';

/** node:fs's synchronous calls: no pool and no promise, and nothing else can happen meanwhile. */
export const contender: FileContender = {
  readReused(paths, buffers) {
    for (let i = 0; i < paths.length; i++) {
      const fd = openSync(paths[i], 'r');
      const bytesRead = readSync(fd, buffers[i], 0, buffers[i].length, 0);
      closeSync(fd);
      if (bytesRead !== buffers[i].length) throw new Error(`${paths[i]}: ${bytesRead} bytes`);
    }
  },

  readFresh(paths) {
    return paths.map((path) => readFileSync(path));
  },

  write(paths, data) {
    for (let i = 0; i < paths.length; i++) writeFileSync(paths[i], data[i]);
  },

  async random(path: string, _depth: number, blocks: BlockSource) {
    const fd = openSync(path, 'r');
    const buffer = Buffer.alloc(BLOCK);
    for (let block = blocks.next(); block >= 0; block = blocks.next()) {
      blocks.check(buffer, readSync(fd, buffer, 0, BLOCK, block * BLOCK), block);
    }
    closeSync(fd);
  },
};
