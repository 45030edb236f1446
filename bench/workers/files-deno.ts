import { type FileContender, PIECE } from './contender.ts';

/** What is used of Deno, whose types nobody has installed. */
interface DenoFile {
  read(into: Uint8Array): Promise<number | null>;
  close(): void;
}
const { Deno } = globalThis as unknown as {
  Deno: {
    readFile(path: string): Promise<Uint8Array>;
    writeFile(path: string, data: Uint8Array): Promise<void>;
    copyFile(from: string, to: string): Promise<void>;
    open(path: string): Promise<DenoFile>;
    stat(path: string): Promise<unknown>;
    lstat(path: string): Promise<unknown>;
    readDir(path: string): AsyncIterable<{ readonly name: string; readonly isDirectory: boolean }>;
  };
};

/** Deno's own functions. It has no read at a position. */
export const contender: FileContender = {
  async readReused(paths, _buffers, seen) {
    const read = await Promise.all(paths.map((path) => Deno.readFile(path)));
    read.forEach((content, i) => {
      seen(i, content);
    });
  },

  async readFresh(paths) {
    return await Promise.all(paths.map((path) => Deno.readFile(path)));
  },

  async write(paths, data) {
    await Promise.all(paths.map((path, i) => Deno.writeFile(path, data[i])));
  },

  async sequential(path) {
    const file = await Deno.open(path);
    const buffer = new Uint8Array(PIECE);
    let bytes = 0;
    for (let count: number | null = 0; count !== null; count = await file.read(buffer)) bytes += count;
    file.close();
    return bytes;
  },

  async copy(from, to) {
    await Deno.copyFile(from, to);
  },

  async stats(directory) {
    const looking: Promise<unknown>[] = [];
    const through = async (path: string): Promise<void> => {
      for await (const { name, isDirectory } of Deno.readDir(path)) {
        looking.push(Deno.lstat(`${path}/${name}`));
        if (isDirectory) await through(`${path}/${name}`);
      }
    };
    await through(directory);
    await Promise.all(looking);
    return looking.length;
  },

  async stat(path) {
    return await Deno.stat(path);
  },

  async list(directory) {
    const entries: unknown[] = [];
    for await (const entry of Deno.readDir(directory)) entries.push(entry);
    return entries;
  },
};
