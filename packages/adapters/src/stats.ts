/** How often a function was called, and by whom it was served. */
export interface Served {
  /** Calls that an op of ours served. */
  readonly ours: number;
  /** Calls that Node's own code served. */
  readonly node: number;
}

/** By module, then by function. Functions that nobody has called are not in it. */
export type AdapterStats = Readonly<Record<string, Readonly<Record<string, Served>>>>;

/** The counters of one function. Incremented in place: a call costs one addition and no look-up. */
export class Tally {
  ours = 0;
  node = 0;
}

const modules = new Map<string, Map<string, Tally>>();

/** The counters of a function: the same ones each time that it is asked for. */
export function tally(module: string, name: string): Tally {
  let functions = modules.get(module);
  if (functions === undefined) {
    functions = new Map();
    modules.set(module, functions);
  }
  let counters = functions.get(name);
  if (counters === undefined) {
    counters = new Tally();
    functions.set(name, counters);
  }
  return counters;
}

/**
 * What the adapters of this thread have served: for each module and function, how many calls went to ouro and how many to
 * Node's own code, because we cannot do them, or because Node does them as well.
 */
export function stats(): AdapterStats {
  const result: Record<string, Record<string, Served>> = {};
  for (const [module, functions] of modules) {
    for (const [name, { ours, node }] of functions) {
      if (ours === 0 && node === 0) continue;
      result[module] ??= {};
      result[module][name] = { ours, node };
    }
  }
  return result;
}
