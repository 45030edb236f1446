import { batch } from '@ouro/runtime';
import {
  asBytes,
  type Bytes,
  checkBytes,
  checkInteger,
  type Descriptor,
  invalidType,
  type Op,
  type OpOptions,
  type Steps,
  snapshot,
} from '@ouro/runtime/driver';
import { MOST_PARTS } from '../op/datagram-header.ts';
import { type Parts, partsToSend } from '../op/msghdr.ts';
import { sendto } from '../op/sendto.ts';
import { checkDestination, type Destination } from '../peers.ts';
import { cut, mustSplit, splitSize } from './segments.ts';

/** What is sent: bytes, a text, or stretches of bytes that are one datagram. */
export type DatagramData = Bytes | string | readonly Bytes[];

/** How a datagram is sent. */
export interface UdpSendOptions extends OpOptions {
  /**
   * Send datagrams of so many bytes each, the last one with what is left, by one system call that the kernel splits up
   * (`UDP_SEGMENT`, 4.18). Where it cannot, each is sent by itself. @default all is one datagram
   */
  readonly segmentSize?: number | undefined;
}

/** One of many datagrams. */
export interface UdpMessage extends Pick<UdpSendOptions, 'segmentSize'> {
  readonly data: DatagramData;
  /** Where to; not for a connected socket. */
  readonly to?: Destination | undefined;
}

/** What is to be sent, checked. */
export interface Outgoing {
  readonly parts: Parts;
  readonly to: Destination | undefined;
  readonly segmentSize: number;
}

const MOST_SEGMENT = 65_535;

/** @throws TypeError, RangeError for what cannot be sent */
export function outgoing(
  prefix: string,
  data: unknown,
  to: Destination | undefined,
  segmentSize: number | undefined,
): Outgoing {
  if (to !== undefined) checkDestination(`${prefix}to`, to);
  if (segmentSize !== undefined) checkInteger(`${prefix}segmentSize`, segmentSize, 1, MOST_SEGMENT);
  return { parts: partsOf(`${prefix}data`, data), to, segmentSize: segmentSize ?? 0 };
}

function partsOf(name: string, data: unknown): Parts {
  if (Array.isArray(data)) {
    const buffers = [...(data as readonly unknown[])].map((each, i) => {
      checkBytes(`${name}[${i}]`, each);
      return each;
    });
    return partsToSend(
      buffers.length <= MOST_PARTS && buffers.length > 0 ? buffers : [Buffer.concat(buffers.map(asBytes))],
    );
  }
  const bytes = typeof data === 'string' ? Buffer.from(data) : data;
  if (!ArrayBuffer.isView(bytes))
    throw invalidType(name, 'of type string or an instance of Buffer, TypedArray, DataView or Array', data);
  const { address, length, hold } = snapshot(bytes);
  return { iovecs: [address, length], hold: [hold], total: length };
}

/** A message that goes out, or why it does not. */
export type Plan = Error | Planned;

export interface Planned {
  readonly message: Outgoing;
  /** For errors. */
  readonly to: Destination | undefined;
  /** Null on a connected socket. */
  readonly sockaddr: Uint8Array | null;
}

/** One send: a datagram, or as many as the kernel makes of it. */
interface Piece {
  readonly plan: number;
  readonly parts: Parts;
  readonly segmentSize: number;
}

type Outcome = PromiseSettledResult<number>;

/** Whether a message is one datagram, whatever the kernel can. */
export function isSingle({ segmentSize, parts }: Outgoing): boolean {
  return segmentSize === 0 || parts.total <= segmentSize;
}

/** The send of a message that is one datagram. */
export function single(fd: Descriptor, { message, to, sockaddr }: Planned): Op<number> {
  return sendto(fd, message.parts, to, sockaddr, 0);
}

/**
 * Sends messages, each in as few pieces as the kernel allows, and all pieces in one submission; what it does not split is cut by
 * hand and sent in another.
 */
export async function sendAll(
  steps: Steps,
  fd: Descriptor,
  plans: readonly Plan[],
  splits: boolean,
): Promise<Outcome[]> {
  const run = async (pieces: readonly Piece[]): Promise<Outcome[]> => {
    const ops = pieces.map(({ plan, parts, segmentSize }) => {
      const { to, sockaddr } = plans[plan] as Planned;
      return sendto(fd, parts, to, sockaddr, segmentSize);
    });
    return await steps.step(batch(ops, { settle: true }));
  };
  const pieces = plans.flatMap((plan, index) =>
    plan instanceof Error ? [] : piecesOf(plan.message, index, splits),
  );
  const outcomes = await run(pieces);
  const refused = pieces.flatMap((piece, at) => {
    const outcome = outcomes[at];
    const again = piece.segmentSize > 0 && outcome.status === 'rejected' && mustSplit(outcome.reason);
    return again ? [{ piece, at }] : [];
  });
  if (refused.length > 0 && !steps.cancelled) {
    const apart = refused.map(({ piece }) =>
      cut(piece.parts, piece.segmentSize).map((parts) => ({ ...piece, parts, segmentSize: 0 })),
    );
    const results = await run(apart.flat());
    for (const [i, { at }] of refused.entries()) outcomes[at] = sum(results.splice(0, apart[i].length));
  }
  // The pieces are in the order of the messages.
  let at = 0;
  return plans.map((plan, index) => {
    if (plan instanceof Error) return { status: 'rejected', reason: plan };
    const first = at;
    while (at < pieces.length && pieces[at].plan === index) at++;
    return sum(outcomes.slice(first, at));
  });
}

function piecesOf(message: Outgoing, plan: number, splits: boolean): Piece[] {
  const { parts, segmentSize } = message;
  if (isSingle(message)) return [{ plan, parts, segmentSize: 0 }];
  if (!splits) return cut(parts, segmentSize).map((each) => ({ plan, parts: each, segmentSize: 0 }));
  return cut(parts, splitSize(segmentSize)).map((each) => ({
    plan,
    parts: each,
    segmentSize: each.total > segmentSize ? segmentSize : 0,
  }));
}

/** What pieces come to: bytes, or the first failure, which says how many bytes have gone out all the same. */
function sum(outcomes: readonly Outcome[]): Outcome {
  let bytes = 0;
  let failed: PromiseRejectedResult | undefined;
  for (const outcome of outcomes) {
    if (outcome.status === 'fulfilled') bytes += outcome.value;
    else failed ??= outcome;
  }
  if (failed === undefined) return { status: 'fulfilled', value: bytes };
  if (bytes > 0) Object.assign(failed.reason as Error, { bytesTransferred: bytes });
  return failed;
}
