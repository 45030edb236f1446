import { execFileSync } from 'node:child_process';
import { closeSync, constants, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A pipe with both ends in this process: descriptors that can be polled. */
export interface NamedPipe extends Disposable {
  readonly reader: number;
  readonly writer: number;
  closeWriter(): void;
}

/** Makes a pipe; closed when it goes out of scope. */
export function namedPipe(): NamedPipe {
  const directory = mkdtempSync(join(tmpdir(), 'ouro-pipe-'));
  const path = join(directory, 'pipe');
  execFileSync('mkfifo', [path]);
  const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const writer = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
  rmSync(directory, { recursive: true });
  let open = true;
  const closeWriter = (): void => {
    if (open) closeSync(writer);
    open = false;
  };
  return {
    reader,
    writer,
    closeWriter,
    [Symbol.dispose]() {
      closeWriter();
      closeSync(reader);
    },
  };
}
