/**
 * Constants of the kernel's ABI under their kernel names (`linux/io_uring.h`, `linux/fcntl.h`, `linux/socket.h`),
 * each group with where it is used. The one place for magic numbers.
 */

// Opcodes, each with the kernel that brought it
export const IORING_OP_NOP = 0; // 5.1
export const IORING_OP_READV = 1; // 5.1
export const IORING_OP_WRITEV = 2; // 5.1
export const IORING_OP_FSYNC = 3; // 5.1
export const IORING_OP_READ_FIXED = 4; // 5.1
export const IORING_OP_WRITE_FIXED = 5; // 5.1
export const IORING_OP_POLL_ADD = 6; // 5.1
export const IORING_OP_POLL_REMOVE = 7; // 5.1
export const IORING_OP_SYNC_FILE_RANGE = 8; // 5.2
export const IORING_OP_SENDMSG = 9; // 5.3
export const IORING_OP_RECVMSG = 10; // 5.3
export const IORING_OP_TIMEOUT = 11; // 5.4
export const IORING_OP_TIMEOUT_REMOVE = 12; // 5.5
export const IORING_OP_ACCEPT = 13; // 5.5
export const IORING_OP_ASYNC_CANCEL = 14; // 5.5
export const IORING_OP_LINK_TIMEOUT = 15; // 5.5
export const IORING_OP_CONNECT = 16; // 5.5
export const IORING_OP_FALLOCATE = 17; // 5.6
export const IORING_OP_OPENAT = 18; // 5.6
export const IORING_OP_CLOSE = 19; // 5.6
export const IORING_OP_FILES_UPDATE = 20; // 5.6
export const IORING_OP_STATX = 21; // 5.6
export const IORING_OP_READ = 22; // 5.6
export const IORING_OP_WRITE = 23; // 5.6
export const IORING_OP_FADVISE = 24; // 5.6
export const IORING_OP_MADVISE = 25; // 5.6
export const IORING_OP_SEND = 26; // 5.6
export const IORING_OP_RECV = 27; // 5.6
export const IORING_OP_OPENAT2 = 28; // 5.6
export const IORING_OP_EPOLL_CTL = 29; // 5.6
export const IORING_OP_SPLICE = 30; // 5.7
export const IORING_OP_PROVIDE_BUFFERS = 31; // 5.7
export const IORING_OP_REMOVE_BUFFERS = 32; // 5.7
export const IORING_OP_TEE = 33; // 5.8
export const IORING_OP_SHUTDOWN = 34; // 5.11
export const IORING_OP_RENAMEAT = 35; // 5.11
export const IORING_OP_UNLINKAT = 36; // 5.11
export const IORING_OP_MKDIRAT = 37; // 5.15
export const IORING_OP_SYMLINKAT = 38; // 5.15
export const IORING_OP_LINKAT = 39; // 5.15
export const IORING_OP_MSG_RING = 40; // 5.18
export const IORING_OP_FSETXATTR = 41; // 5.19
export const IORING_OP_SETXATTR = 42; // 5.19
export const IORING_OP_FGETXATTR = 43; // 5.19
export const IORING_OP_GETXATTR = 44; // 5.19
export const IORING_OP_SOCKET = 45; // 5.19
export const IORING_OP_URING_CMD = 46; // 5.19
export const IORING_OP_SEND_ZC = 47; // 6.0
export const IORING_OP_SENDMSG_ZC = 48; // 6.1
export const IORING_OP_READ_MULTISHOT = 49; // 6.7
export const IORING_OP_WAITID = 50; // 6.7
export const IORING_OP_FUTEX_WAIT = 51; // 6.7
export const IORING_OP_FUTEX_WAKE = 52; // 6.7
export const IORING_OP_FUTEX_WAITV = 53; // 6.7
export const IORING_OP_FIXED_FD_INSTALL = 54; // 6.8
export const IORING_OP_FTRUNCATE = 55; // 6.9
export const IORING_OP_BIND = 56; // 6.11
export const IORING_OP_LISTEN = 57; // 6.11
export const IORING_OP_RECV_ZC = 58; // 6.15
export const IORING_OP_EPOLL_WAIT = 59; // 6.15
export const IORING_OP_READV_FIXED = 60; // 6.15
export const IORING_OP_WRITEV_FIXED = 61; // 6.15
export const IORING_OP_PIPE = 62; // 6.16

