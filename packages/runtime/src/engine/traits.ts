import {
  FEATURES,
  IO_URING_OP_SUPPORTED,
  IORING_SETUP_IOPOLL,
  IORING_SETUP_SQPOLL,
  type Named,
  OPCODE_NAMES,
  OPCODE_SINCE,
  POLLED_OPCODES,
  SETUP_FLAGS,
} from '@ouro/native/abi';
import type { Reactor } from './reactor.ts';

/**
 * Why something of the kernel's is not there:
 *
 * - `kernel`: the kernel is older
 * - `unasked`: ouro does not ask for it, or only with an option that was not given
 * - `refused`: the kernel is new enough, and refuses it all the same
 * - `mode`: something else that is in force excludes it
 * - `without`: `OURO_WITHOUT` names it
 * - `engine`: the poll engine runs, which does without
 * - `denied`: no engine runs
 */
export type Missing = 'kernel' | 'unasked' | 'refused' | 'mode' | 'without' | 'engine' | 'denied';

/** Something of the kernel's that may be there or not. */
export interface Trait {
  /** Whether it is there: an op or a feature can be used, a setup flag is in force. */
  readonly supported: boolean;
  /** The Linux that brought it. Distributions bring things to older kernels, so it is never what decides. */
  readonly since: string;
  /** Null where it is there. */
  readonly missing: Missing | null;
  /** The same in words. */
  readonly why: string | null;
}

/** Traits by the kernel's names without prefixes: `DEFER_TASKRUN`, `EXT_ARG`, `READ`. */
export type Traits = Readonly<Record<string, Trait>>;

/** All that a kernel may have and that ouro knows of. */
export interface KernelTraits {
  /** `IORING_SETUP_*` */
  readonly setup: Traits;
  /** `IORING_FEAT_*` */
  readonly features: Traits;
  /** `IORING_OP_*` */
  readonly ops: Traits;
}

const OPS: readonly Named[] = OPCODE_NAMES.map((name, bit) => ({ bit, name, since: OPCODE_SINCE[bit] }));

type Reason = readonly [missing: Missing, why: string];

/** The traits of the engine that runs. */
export function traitsOf(r: Reactor, release: string): KernelTraits {
  return r.ring.driver === 'uring' ? ringTraits(r, release) : pollTraits(r);
}

function pollTraits(r: Reactor): KernelTraits {
  const { features, opcodes } = r.ring;
  return {
    setup: traits(
      SETUP_FLAGS,
      () => false,
      () => ['engine', 'the poll engine has no ring to set up'],
    ),
    features: traits(
      FEATURES,
      ({ bit }) => (features & bit) !== 0,
      () => ['engine', 'the poll engine does without'],
    ),
    ops: traits(
      OPS,
      ({ bit }) => r.supports(bit),
      ({ bit }) =>
        ((opcodes[bit] ?? 0) & IO_URING_OP_SUPPORTED) === 0
          ? ['engine', 'only the ring of the kernel can']
          : ['without', 'OURO_WITHOUT names it'],
    ),
  };
}

function ringTraits(r: Reactor, release: string): KernelTraits {
  const { ring, config } = r;
  const kernelOr = (since: string, refused: string): Reason =>
    isOlder(release, since)
      ? ['kernel', `Linux ${release} is older than ${since}`]
      : ['refused', `Linux ${release} should have it: ${refused}`];

  const flagReason = ({ name, since }: Named): Reason => {
    const inForce = (other: string): boolean => (ring.setupFlags & bitOf(other)) !== 0;
    if (TASKRUN.has(name)) {
      if ((config.modeFlags & IORING_SETUP_SQPOLL) !== 0) {
        return ['mode', 'SQPOLL excludes it: completions are made by the thread of the kernel'];
      }
      if (name === 'COOP_TASKRUN' && inForce('DEFER_TASKRUN')) return ['mode', 'DEFER_TASKRUN replaces it'];
      if (name === 'TASKRUN_FLAG' && !isOlder(release, since)) {
        return ['mode', 'it needs DEFER_TASKRUN or COOP_TASKRUN'];
      }
    } else {
      const option = OPTIONS[name];
      if (option !== undefined) return ['unasked', `only with the option ${option}`];
      if (!ASKED.has(name)) return ['unasked', 'ouro has no use for it'];
    }
    return kernelOr(since, 'it was refused at setup');
  };

  const opReason = ({ bit, since }: Named): Reason => {
    if (((ring.opcodes[bit] ?? 0) & IO_URING_OP_SUPPORTED) === 0) {
      return kernelOr(since, 'it was built without, or forbids it');
    }
    return r.supports(bit)
      ? ['mode', 'IOPOLL excludes all but reads and writes']
      : ['without', 'OURO_WITHOUT names it'];
  };

  const polled = (ring.setupFlags & IORING_SETUP_IOPOLL) !== 0;
  const usable = (opcode: number): boolean =>
    r.supports(opcode) && (!polled || POLLED_OPCODES.includes(opcode));
  return {
    setup: traits(SETUP_FLAGS, ({ bit }) => (ring.setupFlags & bit) !== 0, flagReason),
    features: traits(
      FEATURES,
      ({ bit }) => (ring.features & bit) !== 0,
      ({ since }) => kernelOr(since, 'it was built without'),
    ),
    ops: traits(OPS, ({ bit }) => usable(bit), opReason),
  };
}

/** The traits where no engine runs. */
export function deniedTraits(): KernelTraits {
  const denied = (all: readonly Named[]): Traits =>
    traits(
      all,
      () => false,
      () => ['denied', 'no engine runs'],
    );
  return { setup: denied(SETUP_FLAGS), features: denied(FEATURES), ops: denied(OPS) };
}

function traits(
  all: readonly Named[],
  isThere: (named: Named) => boolean,
  reasonOf: (named: Named) => Reason,
): Traits {
  return Object.fromEntries(
    all.map((named) => {
      const { name, since } = named;
      if (isThere(named)) return [name, { supported: true, since, missing: null, why: null }];
      const [missing, why] = reasonOf(named);
      return [name, { supported: false, since, missing, why }];
    }),
  );
}

/** Flags about where completions are made. */
const TASKRUN: ReadonlySet<string> = new Set(['DEFER_TASKRUN', 'COOP_TASKRUN', 'TASKRUN_FLAG']);
/** What the engine asks for in any case, from the fullest set down: see uring.cpp. */
const ASKED: ReadonlySet<string> = new Set([
  ...TASKRUN,
  'CQSIZE',
  'CLAMP',
  'SUBMIT_ALL',
  'SINGLE_ISSUER',
  'NO_SQARRAY',
]);
const OPTIONS: Readonly<Record<string, string>> = {
  SQPOLL: 'sqpoll',
  SQ_AFF: 'sqpoll.cpu',
  IOPOLL: 'iopoll',
  HYBRID_IOPOLL: "iopoll: 'hybrid'",
};

function bitOf(name: string): number {
  return SETUP_FLAGS.find((flag) => flag.name === name)?.bit ?? 0;
}

/** Whether a kernel is older than a version, by what it calls itself. For explanations only. */
function isOlder(release: string, since: string): boolean {
  const [major = 0, minor = 0] = release.split('.').map((part) => Number.parseInt(part, 10));
  const [sinceMajor = 0, sinceMinor = 0] = since.split('.').map(Number);
  return major < sinceMajor || (major === sinceMajor && minor < sinceMinor);
}
