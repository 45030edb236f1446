import { type InspectOptions, inspect } from 'node:util';
import type { Descriptor } from '../operation/descriptor.ts';

/** A handle over a descriptor. */
interface Handle {
  readonly descriptor: Descriptor;
}

/**
 * Has `console.log` show of a class of handles what they are, whether they are open, and what is `known` of them. (By a call: types
 * cannot name `inspect.custom` where declarations are made file by file.)
 */
export function inspectable<H extends Handle>(
  handles: { readonly prototype: H },
  known: (handle: H) => Readonly<Record<string, unknown>>,
): void {
  const show = function (this: H, depth: number, options: InspectOptions): string {
    const name = this.constructor.name;
    // (A prototype is shown, too.)
    if (depth < 0 || this.descriptor === undefined) return `[${name}]`;
    const { closed, direct, fd } = this.descriptor;
    const number = closed ? {} : direct ? { direct: fd } : { fd };
    const what = Object.entries(known(this)).filter(([, value]) => value !== undefined);
    const shown = { state: closed ? 'closed' : 'open', ...number, ...Object.fromEntries(what) };
    return `${name} ${inspect(shown, { ...options, depth: depth - 1 })}`;
  };
  Object.defineProperty(handles.prototype, inspect.custom, {
    value: show,
    configurable: true,
    writable: true,
  });
}