/**
 * Opcodes of our own, from here on: system calls on files that io_uring has no op for. The poll engine executes them, beside the
 * kernel's ring where that runs.
 */
export const OURO_OP_FIRST = 128;
export const OURO_OP_GETDENTS = 128;
export const OURO_OP_READLINKAT = 129;
export const OURO_OP_FCHMODAT = 130;
export const OURO_OP_FCHOWNAT = 131;
export const OURO_OP_UTIMENSAT = 132;
export const OURO_OP_FACCESSAT = 133;
export const OURO_OP_LISTXATTR = 134;
export const OURO_OP_REMOVEXATTR = 135;
export const OURO_OP_LGETXATTR = 136;
export const OURO_OP_LSETXATTR = 137;
export const OURO_OP_COPY_FILE_RANGE = 138;
export const OURO_OP_FICLONE = 139;
export const OURO_OP_FLOCK = 140;
export const OURO_OP_LSEEK = 141;
export const OURO_OP_MKNODAT = 142;
export const OURO_OP_STATFS = 143;
export const OURO_OP_REALPATH = 144;
export const OURO_OP_INOTIFY_INIT = 145;
export const OURO_OP_INOTIFY_ADD_WATCH = 146;
export const OURO_OP_INOTIFY_RM_WATCH = 147;
export const OURO_OP_WRITE_FILES = 148;
export const OURO_OP_COPY_FILE = 149;
export const OURO_OP_LIST_DIRECTORY = 150;
export const OURO_OP_SWEEP_DIRECTORY = 151;
export const OURO_OP_STAT = 152;

/** Flags of `OURO_OP_COPY_FILE`, which are ours as well: the target is new, the source no link, times are kept, set-id bits too, or left out. */
export const COPY_FILE_EXCL = 1;
export const COPY_FILE_NOFOLLOW = 2;
export const COPY_FILE_TIMES = 4;
export const COPY_FILE_MODE = 8;
export const COPY_FILE_NO_IDS = 16;

/** Names of our own opcodes, from `OURO_OP_FIRST` on. */
export const OURO_OPCODE_NAMES: readonly string[] = [
  'GETDENTS',
  'READLINKAT',
  'FCHMODAT',
  'FCHOWNAT',
  'UTIMENSAT',
  'FACCESSAT',
  'LISTXATTR',
  'REMOVEXATTR',
  'LGETXATTR',
  'LSETXATTR',
  'COPY_FILE_RANGE',
  'FICLONE',
  'FLOCK',
  'LSEEK',
  'MKNODAT',
  'STATFS',
  'REALPATH',
  'INOTIFY_INIT',
  'INOTIFY_ADD_WATCH',
  'INOTIFY_RM_WATCH',
  'WRITE_FILES',
  'COPY_FILE',
  'LIST_DIRECTORY',
  'SWEEP_DIRECTORY',
  'STAT',
];

/** Names of the kernel's opcodes, by number. */
export const OPCODE_NAMES: readonly string[] = [
  'NOP',
  'READV',
  'WRITEV',
  'FSYNC',
  'READ_FIXED',
  'WRITE_FIXED',
  'POLL_ADD',
  'POLL_REMOVE',
  'SYNC_FILE_RANGE',
  'SENDMSG',
  'RECVMSG',
  'TIMEOUT',
  'TIMEOUT_REMOVE',
  'ACCEPT',
  'ASYNC_CANCEL',
  'LINK_TIMEOUT',
  'CONNECT',
  'FALLOCATE',
  'OPENAT',
  'CLOSE',
  'FILES_UPDATE',
  'STATX',
  'READ',
  'WRITE',
  'FADVISE',
  'MADVISE',
  'SEND',
  'RECV',
  'OPENAT2',
  'EPOLL_CTL',
  'SPLICE',
  'PROVIDE_BUFFERS',
  'REMOVE_BUFFERS',
  'TEE',
  'SHUTDOWN',
  'RENAMEAT',
  'UNLINKAT',
  'MKDIRAT',
  'SYMLINKAT',
  'LINKAT',
  'MSG_RING',
  'FSETXATTR',
  'SETXATTR',
  'FGETXATTR',
  'GETXATTR',
  'SOCKET',
  'URING_CMD',
  'SEND_ZC',
  'SENDMSG_ZC',
  'READ_MULTISHOT',
  'WAITID',
  'FUTEX_WAIT',
  'FUTEX_WAKE',
  'FUTEX_WAITV',
  'FIXED_FD_INSTALL',
  'FTRUNCATE',
  'BIND',
  'LISTEN',
  'RECV_ZC',
  'EPOLL_WAIT',
  'READV_FIXED',
  'WRITEV_FIXED',
  'PIPE',
];

