import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { BLOCK } from '../harness/pattern.ts';
import { alignedLanes, type BlockSource, type FileContender, PIECE } from './contender.ts';

const { O_DIRECT, O_RDONLY } = constants;

/** FileHandle: reads into the caller's memory. */
export const contender: FileContender = {
  async readReused(paths, buffers, seen) {
    await Promise.all(
      paths.map(async (path, i) => {
        const file = await open(path, 'r');
        const { bytesRead } = await file.read(buffers[i], 0, buffers[i].length, 0);
        await file.close();
        seen(i, buffers[i].subarray(0, bytesRead));
      }),
    );
  },

  async random(path: string, depth: number, blocks: BlockSource, direct: boolean) {
    const file = await open(path, direct ? O_RDONLY | O_DIRECT : O_RDONLY);
    await alignedLanes(depth, async (buffer) => {
      for (let block = blocks.next(); block >= 0; block = blocks.next()) {
        const { bytesRead } = await file.read(buffer, 0, BLOCK, block * BLOCK);
        blocks.check(buffer, bytesRead, block);
      }
    });
    await file.close();
  },

  async sequential(path) {
    const file = await open(path, 'r');
    const buffer = Buffer.alloc(PIECE);
    let bytes = 0;
    for (;;) {
      const { bytesRead } = await file.read(buffer, 0, PIECE, bytes);
      if (bytesRead === 0) break;
      bytes += bytesRead;
    }
    await file.close();
    return bytes;
  },
};
