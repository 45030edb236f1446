import {
  type Capabilities,
  type Machine,
  type NoCapabilities,
  type PollCapabilities,
  type RingCapabilities,
  type Trait,
  type Traits,
  UringUnavailableError,
} from '@ouro/runtime';
import { examine, type Report, toJson } from './report.ts';

/** How the doctor reports. */
export interface DoctorOptions {
  /** For machines: one JSON document, a `Report`. @default false */
  readonly json?: boolean;
}

/**
 * Prints which engine runs programs here and why, what it can do, and how to get the ring where it is another. Returns the
 * exit code: 0 if programs run, on whichever engine, 1 if not.
 */
export function doctor(print: (line: string) => void, { json = false }: DoctorOptions = {}): 0 | 1 {
  const report = examine();
  if (json) print(toJson(report));
  else for (const line of lines(report)) print(line);
  return report.capabilities.driver === null ? 1 : 0;
}

function* lines({ node, platform, environment, capabilities }: Report): Generator<string> {
  const { machine } = capabilities;
  yield `node     ${node} ${platform}`;
  yield `kernel   ${machine.kernel}`;
  yield `sysctl   ${sysctl(machine)}`;
  yield `seccomp  ${seccomp(capabilities)}`;
  yield `memlock  ${memlock(machine)}`;
  yield `cpus     ${cpus(machine)}`;
  for (const [name, value] of Object.entries(environment)) yield `env      ${name}=${value}`;
  switch (capabilities.driver) {
    case 'uring':
      yield* ring(capabilities);
      break;
    case 'poll':
      yield* poll(capabilities);
      break;
    case null:
      yield* nothing(capabilities);
  }
}

function* ring({ sqEntries, cqEntries, opcodes, traits }: RingCapabilities): Generator<string> {
  yield "engine   uring: programs run on the kernel's ring";
  yield `io_uring available, ${opcodes.length} opcodes`;
  yield `ring     ${sqEntries} submission and ${cqEntries} completion entries`;
  yield 'setup flags';
  for (const [name, trait] of Object.entries(traits.setup)) {
    // What nobody has asked for is not missed.
    if (trait.missing !== 'unasked') yield line(name, trait);
  }
  yield* missing('features', traits.features);
  yield* missing('ops', traits.ops);
}

/** Nothing of setup flags and features, which are the ring's: what programs can miss are ops. */
function* poll({ error, traits }: PollCapabilities): Generator<string> {
  yield error === null
    ? 'engine   poll: programs run in user space, as asked for (OURO_DRIVER=poll)'
    : 'engine   poll: programs run in user space, since io_uring is denied';
  yield error === null ? 'io_uring not touched, so not known to be available' : 'io_uring not available';
  yield* missing('ops', traits.ops);
  yield '';
  if (error === null) {
    yield 'To have the ring where it is allowed: run without OURO_DRIVER=poll. To see whether it is: OURO_DRIVER=uring ouro doctor (which a sandbox that kills for asking will end)';
    return;
  }
  yield error.message;
  yield 'Until then programs run on the poll engine, which is slower. To have them fail instead: OURO_DRIVER=uring';
}

function* nothing({ error }: NoCapabilities): Generator<string> {
  yield 'engine   none: programs cannot run';
  if (error instanceof UringUnavailableError) yield 'io_uring not available';
  yield '';
  yield error.message;
  if (error instanceof UringUnavailableError) {
    yield 'To run in user space instead: without OURO_DRIVER=uring, OURO_SQPOLL and OURO_IOPOLL, which insist on the ring';
  }
}

function line(name: string, { supported, since, why }: Trait): string {
  return `  ${supported ? 'yes' : 'no '}  ${name} (Linux ${since})${why === null ? '' : `: ${why}`}`;
}

/** Only what is missing: the rest is many. */
function* missing(title: string, traits: Traits): Generator<string> {
  const all = Object.entries(traits);
  const missed = all.filter(([, { supported }]) => !supported);
  yield `${title}: ${all.length - missed.length} of ${all.length}`;
  for (const [name, trait] of missed) {
    const instead = INSTEAD[name];
    yield instead === undefined ? line(name, trait) : `${line(name, trait)}; ${instead}`;
  }
}

/** What happens where an op is missing that has a way round it. */
const INSTEAD: Readonly<Record<string, string>> = {
  FTRUNCATE: 'truncate goes through the thread pool',
};

function sysctl({ sysctl: { ioUringDisabled, ioUringGroup } }: Machine): string {
  switch (ioUringDisabled) {
    case null:
      return 'kernel.io_uring_disabled does not exist (Linux 6.6)';
    case 0:
      return 'kernel.io_uring_disabled is 0: allowed';
    case 1:
      return `kernel.io_uring_disabled is 1: for the group ${ioUringGroup ?? 'unknown'} and CAP_SYS_ADMIN only`;
    default:
      return `kernel.io_uring_disabled is ${ioUringDisabled}: forbidden`;
  }
}

function seccomp({ seccomp: verdict, machine }: Capabilities): string {
  const { mode, filters } = machine.seccomp;
  const found = mode === 'filter' && filters !== null ? `filter (${filters} in force)` : (mode ?? 'unknown');
  switch (verdict) {
    case 'allows':
      return `${found}: allows io_uring`;
    case 'denies':
      return `${found}: denies io_uring`;
    case 'none':
    case 'unknown':
      return found;
  }
}

function memlock({ memlock: { soft, hard, exempt } }: Machine): string {
  if (soft === null || hard === null) return 'unknown';
  return `${size(soft)}, can be raised to ${size(hard)}${exempt === true ? '; does not hold here (CAP_IPC_LOCK)' : ''}`;
}

function size(bytes: number): string {
  return bytes === Number.POSITIVE_INFINITY ? 'unlimited' : `${bytes / 1024} KiB`;
}

function cpus({ cpus: { available, affinity, quota } }: Machine): string {
  const time =
    quota === null ? 'unknown' : quota === Number.POSITIVE_INFINITY ? 'no limit' : quota.toFixed(2);
  return `${available} for Node, affinity ${affinity ?? 'unknown'}, cgroup quota ${time}`;
}
