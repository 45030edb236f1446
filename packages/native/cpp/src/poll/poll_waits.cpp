// Ops that wait for other threads and processes: futexes, each with a thread of its own, and children.
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

#ifdef OURO_LINUX
#include <linux/futex.h>
#include <sys/syscall.h>
#endif

#include "poll_engine.hpp"

namespace ouro {

// ---- children

void PollEngine::watch_children() {
  if (child_signal_ != nullptr) return;
  child_signal_ = new uv_signal_t();
  uv_signal_init(loop_, child_signal_);
  child_signal_->data = this;
  const auto on_signal = [](uv_signal_t* handle, int) {
    auto* engine = static_cast<PollEngine*>(handle->data);
    if (engine->stopping_) return;
    while (Task* task = engine->children_.first()) {
      engine->children_.remove(task);
      task->state = Task::State::kReady;
      engine->ready_.push_back(task);
    }
    engine->run_ready();
  };
  uv_signal_start(child_signal_, on_signal, SIGCHLD);
  uv_unref(reinterpret_cast<uv_handle_t*>(child_signal_));
}

void PollEngine::forget_children(std::function<void()> then) {
  if (child_signal_ == nullptr) return then();
  child_signal_->data = new std::function<void()>(std::move(then));
  uv_close(reinterpret_cast<uv_handle_t*>(std::exchange(child_signal_, nullptr)), [](uv_handle_t* handle) {
    const std::unique_ptr<std::function<void()>> closed(static_cast<std::function<void()>*>(handle->data));
    delete reinterpret_cast<uv_signal_t*>(handle);
    (*closed)();
  });
}

Step PollEngine::try_waitid(Task* task) {
  const abi::Sqe& sqe = task->sqe;
  if (sqe.addr != 0 || sqe.buf != 0 || sqe.addr3 != 0 || sqe.op_flags != 0) return Step::done(-EINVAL);
  const auto options = static_cast<int>(sqe.file);
  const auto type = static_cast<idtype_t>(sqe.len);
  // Before the look, so that nothing happens unseen between the two.
  watch_children();
  siginfo_t info{};
  if (::waitid(type, static_cast<id_t>(sqe.fd), &info, options | WNOHANG) < 0) return Step::done(-errno);
  if (info.si_pid != 0 || (options & WNOHANG) != 0) {
    if (sqe.off != 0) std::memcpy(task->at<void>(sqe.off), &info, sizeof(info));
    return Step::done(0);
  }
#if defined(OURO_LINUX) && defined(SYS_pidfd_open)
  // The end of one process is seen by its descriptor, and so before Node, which hears of it by the signal, takes it.
  if (type == P_PID && (options & (WEXITED | WSTOPPED | WCONTINUED)) == WEXITED) {
    if (task->fd < 0) {
      task->fd = static_cast<int>(::syscall(SYS_pidfd_open, sqe.fd, 0));
      if (task->fd >= 0) descriptor(task->fd).kept = true;
    }
    if (task->fd >= 0) return Step::wait(POLLIN);
  }
#endif
  task->state = Task::State::kChild;
  children_.push(task);
  return Step::pending();
}

#ifdef OURO_LINUX

// ---- futexes

namespace {

constexpr uint32_t kSize32 = 2;       // FUTEX2_SIZE_U32
constexpr int kMostTries = 100;
constexpr size_t kMostWaiters = 128;  // FUTEX_WAITV_MAX
constexpr uint32_t kPrivate = 128;    // FUTEX2_PRIVATE
constexpr long kSliceNs = 20'000'000;  // of a wait that cannot be ended at once

struct Waiter {  // struct futex_waitv
  uint64_t value;
  uint64_t address;
  uint32_t flags;
  uint32_t reserved;
};

timespec in_a_slice() {
  timespec until;
  clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_nsec += kSliceNs;
  until.tv_sec += until.tv_nsec / 1'000'000'000;
  until.tv_nsec %= 1'000'000'000;
  return until;
}

long futex_waitv(const Waiter* waiters, size_t count, const timespec* until) {
#ifdef SYS_futex_waitv
  return ::syscall(SYS_futex_waitv, waiters, count, 0, until, CLOCK_MONOTONIC);
#else
  errno = ENOSYS;
  return -1;
#endif
}

bool is_asleep(long thread) {
  char path[64];
  std::snprintf(path, sizeof(path), "/proc/self/task/%ld/stat", thread);
  const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return true;
  char text[256] = "";
  const ssize_t length = ::read(fd, text, sizeof(text) - 1);
  ::close(fd);
  const char* name_end = length > 0 ? std::strrchr(text, ')') : nullptr;
  return name_end == nullptr || name_end[1] == '\0' || name_end[2] == 'S';
}

int plain_flags(uint32_t flags) { return (flags & kPrivate) != 0 ? FUTEX_PRIVATE_FLAG : 0; }

}  // namespace

struct PollEngine::FutexWait {
  PollEngine* engine;
  Task* task;
  std::vector<Waiter> waiters;  // the last is `given_up`
  uint32_t mask = ~0U;
  std::atomic<uint32_t> given_up = 0;
  std::atomic<long> thread = 0;  // its number, when it is about to wait
  std::atomic<bool> done = false;
  std::atomic<bool> told = false;  // nothing of the engine is touched from here on
  int result = 0;

