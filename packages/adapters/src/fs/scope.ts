// Whose calls are served. With the register hook everybody's; without it those that come through our faces, and those on
// descriptors that these have opened.

let everywhere = false;
let asking = 0;
const opened = new Set<number>();

/** From here on every call of this thread is ours. */
export function serveEverywhere(): void {
  everywhere = true;
}

/** Whether a call by path is ours. */
export function servesPaths(): boolean {
  return everywhere || asking > 0;
}

/** Whether a call on a descriptor is ours. */
export function servesDescriptor(fd: unknown): fd is number {
  if (typeof fd !== 'number') return false;
  return everywhere || asking > 0 || opened.has(fd);
}

/** Notes what a face has opened. */
export function noteOpened(fd: number): void {
  if (!everywhere) opened.add(fd);
}

/** Notes that a descriptor is being closed, by whomever. */
export function noteClosing(fd: unknown): void {
  if (!everywhere && typeof fd === 'number') opened.delete(fd);
}

/** Runs a function of Node's: what it begins at once is ours. */
export function asked<T>(call: () => T): T {
  asking++;
  try {
    return call();
  } finally {
    asking--;
  }
}
