import { arch, release } from 'node:os';
import { capabilities } from '@ouro/runtime';

/** `IORING_SETUP_*` bits that ouro asks for, by name. */
const SETUP_FLAGS: readonly (readonly [bit: number, name: string, since: string])[] = [
  [1 << 3, 'CQSIZE', '5.5'],
  [1 << 4, 'CLAMP', '5.6'],
  [1 << 7, 'SUBMIT_ALL', '5.18'],
  [1 << 8, 'COOP_TASKRUN', '5.19'],
  [1 << 12, 'SINGLE_ISSUER', '6.0'],
  [1 << 13, 'DEFER_TASKRUN', '6.1'],
  [1 << 16, 'NO_SQARRAY', '6.6'],
];

/** Opcodes that ouro uses where it can, with what is lost without them. */
const OPCODES: readonly (readonly [opcode: number, name: string, without: string])[] = [
  [55, 'FTRUNCATE', 'truncate goes through the thread pool'],
];

/** Prints what io_uring can do here. Returns the exit code: 0 if ouro works, 1 if not. */
export function doctor(print: (line: string) => void): number {
  print(`node     ${process.version} ${process.platform}-${arch()}`);
  print(`kernel   ${release()}`);
  const found = capabilities();
  if (!found.available) {
    print(`io_uring not available`);
    print('');
    print(found.error.message);
    return 1;
  }
  print(`io_uring available, ${found.opcodes.length} opcodes`);
  print(`ring     ${found.sqEntries} submission and ${found.cqEntries} completion entries`);
  for (const [bit, name, since] of SETUP_FLAGS) {
    const used = (found.setupFlags & bit) !== 0;
    // COOP_TASKRUN is what DEFER_TASKRUN replaces.
    if (used || name !== 'COOP_TASKRUN') print(`  ${used ? 'yes' : 'no '}  ${name} (Linux ${since})`);
  }
  for (const [opcode, name, without] of OPCODES) {
    const there = found.opcodes.includes(opcode);
    print(`  ${there ? 'yes' : 'no '}  ${name}${there ? '' : `: ${without}`}`);
  }
  return 0;
}
