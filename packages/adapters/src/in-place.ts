/** Any function, as one that takes its place has to be called. */
export type Callable = (this: unknown, ...args: unknown[]) => unknown;

/** A function of ours with the type, the name and the length of Node's. */
export function inPlaceOf<F>(original: F, ours: Callable): F {
  const { name, length } = original as { name?: string; length?: number };
  Object.defineProperties(ours, {
    name: { value: name, configurable: true },
    length: { value: length, configurable: true },
  });
  return ours as unknown as F;
}

/** Puts a method where Node's own was. */
export function replace(prototype: object, name: string, value: unknown): void {
  Object.defineProperty(prototype, name, { value, writable: true, configurable: true, enumerable: true });
}
