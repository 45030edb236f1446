export { File, type OpenOptions, type VectorOptions } from './file.ts';
export type { OpenFlags } from './flags.ts';
export type { PathLike } from './path.ts';
export {
  link,
  lstat,
  type MkdirOptions,
  mkdir,
  rename,
  rmdir,
  stat,
  symlink,
  truncate,
  unlink,
} from './paths.ts';
export type { Position } from './position.ts';
export type { Stats } from './stats.ts';
export { type ReadFileOptions, readFile, type WriteFileOptions, writeFile } from './whole.ts';
