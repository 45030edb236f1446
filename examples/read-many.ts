/**
 * read-many: reads the first bytes of many files at once. Open, read and close of a file are one chain of linked ops on a
 * direct descriptor, and the chains of all files reach the kernel together: a few system calls for thousands of files.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { openat, read } from '@ouro/fs/ops';
import { BufferPool, chain, files, link, run } from '@ouro/runtime';
import { close } from '@ouro/runtime/ops';
import { numberFrom, parse } from './lib/arguments.ts';
import { cost } from './lib/cost.ts';
import { failed } from './lib/failure.ts';

const HELP = 'usage: read-many [--bytes N] [DIRECTORY]\n\nReads the first N bytes (4096) of each file in it.';
const options = { bytes: { type: 'string', default: '4096' } } as const;
const { values, positionals } = parse(HELP, { options, allowPositionals: true }, [0, 1]);
const size = numberFrom('bytes', values.bytes, 1, 1_048_576);
const directory = positionals[0] ?? '.';

async function head(path: string, pool: BufferPool): Promise<number> {
  const lease = await pool.acquire();
  const place = files().allocate();
  try {
    const opened = openat(path, 'r', undefined, { into: place });
    // Hard: a file shorter than that ends the read early, and it is to be closed all the same.
    const [, count] = await chain([opened, link(read(place, lease.buffer, 0), { hard: true }), close(place)]);
    return count;
  } finally {
    await place.close(); // nothing to do unless the chain failed
    lease.release();
  }
}

run(
  async () => {
    const found = readdirSync(directory, { recursive: true, withFileTypes: true });
    const paths = found.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
    const pool = new BufferPool({ count: 256, size });
    const counts = await Promise.allSettled(paths.map((path) => head(path, pool)));
    const bytes = counts.reduce((sum, each) => sum + (each.status === 'fulfilled' ? each.value : 0), 0);
    const refused = counts.filter(({ status }) => status === 'rejected').length;
    console.log(`${paths.length - refused} files, ${bytes} bytes, ${refused} could not be read`);
    console.log(cost());
    if (refused > 0) process.exitCode = 1;
  },
  { entries: 1024 },
).catch(failed);
