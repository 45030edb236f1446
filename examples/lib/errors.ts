import { getSystemErrorMap } from 'node:util';

/** Where the system's own programs put it in other words than libuv. */
const WORDS: Readonly<Record<string, string>> = {
  EEXIST: 'File exists',
  EIO: 'Input/output error',
  EISDIR: 'Is a directory',
  ELOOP: 'Too many levels of symbolic links',
  ENAMETOOLONG: 'File name too long',
  ENOTSUP: 'Operation not supported',
  ETXTBSY: 'Text file busy',
};

/** What a shell says of a program that SIGPIPE has ended; Node ignores that signal. */
export const ENDED_BY_SIGPIPE: number = 128 + 13;

/** What a system error means, in the words of the system's own programs: "No such file or directory". */
export function explain(error: unknown): string {
  const { code = '', errno, message } = error as NodeJS.ErrnoException;
  if (code.startsWith('ERR_') || code.startsWith('Z_')) return message; // not a system call's
  const words = WORDS[code] ?? (errno === undefined ? undefined : getSystemErrorMap().get(errno)?.[1]);
  return words === undefined ? message : words.charAt(0).toUpperCase() + words.slice(1);
}
