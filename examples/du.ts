/**
 * du: how much room the directories of a tree take on the disk, the largest first, each file once however many names it
 * has. One op lists a directory and looks at all that is in it.
 */
import { type WalkEntry, walk } from '@ouro/fs';
import { run } from '@ouro/runtime';
import { numberFrom, parse } from './lib/arguments.ts';
import { failed } from './lib/failure.ts';

const HELP = `usage: du [--top N] [--depth N] [DIRECTORY]

Says how much room the directories in a tree take: the N largest (10), down to a depth (3).`;
const options = {
  top: { type: 'string', default: '10' },
  depth: { type: 'string', default: '3' },
} as const;
const { values, positionals } = parse(HELP, { options, allowPositionals: true }, [0, 1]);
const top = numberFrom('top', values.top, 1, 1_000_000);
const depth = numberFrom('depth', values.depth, 0, 1_000_000);
const root = (positionals[0] ?? '.').replace(/(?<=.)\/+$/, '');

const BLOCK = 512;
const rooms = new Map<string, number>();
const seen = new Set<string>();

function count({ stats, parentPath }: WalkEntry): void {
  if (stats === null) return;
  if (stats.nlink > 1 && !stats.isDirectory()) {
    const identity = `${stats.dev}:${stats.ino}`;
    if (seen.has(identity)) return;
    seen.add(identity);
  }
  // It counts for each directory that it is in, down to the depth that is shown.
  const names = String(parentPath).slice(root.length).split('/');
  for (let shown = 1; shown <= Math.min(names.length, depth + 1); shown++) {
    const path = root + names.slice(0, shown).join('/');
    rooms.set(path, (rooms.get(path) ?? 0) + stats.blocks * BLOCK);
  }
}

run(async () => {
  let entries = 0;
  for await (const batch of walk(root, { stats: true, onError: (error) => failed(error) }).batches()) {
    entries += batch.length;
    for (const entry of batch) count(entry);
  }
  const largest = [...rooms].sort(([, a], [, b]) => b - a).slice(0, top);
  for (const [path, bytes] of largest)
    console.log(`${(bytes / 2 ** 20).toFixed(1).padStart(10)} MiB  ${path}`);
  console.log(`${entries} names`);
}).catch(failed);
