import { File, readFile, writeFile } from '@ouro/fs';
import { BLOCK } from '../harness/pattern.ts';
import { type BlockSource, type FileContender, lanes } from './contender.ts';

export const contender: FileContender = {
  async readReused(paths, buffers) {
    const read = await Promise.all(paths.map((path, i) => readFile(path, { buffer: buffers[i] })));
    for (let i = 0; i < read.length; i++) {
      if (read[i].length !== buffers[i].length) throw new Error(`${paths[i]}: ${read[i].length} bytes`);
    }
  },

  async readFresh(paths) {
    return await Promise.all(paths.map((path) => readFile(path)));
  },

  async write(paths, data) {
    await Promise.all(paths.map((path, i) => writeFile(path, data[i])));
  },

  async random(path: string, depth: number, blocks: BlockSource) {
    const file = await File.open(path, 'r');
    await lanes(depth, async (buffer) => {
      for (let block = blocks.next(); block >= 0; block = blocks.next()) {
        blocks.check(buffer, await file.read(buffer, block * BLOCK), block);
      }
    });
    await file.close();
  },
};
