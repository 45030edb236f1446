import { OPCODE_NAMES, OURO_OP_FIRST, OURO_OPCODE_NAMES } from '@ouro/native/abi';
import { outOfRange } from './errors.ts';

/**
 * The opcodes that count as missing because the environment's `OURO_WITHOUT` names them: names with commas between them, as
 * in `READ,FTRUNCATE`; in small letters and with `IORING_OP_` before them too. With it one sees how a program gets on where
 * an op is missing.
 *
 * @throws RangeError for what is no op
 */
export function withoutOpcodes(env: NodeJS.ProcessEnv = process.env): ReadonlySet<number> {
  const names = (env.OURO_WITHOUT ?? '').split(',').map((name) => name.trim());
  return new Set(names.filter((name) => name !== '').map(opcodeNamed));
}

function opcodeNamed(name: string): number {
  const plain = name.toUpperCase().replace(/^(IORING|OURO)_OP_/, '');
  const opcode = OPCODE_NAMES.indexOf(plain);
  if (opcode >= 0) return opcode;
  const own = OURO_OPCODE_NAMES.indexOf(plain);
  if (own >= 0) return OURO_OP_FIRST + own;
  throw outOfRange('OURO_WITHOUT', 'names of ops such as READ,FTRUNCATE', name);
}
