import { pipe, splice, tee, write } from '@ouro/fs/ops';
import { sleep, submit } from '@ouro/runtime';
import { close } from '@ouro/runtime/driver';
import * as runtimeOps from '@ouro/runtime/ops';
import { describe, expect, it } from 'vitest';
import { bytes, pair } from './support.ts';
import { take } from './transfer-support.ts';

const PIECE = 65_536;

describe('the splice op', () => {
  it('into a socket that takes no more lets the loop go on, and moves the rest when there is room', async () => {
    await using ends = await pair();
    const [from, to] = await submit(pipe());
    const data = bytes(PIECE, 6);
    let moved = 0;
    let lies = 0;
    let waiting: Promise<number>;
    for (;;) {
      if (lies === 0) lies = await submit(write(to, data));
      waiting = submit(splice(from, null, ends.server, null, lies));
      const first = await Promise.race([waiting, sleep(200).then(() => 'stalled')]);
      if (typeof first === 'string') break;
      lies -= first;
      moved += first;
    }
    const received: Buffer[] = [await take(ends.client, moved)];
    for (let left = lies; left > 0; ) {
      const count = await waiting;
      received.push(await take(ends.client, count));
      left -= count;
      if (left > 0) waiting = submit(splice(from, null, ends.server, null, left));
    }
    const all = Buffer.concat(received);
    expect(all.length).toBe(moved + lies);
    for (let at = 0; at < all.length; at += PIECE) {
      expect(all.subarray(at, at + PIECE).equals(data)).toBe(true);
    }
    await Promise.all([close(from), close(to)]);
  }, 60_000);

  it('is one of the runtime, as tee and pipe are', () => {
    expect(runtimeOps).toMatchObject({ splice, tee, pipe });
  });
});
