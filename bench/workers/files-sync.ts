import {
  closeSync,
  constants,
  copyFileSync,
  lstatSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { BLOCK } from '../harness/pattern.ts';
import { alignedLanes, type BlockSource, type FileContender, PIECE } from './contender.ts';

/** node:fs's synchronous calls: no pool and no promise, and nothing else can happen meanwhile. */
export const contender: FileContender = {
  readReused(paths, buffers, seen) {
    for (let i = 0; i < paths.length; i++) {
      const fd = openSync(paths[i], 'r');
      const bytesRead = readSync(fd, buffers[i], 0, buffers[i].length, 0);
      closeSync(fd);
      seen(i, buffers[i].subarray(0, bytesRead));
    }
  },

  readFresh(paths) {
    return paths.map((path) => readFileSync(path));
  },

  write(paths, data) {
    for (let i = 0; i < paths.length; i++) writeFileSync(paths[i], data[i]);
  },

  async random(path: string, _depth: number, blocks: BlockSource, direct: boolean) {
    const fd = openSync(path, direct ? constants.O_RDONLY | constants.O_DIRECT : 'r');
    await alignedLanes(1, async (buffer) => {
      for (let block = blocks.next(); block >= 0; block = blocks.next()) {
        blocks.check(buffer, readSync(fd, buffer, 0, BLOCK, block * BLOCK), block);
      }
    });
    closeSync(fd);
  },

  sequential(path) {
    const fd = openSync(path, 'r');
    const buffer = Buffer.alloc(PIECE);
    let bytes = 0;
    for (let count = -1; count !== 0; bytes += count) count = readSync(fd, buffer, 0, PIECE, bytes);
    closeSync(fd);
    return bytes;
  },

  copy(from, to) {
    copyFileSync(from, to);
  },

  stats(directory) {
    const entries = readdirSync(directory, { recursive: true, encoding: 'utf8' });
    for (const entry of entries) lstatSync(join(directory, entry));
    return entries.length;
  },

  stat(path) {
    return statSync(path);
  },

  list(directory) {
    return readdirSync(directory);
  },
};