  int run() {
    if (mask == ~0U) {
      for (;;) {
        // As many as there may be leave no room for ours.
        const bool full = waiters.size() > kMostWaiters;
        const timespec until = in_a_slice();
        const long woken = futex_waitv(waiters.data(), waiters.size() - (full ? 1 : 0), full ? &until : nullptr);
        if (given_up != 0) return -ECANCELED;
        if (woken >= 0) return static_cast<int>(woken);
        if (errno == ENOSYS) break;
        if (errno != EINTR && errno != ETIMEDOUT) return -errno;
      }
      if (waiters.size() > 2) return -ENOSYS;
    }
    // Only some of the wakers count, which the other call does not know, or Linux before 5.16.
    for (;;) {
      const timespec until = in_a_slice();
      const long result = ::syscall(SYS_futex, waiters[0].address, FUTEX_WAIT_BITSET | plain_flags(waiters[0].flags),
                                    static_cast<uint32_t>(waiters[0].value), &until, nullptr, mask);
      if (given_up != 0) return -ECANCELED;
      if (result == 0) return 0;
      if (errno != ETIMEDOUT && errno != EINTR) return -errno;
    }
  }

  // Returns when the thread sleeps: whoever wakes the futex next is to find it there, as he would if the kernel had the op.
  void sleeps() const {
    const timespec pause{0, 20'000};
    for (int tries = 0; tries < kMostTries && !done; ++tries) {
      if (const long number = thread; number != 0 && is_asleep(number)) return;
      nanosleep(&pause, nullptr);
    }
  }

  void give_up() {
    given_up = 1;
    ::syscall(SYS_futex, &given_up, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, INT_MAX, nullptr, nullptr, 0);
  }
};

Step PollEngine::try_futex(Task* task) {
  const abi::Sqe& sqe = task->sqe;
  const bool many = task->opcode() == abi::kFutexWaitv;
  if (task->opcode() == abi::kFutexWake) {
    if (sqe.len != 0 || sqe.op_flags != 0 || sqe.buf != 0 || sqe.file != 0) return Step::done(-EINVAL);
    const long woken = ::syscall(SYS_futex, sqe.addr, FUTEX_WAKE_BITSET | plain_flags(static_cast<uint32_t>(sqe.fd)),
                                 static_cast<int>(sqe.off), nullptr, nullptr, static_cast<uint32_t>(sqe.addr3));
    return Step::done(woken < 0 ? -errno : woken);
  }
  const auto wait = std::make_shared<FutexWait>();
  wait->engine = this;
  wait->task = task;
  if (many) {
    if (sqe.fd != 0 || sqe.off != 0 || sqe.op_flags != 0 || sqe.addr3 != 0) return Step::done(-EINVAL);
    if (sqe.len == 0 || sqe.len > kMostWaiters) return Step::done(-EINVAL);
    const auto* given = task->at<const Waiter>(sqe.addr);
    wait->waiters.assign(given, given + sqe.len);
  } else {
    if (sqe.len != 0 || sqe.op_flags != 0 || sqe.buf != 0 || sqe.file != 0) return Step::done(-EINVAL);
    if ((static_cast<uint32_t>(sqe.fd) & ~kPrivate) != kSize32 || sqe.addr3 == 0) return Step::done(-EINVAL);
    wait->waiters.push_back({sqe.off, sqe.addr, static_cast<uint32_t>(sqe.fd), 0});
    wait->mask = static_cast<uint32_t>(sqe.addr3);
  }
  for (const Waiter& each : wait->waiters) {
    const auto* word = task->at<const uint32_t>(each.address);
    if (__atomic_load_n(word, __ATOMIC_SEQ_CST) != static_cast<uint32_t>(each.value)) return Step::done(-EAGAIN);
  }
  wait->waiters.push_back({0, reinterpret_cast<uint64_t>(&wait->given_up), kSize32 | kPrivate, 0});

  task->state = Task::State::kFutex;
  const auto run = [](void* handed) -> void* {
    const std::unique_ptr<std::shared_ptr<FutexWait>> owner(static_cast<std::shared_ptr<FutexWait>*>(handed));
    FutexWait& each = **owner;
    each.thread = ::syscall(SYS_gettid);
    each.result = each.run();
    each.done.store(true, std::memory_order_release);
    each.engine->wake();
    each.told.store(true, std::memory_order_release);
    return nullptr;
  };
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&attributes, 256 * 1024);
  auto* handed = new std::shared_ptr<FutexWait>(wait);
  pthread_t thread;
  const int error = pthread_create(&thread, &attributes, run, handed);
  pthread_attr_destroy(&attributes);
  if (error != 0) {
    delete handed;
    return Step::done(-error);
  }
  wait->sleeps();
  futexes_.push_back(wait);
  return Step::pending();
}

void PollEngine::give_up_futex(const Task* task) {
  for (const auto& wait : futexes_) {
    if (wait->task == task) wait->give_up();
  }
}

void PollEngine::take_futexes() {
  for (size_t i = 0; i < futexes_.size();) {
    const std::shared_ptr<FutexWait> wait = futexes_[i];
    if (!wait->done.load(std::memory_order_acquire)) {
      ++i;
      continue;
    }
    // It is about to wake us, and we may be gone the next moment.
    while (!wait->told.load(std::memory_order_acquire)) ::sched_yield();
    futexes_.erase(futexes_.begin() + static_cast<std::ptrdiff_t>(i));
    apply(wait->task, Step::done(wait->result));
  }
}

void PollEngine::stop_futexes() {
  constexpr timespec kPause{0, 100'000};
  for (const auto& wait : futexes_) wait->give_up();
  for (const auto& wait : futexes_) {
    while (!wait->told.load(std::memory_order_acquire)) nanosleep(&kPause, nullptr);
  }
  futexes_.clear();
}

#else

struct PollEngine::FutexWait {};
Step PollEngine::try_futex(Task*) { return Step::done(-EINVAL); }
void PollEngine::give_up_futex(const Task*) {}
void PollEngine::take_futexes() {}
void PollEngine::stop_futexes() {}

#endif

}  // namespace ouro
