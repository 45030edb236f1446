import { ECANCELED, SHUT_RD, SHUT_RDWR, SHUT_WR } from '@ouro/native/abi';
import {
  begin,
  closedError,
  type Descriptor,
  type Future,
  flow,
  invalidType,
  limitsOf,
  Operation,
  type OpOptions,
  refusal,
  rejected,
} from '@ouro/runtime/driver';
import { socketError } from '../errors.ts';
import { shutdown } from '../op/shutdown.ts';
import type { SendQueue } from './send-queue.ts';
import { Wait } from './wait.ts';

/** Which direction of a connection. */
export type Direction = 'read' | 'write' | 'both';

const WAYS: Readonly<Record<Direction, number>> = { read: SHUT_RD, write: SHUT_WR, both: SHUT_RDWR };

/** Ends a direction of a connection: that of writing when everything has been sent that was asked for before. */
export function endDirection(
  descriptor: Descriptor,
  sends: SendQueue,
  how: Direction,
  given: OpOptions | undefined,
): Future<void> {
  if (typeof how !== 'string' || !Object.hasOwn(WAYS, how))
    throw invalidType('how', "'read', 'write' or 'both'", how);
  if (descriptor.closed) return rejected(closedError('shutdown'));
  const options = limitsOf(given);
  if (how === 'read') return begin(new Operation(shutdown(descriptor, SHUT_RD)), options);
  const refused = refusal(options);
  if (refused !== undefined) return rejected(refused);
  sends.end();
  return flow(async (steps) => {
    try {
      const sent = new Wait<void>();
      sends.whenIdle(() => sent.resolve());
      await steps.step(sent);
      if (descriptor.closed) throw socketError(ECANCELED, 'shutdown');
      await steps.step(begin(new Operation(shutdown(descriptor, WAYS[how]))));
    } catch (error) {
      if (steps.cancelled) sends.reopen();
      throw error;
    }
  }, options);
}
