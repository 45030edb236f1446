import { open, readFile, writeFile } from 'node:fs/promises';
import { BLOCK } from '../harness/pattern.ts';
import { type BlockSource, type FileContender, lanes } from './contender.ts';

/** node:fs/promises, the peer that the ratios refer to. */
export const contender: FileContender = {
  async readReused(paths, buffers) {
    // readFile() cannot read into the caller's memory, so this is what it takes.
    await Promise.all(
      paths.map(async (path, i) => {
        const file = await open(path, 'r');
        const { bytesRead } = await file.read(buffers[i], 0, buffers[i].length, 0);
        await file.close();
        if (bytesRead !== buffers[i].length) throw new Error(`${path}: ${bytesRead} bytes`);
      }),
    );
  },

  async readFresh(paths) {
    return await Promise.all(paths.map((path) => readFile(path)));
  },

  async write(paths, data) {
    // 'r+' would spare the O_TRUNC but leave a longer file's tail; this is how everybody writes a file.
    await Promise.all(paths.map((path, i) => writeFile(path, data[i])));
  },

  async random(path: string, depth: number, blocks: BlockSource) {
    const file = await open(path, 'r');
    await lanes(depth, async (buffer) => {
      for (let block = blocks.next(); block >= 0; block = blocks.next()) {
        const { bytesRead } = await file.read(buffer, 0, BLOCK, block * BLOCK);
        blocks.check(buffer, bytesRead, block);
      }
    });
    await file.close();
  },
};
