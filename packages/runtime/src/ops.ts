/**
 * The kernel's ops that are neither of files nor of sockets, one SQE each, for `submit`, `chain`, `batch` and `stream`.
 */
export { closing as close, installOp as fixedFdInstall } from './direct.ts';
export { nopOp as nop } from './nop.ts';
