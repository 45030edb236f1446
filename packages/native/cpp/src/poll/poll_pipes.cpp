// Opens of named pipes.
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#ifdef OURO_LINUX
#include <linux/openat2.h>
#endif

#include "poll_engine.hpp"

namespace ouro {
namespace {

constexpr auto kPatience = std::chrono::milliseconds(1);

std::string path_of(int fd) { return "/proc/self/fd/" + std::to_string(fd); }

}  // namespace

struct PollEngine::PipeOpen {
  enum State : int { kRunning, kDone, kAbandoned };

  PollEngine* engine;
  Task* task;
  sys::Fd pipe;  // (O_PATH)
  int flags;
  std::mutex mutex;  // guards `state` and `thread`, which is there while the state is kRunning
  State state = kRunning;
  pthread_t thread{};
  bool begun = false;
  bool given_up = false;
  uint32_t nudges = 0;
  std::chrono::steady_clock::time_point nudged;
  int result = -1;

  bool is_done() {
    const std::lock_guard lock(mutex);
    return state == kDone;
  }
  bool is_given_up() {
    const std::lock_guard lock(mutex);
    return given_up;
  }
  // Ends the call that the thread is in. Not for certain: it may be on its way into it, or the process has another handler
  // for the signal, one that has calls begun again. A thread that has not begun ends by itself: that is no nudge, however
  // long it takes. Nor is one of a busy loop that comes too soon behind the last.
  void nudge() {
    const std::lock_guard lock(mutex);
    given_up = true;
    if (state != kRunning || !begun) return;
    ::pthread_kill(thread, SIGURG);
    const auto now = std::chrono::steady_clock::now();
    if (nudges > 0 && now - nudged < kPatience) return;
    nudged = now;
    nudges += 1;
  }
  // Leaves the thread to itself: it closes what it opens. False if it has done.
  bool abandon() {
    const std::lock_guard lock(mutex);
    if (state != kRunning) return false;
    state = kAbandoned;
    return true;
  }
  // To be called at the end: nothing of the engine is touched behind it, which goes when it has seen that all is done. False
  // if nobody waits for it any more.
  bool finish(int opened) {
    const std::lock_guard lock(mutex);
    if (state == kAbandoned) return false;
    result = opened;
    state = kDone;
    engine->wake();
    return true;
  }
};

namespace {

constexpr uint32_t kMostNudges = 100;
constexpr uint32_t kMostNudgesThatInterrupt = 10'000;

// How often a thread is called back before it is left to itself: what it has open stays open then until it comes back. Where
// the signal ends calls it needs no more than time for that, of which a busy machine may give it little.
uint32_t most_nudges() {
  struct sigaction now {};
  if (::sigaction(SIGURG, nullptr, &now) != 0) return kMostNudges;
  const bool listens = (now.sa_flags & SA_SIGINFO) != 0 || (now.sa_handler != SIG_DFL && now.sa_handler != SIG_IGN);
  return listens && (now.sa_flags & SA_RESTART) == 0 ? kMostNudgesThatInterrupt : kMostNudges;
}

// A signal interrupts the open of the thread that it is sent to, and of nobody else. SIGURG, since the system ignores it where
// nobody listens; a program's own handler stays.
void take_signal() {
  static const bool taken = [] {
    struct sigaction now {};
    if (::sigaction(SIGURG, nullptr, &now) != 0) return false;
    if ((now.sa_flags & SA_SIGINFO) != 0 || (now.sa_handler != SIG_DFL && now.sa_handler != SIG_IGN)) return false;
    struct sigaction ours {};
    ours.sa_handler = [](int) {};
    ::sigemptyset(&ours.sa_mask);
    return ::sigaction(SIGURG, &ours, nullptr) == 0;
  }();
  (void)taken;
}

// Signals of the process are not for this thread.
void mask_signals() {
  sigset_t others;
  ::sigfillset(&others);
  for (const int own : {SIGURG, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS}) ::sigdelset(&others, own);
  ::pthread_sigmask(SIG_SETMASK, &others, nullptr);
}

}  // namespace

void PollEngine::open_pipe(Task* task) {
  const abi::Sqe& sqe = task->sqe;
  auto flags = static_cast<int>(sqe.op_flags);
#ifdef OURO_LINUX
  if (task->opcode() == abi::kOpenat2) flags = static_cast<int>(task->at<const open_how>(sqe.off)->flags);
#endif
  if (sqe.file != 0) flags |= O_CLOEXEC;
  const auto open = std::make_shared<PipeOpen>();
  open->task = task;
  open->pipe = sys::Fd(std::exchange(task->pipe_fd, -1));
  open->flags = flags & ~(O_CREAT | O_EXCL | O_TRUNC);
  task->state = Task::State::kOpening;
  pipes_.push_back(open);
  open->engine = this;
  take_signal();
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  auto* handed = new std::shared_ptr<PipeOpen>(open);
  pthread_t thread;
  const int error = pthread_create(&thread, &attributes, run_pipe_open, handed);
  pthread_attr_destroy(&attributes);
  if (error == 0) return;
  delete handed;
  open->finish(-error);
}

void* PollEngine::run_pipe_open(void* handed) {
  const std::unique_ptr<std::shared_ptr<PipeOpen>> owner(static_cast<std::shared_ptr<PipeOpen>*>(handed));
  PipeOpen& open = **owner;
  mask_signals();
  {
    const std::lock_guard lock(open.mutex);
    open.thread = ::pthread_self();
    open.begun = true;
  }
  int fd = -1;
  do {
    if (open.is_given_up()) {
      errno = EINTR;
      break;
    }
    fd = ::open(path_of(open.pipe.get()).c_str(), open.flags);
  } while (fd < 0 && errno == EINTR);
  const int opened = fd < 0 ? -errno : fd;
  // Before the op has an end: behind it no descriptor of its is left.
  open.pipe = sys::Fd();
  if (!open.finish(opened) && fd >= 0) ::close(fd);
  return nullptr;
}

bool PollEngine::has_cancelled_pipes() const {
  return std::any_of(pipes_.begin(), pipes_.end(), [](const auto& open) { return open->task->cancelled; });
}

void PollEngine::take_pipes() {
  for (size_t i = 0; i < pipes_.size();) {
    const std::shared_ptr<PipeOpen> open = pipes_[i];
    Task* task = open->task;
    if (!open->is_done()) {
      if (!task->cancelled) {
        ++i;
        continue;
      }
      // Again and again, as it may have been on its way into the call the last time.
      open->nudge();
      if (open->nudges < most_nudges() || !open->abandon()) {
        ++i;
        continue;
      }
      open->result = -EINTR;
    }
    pipes_.erase(pipes_.begin() + static_cast<std::ptrdiff_t>(i));
    apply(task, installed(task, open->result, task->sqe.file));
  }
}

void PollEngine::stop_pipes() {
  for (const auto& open : pipes_) {
    bool left = false;
    while (!left && !open->is_done()) {
      open->nudge();
      left = open->nudges >= most_nudges() && open->abandon();
      if (!left) std::this_thread::sleep_for(kPatience);
    }
    if (!left && open->result >= 0) ::close(open->result);
  }
  pipes_.clear();
}

}  // namespace ouro