/** The kernel that brought each opcode, by number. */
export const OPCODE_SINCE: readonly string[] = [
  '5.1',
  '5.1',
  '5.1',
  '5.1',
  '5.1',
  '5.1',
  '5.1',
  '5.1',
  '5.2',
  '5.3',
  '5.3',
  '5.4',
  '5.5',
  '5.5',
  '5.5',
  '5.5',
  '5.5',
  '5.6',
  '5.6',
  '5.6',
  '5.6',
  '5.6',
  '5.6',
  '5.6',
  '5.6',
  '5.6',
  '5.6',
  '5.6',
  '5.6',
  '5.6',
  '5.7',
  '5.7',
  '5.7',
  '5.8',
  '5.11',
  '5.11',
  '5.11',
  '5.15',
  '5.15',
  '5.15',
  '5.18',
  '5.19',
  '5.19',
  '5.19',
  '5.19',
  '5.19',
  '5.19',
  '6.0',
  '6.1',
  '6.7',
  '6.7',
  '6.7',
  '6.7',
  '6.7',
  '6.8',
  '6.9',
  '6.11',
  '6.11',
  '6.15',
  '6.15',
  '6.15',
  '6.15',
  '6.16',
];

// sqe.flags
export const IOSQE_FIXED_FILE = 0x01;
export const IOSQE_IO_DRAIN = 0x02;
export const IOSQE_IO_LINK = 0x04;
export const IOSQE_IO_HARDLINK = 0x08;
export const IOSQE_ASYNC = 0x10;
export const IOSQE_BUFFER_SELECT = 0x20;
export const IOSQE_CQE_SKIP_SUCCESS = 0x40; // 5.17

// sqe.ioprio of ACCEPT, RECV(MSG), SEND(MSG)(_ZC)
export const IORING_ACCEPT_MULTISHOT = 0x1;
export const IORING_ACCEPT_DONTWAIT = 0x2; // 6.10
export const IORING_ACCEPT_POLL_FIRST = 0x4; // 6.10
export const IORING_RECVSEND_POLL_FIRST = 0x1; // 5.19
export const IORING_RECV_MULTISHOT = 0x2;
export const IORING_RECVSEND_FIXED_BUF = 0x4; // 6.0
export const IORING_SEND_ZC_REPORT_USAGE = 0x8; // 6.2
export const IORING_RECVSEND_BUNDLE = 0x10; // 6.10

/** What the second completion of a zero-copy send says (`IORING_SEND_ZC_REPORT_USAGE`): the kernel copied after all. */
export const IORING_NOTIF_USAGE_ZC_COPIED = -0x8000_0000; // 6.2, as a signed 32-bit result

// sqe.fsync_flags
export const IORING_FSYNC_DATASYNC = 0x1;

// sqe.timeout_flags
export const IORING_TIMEOUT_ABS = 0x1;
export const IORING_TIMEOUT_UPDATE = 0x2; // 5.11
export const IORING_TIMEOUT_BOOTTIME = 0x4; // 5.15
export const IORING_TIMEOUT_REALTIME = 0x8; // 5.15
export const IORING_LINK_TIMEOUT_UPDATE = 0x10; // 5.15
export const IORING_TIMEOUT_ETIME_SUCCESS = 0x20; // 5.16
export const IORING_TIMEOUT_MULTISHOT = 0x40; // 6.4

// sqe.install_fd_flags
export const IORING_FIXED_FD_NO_CLOEXEC = 0x1;

// sqe.fd of FUTEX_WAIT and FUTEX_WAKE, flags of struct futex_waitv; without FUTEX2_PRIVATE the futex is shared
export const FUTEX2_SIZE_U32 = 0x2;
/** Futexes one FUTEX_WAITV can wait for. */
export const FUTEX_WAITV_MAX = 128;

// sqe.addr of FILES_UPDATE: in the place of a descriptor
export const IORING_REGISTER_FILES_SKIP = -2; // 5.14

// sqe.len of POLL_ADD and POLL_REMOVE
export const IORING_POLL_ADD_MULTI = 0x1; // 5.13
export const IORING_POLL_UPDATE_EVENTS = 0x2;
export const IORING_POLL_UPDATE_USER_DATA = 0x4;
export const IORING_POLL_ADD_LEVEL = 0x8; // 6.0

