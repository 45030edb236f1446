// Timers, and cancelling.
#include <time.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "poll_engine.hpp"

namespace ouro {
namespace {

// How long one that is not told when it is time sleeps between two looks: at first, and at most.
constexpr int64_t kFirstLookNs = 500'000;
constexpr int64_t kLongestLookNs = 20'000'000;

// Whether its time is that of another try.
bool looks_again(const abi::Sqe& sqe) {
  return sqe.opcode == abi::kFlock || sqe.opcode == abi::kConnect || sqe.opcode == abi::kSend ||
         sqe.opcode == abi::kSendmsg;
}

}  // namespace

int64_t PollEngine::now_ns() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

void PollEngine::set_timer(Task* task, int64_t deadline) {
  task->deadline = deadline;
  task->timer = timers_.emplace(deadline, task);
  task->state = Task::State::kTimed;
}

void PollEngine::clear_timer(Task* task) {
  if (task->state != Task::State::kTimed) return;
  timers_.erase(task->timer);
  task->state = Task::State::kLinked;
  std::erase(counted_, task);
}

// Where the system tells nobody that it is time: tries again, more and more seldom, on the open file, whatever becomes of the
// number.
Step PollEngine::look_again(Task* task) {
  if (!task->owns_fd) {
    const int copy = duplicate(task->fd);
    if (copy < 0) return Step::done(-errno);
    task->origin_fd = std::exchange(task->fd, copy);
    task->owns_fd = true;
    task->interval = kFirstLookNs;
  } else {
    task->interval = std::min(task->interval * 2, kLongestLookNs);
  }
  set_timer(task, now_ns() + task->interval);
  return Step::pending();
}

int PollEngine::read_time(uint64_t address, uint32_t flags, int64_t& deadline, int64_t& interval) {
  const auto* time = reinterpret_cast<const abi::Timespec*>(address);
  if (time == nullptr) return -EFAULT;
  const auto [sec, nsec] = *time;
  if (sec < 0 || nsec < 0) return -EINVAL;
  constexpr int64_t kMostSeconds = INT64_MAX / 1'000'000'000 / 4;
  const int64_t ns = std::min(sec, kMostSeconds) * 1'000'000'000 + std::min<int64_t>(nsec, INT64_MAX / 4);
  const int64_t now = now_ns();
  interval = ns;
  deadline = now + ns;
  if ((flags & abi::kTimeoutAbs) == 0) return 0;
  deadline = ns;
#ifdef CLOCK_BOOTTIME
  const clockid_t clock = (flags & abi::kTimeoutRealtime) != 0   ? CLOCK_REALTIME
                          : (flags & abi::kTimeoutBoottime) != 0 ? CLOCK_BOOTTIME
                                                                 : CLOCK_MONOTONIC;
#else
  const clockid_t clock = (flags & abi::kTimeoutRealtime) != 0 ? CLOCK_REALTIME : CLOCK_MONOTONIC;
#endif
  timespec there;
  clock_gettime(clock, &there);
  deadline = now + (ns - (there.tv_sec * 1'000'000'000LL + there.tv_nsec));
  return 0;
}

void PollEngine::arm_guard(Task* guard) {
  int64_t deadline = 0;
  int64_t interval = 0;
  if (read_time(guard->sqe.addr, guard->sqe.op_flags, deadline, interval) != 0) return;
  set_timer(guard, deadline);
}

void PollEngine::expire(Task* task) {
  if (task->opcode() == abi::kLinkTimeout) {
    Task* subject = std::exchange(task->subject, nullptr);
    subject->guard = nullptr;
    const int error = cancel_one(subject);
    return complete(task, error == 0 ? -ETIME : error, 0, true);
  }
  if (looks_again(task->sqe)) return start(task);
  const bool counts = (task->sqe.op_flags & abi::kTimeoutEtimeSuccess) != 0;
  if ((task->sqe.op_flags & abi::kTimeoutMultishot) != 0) {
    ++task->shots;
    if (task->sqe.off == 0 || task->shots < task->sqe.off) {
      post_more(task, -ETIME, 0);
      return set_timer(task, std::max(task->deadline + task->interval, now_ns()));
    }
  }
  std::erase(counted_, task);
  complete(task, -ETIME, 0, !counts);
}

void PollEngine::run_timers() {
  if (timers_.empty()) return;
  const int64_t now = now_ns();
  while (!timers_.empty() && timers_.begin()->first <= now) {
    Task* task = timers_.begin()->second;
    timers_.erase(timers_.begin());
    task->state = Task::State::kReady;
    expire(task);
    run_ready();
  }
}

bool PollEngine::can_cancel(const Task& task) {
  switch (task.state) {
    case Task::State::kWaiting:
    case Task::State::kPooled:
    case Task::State::kOpening:
    case Task::State::kFutex:
    case Task::State::kChild:
      return true;
    case Task::State::kTimed:
      return task.sqe.opcode == abi::kTimeout || looks_again(task.sqe);
    case Task::State::kReady:
      return task.begun && !task.ends;
    default:
      return false;
  }
}

int PollEngine::cancel_one(Task* task) {
  const int32_t result = task->moved > 0 ? static_cast<int32_t>(task->moved) : -ECANCELED;
  switch (task->state) {
    case Task::State::kWaiting:
      unpark(task);
      end_later(task, result);
      let_go(task->fd);
      return 0;
    case Task::State::kTimed:
      clear_timer(task);
      release(task);
      end_later(task, -ECANCELED);
      return 0;
    case Task::State::kReady:
      // It is in a list of those to be tried.
      task->ends = true;
      task->result = result;
      return 0;
    case Task::State::kPooled:
      if (!task->has_turn && task->turn_fd >= 0) {
        std::erase(descriptor(task->turn_fd).turn, task);
        release(task);
        end_later(task, result);
        return 0;
      }
      if (pool_.remove(task)) {
        leave_pool(task);
        end_later(task, result);
        return 0;
      }
      task->cancelled = true;
      return -EALREADY;
    case Task::State::kFutex:
      give_up_futex(task);
      return 0;
    case Task::State::kChild:
      children_.remove(task);
      end_later(task, -ECANCELED);
      return 0;
    case Task::State::kOpening:
      // The next turn sees to it.
      task->cancelled = true;
      return -EALREADY;
    default:
      return -EALREADY;
  }
}

Task* PollEngine::find(uint64_t user_data, bool (*matches)(const Task&)) const {
  const auto slot = static_cast<uint32_t>(user_data);
  if (slot < by_slot_.size() && by_slot_[slot] != nullptr) {
    Task* task = by_slot_[slot];
    if (task->sqe.user_data == user_data && matches(*task)) return task;
  }
  for (Task* task = all_; slot >= kMostSlots && task != nullptr; task = task->all_next) {
    if (task->sqe.user_data == user_data && matches(*task)) return task;
  }
  return nullptr;
}

}  // namespace ouro
