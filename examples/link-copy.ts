/**
 * link-copy: copies a file by pairs of linked ops. Each read is tied to the write of the same bytes (`IOSQE_IO_LINK`): the
 * kernel begins the write as soon as the read has succeeded, with no way back to JavaScript in between.
 */
import type { File } from '@ouro/fs';
import { read, write } from '@ouro/fs/ops';
import { chain, run } from '@ouro/runtime';
import { parse } from './lib/arguments.ts';
import { copyFailed, openSource, openTarget } from './lib/copy.ts';
import { cost } from './lib/cost.ts';
import { failed } from './lib/failure.ts';

const HELP = 'usage: link-copy SOURCE TARGET\n\nCopies a file by pairs of linked ops.';
const { positionals } = parse(HELP, { options: {}, allowPositionals: true }, [2, 2]);
const [source = '', target = ''] = positionals;

const PIECE = 131_072;
const IN_FLIGHT = 32;

async function copy(from: File, to: File, size: number): Promise<void> {
  let next = 0;
  const copySome = async (): Promise<void> => {
    const buffer = Buffer.allocUnsafeSlow(PIECE);
    while (next < size) {
      const position = next;
      next += PIECE;
      // Exactly what is there: a read that brings less than asked ends its chain.
      const piece = buffer.subarray(0, Math.min(PIECE, size - position));
      await chain([read(from, piece, position), write(to, piece, position)]);
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, copySome));
}

run(async () => {
  try {
    await using from = await openSource(source);
    await using to = await openTarget(target, from);
    const { size } = await from.stat();
    await copy(from, to, size);
    console.log(`${size} bytes, ${cost()}`);
  } catch (error) {
    copyFailed(error, source, target);
  }
}).catch(failed);
