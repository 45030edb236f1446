import { nop } from './nop.ts';

/** Turns of the loop in which an op is looked for: one or two are enough. */
const TRIES = 16;

/**
 * Repeats a cancellation until it has been heard. There are moments in which the kernel does not find an op that it has:
 * between the end of one link of a chain and the start of the next, between a tick of a multishot timeout and the setting
 * of the next one.
 *
 * @param cancel asks the kernel once more; false if there is nothing left to cancel
 */
export function insist(cancel: () => boolean, tries: number = TRIES): void {
  nop().then(
    () => {
      if (tries > 0 && cancel()) insist(cancel, tries - 1);
    },
    () => {}, // the kernel takes no more ops
  );
}
