/** count: lines, words and characters of files, as wc: `for await` over batches of lines, one await for each read. */
import { File } from '@ouro/fs';
import { run } from '@ouro/runtime';
import { parse } from './lib/arguments.ts';
import { failed } from './lib/failure.ts';

const HELP = 'usage: count FILE …\n\nCounts lines, words and characters; - is standard input.';
const { positionals } = parse(HELP, { allowPositionals: true }, [1, 1000]);

async function count(name: string): Promise<void> {
  const file = name === '-' ? File.fromFd(0, '-') : await File.open(name);
  let [lines, words, characters] = [0, 0, 0];
  try {
    for await (const batch of file.lineBatches()) {
      lines += batch.length;
      for (const line of batch) {
        words += line.match(/\S+/g)?.length ?? 0;
        characters += line.length;
      }
    }
  } finally {
    if (name !== '-') await file.close();
  }
  console.log(`${lines} lines, ${words} words, ${characters} characters: ${name}`);
}

run(async () => {
  for (const name of positionals) await count(name).catch((error) => failed(error, name));
}).catch(failed);
