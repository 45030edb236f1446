import { metrics } from '@ouro/runtime';

/** What all ops so far took. User space makes calls for each of them, which nobody counts. */
export function cost(): string {
  const { driver, sqes, enters } = metrics();
  return driver === 'uring' ? `${sqes} ops in ${enters} system calls` : `${sqes} ops in user space`;
}
