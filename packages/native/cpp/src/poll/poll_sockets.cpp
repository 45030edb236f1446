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

#ifdef OURO_LINUX
#include <linux/sockios.h>
#endif

#include "non_blocking.hpp"
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

int type_of(int fd) {
  int type = 0;
  socklen_t size = sizeof(type);
  return ::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 ? type : -1;
}

// Whether an op is to wait before it is tried, and not to wait.
bool never_tried(const Task& task) {
  return !task.begun && (task.sqe.ioprio & abi::kPollFirst) != 0 && (task.sqe.op_flags & MSG_DONTWAIT) != 0;
}

// What the kernel says to a zero-copy send, and to questions about queues, on what is no socket of the internet.
int check_internet(int fd) {
  if (type_of(fd) < 0) return -errno;
#ifdef SO_DOMAIN
  int domain = 0;
  socklen_t size = sizeof(domain);
  if (::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0) return -errno;
  if (domain != AF_INET && domain != AF_INET6) return -EOPNOTSUPP;
#endif
  return 0;
}

bool is_unix(int fd) {
#ifdef SO_DOMAIN
  int domain = 0;
  socklen_t size = sizeof(domain);
  return ::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_UNIX;
#else
  return false;
#endif
}

// Whether there was more than there was room for.
bool is_cut(const msghdr& message) { return (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0; }

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
      Step step = installed(task, fd < 0 ? -errno : fd, sqe.file);
      // That there is no place for it breaks no link, so it is in the kernel.
      step.failed = fd < 0;
      return step;
    }
    case abi::kBind:
      return answer(::bind(task->fd, task->at<sockaddr>(sqe.addr), static_cast<socklen_t>(sqe.off)));
    case abi::kListen:
      return answer(::listen(task->fd, static_cast<int>(sqe.len)));
    case abi::kShutdown: {
      Step step = answer(::shutdown(task->fd, static_cast<int>(sqe.len)));
      // So it is in the kernel, too.
      step.failed = step.result == -EBADF || step.result == -ENOTSOCK;
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
#ifdef OURO_LINUX
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

// The kernel's way, with what a socket is afterwards: after a refusal none that could listen, but one to connect anew.
Step PollEngine::try_connect(Task* task) {
  const abi::Sqe& sqe = task->sqe;
  if (task->begun) {
    pollfd look{task->fd, POLLOUT, 0};
    const int ready = ::poll(&look, 1, 0);
    int error = 0;
    socklen_t size = sizeof(error);
    if ((look.revents & POLLERR) != 0) {
      const int result = ::getsockopt(task->fd, SOL_SOCKET, SO_ERROR, &error, &size);
      return Step::done(result < 0 ? -errno : -error);
    }
#ifndef OURO_LINUX
    // (Unless it was not begun at all, and is looked at again.)
    if (task->interval == 0) return ready == 0 ? Step::wait(kWrites) : Step::done(0);
#else
    static_cast<void>(ready);
#endif
  }
  const auto* address = task->at<const sockaddr>(sqe.addr);
  const auto connect = [&] {
    const NonBlocking quick(task->fd);
    return retry([&] { return static_cast<ssize_t>(::connect(task->fd, address, static_cast<socklen_t>(sqe.off))); });
  };
  ssize_t result = connect();
  // An attempt of before has failed: that is told once.
  if (result == -ECONNABORTED) result = connect();
  // As many wait for an accept as may.
  if (result == -EAGAIN && address->sa_family == AF_UNIX && (::fcntl(task->fd, F_GETFL) & O_NONBLOCK) == 0) {
    return look_again(task);
  }
  if (result == -EINPROGRESS || (task->begun && result == -EALREADY)) return Step::wait(kWrites);
  return Step::done(task->begun && result == -EISCONN ? 0 : result);
}

Step PollEngine::try_recv(Task* task) {
  const abi::Sqe& sqe = task->sqe;
  constexpr uint16_t kFlags = abi::kPollFirst | abi::kRecvMultishot | abi::kBundle;
  const bool many = (sqe.ioprio & abi::kRecvMultishot) != 0;
  if ((sqe.ioprio & ~kFlags) != 0) return Step::done(-EINVAL);
  if (many && (!task->has(abi::kBufferSelect) || (sqe.op_flags & MSG_WAITALL) != 0)) return Step::done(-EINVAL);
  if (never_tried(*task)) return Step::done(type_of(task->fd) < 0 ? -errno : -EAGAIN);
  if (!task->begun && (sqe.ioprio & abi::kPollFirst) != 0 && must_wait(task->fd, kReads)) return Step::wait(kReads);
  if (task->has(abi::kBufferSelect)) return try_recv_provided(task);
  const int flags = static_cast<int>(sqe.op_flags) | MSG_DONTWAIT;
  const auto wanted = std::min<uint64_t>(sqe.len, abi::kMostBytes);
  for (;;) {
    iovec part{task->at<uint8_t>(sqe.addr) + task->moved, wanted - task->moved};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    const ssize_t result = retry([&] { return ::recvmsg(task->fd, &message, flags); });
    if (would_block(result) && (sqe.op_flags & MSG_DONTWAIT) == 0) return Step::wait(kReads);
    // What is only looked at stays where it is: there is no going on.
    if ((sqe.op_flags & MSG_WAITALL) == 0 || (sqe.op_flags & MSG_PEEK) != 0) return Step::done(result);
    if (result > 0) {
      task->moved += static_cast<uint64_t>(result);
      if (task->moved < wanted && (is_stream(task->fd) || type_of(task->fd) == SOCK_SEQPACKET)) continue;
      return Step::shorter(static_cast<int64_t>(task->moved), task->moved < wanted || is_cut(message));
    }
    // Ended, or failed, in the middle: what has come is what there is.
    if (task->moved > 0) return Step::shorter(static_cast<int64_t>(task->moved), true);
    return Step::shorter(result, sqe.len > 0 || is_cut(message));
  }
}

Step PollEngine::try_recv_provided(Task* task) {
  const abi::Sqe& sqe = task->sqe;
  const bool many = (sqe.ioprio & abi::kRecvMultishot) != 0;
  const bool bundles = (sqe.ioprio & abi::kBundle) != 0;
  const bool whole = (sqe.op_flags & MSG_WAITALL) != 0;
  const int flags = static_cast<int>(sqe.op_flags) | MSG_DONTWAIT;
  if (whole && !bundles) return try_fill_provided(task);
  std::array<Picked, kMostBundled> picks;
  std::array<iovec, kMostBundled> parts;
  for (int shots = 0; shots < kMostShots; ++shots) {
    BufferGroup* group = groups_.find(sqe.buf);
    const uint32_t most = bundles && is_stream(task->fd) ? kMostBundled : 1;
    const uint32_t count = group == nullptr ? 0 : group->pick(picks.data(), most, sqe.len);
    // A stream is known to be empty: then no buffer is missed yet.
    const bool went_on = many && (shots > 0 || task->begun);
    if (count == 0 && went_on && is_stream(task->fd) && must_wait(task->fd, kReads)) {
      return (sqe.op_flags & MSG_DONTWAIT) != 0 ? Step::done(-EAGAIN) : Step::wait(kReads);
    }
    if (count == 0) return Step::done(type_of(task->fd) < 0 ? -errno : -ENOBUFS);
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
      return (sqe.op_flags & MSG_DONTWAIT) != 0 ? Step::done(-EAGAIN) : Step::wait(kReads);
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

// With MSG_WAITALL: into one buffer, which is used up as soon as there are bytes in it.
Step PollEngine::try_fill_provided(Task* task) {
  const abi::Sqe& sqe = task->sqe;
  for (;;) {
    Picked pick;
    BufferGroup* group = nullptr;
    if (task->selected == nullptr) {
      group = groups_.find(sqe.buf);
      const bool any = group != nullptr && group->pick(&pick, 1, sqe.len) > 0;
      if (!any) return Step::done(type_of(task->fd) < 0 ? -errno : -ENOBUFS);
    }
    iovec part = task->selected != nullptr ? task->selected->parts[0] : iovec{task->at<void>(pick.address), pick.length};
    const uint64_t wanted = part.iov_len;
    part.iov_base = static_cast<uint8_t*>(part.iov_base) + task->moved;
    part.iov_len -= task->moved;
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    const ssize_t result =
        retry([&] { return ::recvmsg(task->fd, &message, static_cast<int>(sqe.op_flags) | MSG_DONTWAIT); });
    if (would_block(result) && (sqe.op_flags & MSG_DONTWAIT) == 0) return Step::wait(kReads);
    if (result <= 0 && task->moved == 0) return Step::shorter(result, true);
    if (result > 0) {
      task->moved += static_cast<uint64_t>(result);
      if (group != nullptr) {
        task->selected = std::make_unique<Selected>();
        task->selected->parts.push_back({task->at<void>(pick.address), pick.length});
        const uint64_t used = task->moved < wanted ? group->whole(pick) : task->moved;
        task->selected->flags = group->commit(1, used);
      }
      const bool goes_on = is_stream(task->fd) || type_of(task->fd) == SOCK_SEQPACKET;
      if (task->moved < wanted && goes_on && (sqe.op_flags & MSG_PEEK) == 0) continue;
    }
    const bool failed = task->moved < wanted || is_cut(message);
    return Step::shorter(static_cast<int64_t>(task->moved), failed, task->selected->flags);
  }
}

// What a send came to: `result` of this try, `wanted` of the whole.
Step PollEngine::sent(Task* task, ssize_t result, uint64_t wanted) {
  const abi::Sqe& sqe = task->sqe;
  const bool whole = (sqe.op_flags & MSG_WAITALL) != 0;
  if (would_block(result) && (sqe.op_flags & MSG_DONTWAIT) == 0) {
    // The socket has room, and the receiver that the datagram is for has none: that tells only those who are connected to it.
    const bool looks = type_of(task->fd) == SOCK_DGRAM && is_unix(task->fd) && !must_wait(task->fd, kWrites);
    return looks || task->owns_fd ? look_again(task) : Step::wait(kWrites);
  }
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
    if (const int error = zero_copy ? check_internet(task->fd) : 0; error != 0) return Step::done(error);
    if ((sqe.ioprio & abi::kFixedBuf) != 0) {
      if (const int error = buffers_.check(sqe.buf, sqe.addr, sqe.len); error != 0) return Step::done(error);
    }
    if (never_tried(*task)) return Step::done(type_of(task->fd) < 0 ? -errno : -EAGAIN);
    if ((sqe.ioprio & abi::kPollFirst) != 0 && must_wait(task->fd, kWrites)) return Step::wait(kWrites);
  }
  if (task->has(abi::kBufferSelect)) return try_send_provided(task);
  const int flags = static_cast<int>(sqe.op_flags) | MSG_DONTWAIT | kQuiet;
  const auto wanted = std::min<uint64_t>(sqe.len, abi::kMostBytes);
  for (;;) {
    const auto* from = task->at<const uint8_t>(sqe.addr) + task->moved;
    const ssize_t result = retry([&]() -> ssize_t {
      const size_t length = wanted - task->moved;
      // With an address: where a datagram goes.
      if (sqe.off == 0) return ::send(task->fd, from, length, flags);
      const auto size = static_cast<socklen_t>(sqe.file & 0xFFFF);
      return ::sendto(task->fd, from, length, flags, task->at<const sockaddr>(sqe.off), size);
    });
    const uint64_t before = task->moved;
    const Step step = sent(task, result, wanted);
    if (step.kind == Step::Kind::kWait && task->moved > before) continue;
    return step;
  }
}

Step PollEngine::try_send_provided(Task* task) {
  const abi::Sqe& sqe = task->sqe;
  const bool bundles = (sqe.ioprio & abi::kBundle) != 0;
  const bool whole = bundles || (sqe.op_flags & MSG_WAITALL) != 0;
  const bool waited = task->begun;
  const int flags = static_cast<int>(sqe.op_flags) | MSG_DONTWAIT | kQuiet;
  std::array<Picked, kMostBundled> picks;
  bool last = false;
  for (;;) {
    // Buffers are used up when they are taken, whatever becomes of the send.
    if (task->selected == nullptr) {
      if (type_of(task->fd) < 0) return Step::done(-errno);
      BufferGroup* group = groups_.find(sqe.buf);
      const uint32_t count = group == nullptr ? 0 : group->pick(picks.data(), bundles ? kMostBundled : 1, sqe.len);
      if (count == 0) return Step::done(-ENOBUFS);
      last = group->count() == count;
      task->selected = std::make_unique<Selected>();
      for (uint32_t i = 0; i < count; ++i) {
        task->selected->parts.push_back({task->at<void>(picks[i].address), picks[i].length});
        task->selected->length += picks[i].length;
      }
      task->selected->flags = group->commit(count, task->selected->length);
    }
    const Selected& selected = *task->selected;
    std::vector<iovec> parts;
    uint64_t skip = task->moved;
    for (const iovec& part : selected.parts) {
      const auto gone = std::min<uint64_t>(skip, part.iov_len);
      skip -= gone;
      if (gone < part.iov_len) parts.push_back({static_cast<uint8_t*>(part.iov_base) + gone, part.iov_len - gone});
    }
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = parts.size();
    const ssize_t result = retry([&] { return ::sendmsg(task->fd, &message, flags); });
    if (would_block(result) && (sqe.op_flags & MSG_DONTWAIT) == 0) return Step::wait(kWrites);
    if (result > 0) {
      task->moved += static_cast<uint64_t>(result);
      if (whole && task->moved < selected.length) continue;
    }
    const auto total = task->moved > 0 ? static_cast<int64_t>(task->moved) : result;
    const bool all = task->moved == selected.length;
    const uint32_t used = selected.flags;
    if (!bundles || !all || waited || last) return Step::shorter(total, whole && !all, used);
    task->moved = 0;
    task->selected = nullptr;
    post_more(task, static_cast<int32_t>(total), used);
  }
}

Step PollEngine::try_message(Task* task, bool sends) {
  const abi::Sqe& sqe = task->sqe;
  const uint32_t events = sends ? kWrites : kReads;
  const uint16_t known = task->opcode() == abi::kSendmsgZc
                             ? static_cast<uint16_t>(abi::kPollFirst | abi::kZcReportUsage)
                             : static_cast<uint16_t>(abi::kPollFirst | (sends ? 0 : abi::kRecvMultishot));
  const bool many = !sends && (sqe.ioprio & abi::kRecvMultishot) != 0;
  if ((sqe.ioprio & ~known) != 0 || task->has(abi::kBufferSelect) != many) return Step::done(-EINVAL);
  if (!task->begun && task->opcode() == abi::kSendmsgZc) {
    if (const int error = check_internet(task->fd); error != 0) return Step::done(error);
  }
  if (never_tried(*task)) return Step::done(type_of(task->fd) < 0 ? -errno : -EAGAIN);
  if (!task->begun && (sqe.ioprio & abi::kPollFirst) != 0 && must_wait(task->fd, events)) return Step::wait(events);
  if (many) return try_messages(task);
  auto* given = task->at<msghdr>(sqe.addr);
  uint64_t wanted = 0;
  for (size_t i = 0; i < given->msg_iovlen; ++i) {
    wanted += std::min<uint64_t>(given->msg_iov[i].iov_len, abi::kMostBytes - wanted);
  }
  for (;;) {
    msghdr message = *given;
    std::vector<iovec> rest;
    if (task->moved > 0) {
      uint64_t skip = task->moved;
      uint64_t left = wanted;
      for (size_t i = 0; i < given->msg_iovlen; ++i) {
        iovec part = given->msg_iov[i];
        part.iov_len = std::min<uint64_t>(part.iov_len, left);
        left -= part.iov_len;
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
    const size_t controls = message.msg_controllen;
    const ssize_t result = retry([&] { return ::recvmsg(task->fd, &message, flags); });
    if (would_block(result) && (sqe.op_flags & MSG_DONTWAIT) == 0) return Step::wait(events);
    if (result >= 0) {
      given->msg_namelen = message.msg_namelen;
      given->msg_controllen = message.msg_controllen;
      given->msg_flags = message.msg_flags;
    }
    // What is only looked at stays where it is: there is no going on. Nor is there where control data may come, so it is
    // in the kernel.
    if ((sqe.op_flags & MSG_WAITALL) == 0 || (sqe.op_flags & MSG_PEEK) != 0) return Step::done(result);
    if (task->moved == 0 && controls > 0) return Step::shorter(result, result < 0 || is_cut(message));
    if (result > 0) {
      task->moved += static_cast<uint64_t>(result);
      if (task->moved < wanted && (is_stream(task->fd) || type_of(task->fd) == SOCK_SEQPACKET)) continue;
      return Step::shorter(static_cast<int64_t>(task->moved), task->moved < wanted || is_cut(message));
    }
    if (task->moved > 0) return Step::shorter(static_cast<int64_t>(task->moved), true);
    return Step::shorter(result, wanted > 0 || is_cut(message));
  }
}

// RECVMSG, multishot: each message into a provided buffer, behind a header that tells of it and the rooms for its name and
// its control data.
Step PollEngine::try_messages(Task* task) {
  const abi::Sqe& sqe = task->sqe;
  const auto& given = *task->at<const msghdr>(sqe.addr);
  const uint64_t name_room = given.msg_namelen;
  const uint64_t control_room = given.msg_controllen;
  const uint64_t head = sizeof(abi::RecvmsgOut) + name_room + control_room;
  // Of the first message only: so it is in the kernel.
  const bool limited = task->shots == 0 && given.msg_iovlen > 0;
  auto limit = limited ? static_cast<uint32_t>(given.msg_iov[0].iov_len) : 0;
  const int flags = static_cast<int>(sqe.op_flags) | MSG_DONTWAIT;
  const bool waits = (sqe.op_flags & MSG_DONTWAIT) == 0;
  for (int shots = 0; shots < kMostShots; ++shots) {
    BufferGroup* group = groups_.find(sqe.buf);
    Picked pick;
    const bool any = group != nullptr && group->pick(&pick, 1, limit) > 0;
    // A stream is known to be empty: then no buffer is missed yet.
    const bool went_on = shots > 0 || task->begun;
    if (!any && went_on && is_stream(task->fd) && must_wait(task->fd, kReads)) {
      return waits ? Step::wait(kReads) : Step::done(-EAGAIN);
    }
    if (!any) return Step::done(type_of(task->fd) < 0 ? -errno : -ENOBUFS);
    if (pick.length < head) return Step::done(type_of(task->fd) < 0 ? -errno : -EFAULT);
    auto* at = task->at<uint8_t>(pick.address);
    sockaddr_storage name{};
    iovec part{at + head, pick.length - head};
    msghdr message{};
    if (name_room > 0) {
      message.msg_name = &name;
      message.msg_namelen = sizeof(name);
    }
    if (control_room > 0) {
      message.msg_control = at + head - control_room;
      message.msg_controllen = control_room;
    }
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    const ssize_t result = retry([&] { return ::recvmsg(task->fd, &message, flags); });
    if (would_block(result)) return waits ? Step::wait(kReads) : Step::done(-EAGAIN);
    if (result < 0) return Step::done(result);
    const abi::RecvmsgOut out{static_cast<uint32_t>(message.msg_namelen), static_cast<uint32_t>(message.msg_controllen),
                              static_cast<uint32_t>(result), static_cast<uint32_t>(message.msg_flags)};
    std::memcpy(at, &out, sizeof(out));
    std::memcpy(at + sizeof(out), &name, std::min<uint64_t>({name_room, message.msg_namelen, sizeof(name)}));
    const uint64_t total = head + std::min<uint64_t>(static_cast<uint64_t>(result), part.iov_len);
    const uint32_t used = group->commit(1, total);
    // An empty message ends it, as the end of a stream does: so it is in the kernel.
    if (result == 0) return Step::done(static_cast<int64_t>(total), used);
    post_more(task, static_cast<int32_t>(total), used);
    ++task->shots;
    limit = 0;
    // A stream gives all that it has.
    if (static_cast<uint64_t>(result) < part.iov_len && !may_have_ended(*task) && is_stream(task->fd)) {
      return Step::wait(kReads);
    }
  }
  return Step::again();
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
      if (const int error = check_internet(task->fd); error != 0) return Step::done(error);
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
