import { UringUnavailableError } from '@ouro/native';
import { IO_URING_OP_SUPPORTED, OURO_OP_FIRST } from '@ouro/native/abi';
import { type Machine, machine } from '../base/machine.ts';
import type { Reactor } from '../engine/reactor.ts';
import { reactor } from '../engine/thread.ts';
import { deniedTraits, type KernelTraits, traitsOf } from '../engine/traits.ts';

/** What seccomp does about io_uring: nothing there, there and allowing it, denying it, or not known. */
export type SeccompVerdict = 'none' | 'allows' | 'denies' | 'unknown';

/** What is known whether an engine runs or not. */
export interface Surroundings {
  readonly machine: Machine;
  readonly seccomp: SeccompVerdict;
  /** Setup flags, features and ops by name, each with why it is missing if it is. */
  readonly traits: KernelTraits;
}

/** What the engine that runs ops offers. */
export interface Offer {
  /** Fewer than asked for where the memlock limit was in the way. */
  readonly sqEntries: number;
  readonly cqEntries: number;
  /** `IORING_SETUP_*` flags in force, none in the poll engine; by name in `traits.setup`. */
  readonly setupFlags: number;
  /** `IORING_FEAT_*` bits; by name in `traits.features`. */
  readonly features: number;
  /** The kernel's opcodes that the engine supports; by name, and with what `OURO_WITHOUT` takes away, in `traits.ops`. */
  readonly opcodes: readonly number[];
}

/** The ring runs ops. */
export interface RingCapabilities extends Surroundings, Offer {
  readonly driver: 'uring';
  readonly available: true;
  readonly error: null;
}

/** User space runs ops. */
export interface PollCapabilities extends Surroundings, Offer {
  readonly driver: 'poll';
  /** False where io_uring is denied; null where the driver `'poll'` was asked for, so that nobody asked the kernel. */
  readonly available: false | null;
  /** What denies io_uring and what to do about it; null where `available` is. */
  readonly error: UringUnavailableError | null;
}

/** No op can run. */
export interface NoCapabilities extends Surroundings {
  readonly driver: null;
  readonly available: false;
  /**
   * Why not: an `UringUnavailableError` where the ring was insisted on, or the addon cannot be loaded, or the options in
   * the environment make no sense.
   */
  readonly error: Error;
}

/** What this thread can do: `driver` says which engine runs its ops, `available` whether io_uring can be used. */
export type Capabilities = RingCapabilities | PollCapabilities | NoCapabilities;

/**
 * Finds out which engine runs ops here, what it offers, and what the machine, the container and the kernel deny. Makes
 * this thread's engine if there is none yet: asking the kernel is the only way to know. (With the driver `'poll'` it is not
 * asked.) Never throws.
 */
export function capabilities(): Capabilities {
  const here = machine();
  let r: Reactor;
  try {
    r = reactor();
  } catch (thrown) {
    const error = thrown instanceof Error ? thrown : new Error(String(thrown));
    return {
      driver: null,
      available: false,
      error,
      machine: here,
      seccomp: seccompVerdict(here, denies(error)),
      traits: deniedTraits(),
    };
  }
  const { driver } = r.ring;
  const all = { ...offerOf(r), machine: here, traits: traitsOf(r, here.kernel) };
  if (driver === 'uring') {
    return { driver, available: true, error: null, ...all, seccomp: seccompVerdict(here, 'allows') };
  }
  return r.denial === null
    ? { driver, available: null, error: null, ...all, seccomp: seccompVerdict(here, 'unknown') }
    : { driver, available: false, error: r.denial, ...all, seccomp: seccompVerdict(here, denies(r.denial)) };
}

function offerOf({ ring: { sqEntries, cqEntries, setupFlags, features, opcodes } }: Reactor): Offer {
  const supported: number[] = [];
  opcodes.forEach((flags, opcode) => {
    if (opcode < OURO_OP_FIRST && (flags & IO_URING_OP_SUPPORTED) !== 0) supported.push(opcode);
  });
  return { sqEntries, cqEntries, setupFlags, features, opcodes: supported };
}

function denies(error: Error): SeccompVerdict {
  return error instanceof UringUnavailableError && error.reason === 'seccomp' ? 'denies' : 'unknown';
}

/** What seccomp does, where a filter in force must do `filtering`. */
function seccompVerdict({ seccomp: { mode } }: Machine, filtering: SeccompVerdict): SeccompVerdict {
  if (mode === 'off') return 'none';
  return mode === null && filtering === 'allows' ? 'unknown' : filtering;
}

export { UringUnavailableError };
