import { constants } from 'node:fs';
import {
  type Descriptor,
  type Future,
  flow,
  type OpOptions,
  opKind,
  type Steps,
  submit,
} from '@ouro/runtime/driver';
import type { NameEncoding } from '../encoding.ts';
import { openedFile } from '../file/opened.ts';
import { forEachEntry, isLast, listDirectory } from '../op/listing.ts';
import { open } from '../op/open.ts';
import { Dirent } from './dirent.ts';
import { borrowListing, returnListing } from './readdir.ts';

export type AnyDirent = Dirent<string | Buffer>;

/** Reads an open directory from where it stands, name by name. */
export class DirReader {
  readonly #descriptor: Descriptor;
  readonly #path: string | Buffer;
  readonly #encoding: NameEncoding;
  #batch: readonly AnyDirent[] = [];
  #at = 0;
  #ended = false;
  #turn: Promise<unknown> | null = null;

  constructor(descriptor: Descriptor, path: string | Buffer, encoding: NameEncoding) {
    this.#descriptor = descriptor;
    this.#path = path;
    this.#encoding = encoding;
  }

  /** The next name; null behind the last one. Several reads take their turns. */
  read(options?: OpOptions): Future<AnyDirent | null> {
    const before = this.#turn;
    const turn = flow(async (steps) => {
      if (before !== null) await before;
      steps.check();
      return await this.#next(steps);
    }, options);
    const settled = turn.then(nothing, nothing);
    this.#turn = settled;
    return turn;
  }

  async #next(steps: Steps): Promise<AnyDirent | null> {
    while (this.#at >= this.#batch.length) {
      if (this.#ended && !this.#descriptor.closed) return null;
      const memory = borrowListing();
      try {
        await steps.step(submit(listDirectory(this.#descriptor, memory, 0, this.#path)));
        this.#ended = isLast(memory);
        this.#batch = direntsOf(memory, this.#path, this.#encoding);
        this.#at = 0;
      } finally {
        returnListing(memory);
      }
    }
    return this.#batch[this.#at++] ?? null;
  }
}

function nothing(): void {}

function direntsOf(memory: Buffer, path: string | Buffer, encoding: NameEncoding): AnyDirent[] {
  const found: AnyDirent[] = [];
  forEachEntry(memory, encoding, (name, type) => found.push(new Dirent(name, type, path)));
  return found;
}

const SCANDIR = opKind<number>('scandir', { resultIsFd: true });

/** All that is in an open directory, in batches, over a descriptor of its own: what else reads it is not disturbed. */
export async function* direntBatches(
  dir: Descriptor,
  path: string | Buffer,
  encoding: NameEncoding,
  options: OpOptions | undefined,
): AsyncGenerator<AnyDirent[], undefined, undefined> {
  const flags = constants.O_RDONLY | constants.O_DIRECTORY;
  const fd = await open(SCANDIR, '.', flags, 0, options, { dirfd: dir });
  // A loop that nobody ends is collected with this.
  const own = openedFile(fd, path, null);
  const memory = borrowListing();
  try {
    for (let last = false; !last; ) {
      await submit(listDirectory(own, memory, 0, path), options);
      last = isLast(memory);
      const batch = direntsOf(memory, path, encoding);
      if (batch.length > 0) yield batch;
    }
  } finally {
    returnListing(memory);
    await own.close();
  }
}
