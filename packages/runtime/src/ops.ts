/**
 * The kernel's ops that are neither of files nor of sockets, one SQE each, for `submit`, `chain`, `batch` and `stream`; and
 * the constants that they take, under their kernel names.
 */
export {
  EPOLL_CTL_ADD,
  EPOLL_CTL_DEL,
  EPOLL_CTL_MOD,
  EPOLLET,
  EPOLLEXCLUSIVE,
  EPOLLONESHOT,
  MADV_COLD,
  MADV_HUGEPAGE,
  MADV_NOHUGEPAGE,
  MADV_NORMAL,
  MADV_PAGEOUT,
  MADV_POPULATE_READ,
  MADV_POPULATE_WRITE,
  MADV_RANDOM,
  MADV_SEQUENTIAL,
  MADV_WILLNEED,
  P_ALL,
  P_PGID,
  P_PID,
  P_PIDFD,
  POLLERR,
  POLLHUP,
  POLLIN,
  POLLOUT,
  POLLPRI,
  POLLRDHUP,
  SPLICE_F_MORE,
  SPLICE_F_MOVE,
  SPLICE_F_NONBLOCK,
  WCONTINUED,
  WEXITED,
  WNOHANG,
  WNOWAIT,
  WSTOPPED,
} from '@ouro/native/abi';
export type { Position } from './base/position.ts';
export { closing as close } from './descriptors/direct.ts';
export { asyncCancel, type CancelTarget } from './op/async-cancel.ts';
export { type EpollEvent, epollCtl, epollWait } from './op/epoll.ts';
export { filesUpdate, fixedFdInstall, type InstallOptions } from './op/files.ts';
export { type FutexView, type FutexWaiter, futexWait, futexWaitv, futexWake } from './op/futex.ts';
export type { InFlight } from './op/in-flight.ts';
export { madvise } from './op/madvise.ts';
export { msgRing, msgRingFd, post, type RingMessage } from './op/msg-ring.ts';
export { type Ends, type PipeOptions, pipe } from './op/pipe.ts';
export { type PollOptions, pollAdd, pollRemove, pollUpdate } from './op/poll.ts';
export { provideBuffers, readMultishot, removeBuffers } from './op/provided.ts';
export { splice, tee } from './op/splice.ts';
export {
  type Clock,
  type TimeoutOpOptions,
  timeout,
  timeoutRemove,
  timeoutUpdate,
} from './op/timeout.ts';
export { type ChildState, waitid } from './op/waitid.ts';
export { nopOp as nop } from './operation/nop.ts';
