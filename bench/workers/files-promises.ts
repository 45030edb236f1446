import { createReadStream } from 'node:fs';
import { copyFile, lstat, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type FileContender, PIECE } from './contender.ts';

/** node:fs/promises, the peer that the ratios refer to. */
export const contender: FileContender = {
  async readReused(paths, _buffers, seen) {
    // It cannot read into the caller's memory: see `handle`.
    const read = await Promise.all(paths.map((path) => readFile(path)));
    read.forEach((content, i) => {
      seen(i, content);
    });
  },

  async readFresh(paths) {
    return await Promise.all(paths.map((path) => readFile(path)));
  },

  async write(paths, data) {
    // 'r+' would spare the O_TRUNC but leave a longer file's tail; this is how everybody writes a file.
    await Promise.all(paths.map((path, i) => writeFile(path, data[i])));
  },

  async sequential(path) {
    let bytes = 0;
    for await (const chunk of createReadStream(path, { highWaterMark: PIECE }))
      bytes += (chunk as Buffer).length;
    return bytes;
  },

  async copy(from, to) {
    await copyFile(from, to);
  },

  async stats(directory) {
    const entries = await readdir(directory, { recursive: true });
    await Promise.all(entries.map((entry) => lstat(join(directory, entry))));
    return entries.length;
  },

  async stat(path) {
    return await stat(path);
  },

  async list(directory) {
    return await readdir(directory);
  },
};
