import { type Callable, inPlaceOf } from '../in-place.ts';

/** A function in the place of one of Node's, which is asked as long as there is none of ours. */
export function lazily<F>(original: F, ours: () => F | undefined): F {
  const lazy: Callable = function (...args) {
    return Reflect.apply((ours() ?? original) as Callable, this, args);
  };
  return inPlaceOf(original, lazy);
}

/** The same for an async function. */
export function lazilyAsync<F>(original: F, ours: () => F | undefined): F {
  const lazy: Callable = async function (...args) {
    return Reflect.apply((ours() ?? original) as Callable, this, args);
  };
  return inPlaceOf(original, lazy);
}
