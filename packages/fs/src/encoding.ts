import { inspect } from 'node:util';
import { invalidType, type OpOptions } from '@ouro/runtime/driver';

/** What a name is given as: a string in an encoding, or its bytes. */
export type NameEncoding = BufferEncoding | 'buffer';

/** What functions take that give names. */
export interface NameOptions extends OpOptions {
  /** `'buffer'` for bytes: names need not be UTF-8. @default 'utf8' */
  readonly encoding?: NameEncoding | null | undefined;
}

/** Options, or an encoding alone, checked. */
export function nameOptions(options: unknown): {
  readonly encoding: NameEncoding;
  readonly options: OpOptions | undefined;
} {
  if (typeof options === 'string') return { encoding: checked(options), options: undefined };
  if (options === undefined || options === null) return { encoding: 'utf8', options: undefined };
  if (typeof options !== 'object') throw invalidType('options', 'one of type string or object', options);
  const { encoding } = options as NameOptions;
  return { encoding: checked(encoding ?? 'utf8'), options };
}

function checked(encoding: unknown): NameEncoding {
  if (encoding === 'buffer') return encoding;
  if (typeof encoding === 'string' && Buffer.isEncoding(encoding)) return encoding;
  throw Object.assign(
    new TypeError(`The argument 'encoding' is invalid encoding. Received ${inspect(encoding)}`),
    { code: 'ERR_INVALID_ARG_VALUE' },
  );
}

/** A name as it is wanted. */
export function encoded(name: Buffer, encoding: NameEncoding): string | Buffer {
  return encoding === 'buffer' ? name : name.toString(encoding);
}
