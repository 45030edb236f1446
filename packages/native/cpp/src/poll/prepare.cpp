#include "prepare.hpp"

#include <fcntl.h>
#include <sys/socket.h>

#include <cerrno>

namespace ouro {
namespace {

constexpr uint32_t kMostParts = 1024;    // UIO_MAXIOV
constexpr uint32_t kMostBuffers = 65536;
constexpr uint64_t kLowestAddress = 4096;  // below is nothing that could be looked at
constexpr uint32_t kOpenHowSize = 24;
constexpr uint32_t kEmptyPath = 0x1000;  // AT_EMPTY_PATH

bool may_select(abi::Opcode opcode) {
  switch (opcode) {
    case abi::kRead:
    case abi::kReadv:
    case abi::kRecv:
    case abi::kRecvmsg:
    case abi::kSend:
    case abi::kSendmsg:
    case abi::kReadMultishot:
      return true;
    default:
      return false;
  }
}

bool may_have_ioprio(abi::Opcode opcode) {
  switch (opcode) {
    case abi::kRead:
    case abi::kReadv:
    case abi::kReadFixed:
    case abi::kReadvFixed:
    case abi::kReadMultishot:
    case abi::kWrite:
    case abi::kWritev:
    case abi::kWriteFixed:
    case abi::kWritevFixed:
    case abi::kAccept:
    case abi::kRecv:
    case abi::kRecvmsg:
    case abi::kSend:
    case abi::kSendmsg:
    case abi::kSendZc:
    case abi::kSendmsgZc:
    case abi::kNop:
      return true;
    default:
      return false;
  }
}

int unless(bool wrong) { return wrong ? -EINVAL : 0; }

// The kernel copies a name when it takes the SQE.
int name(uint64_t address, bool may_be_empty = false) {
  if (address < kLowestAddress || may_be_empty) return 0;
  return *reinterpret_cast<const char*>(address) == '\0' ? -ENOENT : 0;
}

int attribute(uint64_t address) {
  if (address < kLowestAddress) return 0;
  return *reinterpret_cast<const char*>(address) == '\0' ? -ERANGE : 0;
}

int time(uint64_t address) {
  if (address < kLowestAddress) return -EFAULT;
  const auto& [sec, nsec] = *reinterpret_cast<const abi::Timespec*>(address);
  return unless(sec < 0 || nsec < 0);
}

constexpr uint32_t kClocks = abi::kTimeoutBoottime | abi::kTimeoutRealtime;

int timeout(const abi::Sqe& sqe) {
  constexpr uint32_t kFlags = abi::kTimeoutAbs | kClocks | abi::kTimeoutEtimeSuccess | abi::kTimeoutMultishot;
  constexpr uint32_t kAbsMultishot = abi::kTimeoutAbs | abi::kTimeoutMultishot;
  if (sqe.len != 1 || sqe.buf != 0 || sqe.file != 0) return -EINVAL;
  if (sqe.off != 0 && sqe.opcode == abi::kLinkTimeout) return -EINVAL;
  if ((sqe.op_flags & ~kFlags) != 0 || (sqe.op_flags & kClocks) == kClocks) return -EINVAL;
  if ((sqe.op_flags & kAbsMultishot) == kAbsMultishot) return -EINVAL;
  return time(sqe.addr);
}

int timeout_remove(const abi::Sqe& sqe) {
  constexpr uint32_t kUpdates = abi::kTimeoutUpdate | abi::kLinkTimeoutUpdate;
  if ((sqe.flags & abi::kFixedFile) != 0 || sqe.buf != 0 || sqe.len != 0 || sqe.file != 0) return -EINVAL;
  if ((sqe.op_flags & kUpdates) == 0) return unless(sqe.op_flags != 0);
  if ((sqe.op_flags & kClocks) == kClocks) return -EINVAL;
  if ((sqe.op_flags & ~(kUpdates | abi::kTimeoutAbs)) != 0) return -EINVAL;
  return time(sqe.off);
}

int cancel(const abi::Sqe& sqe) {
  if (sqe.off != 0 || sqe.file != 0 || (sqe.op_flags & ~abi::kCancelFlags) != 0) return -EINVAL;
  const bool any = (sqe.op_flags & abi::kCancelAny) != 0;
  return unless(any && (sqe.op_flags & (abi::kCancelFd | abi::kCancelOp)) != 0);
}

int poll_remove(const abi::Sqe& sqe) {
  constexpr uint32_t kUpdates = abi::kPollUpdateEvents | abi::kPollUpdateUserData;
  if (sqe.buf != 0 || sqe.file != 0 || (sqe.len & ~(kUpdates | abi::kPollAddMulti)) != 0) return -EINVAL;
  if (sqe.len == abi::kPollAddMulti) return -EINVAL;
  if ((sqe.len & abi::kPollUpdateUserData) == 0 && sqe.off != 0) return -EINVAL;
  return unless((sqe.len & abi::kPollUpdateEvents) == 0 && sqe.op_flags != 0);
}

int send(const abi::Sqe& sqe, bool zero_copy) {
  const uint16_t known = zero_copy ? abi::kPollFirst | abi::kFixedBuf | abi::kZcReportUsage
                                   : abi::kPollFirst | abi::kBundle;
  return unless((sqe.ioprio & ~known) != 0);
}

int send_message(const abi::Sqe& sqe, bool zero_copy) {
  const uint16_t known = zero_copy ? abi::kPollFirst | abi::kZcReportUsage : abi::kPollFirst;
  return unless((sqe.ioprio & ~known) != 0 || sqe.off != 0 || sqe.file != 0 ||
                (sqe.flags & abi::kBufferSelect) != 0);
}

// What a multishot RECVMSG makes of its header, which it reads once.
int header(uint64_t address) {
  if (address < kLowestAddress) return -EFAULT;
  const auto& given = *reinterpret_cast<const msghdr*>(address);
  if (given.msg_name != nullptr && static_cast<int32_t>(given.msg_namelen) < 0) return -EINVAL;
  if (given.msg_iovlen > kMostParts) return -EMSGSIZE;
  if (given.msg_iovlen > 1) return -EINVAL;
  if (static_cast<int32_t>(given.msg_namelen) < 0) return -EOVERFLOW;
  constexpr uint64_t kMost = INT32_MAX;
  const uint64_t rooms = sizeof(abi::RecvmsgOut) + given.msg_namelen;
  return rooms > kMost || given.msg_controllen > kMost - rooms ? -EOVERFLOW : 0;
}

int receive(const abi::Sqe& sqe, bool message) {
  uint16_t known = abi::kPollFirst | abi::kRecvMultishot;
  if (!message) known |= abi::kBundle;
  if ((sqe.ioprio & ~known) != 0 || sqe.off != 0 || sqe.file != 0) return -EINVAL;
  const bool many = (sqe.ioprio & abi::kRecvMultishot) != 0;
  const bool selects = (sqe.flags & abi::kBufferSelect) != 0;
  // (One message into a provided buffer, which the kernel does, nobody asks for.)
  if (message && selects && !many) return -EINVAL;
  if (!many) return 0;
  if (!selects || (sqe.op_flags & MSG_WAITALL) != 0) return -EINVAL;
  return message ? header(sqe.addr) : 0;
}

int accept(const abi::Sqe& sqe) {
  constexpr uint16_t kFlags = abi::kAcceptMultishot | abi::kAcceptDontwait | abi::kAcceptPollFirst;
  if (sqe.len != 0 || sqe.buf != 0 || (sqe.ioprio & ~kFlags) != 0) return -EINVAL;
  const bool many = (sqe.ioprio & abi::kAcceptMultishot) != 0;
  if (sqe.file != 0 && many && sqe.file != abi::kFileIndexAlloc) return -EINVAL;
#ifdef SOCK_CLOEXEC
  if (sqe.file != 0 && (sqe.op_flags & SOCK_CLOEXEC) != 0) return -EINVAL;
  return unless((sqe.op_flags & ~static_cast<uint32_t>(SOCK_CLOEXEC | SOCK_NONBLOCK)) != 0);
#else
  return 0;
#endif
}

int socket(const abi::Sqe& sqe) {
  if (sqe.addr != 0 || sqe.op_flags != 0 || sqe.buf != 0) return -EINVAL;
#ifdef SOCK_CLOEXEC
  constexpr auto kFlags = static_cast<uint64_t>(SOCK_CLOEXEC | SOCK_NONBLOCK);
  constexpr uint64_t kTypes = 0xF;
  if (sqe.file != 0 && (sqe.off & SOCK_CLOEXEC) != 0) return -EINVAL;
  return unless((sqe.off & ~(kTypes | kFlags)) != 0);
#else
  return 0;
#endif
}

int open(const abi::Sqe& sqe) {
  if (sqe.buf != 0) return -EINVAL;
  if ((sqe.flags & abi::kFixedFile) != 0) return -EBADF;
  if (sqe.opcode == abi::kOpenat2 && sqe.len < kOpenHowSize) return -EINVAL;
  if (const int error = name(sqe.addr); error != 0) return error;
  uint64_t flags = sqe.op_flags;
  if (sqe.opcode == abi::kOpenat2) flags = sqe.off < kLowestAddress ? 0 : *reinterpret_cast<const uint64_t*>(sqe.off);
  return unless(sqe.file != 0 && (flags & O_CLOEXEC) != 0);
}

int close(const abi::Sqe& sqe) {
  if (sqe.off != 0 || sqe.addr != 0 || sqe.len != 0 || sqe.op_flags != 0 || sqe.buf != 0) return -EINVAL;
  if ((sqe.flags & abi::kFixedFile) != 0) return -EBADF;
  return unless(sqe.file != 0 && sqe.fd != 0);
}

// Two names.
int names(const abi::Sqe& sqe, bool first_may_be_empty = false) {
  if ((sqe.flags & abi::kFixedFile) != 0) return -EBADF;
  if (const int error = name(sqe.addr, first_may_be_empty); error != 0) return error;
  return name(sqe.off);
}

int provide(const abi::Sqe& sqe) {
  if (sqe.op_flags != 0 || sqe.file != 0) return -EINVAL;
  const auto count = static_cast<uint32_t>(sqe.fd);
  if (count == 0 || count > kMostBuffers) return -E2BIG;
  if (sqe.len == 0) return -EINVAL;
  if (sqe.off > UINT16_MAX) return -E2BIG;
  return unless(sqe.off + count > kMostBuffers);
}

int remove(const abi::Sqe& sqe) {
  if (sqe.op_flags != 0 || sqe.addr != 0 || sqe.len != 0 || sqe.off != 0 || sqe.file != 0) return -EINVAL;
  const auto count = static_cast<uint32_t>(sqe.fd);
  return unless(count == 0 || count > kMostBuffers);
}

int prepare_known(const abi::Sqe& sqe) {
  const bool place = sqe.buf != 0 || sqe.file != 0;
  switch (static_cast<abi::Opcode>(sqe.opcode)) {
    case abi::kNop:
      return unless((sqe.op_flags & ~abi::kNopInjectResult) != 0);
    case abi::kReadv:
      if ((sqe.flags & abi::kBufferSelect) != 0) return unless(sqe.len != 1);
      return unless(sqe.len > kMostParts);
    case abi::kWritev:
    case abi::kReadvFixed:
    case abi::kWritevFixed:
      return unless(sqe.len > kMostParts);
    case abi::kReadMultishot:
      return unless((sqe.flags & abi::kBufferSelect) == 0 || sqe.addr != 0 || sqe.len != 0);
    case abi::kFsync:
      return unless(sqe.addr != 0 || place || (sqe.op_flags & ~abi::kFsyncDatasync) != 0);
    case abi::kSyncFileRange:
      return unless(sqe.addr != 0 || place);
    case abi::kFallocate:
      return unless(place || sqe.op_flags != 0);
    case abi::kFadvise:
    case abi::kMadvise:
      return unless(place);
    case abi::kFtruncate:
      return unless(sqe.op_flags != 0 || sqe.addr != 0 || sqe.len != 0 || place || sqe.addr3 != 0);
    case abi::kStatx:
      if (place) return -EINVAL;
      return (sqe.flags & abi::kFixedFile) != 0 ? -EBADF : name(sqe.addr, (sqe.op_flags & kEmptyPath) != 0);
    case abi::kRenameat:
      return place ? -EINVAL : names(sqe);
    case abi::kLinkat:
      return place ? -EINVAL : names(sqe, (sqe.op_flags & kEmptyPath) != 0);
    case abi::kSymlinkat:
      return place || sqe.len != 0 || sqe.op_flags != 0 ? -EINVAL : names(sqe);
    case abi::kUnlinkat:
      if (place || sqe.off != 0 || sqe.len != 0) return -EINVAL;
      if ((sqe.flags & abi::kFixedFile) != 0) return -EBADF;
      if ((sqe.op_flags & ~static_cast<uint32_t>(AT_REMOVEDIR)) != 0) return -EINVAL;
      return name(sqe.addr);
    case abi::kMkdirat:
      if (place || sqe.off != 0 || sqe.op_flags != 0) return -EINVAL;
      return (sqe.flags & abi::kFixedFile) != 0 ? -EBADF : name(sqe.addr);
    case abi::kSetxattr:
    case abi::kFsetxattr:
      if (sqe.opcode == abi::kSetxattr && (sqe.flags & abi::kFixedFile) != 0) return -EBADF;
      if ((sqe.op_flags & ~3U) != 0) return -EINVAL;
      if (const int error = attribute(sqe.addr); error != 0) return error;
      return sqe.opcode == abi::kSetxattr ? name(sqe.addr3) : 0;
    case abi::kGetxattr:
    case abi::kFgetxattr:
      if (sqe.opcode == abi::kGetxattr && (sqe.flags & abi::kFixedFile) != 0) return -EBADF;
      if (sqe.op_flags != 0) return -EINVAL;
      if (const int error = attribute(sqe.addr); error != 0) return error;
      return sqe.opcode == abi::kGetxattr ? name(sqe.addr3) : 0;
    case abi::kOpenat:
    case abi::kOpenat2:
      return open(sqe);
    case abi::kClose:
      return close(sqe);
    case abi::kFilesUpdate:
      return unless((sqe.flags & (abi::kFixedFile | abi::kBufferSelect)) != 0 || sqe.op_flags != 0 || sqe.file != 0 ||
                    sqe.len == 0);
    case abi::kPollAdd:
      if (sqe.buf != 0 || sqe.off != 0 || sqe.addr != 0 || (sqe.len & ~abi::kPollAddMulti) != 0) return -EINVAL;
      return unless((sqe.len & abi::kPollAddMulti) != 0 && (sqe.flags & abi::kCqeSkipSuccess) != 0);
    case abi::kPollRemove:
      return poll_remove(sqe);
    case abi::kTimeout:
    case abi::kLinkTimeout:
      return timeout(sqe);
    case abi::kTimeoutRemove:
      return timeout_remove(sqe);
    case abi::kAsyncCancel:
      return cancel(sqe);
    case abi::kAccept:
      return accept(sqe);
    case abi::kConnect:
      if (sqe.len != 0 || place || sqe.op_flags != 0) return -EINVAL;
      return unless(sqe.off > sizeof(sockaddr_storage));
    case abi::kBind:
      if (sqe.len != 0 || place || sqe.op_flags != 0) return -EINVAL;
      return unless(sqe.off > sizeof(sockaddr_storage));
    case abi::kListen:
      return unless(sqe.addr != 0 || place || sqe.op_flags != 0 || sqe.off != 0);
    case abi::kSocket:
      return socket(sqe);
    case abi::kShutdown:
      return unless(sqe.off != 0 || sqe.addr != 0 || sqe.op_flags != 0 || place);
    case abi::kSend:
      return send(sqe, false);
    case abi::kSendZc:
      return send(sqe, true);
    case abi::kSendmsg:
      return send_message(sqe, false);
    case abi::kSendmsgZc:
      return send_message(sqe, true);
    case abi::kRecv:
      return receive(sqe, false);
    case abi::kRecvmsg:
      return receive(sqe, true);
    case abi::kTee:
      if (sqe.addr != 0 || sqe.off != 0) return -EINVAL;
      [[fallthrough]];
    case abi::kSplice:
      return unless((sqe.op_flags & ~(abi::kSpliceFdInFixed | 0xFU)) != 0);
    case abi::kProvideBuffers:
      return provide(sqe);
    case abi::kRemoveBuffers:
      return remove(sqe);
    case abi::kMsgRing:
      return unless(sqe.buf != 0 || (sqe.op_flags & ~(abi::kMsgCqeSkip | abi::kMsgFlagsPass)) != 0);
    case abi::kFixedFdInstall:
      if (sqe.off != 0 || sqe.addr != 0 || sqe.len != 0 || place || sqe.addr3 != 0) return -EINVAL;
      if ((sqe.flags & abi::kFixedFile) == 0) return -EBADF;
      return unless((sqe.op_flags & ~abi::kFixedFdNoCloexec) != 0);
    case abi::kPipe:
      if (sqe.fd != 0 || sqe.off != 0 || sqe.addr3 != 0) return -EINVAL;
#ifdef O_DIRECT
      return unless((sqe.op_flags & ~static_cast<uint32_t>(O_CLOEXEC | O_NONBLOCK | O_DIRECT)) != 0);
#else
      return 0;
#endif
    default:
      return 0;
  }
}

}  // namespace

bool is_known(const abi::Sqe& sqe) {
  if ((sqe.flags & ~abi::kAllSqeFlags) != 0) return false;
#ifdef OURO_LINUX
  if (abi::is_call(sqe.opcode)) return true;
#endif
  if (sqe.opcode >= abi::kOpcodes) return false;
  switch (static_cast<abi::Opcode>(sqe.opcode)) {
#ifndef OURO_LINUX
    case abi::kFutexWait:
    case abi::kFutexWake:
    case abi::kFutexWaitv:
#endif
    case abi::kRecvZc:
      return false;
    default:
      return true;
  }
}

int prepare(const abi::Sqe& sqe, bool linked) {
  if (!is_known(sqe)) return -EINVAL;
  const auto opcode = static_cast<abi::Opcode>(sqe.opcode);
  if ((sqe.flags & abi::kBufferSelect) != 0 && !may_select(opcode)) return -EOPNOTSUPP;
  if (sqe.ioprio != 0 && !may_have_ioprio(opcode)) return -EINVAL;
  if (const int error = prepare_known(sqe); error != 0) return error;
  return opcode == abi::kLinkTimeout && !linked ? -EINVAL : 0;
}

bool breaks_link(abi::Opcode opcode) {
  switch (opcode) {
    case abi::kFsync:
    case abi::kSyncFileRange:
    case abi::kFallocate:
    case abi::kFtruncate:
    case abi::kMadvise:
    case abi::kStatx:
    case abi::kRenameat:
    case abi::kUnlinkat:
    case abi::kMkdirat:
    case abi::kSymlinkat:
    case abi::kLinkat:
    case abi::kSetxattr:
    case abi::kFsetxattr:
    case abi::kGetxattr:
    case abi::kFgetxattr:
    case abi::kShutdown:
      return false;
    default:
      return true;
  }
}

}  // namespace ouro