// sqe.cancel_flags
export const IORING_ASYNC_CANCEL_ALL = 0x1; // 5.19
export const IORING_ASYNC_CANCEL_FD = 0x2; // 5.19
export const IORING_ASYNC_CANCEL_ANY = 0x4; // 5.19
export const IORING_ASYNC_CANCEL_FD_FIXED = 0x8; // 6.0
export const IORING_ASYNC_CANCEL_USERDATA = 0x10; // 6.6
export const IORING_ASYNC_CANCEL_OP = 0x20; // 6.6

// sqe.nop_flags
export const IORING_NOP_INJECT_RESULT = 0x1; // 6.10

// sqe.file_index of ops that make descriptors: the kernel chooses the place in the table
export const IORING_FILE_INDEX_ALLOC = 0xffff_ffff; // 6.0

// sqe.addr and msg_ring_flags of MSG_RING
export const IORING_MSG_DATA = 0;
export const IORING_MSG_SEND_FD = 1; // 6.0
export const IORING_MSG_RING_CQE_SKIP = 0x1;
export const IORING_MSG_RING_FLAGS_PASS = 0x2; // 6.3

// sqe.cmd_op of URING_CMD on a socket, 6.7
export const SOCKET_URING_OP_SIOCINQ = 0;
export const SOCKET_URING_OP_SIOCOUTQ = 1;
export const SOCKET_URING_OP_GETSOCKOPT = 2;
export const SOCKET_URING_OP_SETSOCKOPT = 3;

// cqe.flags
export const IORING_CQE_F_BUFFER = 0x1;
export const IORING_CQE_F_MORE = 0x2;
export const IORING_CQE_F_SOCK_NONEMPTY = 0x4;
/** The second completion of a zero-copy send: the kernel has let go of the buffer. */
export const IORING_CQE_F_NOTIF = 0x8;
/** 6.12: the buffer will be used again, for what comes next. */
export const IORING_CQE_F_BUF_MORE = 0x10;
export const IORING_CQE_BUFFER_SHIFT = 16;

// io_uring_register
export const IORING_REGISTER_FILES_UPDATE = 6;
export const IORING_REGISTER_FILES2 = 13;
export const IORING_REGISTER_BUFFERS2 = 15;
export const IORING_REGISTER_BUFFERS_UPDATE = 16;
export const IORING_REGISTER_IOWQ_MAX_WORKERS = 19;
export const IORING_REGISTER_PBUF_RING = 22;
export const IORING_UNREGISTER_PBUF_RING = 23;
export const IORING_REGISTER_FILE_ALLOC_RANGE = 25;
export const IORING_REGISTER_PBUF_STATUS = 26; // 6.8
/** Flag of REGISTER_FILES2 and REGISTER_BUFFERS2: an empty table. */
export const IORING_RSRC_REGISTER_SPARSE = 0x1; // 5.19
/** 6.12: flag of IORING_REGISTER_PBUF_RING. */
export const IOU_PBUF_RING_INC = 2;

// io_uring_params.flags: the modes; the rest is native code's to choose
export const IORING_SETUP_IOPOLL = 0x1;
export const IORING_SETUP_SQPOLL = 0x2;
export const IORING_SETUP_SQ_AFF = 0x4;
/** 6.13 */
export const IORING_SETUP_HYBRID_IOPOLL = 0x2_0000;

// io_uring_params.features
/** 6.3: stands for `IORING_MSG_RING_FLAGS_PASS`, which cannot be probed by itself. */
export const IORING_FEAT_REG_REG_RING = 0x2000;
export const IORING_FEAT_RECVSEND_BUNDLE = 0x4000; // 6.10
/** 6.12 */
export const IORING_FEAT_MIN_TIMEOUT = 0x8000;

// io_uring_probe_op.flags
export const IO_URING_OP_SUPPORTED = 0x1;

