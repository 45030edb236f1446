import { IORING_ACCEPT_MULTISHOT, IORING_OP_ACCEPT } from '@ouro/native/abi';
import { acceptMultishot, recvBundle, recvMultishot } from '@ouro/net/ops';
import { BufferRing, batch, chain, link, metrics, Op, opKind, submit } from '@ouro/runtime';
import { nop, pollAdd, readMultishot, timeout } from '@ouro/runtime/ops';
import { describe, expect, it } from 'vitest';

/** Never queued: any descriptor will do. */
const FD = 0;
const POLLIN = 1;

const handmade = (): Op<number> => {
  const op = new Op(opKind<number>('accept'), IORING_OP_ACCEPT).on(FD);
  op.ioprio = IORING_ACCEPT_MULTISHOT;
  return op;
};

describe.each<[string, (ring: BufferRing) => Op<unknown>, string]>([
  ['a timeout that repeats', () => timeout(1, { repeat: true }), 'timeout'],
  ['a multishot poll', () => pollAdd(FD, POLLIN, { multishot: true }), 'poll'],
  ['acceptMultishot', () => acceptMultishot(FD), 'accept'],
  ['recvMultishot', (ring) => recvMultishot(FD, ring), 'recv'],
  ['recvBundle', (ring) => recvBundle(FD, ring), 'recv'],
  ['readMultishot', (ring) => readMultishot(FD, ring), 'read'],
  ['a multishot op of no encoder of ours', handmade, 'accept'],
])('%s', (_name, encode, syscall) => {
  it('is refused by what waits for one completion', () => {
    using ring = new BufferRing({ entries: 2, size: 64 });
    const before = metrics().pending;
    const op = encode(ring);
    const refusal = (name: string): Error =>
      expect.objectContaining({
        name: 'TypeError',
        code: 'ERR_INVALID_ARG_VALUE',
        message: `The "${name}" argument (${syscall}) completes more than once: use stream()`,
      }) as Error;
    expect(() => submit(op)).toThrow(refusal('op'));
    expect(() => link(op)).toThrow(refusal('op'));
    expect(() => batch([nop(), op])).toThrow(refusal('ops[1]'));
    expect(() => chain([nop(), op])).toThrow(refusal('links[1]'));
    expect(metrics().pending).toBe(before);
  });
});
