import { addon } from '@ouro/native';

/**
 * Whether `ArrayBuffer.prototype.transfer` to another length has malloc move the memory, whoever else owns it (V8 before 13, which is
 * Node 22; Node 20 with a flag). A mark does not keep it from that, and a detach key ends the process there.
 */
const REALLOCATES: boolean =
  Number.parseInt(process.versions.v8, 10) < 13 &&
  typeof (ArrayBuffer.prototype as { transfer?: unknown }).transfer === 'function';

/**
 * What keeps the memory of a whole ArrayBuffer where it is, whoever detaches or collects that, as long as it is alive itself.
 * Undefined where this Node cannot do that: then the kernel must get memory that no script sees.
 */
export function hold(bytes: Uint8Array): object | undefined {
  return REALLOCATES ? undefined : addon().hold(bytes);
}
