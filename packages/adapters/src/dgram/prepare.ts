import { installPassing } from '../net/passing.ts';
import { type DgramInternals, dgramInternals } from './internals.ts';

/**
 * Has sockets of ours get along with what of Node's meets them: those that are sent to other processes. Null on a Node that we do not
 * know: all is left to it then.
 */
export function prepareDgram(): DgramInternals | null {
  const node = dgramInternals();
  if (node !== null) installPassing();
  return node;
}
