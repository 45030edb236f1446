// Ops on sockets: tried without blocking, and tried again when the socket is ready.
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#ifdef __linux__
#include <linux/sockios.h>
#endif

#include "poll_engine.hpp"

namespace ouro {
namespace {

constexpr uint32_t kReads = POLLIN;
constexpr uint32_t kWrites = POLLOUT;
// Completions of one multishot op before others come first.
constexpr int kMostShots = 64;
constexpr uint32_t kMostBundled = 256;

template <class Call>
ssize_t retry(Call call) {
  for (;;) {
    const ssize_t result = call();
    if (result >= 0) return result;
    if (errno != EINTR) return -errno;
  }
}

bool would_block(ssize_t result) { return result == -EAGAIN || result == -EWOULDBLOCK; }

#ifdef MSG_NOSIGNAL
constexpr int kQuiet = MSG_NOSIGNAL;
#else
constexpr int kQuiet = 0;
#endif

// Makes the calls between its begin and end non-blocking, for those that know no flag for it.
class NonBlocking {
 public:
  explicit NonBlocking(int fd) : fd_(fd), flags_(::fcntl(fd, F_GETFL)) {
    if (needed()) ::fcntl(fd_, F_SETFL, flags_ | O_NONBLOCK);
  }
  ~NonBlocking() {
    const int error = errno;
    if (needed()) ::fcntl(fd_, F_SETFL, flags_);
    errno = error;
  }
  NonBlocking(const NonBlocking&) = delete;
  NonBlocking& operator=(const NonBlocking&) = delete;

