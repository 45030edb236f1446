import { fdatasync as fdatasyncInPool, fsync as fsyncInPool } from 'node:fs';
import {
  IORING_FSYNC_DATASYNC,
  IORING_OP_FSYNC,
  IORING_OP_SYNC_FILE_RANGE,
  SYNC_FILE_RANGE_WRITE,
} from '@ouro/native/abi';
import { checkInteger, nothing, Op, opKind, type Target } from '@ouro/runtime/driver';
import { inPoolOn } from './elsewhere.ts';

const FSYNC = opKind<void>('fsync', { decode: nothing });
const FDATASYNC = opKind<void>('fdatasync', { decode: nothing });
const SYNC_FILE_RANGE = opKind<void>('sync_file_range', { decode: nothing });

class Sync extends Op<void> {
  override elsewhere(): Promise<number> | null {
    const dataOnly = this.opFlags === IORING_FSYNC_DATASYNC;
    return inPoolOn(this, (fd, done) => (dataOnly ? fdatasyncInPool(fd, done) : fsyncInPool(fd, done)));
  }
}

/** `fsync(2)` (5.1). Not ordered with other ops in flight: link it behind the writes, or await them first. */
export function fsync(fd: Target): Op<void> {
  return new Sync(FSYNC, IORING_OP_FSYNC).on(fd);
}

/** `fdatasync(2)` (5.1). Not ordered with other ops in flight. */
export function fdatasync(fd: Target): Op<void> {
  return new Sync(FDATASYNC, IORING_OP_FSYNC, 0, 0, 0, IORING_FSYNC_DATASYNC).on(fd);
}

/**
 * `sync_file_range(2)` (5.2): has the written pages of a stretch of the file sent to the device. No metadata and no
 * flush of the device's cache: alone it makes nothing durable.
 *
 * @param length bytes up to 2 ** 32 - 1; 0 is to the end of the file
 * @param flags `SYNC_FILE_RANGE_*` bits
 * @throws `ESPIPE` for what is no file or directory, `EINVAL`
 */
export function syncFileRange(
  fd: Target,
  offset: number,
  length: number,
  flags: number = SYNC_FILE_RANGE_WRITE,
): Op<void> {
  checkInteger('offset', offset, 0, Number.MAX_SAFE_INTEGER);
  checkInteger('length', length, 0, 0xffff_ffff);
  checkInteger('flags', flags, 0, 0x7fff_ffff);
  return new Op(SYNC_FILE_RANGE, IORING_OP_SYNC_FILE_RANGE, offset, 0, length, flags).on(fd);
}
