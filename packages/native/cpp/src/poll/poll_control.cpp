// Ops of the ring itself: time, cancelling, readiness, descriptors, buffers, messages.
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "poll_engine.hpp"

#ifdef OURO_LINUX
#include <sys/epoll.h>
#endif

namespace ouro {

// Whether `fd` of the SQE names the file that the op works on.
bool PollEngine::needs_file(abi::Opcode opcode) {
  switch (opcode) {
    case abi::kNop:
    case abi::kTimeout:
    case abi::kTimeoutRemove:
    case abi::kAsyncCancel:
    case abi::kLinkTimeout:
    case abi::kPollRemove:
    case abi::kOpenat:
    case abi::kOpenat2:
    case abi::kClose:
    case abi::kFilesUpdate:
    case abi::kStatx:
    case abi::kMadvise:
    case abi::kEpollCtl:
    case abi::kProvideBuffers:
    case abi::kRemoveBuffers:
    case abi::kRenameat:
    case abi::kUnlinkat:
    case abi::kMkdirat:
    case abi::kSymlinkat:
    case abi::kLinkat:
    case abi::kMsgRing:
    case abi::kSetxattr:
    case abi::kGetxattr:
    case abi::kSocket:
    case abi::kFixedFdInstall:
    case abi::kPipe:
    case abi::kWaitid:
    case abi::kFutexWait:
    case abi::kFutexWake:
    case abi::kFutexWaitv:
      return false;
    default:
      return true;
  }
}

Step PollEngine::attempt(Task* task) {
  const abi::Opcode opcode = task->opcode();
  if (abi::is_call(opcode)) return attempt_call(task);
  if (!task->begun && needs_file(opcode)) {
    if (const int error = resolve(task, task->sqe.fd, task->has(abi::kFixedFile), task->fd); error != 0) {
      return Step::done(error);
    }
  }
  switch (opcode) {
    case abi::kSendmsg:
    case abi::kRecvmsg:
    case abi::kAccept:
    case abi::kConnect:
    case abi::kSend:
    case abi::kRecv:
    case abi::kShutdown:
    case abi::kSocket:
    case abi::kUringCmd:
    case abi::kSendZc:
    case abi::kSendmsgZc:
    case abi::kBind:
    case abi::kListen:
      return attempt_socket(task);
    case abi::kNop:
    case abi::kPollAdd:
    case abi::kPollRemove:
    case abi::kTimeout:
    case abi::kTimeoutRemove:
    case abi::kAsyncCancel:
    case abi::kClose:
    case abi::kFilesUpdate:
    case abi::kEpollCtl:
    case abi::kEpollWait:
    case abi::kProvideBuffers:
    case abi::kRemoveBuffers:
    case abi::kMsgRing:
    case abi::kFixedFdInstall:
      return attempt_control(task);
    case abi::kWaitid:
      return try_waitid(task);
    case abi::kFutexWait:
    case abi::kFutexWake:
    case abi::kFutexWaitv:
      return try_futex(task);
    default:
      return attempt_file(task);
  }
}

Step PollEngine::attempt_control(Task* task) {
  const abi::Sqe& sqe = task->sqe;
  switch (task->opcode()) {
    case abi::kNop:
      if ((sqe.op_flags & abi::kNopInjectResult) == 0) return sqe.op_flags == 0 ? Step::done(0) : Step::done(-EINVAL);
      return Step::done(static_cast<int32_t>(sqe.len));
    case abi::kPollAdd:
      return try_poll_add(task);
    case abi::kPollRemove:
      return try_poll_remove(task);
    case abi::kTimeout:
      return try_timeout(task);
    case abi::kTimeoutRemove:
      return try_timeout_remove(task);
    case abi::kAsyncCancel:
      return try_cancel(task);
    case abi::kClose:
      return try_close(task);
    case abi::kFilesUpdate:
      return try_files_update(task);
    case abi::kEpollWait:
      return try_epoll_wait(task);
    case abi::kProvideBuffers:
      return Step::done(groups_.provide(sqe.buf, sqe.addr, sqe.len, static_cast<uint32_t>(sqe.fd), sqe.off));
    case abi::kRemoveBuffers:
      return Step::done(groups_.take_back(sqe.buf, static_cast<uint32_t>(sqe.fd)));
    case abi::kMsgRing:
      return try_msg_ring(task);
    case abi::kFixedFdInstall: {
      if (!task->has(abi::kFixedFile)) return Step::done(-EBADF);
      if ((sqe.op_flags & ~abi::kFixedFdNoCloexec) != 0) return Step::done(-EINVAL);
      const int fd = files_.at(static_cast<uint32_t>(sqe.fd));
      if (fd < 0) return Step::done(-EBADF);
      const int copy = ::fcntl(fd, (sqe.op_flags & abi::kFixedFdNoCloexec) != 0 ? F_DUPFD : F_DUPFD_CLOEXEC, 0);
      return Step::done(copy < 0 ? -errno : copy);
    }
    case abi::kEpollCtl: {
#ifdef OURO_LINUX
      auto* event = task->at<epoll_event>(sqe.addr);
      const int result = ::epoll_ctl(sqe.fd, static_cast<int>(sqe.len), static_cast<int>(sqe.off), event);
      return Step::done(result < 0 ? -errno : 0);
#else
      return Step::done(-EINVAL);
#endif
    }
    default:
      return Step::done(-EINVAL);
  }
}

Step PollEngine::try_timeout(Task* task) {
  const abi::Sqe& sqe = task->sqe;
  constexpr uint32_t kFlags = abi::kTimeoutAbs | abi::kTimeoutBoottime | abi::kTimeoutRealtime |
                              abi::kTimeoutEtimeSuccess | abi::kTimeoutMultishot;
  constexpr uint32_t kClocks = abi::kTimeoutBoottime | abi::kTimeoutRealtime;
  constexpr uint32_t kAbsMultishot = abi::kTimeoutAbs | abi::kTimeoutMultishot;
  if (sqe.len != 1 || sqe.buf != 0 || sqe.file != 0) return Step::done(-EINVAL);
  if ((sqe.op_flags & ~kFlags) != 0 || (sqe.op_flags & kClocks) == kClocks ||
      (sqe.op_flags & kAbsMultishot) == kAbsMultishot) {
    return Step::done(-EINVAL);
  }
  int64_t deadline = 0;
  if (const int error = read_time(sqe.addr, sqe.op_flags, deadline, task->interval); error != 0) return Step::done(error);
  set_timer(task, deadline);
  if (sqe.off != 0 && (sqe.op_flags & abi::kTimeoutMultishot) == 0) {
    task->interval = static_cast<int64_t>(posted_ + static_cast<uint32_t>(sqe.off));
    counted_.push_back(task);
  }
  return Step::pending();
}

Step PollEngine::try_timeout_remove(Task* task) {
  const abi::Sqe& sqe = task->sqe;
  // (With the other flag alone it is a removal, so it is in the kernel.)
  const bool updates = (sqe.op_flags & abi::kTimeoutUpdate) != 0;
  const bool links = updates && (sqe.op_flags & abi::kLinkTimeoutUpdate) != 0;
  Task* target = links ? find(sqe.addr,
                              [](const Task& each) {
                                return each.opcode() == abi::kLinkTimeout && each.state == Task::State::kTimed;
                              })
                       : find(sqe.addr, [](const Task& each) {
                           return each.opcode() == abi::kTimeout && each.state == Task::State::kTimed;
                         });
  int64_t deadline = 0;
  int64_t interval = 0;
  if (updates) {
    // By the clock that the timeout was begun with.
    constexpr uint32_t kClocks = abi::kTimeoutBoottime | abi::kTimeoutRealtime;
    const uint32_t clocks = target == nullptr ? 0 : target->sqe.op_flags & kClocks;
    const uint32_t flags = (sqe.op_flags & abi::kTimeoutAbs) | clocks;
    if (const int error = read_time(sqe.off, flags, deadline, interval); error != 0) return Step::done(error);
  }
  if (target == nullptr) return Step::done(-ENOENT);
  if (!updates) {
    clear_timer(target);
    end_later(target, -ECANCELED);
    return Step::done(0);
  }
  timers_.erase(target->timer);
  if ((target->sqe.op_flags & abi::kTimeoutMultishot) != 0) target->interval = interval;
  set_timer(target, deadline);
  return Step::done(0);
}

Step PollEngine::try_cancel(Task* task) {
  const abi::Sqe& sqe = task->sqe;
  const uint32_t flags = sqe.op_flags;
  if ((flags & ~abi::kCancelFlags) != 0 || sqe.off != 0) return Step::done(-EINVAL);
  if ((flags & abi::kCancelFd) != 0 && (flags & abi::kCancelAny) != 0) return Step::done(-EINVAL);
  if ((flags & abi::kCancelOp) != 0 && (flags & abi::kCancelAny) != 0) return Step::done(-EINVAL);
  const bool all = (flags & (abi::kCancelAll | abi::kCancelAny)) != 0;
  const bool by_data = (flags & abi::kCancelUserdata) != 0 ||
                       (flags & (abi::kCancelFd | abi::kCancelOp | abi::kCancelAny)) == 0;
  int fd = -1;
  if ((flags & abi::kCancelFd) != 0) {
    const bool fixed = (flags & abi::kCancelFdFixed) != 0 || task->has(abi::kFixedFile);
    if (const int error = resolve(task, sqe.fd, fixed, fd); error != 0) return Step::done(error);
    if (::fcntl(fd, F_GETFD) < 0) return Step::done(-EBADF);
  }
  if (!all && by_data && fd < 0 && (flags & abi::kCancelOp) == 0) {
    Task* target = find(sqe.addr, [](const Task& each) { return can_cancel(each); });
    return Step::done(target == nullptr || target == task ? -ENOENT : cancel_one(target));
  }
  int count = 0;
  int result = -ENOENT;
  // From the oldest on, which the list has last.
  Task* last = all_;
  while (last != nullptr && last->all_next != nullptr) last = last->all_next;
  for (Task* each = last; each != nullptr; each = each->all_previous) {
    if (each == task || !can_cancel(*each)) continue;
    if (fd >= 0 && (each->fd < 0 || each->opcode() == abi::kTimeout)) continue;
    if (fd >= 0 && each->fd != fd && each->origin_fd != fd && !is_same_file(each->fd, fd)) continue;
    if ((flags & abi::kCancelOp) != 0 && each->sqe.opcode != sqe.len) continue;
    if (by_data && each->sqe.user_data != sqe.addr) continue;
    result = cancel_one(each);
    ++count;
    if (!all) return Step::done(result);
  }
  return Step::done(all ? count : result);
}

Step PollEngine::try_poll_add(Task* task) {
  const abi::Sqe& sqe = task->sqe;
  if ((sqe.len & ~abi::kPollAddMulti) != 0 || sqe.off != 0 || sqe.addr != 0) return Step::done(-EINVAL);
  const bool many = (sqe.len & abi::kPollAddMulti) != 0;
  if (many && (task->has(abi::kCqeSkipSuccess) || !readiness_->edges())) return Step::done(-EINVAL);
  uint32_t events = sqe.op_flags;
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  events = events << 16 | events >> 16;
#endif
#ifdef POLLRDHUP
  events |= POLLRDHUP;  // told of unasked, as errors are
#endif
  pollfd look{task->fd, static_cast<short>(events), 0};
  if (::poll(&look, 1, 0) < 0) return Step::done(-errno);
  if ((look.revents & POLLNVAL) != 0) return Step::done(-EBADF);
  const auto there = static_cast<uint16_t>(look.revents);
  if (there != 0) {
    if (!many) return Step::done(there);
    // Else what is there is told when the descriptor is watched, which it is from now on.
    if (owned(task->fd) && descriptor(task->fd).watched) post_more(task, there, 0);
  } else if (const uint32_t seen = task->events & task->wanted; seen != 0 && !many) {
    // What woke it was there, whoever may have taken it since.
    return Step::done(seen);
  }
  return Step::wait(events);
}

Step PollEngine::try_poll_remove(Task* task) {
  const abi::Sqe& sqe = task->sqe;
  constexpr uint32_t kUpdates = abi::kPollUpdateEvents | abi::kPollUpdateUserData;
  if ((sqe.len & ~(kUpdates | abi::kPollAddMulti)) != 0) return Step::done(-EINVAL);
  const bool updates = (sqe.len & kUpdates) != 0;
  if (!updates && sqe.len != 0) return Step::done(-EINVAL);
  if ((sqe.len & abi::kPollUpdateUserData) == 0 && sqe.off != 0) return Step::done(-EINVAL);
  Task* target = find(sqe.addr, [](const Task& each) { return each.opcode() == abi::kPollAdd && can_cancel(each); });
  if (target == nullptr) return Step::done(-ENOENT);
  if (!updates) return Step::done(cancel_one(target));
  if (target->state != Task::State::kWaiting) return Step::done(-EALREADY);
  unpark(target);
  // Nobody else may wait for it: then it goes when this has been tried.
  ++descriptor(target->fd).users;
  target->keeps_open = target->fd;
  target->state = Task::State::kReady;
  if ((sqe.len & abi::kPollUpdateEvents) != 0) {
    target->sqe.op_flags = sqe.op_flags;
  }
  if ((sqe.len & abi::kPollUpdateUserData) != 0) {
    const auto slot = static_cast<uint32_t>(target->sqe.user_data);
    if (slot < by_slot_.size() && by_slot_[slot] == target) by_slot_[slot] = nullptr;
    target->sqe.user_data = sqe.off;
    const auto now = static_cast<uint32_t>(sqe.off);
    if (now < by_slot_.size()) by_slot_[now] = target;
  }
  ready_.push_back(target);
  return Step::done(0);
}

Step PollEngine::try_close(Task* task) {
  const abi::Sqe& sqe = task->sqe;
  if (task->has(abi::kFixedFile)) return Step::done(-EBADF);
  if (sqe.file != 0) {
    if (sqe.fd != 0) return Step::done(-EINVAL);
    const int fd = files_.take(sqe.file - 1);
    if (fd < 0) return Step::done(fd);
    // The place is empty; what is behind it goes when nobody works with it any more.
    Step step = close_fd(fd, task);
    task->fd = fd;
    return step;
  }
  if (sqe.fd < 0 || sqe.fd == wake_read_.get()) return Step::done(-EBADF);
  Step step = close_fd(sqe.fd, task);
  task->fd = sqe.fd;
  return step;
}

Step PollEngine::try_files_update(Task* task) {
  const abi::Sqe& sqe = task->sqe;
  if (!files_.exists()) return Step::done(-ENXIO);
  const bool anywhere = static_cast<uint32_t>(sqe.off) == abi::kFileIndexAlloc;
  if (sqe.len == 0) return Step::done(-EINVAL);
  if (!anywhere && sqe.off + sqe.len > files_.size()) return Step::done(-EINVAL);
  auto* fds = task->at<int32_t>(sqe.addr);
  for (uint32_t i = 0; i < sqe.len; ++i) {
    const auto so_far = [i](int error) { return Step::done(i > 0 ? static_cast<int64_t>(i) : error); };
    if (fds[i] == abi::kFilesSkip && !anywhere) continue;
    // The place is emptied first, even where nothing comes to take it.
    if (!anywhere) {
      if (const int old = files_.take(static_cast<uint32_t>(sqe.off) + i); old >= 0) drop(old);
    }
    if (fds[i] == -1 && !anywhere) continue;
    if (fds[i] < 0) return so_far(-EBADF);
    if (fds[i] == wake_read_.get()) return so_far(-EBADF);
    // (Not the number that has just been closed: the next entry may name that.)
    const int copy = duplicate(fds[i]);
    if (copy < 0) return so_far(-errno);
    const uint32_t index = anywhere ? abi::kFileIndexAlloc : static_cast<uint32_t>(sqe.off) + i + 1;
    const int place = direct_place(task, copy, index);
    if (place < 0) return so_far(place);
    if (anywhere) fds[i] = place;
  }
  return Step::done(sqe.len);
}

int PollEngine::direct_place(Task*, int fd, uint32_t file_index) {
  int replaced = -1;
  const int place = files_.install(fd, file_index, replaced);
  if (place >= 0) descriptor(fd).direct = true;
  if (replaced >= 0) drop(replaced);
  return place;
}

Step PollEngine::installed(Task* task, int fd, uint32_t file_index) {
  if (fd < 0 || file_index == 0) return Step::done(fd);
  const int place = direct_place(task, fd, file_index);
  return Step::done(place < 0 || file_index == abi::kFileIndexAlloc ? place : 0);
}

Step PollEngine::try_msg_ring(Task* task) {
  const abi::Sqe& sqe = task->sqe;
  constexpr uint32_t kFlags = abi::kMsgCqeSkip | abi::kMsgFlagsPass;
  if (sqe.buf != 0 || (sqe.op_flags & ~kFlags) != 0) return Step::done(-EINVAL);
  const bool passes = (sqe.op_flags & abi::kMsgFlagsPass) != 0;
  if (sqe.fd < 0 || ::fcntl(sqe.fd, F_GETFD) < 0) return Step::done(-EBADF);
  const std::lock_guard lock(rings_mutex());
  PollEngine* target = ring_of(sqe.fd);
  if (target == nullptr) return Step::done(-EBADFD);
  if (sqe.addr == abi::kMsgData) {
    if (sqe.addr3 != 0 || (sqe.op_flags & abi::kMsgCqeSkip) != 0) return Step::done(-EINVAL);
    if (!passes && sqe.file != 0) return Step::done(-EINVAL);
    const Message message{sqe.off, static_cast<int32_t>(sqe.len), passes ? sqe.file : 0};
    if (target == this) {
      post(message.user_data, message.result, message.flags);
    } else {
      target->deliver_message(message);
    }
    return Step::done(0);
  }
  if (sqe.addr != abi::kMsgSendFd) return Step::done(-EINVAL);
  if (target == this || sqe.len != 0) return Step::done(-EINVAL);
  const int from = files_.at(static_cast<uint32_t>(sqe.addr3));
  if (from < 0) return Step::done(-EBADF);
  const int copy = duplicate(from);
  if (copy < 0) return Step::done(-errno);
  int replaced = -1;
  const int place = target->files_.install(copy, sqe.file, replaced);
  if (place < 0) return Step::done(place);
  const int result = sqe.file == abi::kFileIndexAlloc ? place : 0;
  const bool tells = (sqe.op_flags & abi::kMsgCqeSkip) == 0;
  // What was in the place is the other thread's to close, which may be at it.
  if (tells || replaced >= 0) target->deliver_message({sqe.off, result, 0, tells, replaced});
  return Step::done(result);
}

Step PollEngine::try_epoll_wait(Task* task) {
#ifdef OURO_LINUX
  const abi::Sqe& sqe = task->sqe;
  auto* events = task->at<epoll_event>(sqe.addr);
  if (sqe.off != 0 || sqe.op_flags != 0) return Step::done(-EINVAL);
  const int count = ::epoll_wait(task->fd, events, static_cast<int>(sqe.len), 0);
  if (count < 0) return Step::done(-errno);
  return count > 0 ? Step::done(count) : Step::wait(POLLIN);
#else
  return Step::done(-EINVAL);
#endif
}

int PollEngine::register_resource(uint32_t opcode, const void* arg, uint32_t nr_args) {
  const auto size_is = [nr_args](size_t size) { return nr_args == size; };
  switch (opcode) {
    case abi::kRegisterFiles2:
      return size_is(sizeof(abi::RsrcRegister)) ? files_.create(*static_cast<const abi::RsrcRegister*>(arg)) : -EINVAL;
    case abi::kRegisterFileAllocRange:
      return files_.set_range(*static_cast<const abi::FileIndexRange*>(arg));
    case abi::kRegisterBuffers2:
      return size_is(sizeof(abi::RsrcRegister)) ? buffers_.create(*static_cast<const abi::RsrcRegister*>(arg)) : -EINVAL;
    case abi::kRegisterBuffersUpdate:
      return size_is(sizeof(abi::RsrcUpdate)) ? buffers_.update(*static_cast<const abi::RsrcUpdate*>(arg)) : -EINVAL;
    case abi::kRegisterIowqMaxWorkers:
      return 0;  // libuv's pool has the threads that it has
    case abi::kRegisterPbufRing:
      return groups_.create(*static_cast<const abi::BufReg*>(arg));
    case abi::kUnregisterPbufRing:
      return groups_.remove(*static_cast<const abi::BufReg*>(arg));
    case abi::kRegisterPbufStatus: {
      abi::BufStatus status;
      std::memcpy(&status, arg, sizeof(status));
      const int result = groups_.status(status);
      // Asked for by JavaScript in memory of its own.
      if (result == 0) std::memcpy(const_cast<void*>(arg), &status, sizeof(status));
      return result;
    }
    default:
      return -EINVAL;
  }
}

}  // namespace ouro
