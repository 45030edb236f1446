import { UringUnavailableError } from '@ouro/native';
import { IO_URING_OP_SUPPORTED } from '@ouro/native/abi';
import { reactor } from './reactor.ts';

/** What io_uring can do for this thread. */
export type Capabilities =
  | {
      readonly available: true;
      readonly sqEntries: number;
      readonly cqEntries: number;
      /** `IORING_SETUP_*` flags in force. */
      readonly setupFlags: number;
      /** `IORING_FEAT_*` bits of the kernel. */
      readonly features: number;
      /** Opcodes the kernel supports. */
      readonly opcodes: readonly number[];
    }
  | { readonly available: false; readonly error: Error };

/** Finds out what this machine allows, which makes this thread's ring if there is none yet. Does not throw. */
export function capabilities(): Capabilities {
  try {
    const { ring } = reactor();
    const opcodes: number[] = [];
    ring.opcodes.forEach((flags, opcode) => {
      if ((flags & IO_URING_OP_SUPPORTED) !== 0) opcodes.push(opcode);
    });
    const { sqEntries, cqEntries, setupFlags, features } = ring;
    return { available: true, sqEntries, cqEntries, setupFlags, features, opcodes };
  } catch (error) {
    if (error instanceof Error) return { available: false, error };
    throw error;
  }
}

export { UringUnavailableError };
