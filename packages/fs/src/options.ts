import { invalidType } from '@ouro/runtime/driver';

/** Options that are an object. */
export function checkOptions<T extends object>(options: T | undefined): T | undefined {
  if (options !== undefined && (typeof options !== 'object' || options === null))
    throw invalidType('options', 'an instance of Object', options);
  return options;
}
