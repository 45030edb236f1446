import { lstatSync, unlinkSync } from 'node:fs';
import { constants, open } from 'node:fs/promises';
import { OURO_OP_FLOCK } from '@ouro/native/abi';
import { begin, nothing, Op, Operation, opKind, type Steps } from '@ouro/runtime/driver';

const LOCK_EX = 2;
const FLOCK = opKind<void>('flock', { decode: nothing });
const FLAGS = constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW;
const ONLY_OURS = 0o600;

/**
 * Runs `body` while nobody else who asks for `path` in this way runs his: under a lock of the file `path.lock`, which is gone
 * afterwards. A process that dies gives its lock back; the file that it leaves is used by the next.
 */
export async function locked<T>(steps: Steps, path: string, body: () => Promise<T>): Promise<T> {
  const lockPath = `${path}.lock`;
  for (;;) {
    steps.check();
    const handle = await open(lockPath, FLAGS, ONLY_OURS);
    try {
      await steps.step(begin(new Operation(new Op(FLOCK, OURO_OP_FLOCK, 0, 0, LOCK_EX).on(handle.fd))));
      const { dev, ino } = await handle.stat({ bigint: true });
      const there = lstatSync(lockPath, { bigint: true, throwIfNoEntry: false });
      // Whoever had it before us has removed the file that we have locked.
      if (there?.dev !== dev || there.ino !== ino) continue;
      try {
        return await body();
      } finally {
        unlinkSync(lockPath);
      }
    } finally {
      await handle.close();
    }
  }
}