// openat(2), statx(2), unlinkat(2), linkat(2), faccessat(2)
export const AT_FDCWD = -100;
export const AT_SYMLINK_NOFOLLOW = 0x100;
export const AT_EACCESS = 0x200;
export const AT_REMOVEDIR = 0x200;
export const AT_SYMLINK_FOLLOW = 0x400;
export const AT_NO_AUTOMOUNT = 0x800;
export const AT_EMPTY_PATH = 0x1000;
export const AT_STATX_FORCE_SYNC = 0x2000;
export const AT_STATX_DONT_SYNC = 0x4000;
export const O_CLOEXEC = 0o2000000;
export const O_TMPFILE = 0o20200000;
export const O_PATH = 0x20_0000;
export const STATX_TYPE = 0x0001;
export const STATX_MODE = 0x0002;
export const STATX_NLINK = 0x0004;
export const STATX_UID = 0x0008;
export const STATX_GID = 0x0010;
export const STATX_ATIME = 0x0020;
export const STATX_MTIME = 0x0040;
export const STATX_CTIME = 0x0080;
export const STATX_INO = 0x0100;
export const STATX_SIZE = 0x0200;
export const STATX_BLOCKS = 0x0400;
export const STATX_BASIC_STATS = 0x07ff;
export const STATX_BTIME = 0x0800;
export const STATX_MNT_ID = 0x1000; // 5.8
export const STATX_DIOALIGN = 0x2000; // 6.1
export const STATX_MNT_ID_UNIQUE = 0x4000; // 6.8
export const STATX_SUBVOL = 0x8000; // 6.10
export const STATX_WRITE_ATOMIC = 0x1_0000; // 6.11
export const STATX_DIO_READ_ALIGN = 0x2_0000; // 6.14

// openat2(2): open_how.resolve
export const RESOLVE_NO_XDEV = 0x01;
export const RESOLVE_NO_MAGICLINKS = 0x02;
export const RESOLVE_NO_SYMLINKS = 0x04;
export const RESOLVE_BENEATH = 0x08;
export const RESOLVE_IN_ROOT = 0x10;
export const RESOLVE_CACHED = 0x20; // 5.12

// renameat2(2)
export const RENAME_NOREPLACE = 0x1;
export const RENAME_EXCHANGE = 0x2;
export const RENAME_WHITEOUT = 0x4;

// preadv2(2), pwritev2(2): sqe.rw_flags
export const RWF_HIPRI = 0x01;
export const RWF_DSYNC = 0x02;
export const RWF_SYNC = 0x04;
export const RWF_NOWAIT = 0x08;
export const RWF_APPEND = 0x10;
export const RWF_NOAPPEND = 0x20; // 6.9
export const RWF_ATOMIC = 0x40; // 6.11
export const RWF_DONTCACHE = 0x80; // 6.14
/** The most buffers that one vectored op takes. */
export const UIO_MAXIOV = 1024;

// fallocate(2)
export const FALLOC_FL_KEEP_SIZE = 0x01;
export const FALLOC_FL_PUNCH_HOLE = 0x02;
export const FALLOC_FL_COLLAPSE_RANGE = 0x08;
export const FALLOC_FL_ZERO_RANGE = 0x10;
export const FALLOC_FL_INSERT_RANGE = 0x20;
export const FALLOC_FL_UNSHARE_RANGE = 0x40;

// posix_fadvise(2)
export const POSIX_FADV_NORMAL = 0;
export const POSIX_FADV_RANDOM = 1;
export const POSIX_FADV_SEQUENTIAL = 2;
export const POSIX_FADV_WILLNEED = 3;
export const POSIX_FADV_DONTNEED = 4;
export const POSIX_FADV_NOREUSE = 5;

// sync_file_range(2)
export const SYNC_FILE_RANGE_WAIT_BEFORE = 0x1;
export const SYNC_FILE_RANGE_WRITE = 0x2;
export const SYNC_FILE_RANGE_WAIT_AFTER = 0x4;

// setxattr(2)
export const XATTR_CREATE = 0x1;
export const XATTR_REPLACE = 0x2;
/** The most bytes that the value of an extended attribute has. */
export const XATTR_SIZE_MAX = 65_536;
/** The most bytes that the names of a file's extended attributes have, all together. */
export const XATTR_LIST_MAX = 65_536;

// path_resolution(7): bytes of the longest path, its terminator included
export const PATH_MAX = 4096;

// utimensat(2): in the place of nanoseconds
export const UTIME_NOW = 0x3fff_ffff;
export const UTIME_OMIT = 0x3fff_fffe;

// flock(2)
export const LOCK_SH = 1;
export const LOCK_EX = 2;
export const LOCK_NB = 4;
export const LOCK_UN = 8;

// lseek(2)
export const SEEK_SET = 0;
export const SEEK_CUR = 1;
export const SEEK_END = 2;
export const SEEK_DATA = 3;
export const SEEK_HOLE = 4;

