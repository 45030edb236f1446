import { UnixDatagram, UnixStream } from '@ouro/net';
import type { OpOptions } from '@ouro/runtime';
import { describe, expect, it } from 'vitest';
import { pair } from './support.ts';
import { keepsDescriptors } from './unix-support.ts';

/** Options that are right the first time that they are read, and wrong from then on. */
function fickle(): OpOptions {
  let reads = 0;
  return {
    get signal(): AbortSignal | undefined {
      reads++;
      return reads === 1 ? undefined : (5 as unknown as AbortSignal);
    },
  };
}

describe('options whose getters say something else the second time', () => {
  it('are read once by sends of descriptors, which leave none behind', () =>
    keepsDescriptors(async () => {
      const [one, other] = UnixStream.pair();
      expect(await one.sendDescriptors([0, 1], 'x', fickle())).toBe(1);
      const [from, to] = UnixDatagram.pair();
      expect(await from.sendDescriptors([0, 1], 'x', undefined, fickle())).toBe(1);
      await Promise.all([one.close(), other.close(), from.close(), to.close()]);
    }));

  it('are read once by shutdown', async () => {
    await using ends = await pair();
    await ends.server.shutdown('write', fickle());
    expect(await ends.client.read(Buffer.alloc(1))).toBe(0);
  });

  it('that are wrong from the beginning leave the writing side open', async () => {
    await using ends = await pair();
    expect(() => ends.server.shutdown('write', { timeout: -1 })).toThrow(RangeError);
    expect(await ends.server.writeAll('open')).toBe(4);
  });
});
