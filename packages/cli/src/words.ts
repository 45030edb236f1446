import { getSystemErrorMap } from 'node:util';

/** Where the system's own programs put it in other words than libuv. */
const WORDS: Readonly<Record<string, string>> = {
  EEXIST: 'File exists',
  EIO: 'Input/output error',
  EISDIR: 'Is a directory',
  ELOOP: 'Too many levels of symbolic links',
  EMFILE: 'Too many open files',
  ENAMETOOLONG: 'File name too long',
  ENOTSUP: 'Operation not supported',
  EROFS: 'Read-only file system',
  ETXTBSY: 'Text file busy',
};

/** What a shell says of a program that a signal has ended. */
export const ENDED_BY_SIGINT: number = 128 + 2;
/** Node ignores that signal. */
export const ENDED_BY_SIGPIPE: number = 128 + 13;

/** Tells of a mistake on the command line, in one line, and where help is. */
export function misused(command: string, problem: string): void {
  console.error(`${command}: ${problem}\nTry '${command} --help'`);
}

/** What is wrong with arguments, of an error of `parseArgs` or one of ours: without advice. */
export function problemOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code?.startsWith('ERR_PARSE_ARGS_') !== true) return message;
  const [problem = message] = message.split(/\.?(?: To specify |\n)/);
  return problem.charAt(0).toLowerCase() + problem.slice(1);
}

/** What an error means, in the words of the system's own programs: "No such file or directory". */
export function explain(error: unknown): string {
  const { code = '', errno, message } = error as NodeJS.ErrnoException;
  const words = WORDS[code] ?? (errno === undefined ? undefined : getSystemErrorMap().get(errno)?.[1]);
  return words === undefined ? message : words.charAt(0).toUpperCase() + words.slice(1);
}