// inotify(7)
export const IN_ACCESS = 0x1;
export const IN_MODIFY = 0x2;
export const IN_ATTRIB = 0x4;
export const IN_CLOSE_WRITE = 0x8;
export const IN_CLOSE_NOWRITE = 0x10;
export const IN_OPEN = 0x20;
export const IN_MOVED_FROM = 0x40;
export const IN_MOVED_TO = 0x80;
export const IN_CREATE = 0x100;
export const IN_DELETE = 0x200;
export const IN_DELETE_SELF = 0x400;
export const IN_MOVE_SELF = 0x800;
export const IN_UNMOUNT = 0x2000;
export const IN_Q_OVERFLOW = 0x4000;
export const IN_IGNORED = 0x8000;
export const IN_ONLYDIR = 0x100_0000;
export const IN_DONT_FOLLOW = 0x200_0000;
export const IN_EXCL_UNLINK = 0x400_0000;
export const IN_MASK_CREATE = 0x1000_0000; // 4.18
export const IN_MASK_ADD = 0x2000_0000;
export const IN_ISDIR = 0x4000_0000;
export const IN_ONESHOT = 0x8000_0000;

// splice(2), tee(2)
export const SPLICE_F_MOVE = 0x1;
export const SPLICE_F_NONBLOCK = 0x2;
export const SPLICE_F_MORE = 0x4;
/** io_uring's own: `splice_fd_in` is a direct descriptor. */
export const SPLICE_F_FD_IN_FIXED = 0x8000_0000;

// poll(2), epoll_ctl(2)
export const POLLIN = 0x1;
export const POLLPRI = 0x2;
export const POLLOUT = 0x4;
export const POLLERR = 0x8;
export const POLLHUP = 0x10;
export const POLLRDHUP = 0x2000;
export const EPOLLEXCLUSIVE = 0x1000_0000;
export const EPOLLONESHOT = 0x4000_0000;
export const EPOLLET = 0x8000_0000;
export const EPOLL_CTL_ADD = 1;
export const EPOLL_CTL_DEL = 2;
export const EPOLL_CTL_MOD = 3;

// waitid(2)
export const P_ALL = 0;
export const P_PID = 1;
export const P_PGID = 2;
export const P_PIDFD = 3;
export const WNOHANG = 0x1;
export const WSTOPPED = 0x2;
export const WEXITED = 0x4;
export const WCONTINUED = 0x8;
export const WNOWAIT = 0x100_0000;
export const CLD_EXITED = 1;
export const CLD_KILLED = 2;
export const CLD_DUMPED = 3;
export const CLD_TRAPPED = 4;
export const CLD_STOPPED = 5;
export const CLD_CONTINUED = 6;

// madvise(2): what changes no contents
export const MADV_NORMAL = 0;
export const MADV_RANDOM = 1;
export const MADV_SEQUENTIAL = 2;
export const MADV_WILLNEED = 3;
export const MADV_HUGEPAGE = 14;
export const MADV_NOHUGEPAGE = 15;
export const MADV_COLD = 20; // 5.4
export const MADV_PAGEOUT = 21; // 5.4
export const MADV_POPULATE_READ = 22; // 5.14
export const MADV_POPULATE_WRITE = 23; // 5.14

// getauxval(3)
export const AT_PAGESZ = 6;

