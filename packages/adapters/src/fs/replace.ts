import { existingReactor, type Op, type Reactor, reactor } from '@ouro/runtime/driver';
import { tally } from '../stats.ts';
import type { Call, CallbackRequest, FsBinding } from './binding.ts';
import { type Answering, Called, Promised } from './request.ts';

/** How a function of the binding is served. */
export interface Service extends Answering {
  /** Its name in the binding. */
  readonly name: string;
  /** What Node calls it in its errors and documentation: several functions of the binding may be one of Node's. @default name */
  readonly shown?: string;
  /** Arguments in front of the request. */
  readonly arity: number;
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

/** Puts a service in the place of a function of the binding. What it does not serve goes to Node's own, as it came. */
export function replace(binding: FsBinding, service: Service): void {
  const { calls, kUsePromises, FSReqCallback } = binding;
  const original = calls[service.name];
  if (typeof original !== 'function') return;
  const counters = tally('fs', service.shown ?? service.name);
  const { arity, op: encode } = service;
  const node = (args: readonly unknown[]): unknown => Reflect.apply(original, calls, args);

  function serve(
    args: unknown[],
    request: unknown,
  ): { readonly answer: Promise<unknown> | undefined } | null {
    const r = ring();
    if (r === null) return null;
    try {
      const op = encode(args, r);
      if (op === null || !r.serves(op)) return null;
      if (request === kUsePromises) {
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

  const replacement: Call = function (this: unknown) {
    // Synchronous calls come here as well, and are to lose nothing: a rest parameter would be an array for each.
    // biome-ignore lint/complexity/noArguments: V8 hands them on as they are
    const given = arguments;
    const request: unknown = given[arity];
    if (request !== undefined && (request === kUsePromises || request instanceof FSReqCallback)) {
      const args = Array.from(given) as unknown[];
      const served = isUsual(args, arity) ? serve(args, request) : null;
      if (served !== null) {
        counters.ours++;
        return served.answer;
      }
      counters.node++;
    }
    return Reflect.apply(original, this, given);
  };
  Object.defineProperty(replacement, 'name', { value: service.name, configurable: true });
  calls[service.name] = replacement;
}
