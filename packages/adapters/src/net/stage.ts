import { reactor } from '@ouro/runtime/driver';

/** What most answers fit into, and what fits the most that is said to be written before it is. */
const SMALL = 4096;
export const MOST_STAGED = 65_536;
/** Memory is taken for so many bytes at a time. */
const CHUNK = 1 << 20;

/** A stretch of memory that no script sees and that never moves: bytes wait in it for their send. */
export class Stage {
  readonly bytes: Buffer;
  readonly at: number;
  readonly size: number;
  readonly address: number;
  used = 0;

  constructor(bytes: Buffer, at: number, size: number, address: number) {
    this.bytes = bytes;
    this.at = at;
    this.size = size;
    this.address = address;
  }

  /** The bytes that have been put there. */
  get filled(): Uint8Array {
    return this.bytes.subarray(this.at, this.at + this.used);
  }
}

// Stacks: what was given back last is still in the cache.
const small: Stage[] = [];
const large: Stage[] = [];

function grow(stages: Stage[], size: number): void {
  const { addon } = reactor();
  const memory = addon.allocate(CHUNK);
  if (typeof memory === 'number') throw new RangeError(`No memory for ${CHUNK} more bytes to be sent`);
  const bytes = Buffer.from(memory);
  const address = addon.addressOf(bytes);
  for (let at = CHUNK - size; at >= 0; at -= size) stages.push(new Stage(bytes, at, size, address + at));
}

/** A stage with room for `length` bytes, at most `MOST_STAGED`. */
export function takeStage(length: number): Stage {
  const [stages, size] = length <= SMALL ? [small, SMALL] : [large, MOST_STAGED];
  let stage = stages.pop();
  if (stage === undefined) {
    grow(stages, size);
    stage = stages.pop() as Stage;
  }
  stage.used = 0;
  return stage;
}

/** Gives one back that the kernel has let go of. */
export function giveStage(stage: Stage): void {
  (stage.size === SMALL ? small : large).push(stage);
}

/** One with room for `more` bytes behind what this one holds. */
export function widen(stage: Stage, more: number): Stage {
  const wider = takeStage(stage.used + more);
  stage.bytes.copy(wider.bytes, wider.at, stage.at, stage.at + stage.used);
  wider.used = stage.used;
  giveStage(stage);
  return wider;
}
