// The instruction set: what an SQE is made of, under the kernel's names and with the kernel that brought each. Written out
// so that the engine needs no header of Linux.
#pragma once

#include <cstdint>

namespace ouro::abi {

// struct io_uring_sqe, each union by the one name that most ops give it.
struct Sqe {
  uint8_t opcode;
  uint8_t flags;
  uint16_t ioprio;
  int32_t fd;
  uint64_t off;  // addr2, cmd_op
  uint64_t addr;  // splice_off_in, level and optname
  uint32_t len;
  uint32_t op_flags;  // rw_flags and its siblings
  uint64_t user_data;
  uint16_t buf;  // buf_index, buf_group
  uint16_t personality;
  uint32_t file;  // file_index, splice_fd_in, optlen
  uint64_t addr3;  // optval
  uint64_t reserved;
};
static_assert(sizeof(Sqe) == 64);

enum Opcode : uint8_t {
  kNop = 0,
  kReadv,
  kWritev,
  kFsync,
  kReadFixed,
  kWriteFixed,
  kPollAdd,
  kPollRemove,
  kSyncFileRange,
  kSendmsg,
  kRecvmsg,
  kTimeout,
  kTimeoutRemove,
  kAccept,
  kAsyncCancel,
  kLinkTimeout,
  kConnect,
  kFallocate,
  kOpenat,
  kClose,
  kFilesUpdate,
  kStatx,
  kRead,
  kWrite,
  kFadvise,
  kMadvise,
  kSend,
  kRecv,
  kOpenat2,
  kEpollCtl,
  kSplice,
  kProvideBuffers,
  kRemoveBuffers,
  kTee,
  kShutdown,
  kRenameat,
  kUnlinkat,
  kMkdirat,
  kSymlinkat,
  kLinkat,
  kMsgRing,
  kFsetxattr,
  kSetxattr,
  kFgetxattr,
  kGetxattr,
  kSocket,
  kUringCmd,
  kSendZc,
  kSendmsgZc,
  kReadMultishot,
  kWaitid,
  kFutexWait,
  kFutexWake,
  kFutexWaitv,
  kFixedFdInstall,
  kFtruncate,
  kBind,
  kListen,
  kRecvZc,
  kEpollWait,
  kReadvFixed,
  kWritevFixed,
  kPipe,
  kOpcodes,

