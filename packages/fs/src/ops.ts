/**
 * The kernel's file ops, one SQE each, for `submit`, `chain` and `batch` of `@ouro/runtime`. Programs that only want files
 * use `@ouro/fs`.
 */

export { fdatasync, fsync } from './op/sync.ts';
export { ftruncate } from './op/truncate.ts';
