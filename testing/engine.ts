import { addon } from '@ouro/native';
import { describe, it, type TestFunction } from 'vitest';

/** The engine under test is the poll engine: because `OURO_DRIVER` says so, or because io_uring is denied here. */
export const polls: boolean = runsOnPoll(process.env.OURO_DRIVER);

function runsOnPoll(driver: string | undefined): boolean {
  if (driver === 'poll') return true;
  return driver !== 'uring' && addon().trySetup(0, 0) !== 0;
}

/** Why a test is only for the ring. Each stands in docs/engines.md with its tests. */
export const RING_ONLY = {
  setup: 'setup flags are for the ring of the kernel',
  sqpoll: 'SQPOLL is a thread of the kernel',
  iopoll: 'IOPOLL is a way of the kernel to do reads and writes',
  spin: 'the poll engine does not spin',
  minWait: 'the poll engine ends a wait at the first completion',
  overflow: 'the completion queue of the poll engine has no end',
  memlock: 'the poll engine locks no memory',
  direct: 'a direct descriptor of the poll engine has an ordinary one behind it',
  denied: 'tells what is denied where the ring is asked for',
} as const;

export type RingOnly = keyof typeof RING_ONLY;

const named = (name: string, reason: RingOnly): string => `${name} [ring only: ${RING_ONLY[reason]}]`;

/** `it` for what only the ring can do: skipped on the poll engine, with the reason in its name. */
export function itOnRing(reason: RingOnly): (name: string, test: TestFunction, timeoutMs?: number) => void {
  return (name, test, timeoutMs) => {
    if (polls) it.skip(named(name, reason), test);
    else it(name, test, timeoutMs);
  };
}

/** `describe` for what only the ring can do. */
export function describeOnRing(reason: RingOnly): (name: string, tests: () => void) => void {
  return (name, tests) => {
    if (polls) describe.skip(named(name, reason), tests);
    else describe(name, tests);
  };
}
