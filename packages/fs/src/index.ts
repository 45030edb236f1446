export { File, type OpenOptions, type Position } from './file.ts';
export type { OpenFlags } from './flags.ts';
export type { PathLike } from './path.ts';
export type { Stats } from './stats.ts';
export { type ReadFileOptions, readFile, type WriteFileOptions, writeFile } from './whole.ts';
