import { addon } from '@ouro/native';
import { OPTION_OF, type RingConfig, type RunOptions, ringConfig } from '../base/options.ts';
import { Reactor } from './reactor.ts';

/**
 * Where a thread keeps its reactor, so that two copies of this package in one program (nested `node_modules`) meet: two
 * rings in one loop would wake each other without end.
 */
const REGISTRY: unique symbol = Symbol.for('@ouro/runtime reactor') as never;
/** Raised with each change of what a reactor is to others. */
const GENERATION = 1;

interface Registered {
  readonly generation: number;
  readonly reactor: Reactor;
}

function shared(): Reactor {
  const place = globalThis as { [REGISTRY]?: Registered };
  const other = place[REGISTRY];
  if (other !== undefined) {
    if (other.generation === GENERATION) return other.reactor;
    throw Object.assign(new Error('Two versions of @ouro/runtime that do not get along run in this thread'), {
      code: 'ERR_OURO_TWO_VERSIONS',
    });
  }
  const made = new Reactor(addon(), configured ?? ringConfig());
  Object.defineProperty(place, REGISTRY, { value: { generation: GENERATION, reactor: made } });
  return made;
}

let current: Reactor | undefined;
let configured: RingConfig | undefined;

/**
 * The reactor of this thread, made on first use.
 * @throws UringUnavailableError where io_uring is denied and the ring was insisted on
 */
export function reactor(): Reactor {
  current ??= shared();
  return current;
}

/** The reactor of this thread if there is one. */
export function existingReactor(): Reactor | undefined {
  return current;
}

/** What would have to be another engine, in words. */
function differencesOf({ config: running, ring }: Reactor, wanted: RingConfig): string[] {
  return (
    (Object.keys(wanted) as (keyof RingConfig)[])
      .filter((key) => running[key] !== wanted[key])
      // It is that one, whatever was asked for first; or any would do.
      .filter((key) => key !== 'wanted' || (wanted.wanted !== ring.driver && wanted.wanted !== 'fusion'))
      .map((key) =>
        key === 'wanted'
          ? `driver from '${ring.driver}' to '${wanted.wanted}'`
          : `${OPTION_OF[key]} from ${running[key]} to ${wanted[key]}`,
      )
  );
}

/** Sets the options of this thread's ring. An error once the ring is there with others. */
export function configure(options: RunOptions): void {
  const config = ringConfig(options);
  if (current !== undefined) {
    const differences = differencesOf(current, config);
    if (differences.length > 0) {
      throw Object.assign(
        new Error(
          `The engine of this thread is already running: its options cannot change (${differences.join(', ')})`,
        ),
        { code: 'ERR_OURO_RING_ACTIVE' },
      );
    }
  }
  configured = config;
}
