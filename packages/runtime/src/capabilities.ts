import { UringUnavailableError } from '@ouro/native';
import { IO_URING_OP_SUPPORTED } from '@ouro/native/abi';
import { type Machine, machine } from './machine.ts';
import { type Reactor, reactor } from './reactor.ts';
import { deniedTraits, type KernelTraits, traitsOf } from './traits.ts';

/** What seccomp does about io_uring: nothing there, there and allowing it, denying it, or denied by something else first. */
export type SeccompVerdict = 'none' | 'allows' | 'denies' | 'unknown';

/** What is known whether there is a ring or not. */
export interface Surroundings {
  readonly machine: Machine;
  readonly seccomp: SeccompVerdict;
  /** Setup flags, features and ops by name, each with why it is missing if it is. */
  readonly traits: KernelTraits;
}

/** What io_uring can do for this thread. */
export type Capabilities =
  | (Surroundings & {
      readonly available: true;
      /** Fewer than asked for where the memlock limit was in the way. */
      readonly sqEntries: number;
      readonly cqEntries: number;
      /** `IORING_SETUP_*` flags in force; by name in `traits.setup`. */
      readonly setupFlags: number;
      /** `IORING_FEAT_*` bits of the kernel; by name in `traits.features`. */
      readonly features: number;
      /** Opcodes the kernel supports; by name, and with what `OURO_WITHOUT` takes away, in `traits.ops`. */
      readonly opcodes: readonly number[];
    })
  | (Surroundings & {
      readonly available: false;
      /** A `UringUnavailableError` that says what denies it and what to do, or why the addon cannot be loaded. */
      readonly error: Error;
    });

/**
 * Finds out what this machine, this container and this kernel allow, and why not the rest. Makes this thread's ring if
 * there is none yet: asking the kernel is the only way to know. Never throws.
 */
export function capabilities(): Capabilities {
  const here = machine();
  let r: Reactor;
  try {
    r = reactor();
  } catch (thrown) {
    const error = thrown instanceof Error ? thrown : new Error(String(thrown));
    return {
      available: false,
      error,
      machine: here,
      seccomp: seccompVerdict(here, error),
      traits: deniedTraits(),
    };
  }
  const { sqEntries, cqEntries, setupFlags, features } = r.ring;
  const opcodes: number[] = [];
  r.ring.opcodes.forEach((flags, opcode) => {
    if ((flags & IO_URING_OP_SUPPORTED) !== 0) opcodes.push(opcode);
  });
  return {
    available: true,
    sqEntries,
    cqEntries,
    setupFlags,
    features,
    opcodes,
    machine: here,
    seccomp: seccompVerdict(here, null),
    traits: traitsOf(r, here.kernel),
  };
}

function seccompVerdict({ seccomp: { mode } }: Machine, error: Error | null): SeccompVerdict {
  if (mode === 'off') return 'none';
  if (error === null) return mode === null ? 'unknown' : 'allows';
  return error instanceof UringUnavailableError && error.reason === 'seccomp' ? 'denies' : 'unknown';
}

export { UringUnavailableError };
