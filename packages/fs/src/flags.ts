import { constants } from 'node:fs';
import { checkInteger, invalidType } from '@ouro/runtime/driver';

/** Flags of `open` as Node writes them, or a number of `fs.constants.O_*` bits. */
export type OpenFlags =
  | 'r'
  | 'rs'
  | 'sr'
  | 'r+'
  | 'rs+'
  | 'sr+'
  | 'w'
  | 'wx'
  | 'xw'
  | 'w+'
  | 'wx+'
  | 'xw+'
  | 'a'
  | 'ax'
  | 'xa'
  | 'as'
  | 'sa'
  | 'a+'
  | 'ax+'
  | 'xa+'
  | 'as+'
  | 'sa+';

const { O_RDONLY, O_WRONLY, O_RDWR, O_CREAT, O_EXCL, O_TRUNC, O_APPEND, O_SYNC } = constants;

const FLAGS: Readonly<Record<string, number>> = {
  r: O_RDONLY,
  rs: O_RDONLY | O_SYNC,
  sr: O_RDONLY | O_SYNC,
  'r+': O_RDWR,
  'rs+': O_RDWR | O_SYNC,
  'sr+': O_RDWR | O_SYNC,
  w: O_TRUNC | O_CREAT | O_WRONLY,
  wx: O_TRUNC | O_CREAT | O_WRONLY | O_EXCL,
  xw: O_TRUNC | O_CREAT | O_WRONLY | O_EXCL,
  'w+': O_TRUNC | O_CREAT | O_RDWR,
  'wx+': O_TRUNC | O_CREAT | O_RDWR | O_EXCL,
  'xw+': O_TRUNC | O_CREAT | O_RDWR | O_EXCL,
  a: O_APPEND | O_CREAT | O_WRONLY,
  ax: O_APPEND | O_CREAT | O_WRONLY | O_EXCL,
  xa: O_APPEND | O_CREAT | O_WRONLY | O_EXCL,
  as: O_APPEND | O_CREAT | O_WRONLY | O_SYNC,
  sa: O_APPEND | O_CREAT | O_WRONLY | O_SYNC,
  'a+': O_APPEND | O_CREAT | O_RDWR,
  'ax+': O_APPEND | O_CREAT | O_RDWR | O_EXCL,
  'xa+': O_APPEND | O_CREAT | O_RDWR | O_EXCL,
  'as+': O_APPEND | O_CREAT | O_RDWR | O_SYNC,
  'sa+': O_APPEND | O_CREAT | O_RDWR | O_SYNC,
};

/**
 * `O_*` bits of open flags.
 * @throws TypeError for a flag Node does not know, RangeError for a number that is not a 32-bit integer
 */
export function openFlags(flags: unknown): number {
  if (typeof flags === 'number') {
    checkInteger('flags', flags, 0, 0x7fff_ffff);
    return flags;
  }
  if (typeof flags !== 'string') throw invalidType('flags', 'of type string or number', flags);
  const bits = Object.hasOwn(FLAGS, flags) ? FLAGS[flags] : undefined;
  if (bits === undefined) {
    throw Object.assign(new TypeError(`The argument 'flags' is invalid. Received '${flags}'`), {
      code: 'ERR_INVALID_ARG_VALUE',
    });
  }
  return bits;
}

/** Permission bits for a new file, as a number or an octal string. */
export function fileMode(mode: unknown): number {
  if (typeof mode === 'string') {
    if (/^[0-7]+$/.test(mode)) return fileMode(Number.parseInt(mode, 8));
    throw Object.assign(
      new TypeError(
        `The argument 'mode' must be a 32-bit unsigned integer or an octal string. Received '${mode}'`,
      ),
      { code: 'ERR_INVALID_ARG_VALUE' },
    );
  }
  checkInteger('mode', mode, 0, 0xffff_ffff);
  return mode;
}