 private:
  bool needed() const { return flags_ >= 0 && (flags_ & O_NONBLOCK) == 0; }
  int fd_;
  int flags_;
};

int type_of(int fd) {
  int type = 0;
  socklen_t size = sizeof(type);
  return ::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 ? type : -1;
}

// Whether an op is to wait before it is tried, and not to wait.
bool never_tried(const Task& task) {
  return !task.begun && (task.sqe.ioprio & abi::kPollFirst) != 0 && (task.sqe.op_flags & MSG_DONTWAIT) != 0;
}

// What the kernel says to a zero-copy send on what is no socket of TCP or UDP.
int check_zero_copy(int fd) {
  if (type_of(fd) < 0) return -errno;
#ifdef SO_DOMAIN
  int domain = 0;
  socklen_t size = sizeof(domain);
  if (::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0) return -errno;
  if (domain != AF_INET && domain != AF_INET6) return -EOPNOTSUPP;
#endif
  return 0;
}

// Whether what told us that the socket was ready told us of anything but bytes.
bool may_have_ended(const Task& task) {
  constexpr uint32_t kEnds = POLLERR | POLLHUP
#ifdef POLLRDHUP
                             | POLLRDHUP
#endif
      ;
  return task.events == 0 || (task.events & kEnds) != 0;
}

}  // namespace

bool PollEngine::is_stream(int fd) {
  Descriptor& place = descriptor(fd);
  // Of one that is not ours, the number may be another's tomorrow.
  if (place.type < 0 || !owned(fd)) place.type = type_of(fd);
  return place.type == SOCK_STREAM;
}

Step PollEngine::attempt_socket(Task* task) {
  const abi::Sqe& sqe = task->sqe;
  const auto answer = [](int result) { return Step::done(result < 0 ? -errno : result); };
  switch (task->opcode()) {
    case abi::kSocket: {
      int type = static_cast<int>(sqe.off);
#ifdef SOCK_CLOEXEC
      if (sqe.file != 0) type |= SOCK_CLOEXEC;
#endif
      const int fd = ::socket(sqe.fd, type, static_cast<int>(sqe.len));
      return installed(task, fd < 0 ? -errno : fd, sqe.file);
    }
    case abi::kBind:
      return answer(::bind(task->fd, task->at<sockaddr>(sqe.addr), static_cast<socklen_t>(sqe.off)));
    case abi::kListen:
      return answer(::listen(task->fd, static_cast<int>(sqe.len)));
    case abi::kShutdown: {
      Step step = answer(::shutdown(task->fd, static_cast<int>(sqe.len)));
      // So it is in the kernel, too.
      step.failed = step.result == -EBADF;
      return step;
    }
    case abi::kAccept:
      return try_accept(task);
    case abi::kConnect:
      return try_connect(task);
    case abi::kRecv:
      return try_recv(task);
    case abi::kSend:
    case abi::kSendZc:
      return try_send(task);
    case abi::kRecvmsg:
      return try_message(task, false);
    case abi::kSendmsg:
    case abi::kSendmsgZc:
      return try_message(task, true);
    default:
      return try_command(task);
  }
}

Step PollEngine::try_accept(Task* task) {
  const abi::Sqe& sqe = task->sqe;
  const bool many = (sqe.ioprio & abi::kAcceptMultishot) != 0;
  constexpr uint16_t kFlags = abi::kAcceptMultishot | abi::kAcceptDontwait | abi::kAcceptPollFirst;
  if ((sqe.ioprio & ~kFlags) != 0) return Step::done(-EINVAL);
  if (many && sqe.file != 0 && sqe.file != abi::kFileIndexAlloc) return Step::done(-EINVAL);
  if (sqe.file != 0 && (sqe.op_flags & O_CLOEXEC) != 0) return Step::done(-EINVAL);
  if (!task->begun && (sqe.ioprio & abi::kAcceptPollFirst) != 0 && must_wait(task->fd, kReads)) {
    return Step::wait(kReads);
  }
  const NonBlocking quick(task->fd);
  for (int shots = 0; shots < kMostShots; ++shots) {
    auto* address = many ? nullptr : task->at<sockaddr>(sqe.addr);
    auto* size = many ? nullptr : task->at<socklen_t>(sqe.off);
    const int flags = static_cast<int>(sqe.op_flags) | (sqe.file != 0 ? O_CLOEXEC : 0);
#ifdef __linux__
    const ssize_t fd = retry([&] { return ::accept4(task->fd, address, size, flags); });
#else
    const ssize_t fd = retry([&] { return ::accept(task->fd, address, size); });
    if (fd >= 0) ::fcntl(static_cast<int>(fd), F_SETFD, FD_CLOEXEC);
    static_cast<void>(flags);
#endif
    if (would_block(fd)) {
      return (sqe.ioprio & abi::kAcceptDontwait) != 0 ? Step::done(-EAGAIN) : Step::wait(kReads);
    }
    const Step step = installed(task, static_cast<int>(fd), sqe.file);
    if (!many || step.result < 0) return step;
    post_more(task, step.result, 0);
  }
  return Step::again();
}

Step PollEngine::try_connect(Task* task) {
  const abi::Sqe& sqe = task->sqe;
  if (!task->begun) {
    const NonBlocking quick(task->fd);
    const ssize_t result = retry([&] {
      return static_cast<ssize_t>(
          ::connect(task->fd, task->at<const sockaddr>(sqe.addr), static_cast<socklen_t>(sqe.off)));
    });
    return result == -EINPROGRESS ? Step::wait(kWrites) : Step::done(result);
  }
  int error = 0;
  socklen_t size = sizeof(error);
  if (::getsockopt(task->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0) return Step::done(-errno);
  if (error != 0) return Step::done(-error);
  pollfd look{task->fd, POLLOUT, 0};
  if (::poll(&look, 1, 0) == 0) return Step::wait(kWrites);
#ifdef __linux__
  // Only with this the socket is a connected one: else the next connect would succeed.
  const NonBlocking quick(task->fd);
  const ssize_t result = retry([&] {
    return static_cast<ssize_t>(
        ::connect(task->fd, task->at<const sockaddr>(sqe.addr), static_cast<socklen_t>(sqe.off)));
  });
  if (result == -EINPROGRESS || result == -EALREADY) return Step::wait(kWrites);
  return Step::done(result == -EISCONN ? 0 : result);
#else
  return Step::done(0);
#endif
}

Step PollEngine::try_recv(Task* task) {
  const abi::Sqe& sqe = task->sqe;
  constexpr uint16_t kFlags = abi::kPollFirst | abi::kRecvMultishot | abi::kBundle;
  const bool many = (sqe.ioprio & abi::kRecvMultishot) != 0;
  if ((sqe.ioprio & ~kFlags) != 0) return Step::done(-EINVAL);
  if (many && (!task->has(abi::kBufferSelect) || (sqe.op_flags & MSG_WAITALL) != 0)) return Step::done(-EINVAL);
  if (never_tried(*task)) return Step::done(-EAGAIN);
  if (!task->begun && (sqe.ioprio & abi::kPollFirst) != 0 && must_wait(task->fd, kReads)) return Step::wait(kReads);
  if (task->has(abi::kBufferSelect)) return try_recv_provided(task);
  const int flags = static_cast<int>(sqe.op_flags) | MSG_DONTWAIT;
  for (;;) {
    auto* to = task->at<uint8_t>(sqe.addr) + task->moved;
    const ssize_t result = retry([&] { return ::recv(task->fd, to, sqe.len - task->moved, flags); });
    if (would_block(result) && (sqe.op_flags & MSG_DONTWAIT) == 0) return Step::wait(kReads);
    if ((sqe.op_flags & MSG_WAITALL) == 0) return Step::done(result);
    if (result > 0) {
      task->moved += static_cast<uint64_t>(result);
      if (task->moved < sqe.len && is_stream(task->fd)) continue;
      return Step::shorter(static_cast<int64_t>(task->moved), task->moved < sqe.len);
    }
    // Ended, or failed, in the middle: what has come is what there is.
    if (task->moved > 0) return Step::shorter(static_cast<int64_t>(task->moved), true);
    return Step::shorter(result, sqe.len > 0);
  }
}

Step PollEngine::try_recv_provided(Task* task) {
  const abi::Sqe& sqe = task->sqe;
  const bool many = (sqe.ioprio & abi::kRecvMultishot) != 0;
  const bool bundles = (sqe.ioprio & abi::kBundle) != 0;
  const int flags = static_cast<int>(sqe.op_flags) | MSG_DONTWAIT;
  std::array<Picked, kMostBundled> picks;
  std::array<iovec, kMostBundled> parts;
  for (int shots = 0; shots < kMostShots; ++shots) {
    BufferGroup* group = groups_.find(sqe.buf);
    const uint32_t count = group == nullptr ? 0 : group->pick(picks.data(), bundles ? kMostBundled : 1, sqe.len);
    if (count == 0) return Step::done(-ENOBUFS);
    ssize_t result;
    uint64_t room = 0;
    if (count == 1) {
      room = picks[0].length;
      result = retry([&] { return ::recv(task->fd, task->at<void>(picks[0].address), picks[0].length, flags); });
    } else {
      for (uint32_t i = 0; i < count; ++i) {
        parts[i] = {task->at<void>(picks[i].address), picks[i].length};
        room += picks[i].length;
      }
      msghdr message{};
      message.msg_iov = parts.data();
      message.msg_iovlen = count;
      result = retry([&] { return ::recvmsg(task->fd, &message, flags); });
    }
    if (would_block(result)) {
      return (sqe.op_flags & MSG_DONTWAIT) != 0 && !many ? Step::done(-EAGAIN) : Step::wait(kReads);
    }
    if (result <= 0) return Step::done(result);
    const uint32_t used = group->commit(count, static_cast<uint64_t>(result));
    if (!many) return Step::done(result, used);
    post_more(task, static_cast<int32_t>(result), used);
    // A stream gives all that it has.
    if (static_cast<uint64_t>(result) < room && !may_have_ended(*task) && is_stream(task->fd)) {
      return Step::wait(kReads);
    }
  }
  return Step::again();
}

// What a send came to: `result` of this try, `wanted` of the whole.
Step PollEngine::sent(Task* task, ssize_t result, uint64_t wanted) {
  const abi::Sqe& sqe = task->sqe;
  const bool whole = (sqe.op_flags & MSG_WAITALL) != 0;
  if (would_block(result) && (sqe.op_flags & MSG_DONTWAIT) == 0) return Step::wait(kWrites);
  if (result > 0) {
    task->moved += static_cast<uint64_t>(result);
    if (whole && task->moved < wanted) return Step::wait(kWrites);
    result = static_cast<ssize_t>(task->moved);
  } else if (task->moved > 0) {
    result = static_cast<ssize_t>(task->moved);
  }
  const bool failed = result < 0 || (whole && static_cast<uint64_t>(result) < wanted);
  return Step::shorter(result, failed);
}

Step PollEngine::try_send(Task* task) {
  const abi::Sqe& sqe = task->sqe;
  const bool zero_copy = task->opcode() == abi::kSendZc;
  const uint16_t known = zero_copy ? abi::kPollFirst | abi::kFixedBuf | abi::kZcReportUsage
                                   : abi::kPollFirst | abi::kBundle;
  if ((sqe.ioprio & ~known) != 0) return Step::done(-EINVAL);
  if (!task->begun) {
    if (const int error = zero_copy ? check_zero_copy(task->fd) : 0; error != 0) return Step::done(error);
    if ((sqe.ioprio & abi::kFixedBuf) != 0) {
      if (const int error = buffers_.check(sqe.buf, sqe.addr, sqe.len); error != 0) return Step::done(error);
    }
    if (never_tried(*task)) return Step::done(-EAGAIN);
    if ((sqe.ioprio & abi::kPollFirst) != 0 && must_wait(task->fd, kWrites)) return Step::wait(kWrites);
  }
  if (task->has(abi::kBufferSelect)) return try_send_provided(task);
  const int flags = static_cast<int>(sqe.op_flags) | MSG_DONTWAIT | kQuiet;
  for (;;) {
    const auto* from = task->at<const uint8_t>(sqe.addr) + task->moved;
    const ssize_t result = retry([&]() -> ssize_t {
      const size_t length = sqe.len - task->moved;
      // With an address: where a datagram goes.
      if (sqe.off == 0) return ::send(task->fd, from, length, flags);
      const auto size = static_cast<socklen_t>(sqe.file & 0xFFFF);
      return ::sendto(task->fd, from, length, flags, task->at<const sockaddr>(sqe.off), size);
    });
    const uint64_t before = task->moved;
    const Step step = sent(task, result, sqe.len);
    if (step.kind == Step::Kind::kWait && task->moved > before) continue;
    return step;
  }
}

Step PollEngine::try_send_provided(Task* task) {
  const abi::Sqe& sqe = task->sqe;
  const bool bundles = (sqe.ioprio & abi::kBundle) != 0;
  const bool whole = (sqe.op_flags & MSG_WAITALL) != 0;
  const bool waited = task->begun;
  std::array<Picked, kMostBundled> picks;
  std::array<iovec, kMostBundled> parts;
  for (;;) {
    BufferGroup* group = groups_.find(sqe.buf);
    // The same as before, if this goes on with what has begun: nothing is used up until all of it is sent.
    const uint32_t count = group == nullptr ? 0 : group->pick(picks.data(), bundles ? kMostBundled : 1, sqe.len);
    if (count == 0) return Step::done(task->moved > 0 ? static_cast<int64_t>(task->moved) : -ENOBUFS);
    uint64_t wanted = 0;
    uint64_t skip = task->moved;
    size_t used_parts = 0;
    for (uint32_t i = 0; i < count; ++i) {
      wanted += picks[i].length;
      const auto gone = std::min<uint64_t>(skip, picks[i].length);
      skip -= gone;
      if (gone < picks[i].length) parts[used_parts++] = {task->at<void>(picks[i].address + gone), picks[i].length - gone};
    }
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = used_parts;
    const int flags = static_cast<int>(sqe.op_flags) | MSG_DONTWAIT | kQuiet;
    const ssize_t result = retry([&] { return ::sendmsg(task->fd, &message, flags); });
    if (would_block(result)) {
      return (sqe.op_flags & MSG_DONTWAIT) != 0 ? Step::done(-EAGAIN) : Step::wait(kWrites);
    }
    if (result < 0 && task->moved == 0) return Step::done(result);
    if (result > 0) task->moved += static_cast<uint64_t>(result);
    if (result > 0 && whole && task->moved < wanted) continue;
    const uint64_t total = std::exchange(task->moved, 0);
    const uint32_t used = group->commit(count, total);
    Picked next;
    if (!bundles || total < wanted || waited || group->pick(&next, 1, 0) == 0) {
      return Step::shorter(static_cast<int64_t>(total), whole && total < wanted, used);
    }
    post_more(task, static_cast<int32_t>(total), used);
  }
}

Step PollEngine::try_message(Task* task, bool sends) {
  const abi::Sqe& sqe = task->sqe;
  const uint32_t events = sends ? kWrites : kReads;
  const uint16_t known = task->opcode() == abi::kSendmsgZc
                             ? static_cast<uint16_t>(abi::kPollFirst | abi::kZcReportUsage)
                             : abi::kPollFirst;
  if ((sqe.ioprio & ~known) != 0 || task->has(abi::kBufferSelect)) return Step::done(-EINVAL);
  if (!task->begun && task->opcode() == abi::kSendmsgZc) {
    if (const int error = check_zero_copy(task->fd); error != 0) return Step::done(error);
  }
  if (never_tried(*task)) return Step::done(-EAGAIN);
  if (!task->begun && (sqe.ioprio & abi::kPollFirst) != 0 && must_wait(task->fd, events)) return Step::wait(events);
  auto* given = task->at<msghdr>(sqe.addr);
  uint64_t wanted = 0;
  for (size_t i = 0; i < given->msg_iovlen; ++i) wanted += given->msg_iov[i].iov_len;
  for (;;) {
    msghdr message = *given;
    std::vector<iovec> rest;
    if (task->moved > 0) {
      uint64_t skip = task->moved;
      for (size_t i = 0; i < given->msg_iovlen; ++i) {
        iovec part = given->msg_iov[i];
        const auto gone = std::min<uint64_t>(skip, part.iov_len);
        skip -= gone;
        part.iov_base = static_cast<uint8_t*>(part.iov_base) + gone;
        part.iov_len -= gone;
        if (part.iov_len > 0) rest.push_back(part);
      }
      message.msg_iov = rest.data();
      message.msg_iovlen = rest.size();
      if (sends) {
        message.msg_control = nullptr;
        message.msg_controllen = 0;
      }
    }
    const int flags = static_cast<int>(sqe.op_flags) | MSG_DONTWAIT;
    if (sends) {
      const ssize_t result = retry([&] { return ::sendmsg(task->fd, &message, flags | kQuiet); });
      const uint64_t before = task->moved;
      const Step step = sent(task, result, wanted);
      if (step.kind == Step::Kind::kWait && task->moved > before) continue;
      return step;
    }
    const ssize_t result = retry([&] { return ::recvmsg(task->fd, &message, flags); });
    if (would_block(result) && (sqe.op_flags & MSG_DONTWAIT) == 0) return Step::wait(events);
    if (result >= 0) {
      given->msg_namelen = message.msg_namelen;
      given->msg_controllen = message.msg_controllen;
      given->msg_flags = message.msg_flags;
    }
    if ((sqe.op_flags & MSG_WAITALL) == 0) return Step::done(result);
    if (result > 0) {
      task->moved += static_cast<uint64_t>(result);
      if (task->moved < wanted && is_stream(task->fd)) continue;
      return Step::shorter(static_cast<int64_t>(task->moved), task->moved < wanted);
    }
    if (task->moved > 0) return Step::shorter(static_cast<int64_t>(task->moved), true);
    return Step::shorter(result, wanted > 0);
  }
}

// URING_CMD, which here is for sockets only.
Step PollEngine::try_command(Task* task) {
  const abi::Sqe& sqe = task->sqe;
  if (type_of(task->fd) < 0) return Step::done(errno == ENOTSOCK ? -EOPNOTSUPP : -errno);
  const auto level = static_cast<int>(sqe.addr & 0xFFFFFFFF);
  const auto name = static_cast<int>(sqe.addr >> 32);
  switch (static_cast<uint32_t>(sqe.off)) {
    case abi::kSocketInq:
    case abi::kSocketOutq: {
      int bytes = 0;
#ifdef SIOCOUTQ
      const unsigned long request = static_cast<uint32_t>(sqe.off) == abi::kSocketInq ? FIONREAD : SIOCOUTQ;
#else
      if (static_cast<uint32_t>(sqe.off) == abi::kSocketOutq) return Step::done(-EOPNOTSUPP);
      const unsigned long request = FIONREAD;
#endif
      return Step::done(::ioctl(task->fd, request, &bytes) < 0 ? -errno : bytes);
    }
    case abi::kSocketGetsockopt: {
      // So it is in the kernel, too.
      if (level != SOL_SOCKET) return Step::done(-EOPNOTSUPP);
      auto size = static_cast<socklen_t>(sqe.file);
      const int result = ::getsockopt(task->fd, level, name, task->at<void>(sqe.addr3), &size);
      return Step::done(result < 0 ? -errno : static_cast<int>(size));
    }
    case abi::kSocketSetsockopt: {
      const int result = ::setsockopt(task->fd, level, name, task->at<const void>(sqe.addr3), sqe.file);
      return Step::done(result < 0 ? -errno : 0);
    }
    default:
      return Step::done(-EOPNOTSUPP);
  }
}

}  // namespace ouro
