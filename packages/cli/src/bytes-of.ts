import { type CopyOptions, lstat, stat, walk } from '@ouro/fs';

/** How much there is to copy in a file, or in all the files of a tree. 0 where only copying tells, or nobody asks any more. */
export async function bytesOf(source: string, options: CopyOptions, signal: AbortSignal): Promise<number> {
  const { dereference = false, recursive = false, hardLinks = false } = options;
  try {
    const about = await (dereference ? stat : lstat)(source, { signal });
    if (about.isFile()) return about.size;
    if (!about.isDirectory() || !recursive) return 0;
    let bytes = 0;
    const seen = new Set<string>();
    // What may not be looked at is told of by the copying.
    const entries = walk(source, { stats: true, followSymlinks: dereference, onError: () => {}, signal });
    for await (const batch of entries.batches()) {
      for (const { stats } of batch) {
        if (stats?.isFile() !== true) continue;
        // Other names of a file that has been counted, where they are copied as such.
        const name = `${stats.dev}:${stats.ino}`;
        if (hardLinks && stats.nlink > 1 && seen.has(name)) continue;
        if (hardLinks && stats.nlink > 1) seen.add(name);
        bytes += stats.size;
      }
    }
    return bytes;
  } catch {
    return 0;
  }
}
