import { inspect } from 'node:util';
import { invalidType, type OpOptions } from '@ouro/runtime/driver';

/** Checks the name of an encoding; nothing and null are none. */
export function checkEncoding(encoding: unknown): asserts encoding is BufferEncoding | null | undefined {
  if (encoding === undefined || encoding === null) return;
  if (typeof encoding !== 'string' || !Buffer.isEncoding(encoding)) {
    throw Object.assign(
      new TypeError(`The argument 'encoding' is invalid encoding. Received ${inspect(encoding)}`),
      { code: 'ERR_INVALID_ARG_VALUE' },
    );
  }
}

/** Options with an encoding. */
interface Encoded extends OpOptions {
  readonly encoding?: BufferEncoding | null | undefined;
}

/** Options that are an object, or the name of an encoding in its place. */
export function encodingOrOptions<T extends Encoded>(
  options: T | BufferEncoding | null | undefined,
): T | Encoded {
  const given: T | Encoded = typeof options === 'string' ? { encoding: options } : (options ?? {});
  if (typeof given !== 'object')
    throw invalidType('options', 'of type string or an instance of Object', options);
  checkEncoding(given.encoding);
  return given;
}
