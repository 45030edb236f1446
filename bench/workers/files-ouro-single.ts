import { readFile, writeFile } from '@ouro/fs';
import type { FileContender } from './contender.ts';

/** ouro with one call for each file, as most programs are written. */
export const contender: FileContender = {
  async readReused(paths, buffers, seen) {
    const read = await Promise.all(paths.map((path, i) => readFile(path, { buffer: buffers[i] })));
    read.forEach((content, i) => {
      seen(i, content);
    });
  },

  async readFresh(paths) {
    return await Promise.all(paths.map((path) => readFile(path)));
  },

  async write(paths, data) {
    await Promise.all(paths.map((path, i) => writeFile(path, data[i])));
  },
};
