/**
 * Random 4 KiB reads in the mode that the environment asks for (OURO_SQPOLL, OURO_IOPOLL, OURO_SPIN):
 *
 *   modes.js FILE BLOCKS SECONDS DEPTH cached|direct
 *
 * Opened by node:fs, because a ring in IOPOLL mode opens nothing. A mode that cannot read here is a result, not an error.
 */
import { constants, openSync } from 'node:fs';
import { File } from '@ouro/fs';
import { BufferPool, metrics } from '@ouro/runtime';
import { BLOCK } from '../harness/pattern.ts';
import { BlockSource } from './contender.ts';

const [path = '', blockCount, seconds, depth, how] = process.argv.slice(2);
const direct = how === 'direct' ? constants.O_DIRECT : 0;
const file = File.fromFd(openSync(path, constants.O_RDONLY | direct));
const blocks = new BlockSource(Number(blockCount));

async function read(ms: number): Promise<number> {
  const pool = new BufferPool({ count: Number(depth), size: BLOCK });
  const begun = performance.now();
  blocks.until(begun + ms);
  const lane = async (): Promise<void> => {
    const lease = pool.lease();
    for (let block = blocks.next(); block >= 0; block = blocks.next()) {
      blocks.check(lease.buffer, await file.read(lease.buffer, block * BLOCK), block);
    }
    lease.release();
  };
  await Promise.all(Array.from({ length: Number(depth) }, lane));
  pool.close();
  return (performance.now() - begun) * 1e6;
}

const cpuNs = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) * 1000;
};

try {
  await read(300);
  const before = { cpu: cpuNs(), enters: metrics().enters };
  const elapsedNs = await read(Number(seconds) * 1000);
  const { done } = blocks;
  const result = {
    opsPerSecond: (done / elapsedNs) * 1e9,
    cpuNsPerOp: (cpuNs() - before.cpu) / done,
    entersPerOp: (metrics().enters - before.enters) / done,
  };
  console.log(JSON.stringify({ event: 'result', ...result }));
} catch (error) {
  const { code = String(error) } = error as NodeJS.ErrnoException;
  console.log(JSON.stringify({ event: 'result', refused: code }));
}
process.exit();
