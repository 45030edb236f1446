import { lstat, readdir } from 'node:fs/promises';
import { BLOCK } from '../harness/pattern.ts';
import type { FileContender } from './contender.ts';

/** What is used of Bun, whose types nobody has installed. */
interface BunFile {
  bytes(): Promise<Uint8Array>;
  stat(): Promise<unknown>;
  slice(from: number, to: number): { arrayBuffer(): Promise<ArrayBuffer> };
  stream(): AsyncIterable<Uint8Array>;
}
const { Bun } = globalThis as unknown as {
  Bun: { file(path: string): BunFile; write(path: string, data: Uint8Array | BunFile): Promise<number> };
};

/** Bun's own functions. */
export const contender: FileContender = {
  async readReused(paths, _buffers, seen) {
    const read = await Promise.all(paths.map((path) => Bun.file(path).bytes()));
    read.forEach((content, i) => {
      seen(i, content);
    });
  },

  async readFresh(paths) {
    return await Promise.all(paths.map((path) => Bun.file(path).bytes()));
  },

  async write(paths, data) {
    await Promise.all(paths.map((path, i) => Bun.write(path, data[i])));
  },

  cached: true,

  async random(path, depth, blocks) {
    const file = Bun.file(path);
    await Promise.all(
      Array.from({ length: depth }, async () => {
        for (let block = blocks.next(); block >= 0; block = blocks.next()) {
          const bytes = Buffer.from(await file.slice(block * BLOCK, (block + 1) * BLOCK).arrayBuffer());
          blocks.check(bytes, bytes.length, block);
        }
      }),
    );
  },

  async sequential(path) {
    let bytes = 0;
    for await (const chunk of Bun.file(path).stream()) bytes += chunk.length;
    return bytes;
  },

  async copy(from, to) {
    await Bun.write(to, Bun.file(from));
  },

  // It has nothing of its own for directories.
  async stats(directory) {
    const entries = await readdir(directory, { recursive: true });
    await Promise.all(entries.map((entry) => lstat(`${directory}/${entry}`)));
    return entries.length;
  },

  async stat(path) {
    return await Bun.file(path).stat();
  },
};
