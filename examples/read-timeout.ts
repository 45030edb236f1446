/**
 * read-timeout: reads standard input, and gives up when nothing comes for a while. The timeout is the kernel's
 * (`IORING_OP_LINK_TIMEOUT`): it is linked to the read, and whichever is first ends the other.
 */
import { File } from '@ouro/fs';
import { run } from '@ouro/runtime';
import { numberFrom, parse } from './lib/arguments.ts';
import { failed } from './lib/failure.ts';

const HELP =
  'usage: read-timeout [--ms N]\n\nReads standard input until it ends, or is silent for N ms (2000).';
const { values } = parse(HELP, { options: { ms: { type: 'string', default: '2000' } } });
const INPUT = 'standard input';
const timeout = numberFrom('ms', values.ms, 0, 86_400_000, false);

run(async () => {
  const input = File.fromFd(0, INPUT);
  const buffer = Buffer.allocUnsafeSlow(65_536);
  let total = 0;
  try {
    for (;;) {
      const count = await input.read(buffer, null, { timeout });
      if (count === 0) break;
      total += count;
      console.log(`${count} bytes`);
    }
    console.log(`the end, after ${total} bytes`);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ETIMEDOUT') throw error;
    console.log(`nothing for ${timeout} ms, after ${total} bytes`);
    process.exitCode = 1;
  }
}).catch((error) => failed(error, INPUT));