  // Ours: system calls on files that io_uring has no op for (poll_calls.cpp).
  kFirstCall = 128,
  kGetdents = kFirstCall,
  kReadlinkat,
  kFchmodat,
  kFchownat,
  kUtimensat,
  kFaccessat,
  kListxattr,
  kRemovexattr,
  kLgetxattr,
  kLsetxattr,
  kCopyFileRange,
  kFiclone,
  kFlock,
  kLseek,
  kMknodat,
  kStatfs,
  kRealpath,
  kInotifyInit,
  kInotifyAddWatch,
  kInotifyRmWatch,
  kWriteFiles,
  kCopyFile,
  kListDirectory,
  kSweepDirectory,
  kStat,
  kEndOfCalls,
};
static_assert(kPipe == 62);
static_assert(kStat == 152);

inline constexpr bool is_call(uint8_t opcode) { return opcode >= kFirstCall && opcode < kEndOfCalls; }

// IOSQE_*
inline constexpr uint8_t kFixedFile = 1;
inline constexpr uint8_t kIoDrain = 2;
inline constexpr uint8_t kIoLink = 4;
inline constexpr uint8_t kIoHardlink = 8;
inline constexpr uint8_t kAsync = 16;
inline constexpr uint8_t kBufferSelect = 32;
inline constexpr uint8_t kCqeSkipSuccess = 64;
inline constexpr uint8_t kAllSqeFlags = 127;

// IORING_CQE_F_*
inline constexpr uint32_t kCqeBuffer = 1;
inline constexpr uint32_t kCqeMore = 2;
inline constexpr uint32_t kCqeNotif = 8;
inline constexpr uint32_t kCqeBufMore = 16;
inline constexpr uint32_t kCqeBufferShift = 16;

// ioprio
inline constexpr uint16_t kPollFirst = 1;
inline constexpr uint16_t kRecvMultishot = 2;
inline constexpr uint16_t kFixedBuf = 4;
inline constexpr uint16_t kZcReportUsage = 8;
inline constexpr uint16_t kBundle = 16;
inline constexpr uint16_t kAcceptMultishot = 1;
inline constexpr uint16_t kAcceptDontwait = 2;
inline constexpr uint16_t kAcceptPollFirst = 4;
inline constexpr uint32_t kZcCopied = 1U << 31;  // IORING_NOTIF_USAGE_ZC_COPIED

inline constexpr uint32_t kFsyncDatasync = 1;
inline constexpr uint32_t kFixedFdNoCloexec = 1;
inline constexpr uint32_t kNopInjectResult = 1;
inline constexpr uint32_t kFileIndexAlloc = ~0U;
inline constexpr int32_t kFilesSkip = -2;

// timeout_flags
inline constexpr uint32_t kTimeoutAbs = 1;
inline constexpr uint32_t kTimeoutUpdate = 2;
inline constexpr uint32_t kTimeoutBoottime = 4;
inline constexpr uint32_t kTimeoutRealtime = 8;
inline constexpr uint32_t kLinkTimeoutUpdate = 16;
inline constexpr uint32_t kTimeoutEtimeSuccess = 32;
inline constexpr uint32_t kTimeoutMultishot = 64;

// len of POLL_ADD and POLL_REMOVE
inline constexpr uint32_t kPollAddMulti = 1;
inline constexpr uint32_t kPollUpdateEvents = 2;
inline constexpr uint32_t kPollUpdateUserData = 4;

// cancel_flags
inline constexpr uint32_t kCancelAll = 1;
inline constexpr uint32_t kCancelFd = 2;
inline constexpr uint32_t kCancelAny = 4;
inline constexpr uint32_t kCancelFdFixed = 8;
inline constexpr uint32_t kCancelUserdata = 16;
inline constexpr uint32_t kCancelOp = 32;
inline constexpr uint32_t kCancelFlags = 63;

// MSG_RING
inline constexpr uint64_t kMsgData = 0;
inline constexpr uint64_t kMsgSendFd = 1;
inline constexpr uint32_t kMsgCqeSkip = 1;
inline constexpr uint32_t kMsgFlagsPass = 2;

// cmd_op of URING_CMD on sockets
inline constexpr uint32_t kSocketInq = 0;
inline constexpr uint32_t kSocketOutq = 1;
inline constexpr uint32_t kSocketGetsockopt = 2;
inline constexpr uint32_t kSocketSetsockopt = 3;

// What one op moves at most (MAX_RW_COUNT), and so what fits a completion.
inline constexpr uint64_t kMostBytes = 0x7FFFF000;

inline constexpr uint32_t kSpliceFdInFixed = 1U << 31;

// io_uring_register
inline constexpr uint32_t kRegisterFilesUpdate = 6;
inline constexpr uint32_t kRegisterFiles2 = 13;
inline constexpr uint32_t kRegisterBuffers2 = 15;
inline constexpr uint32_t kRegisterBuffersUpdate = 16;
inline constexpr uint32_t kRegisterIowqMaxWorkers = 19;
inline constexpr uint32_t kRegisterPbufRing = 22;
inline constexpr uint32_t kUnregisterPbufRing = 23;
inline constexpr uint32_t kRegisterFileAllocRange = 25;
inline constexpr uint32_t kRegisterPbufStatus = 26;
inline constexpr uint32_t kRsrcRegisterSparse = 1;
inline constexpr uint16_t kPbufRingInc = 2;

// features: what of them means something here
inline constexpr uint32_t kFeatNodrop = 1U << 1;
inline constexpr uint32_t kFeatSubmitStable = 1U << 2;
inline constexpr uint32_t kFeatRwCurPos = 1U << 3;
inline constexpr uint32_t kFeatCurPersonality = 1U << 4;
inline constexpr uint32_t kFeatFastPoll = 1U << 5;
inline constexpr uint32_t kFeatExtArg = 1U << 8;
inline constexpr uint32_t kFeatCqeSkip = 1U << 11;
inline constexpr uint32_t kFeatRegRegRing = 1U << 13;
inline constexpr uint32_t kFeatRecvsendBundle = 1U << 14;
inline constexpr uint32_t kFeatPbufInc = 1U << 15;  // MIN_TIMEOUT, by which JavaScript tells 6.12 and its buffer rings

// struct __kernel_timespec
struct Timespec {
  int64_t sec;
  int64_t nsec;
};

// struct io_uring_buf; the tail of a ring lies where the first one has its `resv`.
struct Buf {
  uint64_t addr;
  uint32_t len;
  uint16_t bid;
  uint16_t tail;
};
static_assert(sizeof(Buf) == 16);

// struct io_uring_buf_reg
struct BufReg {
  uint64_t ring_addr;
  uint32_t ring_entries;
  uint16_t bgid;
  uint16_t flags;
  uint64_t reserved[3];
};

// struct io_uring_buf_status
struct BufStatus {
  uint32_t buf_group;
  uint32_t head;
  uint32_t reserved[8];
};

// struct io_uring_recvmsg_out: what stands before a message in a provided buffer. The name, the control data and the payload
// follow, each behind as much room as was asked for.
struct RecvmsgOut {
  uint32_t namelen;
  uint32_t controllen;
  uint32_t payloadlen;
  uint32_t flags;
};
static_assert(sizeof(RecvmsgOut) == 16);

// struct io_uring_rsrc_register
struct RsrcRegister {
  uint32_t nr;
  uint32_t flags;
  uint64_t reserved;
  uint64_t data;
  uint64_t tags;
};

// struct io_uring_rsrc_update2
struct RsrcUpdate {
  uint32_t offset;
  uint32_t reserved;
  uint64_t data;
  uint64_t tags;
  uint32_t nr;
  uint32_t reserved2;
};

// struct io_uring_file_index_range
struct FileIndexRange {
  uint32_t off;
  uint32_t len;
  uint64_t reserved;
};

}  // namespace ouro::abi
