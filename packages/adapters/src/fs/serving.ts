import { existingReactor, type Op, type Reactor, reactor } from '@ouro/runtime/driver';
import { tally } from '../stats.ts';
import type { CallbackRequest } from './binding.ts';
import type { Place, PlaceName, Serve } from './places.ts';
import { type Answering, Called, Promised } from './request.ts';

/** How a function of the binding is served. */
export interface Service extends Answering {
  /** Its name in the binding. */
  readonly name: PlaceName;
  /** What Node calls it in its errors and documentation: several functions of the binding may be one of Node's. @default name */
  readonly shown?: string;
  /** The op that does it; null if it is not for us. It may throw: then it is not for us either. */
  readonly op: (args: readonly unknown[], r: Reactor) => Op<unknown> | null;
}

let unavailable = false;

/** The reactor of this thread, or null where there is none to be had: then everything is Node's. */
export function ring(): Reactor | null {
  if (unavailable) return null;
  try {
    return existingReactor() ?? reactor();
  } catch {
    unavailable = true;
    return null;
  }
}

/** Whether nothing is behind the request, or `throwIfNoEntry` as it is anyway (Node 24). */
function isUsual(args: readonly unknown[], arity: number): boolean {
  return args.length === arity + 1 || (args.length === arity + 2 && args[arity + 1] !== false);
}

/** Serves the calls of a place. What is not for us goes to Node's own, as it came. */
export function serving({ name, arity, node: original }: Place, calls: object, service: Service): Serve {
  const counters = tally('fs', service.shown ?? name);
  const { op: encode } = service;
  const node = (args: readonly unknown[]): unknown => Reflect.apply(original, calls, args);

  function begin(args: unknown[], request: Parameters<Serve>[1]): ReturnType<Serve> {
    const r = ring();
    if (r === null) return null;
    try {
      const op = encode(args, r);
      if (op === null || !r.serves(op)) return null;
      if (typeof request === 'symbol') {
        const promised = new Promised(op, service, args, node);
        promised.start();
        return { answer: promised.promise };
      }
      new Called(op, service, args, request as CallbackRequest, node).start();
      return { answer: undefined };
    } catch {
      return null;
    }
  }

  return (args, request) => {
    const served = isUsual(args, arity) ? begin(args, request) : null;
    if (served !== null) counters.ours++;
    else counters.node++;
    return served;
  };
}