// socket(2) and friends
export const AF_UNIX = 1;
export const AF_INET = 2;
export const AF_INET6 = 10;
export const SOCK_STREAM = 1;
export const SOCK_DGRAM = 2;
export const SOCK_SEQPACKET = 5;
export const SOCK_NONBLOCK = 0o4000;
export const SOCK_CLOEXEC = 0o2000000;
export const SOL_SOCKET = 1;
export const SO_REUSEADDR = 2;
export const SO_BROADCAST = 6;
export const SO_SNDBUF = 7;
export const SO_RCVBUF = 8;
export const SO_KEEPALIVE = 9;
export const SO_LINGER = 13;
export const SO_REUSEPORT = 15;
/** `SK_MEMINFO_*`: numbers of 32 bits that say what memory a socket has. */
export const SO_MEMINFO = 55;
export const SK_MEMINFO_DROPS = 8;
export const SK_MEMINFO_VARS = 9;
export const SO_PASSCRED = 16;
export const SO_PEERCRED = 17;
export const SO_TIMESTAMP = 29;
export const SO_TYPE = 3;
export const SO_ACCEPTCONN = 30;
export const SO_DOMAIN = 39;
export const SO_PEERPIDFD = 77; // 6.5
export const IPPROTO_TCP = 6;
export const TCP_NODELAY = 1;
export const IPPROTO_IP = 0;
export const IP_TTL = 2;
export const IP_MULTICAST_IF = 32;
export const IP_MULTICAST_TTL = 33;
export const IP_MULTICAST_LOOP = 34;
export const IP_ADD_MEMBERSHIP = 35;
export const IP_DROP_MEMBERSHIP = 36;
export const IP_ADD_SOURCE_MEMBERSHIP = 39;
export const IP_DROP_SOURCE_MEMBERSHIP = 40;
export const IP_TOS = 1;
export const IP_BIND_ADDRESS_NO_PORT = 24;
export const TCP_KEEPIDLE = 4;
export const TCP_KEEPINTVL = 5;
export const TCP_KEEPCNT = 6;
export const TCP_INFO = 11;
export const IPPROTO_IPV6 = 41;
export const IPV6_UNICAST_HOPS = 16;
export const IPV6_MULTICAST_IF = 17;
export const IPV6_MULTICAST_HOPS = 18;
export const IPV6_MULTICAST_LOOP = 19;
export const IPV6_ADD_MEMBERSHIP = 20;
export const IPV6_DROP_MEMBERSHIP = 21;
export const IPV6_V6ONLY = 26;
export const MCAST_JOIN_SOURCE_GROUP = 46;
export const MCAST_LEAVE_SOURCE_GROUP = 47;
export const IPPROTO_UDP = 17;
export const UDP_SEGMENT = 103; // 4.18
export const UDP_GRO = 104; // 5.0
export const IPV6_TCLASS = 67;
export const MSG_PEEK = 0x2;
export const MSG_CTRUNC = 0x8;
export const MSG_TRUNC = 0x20;
export const MSG_DONTWAIT = 0x40;
export const MSG_WAITALL = 0x100;
export const MSG_NOSIGNAL = 0x4000;
export const MSG_MORE = 0x8000;
export const MSG_CMSG_CLOEXEC = 0x4000_0000;
// Control messages of level SOL_SOCKET
export const SCM_RIGHTS = 1;
export const SCM_CREDENTIALS = 2;
export const SCM_PIDFD = 4; // 6.5
export const SCM_TIMESTAMP = 29;
/** The most descriptors in one message. */
export const SCM_MAX_FD = 253;
export const SHUT_RD = 0;
export const SHUT_WR = 1;
export const SHUT_RDWR = 2;

/** Bytes of the longest `sun_path`. */
export const UNIX_PATH_MAX = 108;
/** The most stretches of memory in one call, `UIO_MAXIOV`. */
export const IOV_MAX = 1024;

/** The most that one read(2) or write(2) moves: INT_MAX rounded down to a page. */
export const MAX_RW_COUNT = 0x7fff_f000;

// Errno values that ouro decides by, negative as the kernel gives them; the rest are only named in errors
export const EPERM = -1;
export const ENOENT = -2;
export const EINTR = -4;
export const EIO = -5;
export const ENXIO = -6;
export const EBADF = -9;
export const ECHILD = -10;
export const EAGAIN = -11;
export const ENOMEM = -12;
export const EACCES = -13;
export const EBUSY = -16;
export const EEXIST = -17;
export const ENOTDIR = -20;
export const EISDIR = -21;
export const EINVAL = -22;
export const ENFILE = -23;
export const EMFILE = -24;
export const ENOSPC = -28;
export const EROFS = -30;
export const EPIPE = -32;
export const ENOTEMPTY = -39;
export const ELOOP = -40;
export const ENODATA = -61;
export const ETIME = -62;
export const EPROTO = -71;
export const EBADFD = -77;
export const EDESTADDRREQ = -89;
export const EMSGSIZE = -90;
export const ENOPROTOOPT = -92;
export const EOPNOTSUPP = -95;
export const EAFNOSUPPORT = -97;
export const EADDRINUSE = -98;
export const EADDRNOTAVAIL = -99;
export const ECONNABORTED = -103;
export const ENOBUFS = -105;
export const EISCONN = -106;
export const ENOTCONN = -107;
export const ETIMEDOUT = -110;
export const ECONNREFUSED = -111;
export const EALREADY = -114;
export const ECANCELED = -125;

