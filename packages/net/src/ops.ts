/**
 * The kernel's socket ops, one SQE each, for `submit`, `chain` and `batch` of `@ouro/runtime`. Programs that only want
 * connections use `@ouro/net`.
 */
export { shutdown } from './op/shutdown.ts';
