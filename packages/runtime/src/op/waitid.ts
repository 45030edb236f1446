import { constants } from 'node:os';
import {
  CLD_CONTINUED,
  CLD_DUMPED,
  CLD_EXITED,
  CLD_KILLED,
  CLD_STOPPED,
  CLD_TRAPPED,
  IORING_OP_WAITID,
  P_ALL,
  P_PIDFD,
} from '@ouro/native/abi';
import { checkInteger } from '../base/errors.ts';
import { scratchOffset } from '../engine/slots.ts';
import { reactor } from '../engine/thread.ts';
import { Op, opKind } from '../operation/op.ts';

/** What has become of a child process. */
export interface ChildState {
  readonly pid: number;
  /** The real user that it runs as. */
  readonly uid: number;
  readonly event: 'exited' | 'killed' | 'dumped' | 'trapped' | 'stopped' | 'continued';
  /** With `exited`: its exit code; else null. */
  readonly exitCode: number | null;
  /** The signal that killed, stopped or continued it; null with `exited`. */
  readonly signal: NodeJS.Signals | null;
}

const EVENTS: ReadonlyMap<number, ChildState['event']> = new Map([
  [CLD_EXITED, 'exited'],
  [CLD_KILLED, 'killed'],
  [CLD_DUMPED, 'dumped'],
  [CLD_TRAPPED, 'trapped'],
  [CLD_STOPPED, 'stopped'],
  [CLD_CONTINUED, 'continued'],
]);
const SIGNALS: ReadonlyMap<number, NodeJS.Signals> = new Map(
  (Object.entries(constants.signals) as [NodeJS.Signals, number][]).map(([name, number]) => [number, name]),
);

/** Bytes of `siginfo_t`, and where in it is what waitid fills in. */
const SIGINFO_BYTES = 128;
const CODE_AT = 8;
const PID_AT = 16;
const UID_AT = 20;
const STATUS_AT = 24;

const WAITID = opKind<ChildState | null>('waitid', {
  decode: (_result, _op, slot) => {
    const { bytes } = reactor().scratch(slot);
    const at = scratchOffset(slot);
    const pid = bytes.readInt32LE(at + PID_AT);
    if (pid === 0) return null;
    const code = bytes.readInt32LE(at + CODE_AT);
    const status = bytes.readInt32LE(at + STATUS_AT);
    const exited = code === CLD_EXITED;
    return {
      pid,
      uid: bytes.readUInt32LE(at + UID_AT),
      event: EVENTS.get(code) ?? 'exited',
      exitCode: exited ? status : null,
      signal: exited ? null : (SIGNALS.get(status) ?? null),
    };
  },
});

class WaitId extends Op<ChildState | null> {
  override place(slot: number): void {
    const r = reactor();
    const at = scratchOffset(slot);
    // With WNOHANG and nothing to tell the kernel may leave it as it is.
    r.scratch(slot).bytes.fill(0, at, at + SIGINFO_BYTES);
    this.off = r.scratchAddress(slot);
  }
}

/**
 * `waitid(2)` (6.7): waits for a child process to end, stop or go on. Resolves to null with `WNOHANG` if none has.
 *
 * Node itself waits for the children that `node:child_process` starts, and whoever waits without `WNOWAIT` takes the news
 * from the other: Node would never hear of the end. With `WNOWAIT` both hear of it, if Node does not get to it before the
 * ring does: then this fails with ECHILD, and the child's `exit` event tells. `WSTOPPED` and `WCONTINUED` are not in
 * Node's way.
 *
 * Fails with ECHILD if there is no such child, EINVAL for options that make no sense.
 *
 * @param idType `P_ALL`, `P_PID`, `P_PGID` or `P_PIDFD`
 * @param id process, process group or descriptor of a process; not looked at with `P_ALL`
 * @param options `WEXITED`, `WSTOPPED`, `WCONTINUED`, at least one of them, and `WNOHANG`, `WNOWAIT`
 * @throws TypeError, RangeError for bad arguments
 * @see io_uring_prep_waitid(3)
 */
export function waitid(idType: number, id: number, options: number): Op<ChildState | null> {
  checkInteger('idType', idType, P_ALL, P_PIDFD);
  checkInteger('id', id, 0, 0x7fff_ffff);
  checkInteger('options', options, 0, 0x7fff_ffff);
  const op = new WaitId(WAITID, IORING_OP_WAITID, 0, 0, idType);
  op.fd = id;
  op.file = options;
  return op;
}
