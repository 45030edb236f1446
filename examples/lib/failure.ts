import { basename } from 'node:path';
import { ENDED_BY_SIGPIPE, explain } from './errors.ts';

/** What the program is called. */
export const NAME: string = basename(process.argv[1] ?? '', '.js');

/**
 * Says in one line what went wrong, and has the program end with 1.
 *
 * @param subject the file that an error without a path is about
 */
export function failed(error: unknown, subject?: string): void {
  const { code = '', path = subject, message } = error as NodeJS.ErrnoException;
  const aboutFile = path !== undefined && !code.startsWith('ERR_');
  console.error(`${NAME}: ${aboutFile ? `${path}: ${explain(error)}` : message}`);
  process.exitCode = 1;
}

// That nobody reads the output any more (`… | head`) is worth no word.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(ENDED_BY_SIGPIPE);
  failed(error, 'standard output');
  process.exit(1);
});
