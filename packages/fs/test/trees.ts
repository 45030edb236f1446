import { createHash } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  constants,
  ftruncateSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  utimesSync,
  writeSync,
} from 'node:fs';
import { fifo } from './support.ts';

// Trees of files: made at random, and compared.

/** Numbers from 0 to 1, the same ones for the same seed. */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A file with data only at some places of it. */
export function sparseFile(
  path: string | Buffer,
  size: number,
  data: Readonly<Record<number, string | Buffer>>,
): void {
  const fd = openSync(path, 'w');
  ftruncateSync(fd, size);
  for (const [at, bytes] of Object.entries(data))
    writeSync(fd, Buffer.from(bytes), 0, bytes.length, Number(at));
  closeSync(fd);
}

const SIZES = [0, 1, 100, 4095, 4096, 4097, 70_000, 131_072, 131_073, 400_000];
const MODES = [0o644, 0o600, 0o755, 0o444, 0o4755, 0o640];

/** What a random tree may hold. */
export interface TreeOptions {
  readonly entries: number;
  readonly fifos?: boolean;
  /** Names that are not UTF-8. @default true */
  readonly odd?: boolean;
}

/** Makes a directory with random things in it: of all sizes, modes and times, with holes, links, and names that are not UTF-8. */
export function randomTree(
  root: string,
  seed: number,
  { entries, fifos = false, odd = true }: TreeOptions,
): void {
  const next = random(seed);
  const pick = <T>(from: readonly T[]): T => from[Math.floor(next() * from.length)];
  const at = (directory: Buffer, name: string | Buffer): Buffer =>
    Buffer.concat([directory, Buffer.from('/'), Buffer.from(name)]);
  mkdirSync(root, { recursive: true });
  const directories: Buffer[] = [Buffer.from(root)];
  const files: Buffer[] = [];
  for (let i = 0; i < entries; i++) {
    const name =
      next() < 0.1 && odd ? Buffer.from([0x66, 0xff, 0xc3, 0x30 + (i % 10), 0x41 + (i % 26)]) : `n${i} é`;
    const path = at(pick(directories), Buffer.concat([Buffer.from(name), Buffer.from(`-${i}`)]));
    const kind = next();
    if (kind < 0.2) {
      mkdirSync(path);
      directories.push(path);
    } else if (kind < 0.3) {
      symlinkSync(pick(['nowhere', '../up', '/etc/hostname', 'n1 é-1', '.']), path);
      lutimesSync(path, 1e9 * next(), 1e9 * next() + 0.123456);
    } else if (kind < 0.38 && files.length > 0) linkSync(pick(files), path);
    else if (kind < 0.45) {
      sparseFile(path, 100_000 + Math.floor(next() * 3e6), {
        0: 'x',
        65536: 'yy',
        [Math.floor(next() * 90_000)]: 'z',
      });
      files.push(path);
    } else if (kind < 0.5 && fifos)
      fifo(path.toString('latin1').includes('ÿ') ? `${root}/fifo${i}` : path.toString());
    else {
      const fd = openSync(path, 'w');
      const bytes = Buffer.alloc(pick(SIZES), i + 1);
      writeSync(fd, bytes);
      closeSync(fd);
      files.push(path);
    }
  }
  for (const path of files) {
    chmodSync(path, pick(MODES));
    utimesSync(path, 1e9 * next(), 1e9 * next() + 0.654321);
  }
  for (const path of directories.toReversed().slice(0, -1)) {
    chmodSync(path, pick([0o755, 0o700, 0o775, 0o555]));
    utimesSync(path, 1e9 * next(), 1e9 * next());
  }
}

/** What is compared. */
export interface Compared {
  readonly times?: boolean;
  readonly hardLinks?: boolean;
  /** Whether the files may take no more room than these do. */
  readonly holes?: boolean;
}

/** All that a tree holds, by path. */
export function tree(
  root: string,
  { times = false, hardLinks = false, holes = false }: Compared = {},
): Record<string, string> {
  const found: Record<string, string> = {};
  const inodes = new Map<bigint, number>();
  const visit = (path: Buffer, name: string): void => {
    const stats = lstatSync(path, { bigint: true });
    const facts = [(Number(stats.mode) & constants.S_IFMT).toString(8)];
    if (!stats.isSymbolicLink()) facts.push(`mode ${(Number(stats.mode) & 0o7777).toString(8)}`);
    if (stats.isSymbolicLink()) facts.push(`-> ${readlinkSync(path, 'latin1')}`);
    if (stats.isFile())
      facts.push(`${stats.size} ${createHash('sha1').update(readFileSync(path)).digest('hex')}`);
    if (stats.isFile() && holes) facts.push(`sparse ${stats.blocks * 512n < stats.size}`);
    if (times) facts.push(`mtime ${stats.mtimeNs}`);
    if (hardLinks && stats.isFile()) {
      if (!inodes.has(stats.ino)) inodes.set(stats.ino, inodes.size);
      facts.push(`file ${inodes.get(stats.ino)}`);
    }
    found[name] = facts.join(', ');
    if (!stats.isDirectory()) return;
    const names = readdirSync(path, { encoding: 'buffer' }) as Buffer[];
    for (const each of names.sort(Buffer.compare)) {
      visit(Buffer.concat([path, Buffer.from('/'), each]), `${name}/${each.toString('latin1')}`);
    }
  };
  visit(Buffer.from(root), '.');
  return found;
}
