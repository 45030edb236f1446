/**
 * Constants of the kernel's ABI under their kernel names (`linux/io_uring.h`, `linux/fcntl.h`, `linux/socket.h`),
 * each group with where it is used. The one place for magic numbers.
 */

// Opcodes
export const IORING_OP_NOP = 0;
export const IORING_OP_FSYNC = 3;
export const IORING_OP_TIMEOUT = 11;
export const IORING_OP_ASYNC_CANCEL = 14;
export const IORING_OP_ACCEPT = 13;
export const IORING_OP_CONNECT = 16;
export const IORING_OP_OPENAT = 18;
export const IORING_OP_CLOSE = 19;
export const IORING_OP_STATX = 21;
export const IORING_OP_READ = 22;
export const IORING_OP_WRITE = 23;
export const IORING_OP_SEND = 26;
export const IORING_OP_RECV = 27;
export const IORING_OP_SHUTDOWN = 34;
/** 6.9 */
export const IORING_OP_FTRUNCATE = 55;

// sqe.flags
export const IOSQE_ASYNC = 0x10;
export const IOSQE_BUFFER_SELECT = 0x20;

// sqe.ioprio of ACCEPT and RECV
export const IORING_ACCEPT_MULTISHOT = 0x1;
export const IORING_RECV_MULTISHOT = 0x2;

// sqe.fsync_flags
export const IORING_FSYNC_DATASYNC = 0x1;

// sqe.timeout_flags

// cqe.flags
export const IORING_CQE_F_BUFFER = 0x1;
export const IORING_CQE_F_MORE = 0x2;
/** 6.12: the buffer will be used again, for what comes next. */
export const IORING_CQE_F_BUF_MORE = 0x10;
export const IORING_CQE_BUFFER_SHIFT = 16;

// io_uring_register
export const IORING_REGISTER_PBUF_RING = 22;
/** 6.12: flag of IORING_REGISTER_PBUF_RING. */
export const IOU_PBUF_RING_INC = 2;

// io_uring_params.flags: the modes; the rest is native code's to choose
export const IORING_SETUP_IOPOLL = 0x1;
export const IORING_SETUP_SQPOLL = 0x2;
export const IORING_SETUP_SQ_AFF = 0x4;
/** 6.13 */
export const IORING_SETUP_HYBRID_IOPOLL = 0x2_0000;

// io_uring_params.features
/** 6.12 */
export const IORING_FEAT_MIN_TIMEOUT = 0x8000;

// io_uring_probe_op.flags
export const IO_URING_OP_SUPPORTED = 0x1;

// openat(2), statx(2)
export const AT_FDCWD = -100;
export const AT_EMPTY_PATH = 0x1000;
export const O_CLOEXEC = 0o2000000;
export const STATX_BASIC_STATS = 0x07ff;
export const STATX_BTIME = 0x0800;

// socket(2) and friends
export const AF_INET = 2;
export const AF_INET6 = 10;
export const SOCK_STREAM = 1;
export const SOCK_CLOEXEC = 0o2000000;
export const SOL_SOCKET = 1;
export const SO_REUSEADDR = 2;
export const SO_REUSEPORT = 15;
export const IPPROTO_TCP = 6;
export const TCP_NODELAY = 1;
export const IPPROTO_IPV6 = 41;
export const IPV6_V6ONLY = 26;
export const MSG_WAITALL = 0x100;
export const MSG_NOSIGNAL = 0x4000;
export const SHUT_RD = 0;
export const SHUT_WR = 1;
export const SHUT_RDWR = 2;

/** The most that one read(2) or write(2) moves: INT_MAX rounded down to a page. */
export const MAX_RW_COUNT = 0x7fff_f000;

// errno values that ouro decides by; the rest are only named in errors
export const EINTR = 4;
export const EBADF = 9;
export const EAGAIN = 11;
export const ENOMEM = 12;
export const ENFILE = 23;
export const EMFILE = 24;
export const ETIME = 62;
export const ENOBUFS = 105;
export const ECONNABORTED = 103;
export const ENOTCONN = 107;
export const ECANCELED = 125;
