import type { Stats } from '../stats.ts';
import { joined, Named } from './dirent.ts';
import type { Place } from './places.ts';

/** What a walk comes by: a `Dirent` that knows where it is. */
export class WalkEntry<P extends string | Buffer = string> extends Named<P> {
  /** What is known about it: null unless asked for, or where that could not be found out. */
  readonly stats: Stats | null;
  readonly #place: Place;

  /** @internal */
  constructor(name: P, type: number, place: Place, stats: Stats | null) {
    super(name, type);
    this.#place = place;
    this.stats = stats;
  }

  override get parentPath(): P extends string ? string : string | Buffer {
    const { path } = this.#place;
    return (typeof this.name === 'string' ? path.toString() : Buffer.from(path)) as typeof this.parentPath;
  }

  /** The path of the root and what leads from there, as a string, or bytes with `encoding: 'buffer'`. */
  get path(): P {
    const { path } = this.#place;
    return (
      typeof this.name === 'string' ? joined(path.toString(), this.name) : joined(path, this.name)
    ) as P;
  }

  /** How deep in the tree: 1 for what is in the root itself. */
  get depth(): number {
    return this.#place.depth + 1;
  }

  /** @internal The directory that it is in. */
  static placeOf(entry: WalkEntry<string | Buffer>): Place {
    return entry.#place;
  }
}