/** Something of the kernel's: its name without the prefix, and the kernel that brought it. */
export interface Named {
  readonly bit: number;
  readonly name: string;
  readonly since: string;
}

/** All `IORING_SETUP_*` flags. */
export const SETUP_FLAGS: readonly Named[] = [
  { bit: 0x1, name: 'IOPOLL', since: '5.1' },
  { bit: 0x2, name: 'SQPOLL', since: '5.1' },
  { bit: 0x4, name: 'SQ_AFF', since: '5.1' },
  { bit: 0x8, name: 'CQSIZE', since: '5.5' },
  { bit: 0x10, name: 'CLAMP', since: '5.6' },
  { bit: 0x20, name: 'ATTACH_WQ', since: '5.6' },
  { bit: 0x40, name: 'R_DISABLED', since: '5.10' },
  { bit: 0x80, name: 'SUBMIT_ALL', since: '5.18' },
  { bit: 0x100, name: 'COOP_TASKRUN', since: '5.19' },
  { bit: 0x200, name: 'TASKRUN_FLAG', since: '5.19' },
  { bit: 0x400, name: 'SQE128', since: '5.19' },
  { bit: 0x800, name: 'CQE32', since: '5.19' },
  { bit: 0x1000, name: 'SINGLE_ISSUER', since: '6.0' },
  { bit: 0x2000, name: 'DEFER_TASKRUN', since: '6.1' },
  { bit: 0x4000, name: 'NO_MMAP', since: '6.5' },
  { bit: 0x8000, name: 'REGISTERED_FD_ONLY', since: '6.5' },
  { bit: 0x1_0000, name: 'NO_SQARRAY', since: '6.6' },
  { bit: 0x2_0000, name: 'HYBRID_IOPOLL', since: '6.13' },
  { bit: 0x4_0000, name: 'CQE_MIXED', since: '6.18' },
  { bit: 0x8_0000, name: 'SQE_MIXED', since: '6.19' },
  { bit: 0x10_0000, name: 'SQ_REWIND', since: '7.0' },
];

/** All `IORING_FEAT_*` bits. */
export const FEATURES: readonly Named[] = [
  { bit: 0x1, name: 'SINGLE_MMAP', since: '5.4' },
  { bit: 0x2, name: 'NODROP', since: '5.5' },
  { bit: 0x4, name: 'SUBMIT_STABLE', since: '5.5' },
  { bit: 0x8, name: 'RW_CUR_POS', since: '5.6' },
  { bit: 0x10, name: 'CUR_PERSONALITY', since: '5.6' },
  { bit: 0x20, name: 'FAST_POLL', since: '5.7' },
  { bit: 0x40, name: 'POLL_32BITS', since: '5.9' },
  { bit: 0x80, name: 'SQPOLL_NONFIXED', since: '5.11' },
  { bit: 0x100, name: 'EXT_ARG', since: '5.11' },
  { bit: 0x200, name: 'NATIVE_WORKERS', since: '5.12' },
  { bit: 0x400, name: 'RSRC_TAGS', since: '5.13' },
  { bit: 0x800, name: 'CQE_SKIP', since: '5.17' },
  { bit: 0x1000, name: 'LINKED_FILE', since: '5.17' },
  { bit: 0x2000, name: 'REG_REG_RING', since: '6.3' },
  { bit: 0x4000, name: 'RECVSEND_BUNDLE', since: '6.10' },
  { bit: 0x8000, name: 'MIN_TIMEOUT', since: '6.12' },
  { bit: 0x1_0000, name: 'RW_ATTR', since: '6.14' },
  { bit: 0x2_0000, name: 'NO_IOWAIT', since: '6.15' },
];

/** Opcodes that a ring with IOPOLL takes; the others end with EINVAL there. */
export const POLLED_OPCODES: readonly number[] = [
  IORING_OP_NOP,
  IORING_OP_READV,
  IORING_OP_WRITEV,
  IORING_OP_READ_FIXED,
  IORING_OP_WRITE_FIXED,
  IORING_OP_FILES_UPDATE,
  IORING_OP_READ,
  IORING_OP_WRITE,
  IORING_OP_PROVIDE_BUFFERS,
  IORING_OP_REMOVE_BUFFERS,
  IORING_OP_MSG_RING,
  IORING_OP_URING_CMD,
  IORING_OP_READV_FIXED,
  IORING_OP_WRITEV_FIXED,
];
