// Descriptors: who waits for them, who uses them, whose turn it is, and when they may be closed.
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#ifdef OURO_LINUX
#include <sys/syscall.h>
#endif

#include "poll_engine.hpp"

namespace ouro {
namespace {

// From here on the numbers of duplicates: where hardly any are that a program uses, or has closed and uses by mistake.
constexpr int kFarNumber = 1024;

// Writes to one file are done one after the other, as the kernel's own threads do them; so is what moves the file's
// position.
bool takes_turns(const abi::Sqe& sqe) {
  switch (static_cast<abi::Opcode>(sqe.opcode)) {
    case abi::kWrite:
    case abi::kWritev:
    case abi::kWriteFixed:
    case abi::kWritevFixed:
      return true;
    case abi::kRead:
    case abi::kReadv:
    case abi::kReadFixed:
    case abi::kReadvFixed:
      return sqe.off == UINT64_MAX;
    default:
      return false;
  }
}

bool is_multishot(const abi::Sqe& sqe) {
  switch (static_cast<abi::Opcode>(sqe.opcode)) {
    case abi::kRecv:
    case abi::kRecvmsg:
      return (sqe.ioprio & abi::kRecvMultishot) != 0;
    case abi::kAccept:
      return (sqe.ioprio & abi::kAcceptMultishot) != 0;
    case abi::kPollAdd:
      return (sqe.len & abi::kPollAddMulti) != 0;
    default:
      return sqe.opcode == abi::kReadMultishot;
  }
}

}  // namespace

PollEngine::Descriptor& PollEngine::descriptor(int fd) {
  const auto index = static_cast<size_t>(fd);
  if (index >= descriptors_.size()) descriptors_.resize(std::max(index + 1, descriptors_.size() * 2));
  std::unique_ptr<Descriptor>& place = descriptors_[index];
  if (place == nullptr) place = std::make_unique<Descriptor>();
  return *place;
}

int PollEngine::duplicate(int fd) {
  const int copy = ::fcntl(fd, F_DUPFD_CLOEXEC, kFarNumber);
  return copy >= 0 || errno == EBADF ? copy : ::fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

// One that nobody closes but through this engine.
bool PollEngine::owned(int fd) const {
  const auto index = static_cast<size_t>(fd);
  if (!others_close_ && index < fd_table_.size() && fd_table_[index] != 0) return true;
  return index < descriptors_.size() && descriptors_[index] != nullptr &&
         (descriptors_[index]->direct || descriptors_[index]->kept);
}

// Whether two numbers are one open file, where one of them is a duplicate of the engine's, as direct descriptors are.
bool PollEngine::is_same_file(int one, int other) const {
#ifdef OURO_LINUX
  const auto is_copy = [this](int fd) {
    const auto index = static_cast<size_t>(fd);
    return index < descriptors_.size() && descriptors_[index] != nullptr &&
           (descriptors_[index]->direct || descriptors_[index]->kept);
  };
  constexpr int kFile = 0;  // KCMP_FILE
  const pid_t self = ::getpid();
  return (is_copy(one) || is_copy(other)) && ::syscall(SYS_kcmp, self, self, kFile, one, other) == 0;
#else
  static_cast<void>(one), static_cast<void>(other);
  return false;
#endif
}

int PollEngine::resolve(Task* task, int32_t fd, bool fixed, int& out) {
  if (fixed) {
    out = files_.at(static_cast<uint32_t>(fd));
    if (out >= 0) descriptor(out).direct = true;
  } else {
    out = fd;
  }
  return out < 0 ? -EBADF : 0;
}

void PollEngine::park(Task* task, uint32_t events) {
  keep(task);
  Descriptor& place = descriptor(task->fd);
  if (!place.watched || !readiness_->edges() || !owned(task->fd)) {
    const int error = readiness_->watch(task->fd, events);
    if (error != 0) {
      const int copy = task->fd;
      if (error == -EPERM) {
        send_to_pool(task);
      } else {
        complete(task, error, 0, true);
      }
      return let_go(copy);
    }
    place.watched = true;
  }
  task->wanted = events | POLLERR | POLLHUP;
  task->events = 0;
  task->state = Task::State::kWaiting;
  // As in the kernel: a multishot op keeps its place however often it is woken, others come anew.
  if (task->arrival == 0 || !is_multishot(task->sqe)) task->arrival = ++arrivals_;
  place.waiting.push(task);
  ++waiting_;
  release(task);
}

// An op holds the file it works on, whatever becomes of a number that others may close.
void PollEngine::keep(Task* task) {
  if (task->fd < 0 || owned(task->fd)) return;
  const int copy = duplicate(task->fd);
  if (copy < 0) return;
  task->origin_fd = std::exchange(task->fd, copy);
  descriptor(copy).kept = true;
}

void PollEngine::unpark(Task* task) {
  descriptor(task->fd).waiting.remove(task);
  --waiting_;
}

// Nobody may wait for the descriptor any more: then what is not ours must not stay registered under its number.
void PollEngine::let_go(int fd) {
  const Descriptor& place = descriptor(fd);
  if (place.kept && place.waiting.empty() && place.users == 0) {
    close_now(fd);
  } else if (place.watched && place.waiting.empty() && !owned(fd)) {
    readiness_->forget(fd);
    descriptor(fd).watched = false;
  }
}

void PollEngine::on_ready(int fd, uint32_t events) {
  if (fd == loop_fd_) {
    loop_poll_fired_ = true;
    return;
  }
  if (fd == wake_read_.get()) return take_messages();
  if (static_cast<size_t>(fd) >= descriptors_.size() || descriptors_[fd] == nullptr) return;
  Descriptor& place = *descriptors_[fd];
  // The kernel wakes those first who came last.
  Task* next = nullptr;
  for (Task* task = place.waiting.last(); task != nullptr; task = next) {
    next = task->list_previous;
    if ((task->wanted & events) == 0) continue;
    if (task->opcode() == abi::kPollAdd && (task->sqe.len & abi::kPollAddMulti) != 0) {
      pollfd look{fd, static_cast<short>(task->wanted), 0};
      if (::poll(&look, 1, 0) > 0) post_more(task, look.revents, 0);
      continue;
    }
    unpark(task);
    task->state = Task::State::kReady;
    task->events = events;
    ready_.push_back(task);
    // (Our own are closed by ops only, which come behind these unless they are in the queue already.)
    if (!running_ || (!looking_ && owned(fd) && !place.kept)) continue;
    ++place.users;
    task->keeps_open = fd;
  }
  run_ready();
  let_go(fd);
}

void PollEngine::send_to_pool(Task* task) {
  task->state = Task::State::kPooled;
  task->taken = false;
  const int number = task->fd;
  hold(task);
  if (takes_turns(task->sqe) && !task->has_turn) {
    Descriptor& place = descriptor(number);
    task->turn_fd = number;
    if (place.busy) {
      place.turn.push_back(task);
      return;
    }
    place.busy = task->has_turn = true;
  }
  ++pooled_;
  pool_.add(task);
}

void PollEngine::hold(Task* task) {
  // The kernel holds on to the file. So that nobody closes the descriptor under a thread: our own are closed when no
  // thread is at them, others are duplicated.
  const bool closes = task->opcode() == abi::kClose;
  const auto keep = [this, closes](int& fd, bool& counts, bool& owns) {
    if (fd < 0 || counts || owns || closes) return;
    if (owned(fd)) {
      ++descriptor(fd).users;
      counts = true;
    } else if (const int copy = duplicate(fd); copy >= 0) {
      fd = copy;
      owns = true;
    }
  };
  keep(task->fd, task->counts_fd, task->owns_fd);
  keep(task->other_fd, task->counts_other, task->owns_other);
}

// A splice works on two files, and waits for one of them at a time. 0 or -errno.
int PollEngine::keep_ends(Task* task) {
  task->keeps_ends = true;
  task->origin_fd = task->out_fd;
  const std::array<int, 2> ends{task->in_fd, task->out_fd};
  task->in_fd = task->out_fd = -1;
  const auto keep = [this](int fd, int& copy) {
    copy = duplicate(fd);
    if (copy < 0) return -errno;
    Descriptor& place = descriptor(copy);
    place.kept = true;
    ++place.users;
    return 0;
  };
  if (const int error = keep(ends[0], task->in_fd); error != 0) return error;
  return keep(ends[1], task->out_fd);
}

void PollEngine::release_ends(Task* task) {
  task->keeps_ends = false;
  for (const int fd : {task->in_fd, task->out_fd}) {
    if (fd < 0) continue;
    --descriptor(fd).users;
    let_go(fd);
  }
}

void PollEngine::end_turn(int fd) {
  Descriptor& place = descriptor(fd);
  place.busy = false;
  if (place.turn.empty()) return;
  Task* task = place.turn.front();
  place.turn.pop_front();
  place.busy = task->has_turn = true;
  send_to_pool(task);
}

void PollEngine::leave_pool(Task* task) {
  --pooled_;
  release(task);
  if (std::exchange(task->has_turn, false)) end_turn(task->turn_fd);
}

void PollEngine::drop_user(int fd) {
  Descriptor& place = descriptor(fd);
  if (--place.users > 0) return;
  for (Task* closer : std::exchange(place.closers, {})) {
    closer->state = Task::State::kReady;
    apply(closer, close_fd(fd, closer));
  }
  let_go(fd);
}

void PollEngine::release(Task* task) {
  const auto let_free = [this](int fd, bool& counts, bool& owns) {
    if (std::exchange(owns, false)) ::close(fd);
    if (std::exchange(counts, false)) drop_user(fd);
  };
  let_free(task->fd, task->counts_fd, task->owns_fd);
  let_free(task->other_fd, task->counts_other, task->owns_other);
}

void PollEngine::close_now(int fd) {
  if (static_cast<size_t>(fd) < descriptors_.size() && descriptors_[fd] != nullptr) {
    Descriptor& place = *descriptors_[fd];
    // By hand: a duplicate elsewhere would keep it registered.
    if (place.watched) readiness_->forget(fd);
    place.watched = place.direct = place.kept = false;
    place.type = -1;
  }
  ::close(fd);
}

// Closes what was in the table of direct descriptors, when nobody waits for it or works on it any more.
void PollEngine::drop(int fd) {
  Descriptor& place = descriptor(fd);
  place.direct = false;
  place.kept = true;
  let_go(fd);
}

Step PollEngine::close_fd(int fd, Task* task) {
  if (static_cast<size_t>(fd) < descriptors_.size() && descriptors_[fd] != nullptr) {
    Descriptor& place = *descriptors_[fd];
    if (place.users > 0) {
      task->state = Task::State::kClosing;
      place.closers.push_back(task);
      return Step::pending();
    }
    if (!place.waiting.empty()) {
      // Ops in flight keep the file: they go on with a duplicate.
      const int copy = duplicate(fd);
      if (copy >= 0) {
        Descriptor& moved = descriptor(copy);
        Descriptor& from = descriptor(fd);  // the vector may have grown
        moved.kept = true;
        moved.watched = readiness_->watch(copy, POLLIN | POLLOUT) == 0;
        while (Task* waiting = from.waiting.first()) {
          from.waiting.remove(waiting);
          waiting->fd = copy;
          moved.waiting.push(waiting);
        }
      } else {
        // No number is left: better that they end than that they are woken for the next file under this one.
        while (Task* waiting = place.waiting.first()) cancel_one(waiting);
      }
    }
  }
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0) return Step::done(-EBADF);
  struct stat about;
  // Closing what has been written to may write.
  if ((flags & O_ACCMODE) != O_RDONLY && ::fstat(fd, &about) == 0 && S_ISREG(about.st_mode)) {
    if (static_cast<size_t>(fd) < descriptors_.size() && descriptors_[fd] != nullptr) descriptors_[fd]->direct = false;
    task->fd = fd;
    return Step::pool();
  }
  // The kernel tells the other end when it is through with what was queued: what is linked behind comes before that.
  if (task->next != nullptr) {
    if (const int copy = duplicate(fd); copy >= 0) closed_late_.push_back(copy);
  }
  close_now(fd);
  return Step::done(0);
}

// Whether an op that asks to wait first (POLL_FIRST) has to.
bool PollEngine::must_wait(int fd, uint32_t events) {
  pollfd look{fd, static_cast<short>(events), 0};
  return ::poll(&look, 1, 0) == 0;
}

}  // namespace ouro
