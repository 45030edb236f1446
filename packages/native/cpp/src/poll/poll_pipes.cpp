// Opens of named pipes.
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <string>
#include <thread>

#ifdef __linux__
#include <linux/openat2.h>
#endif

#include "poll_engine.hpp"

namespace ouro {
namespace {

constexpr auto kPatience = std::chrono::milliseconds(10);

}  // namespace

struct PollEngine::PipeOpen {
  PollEngine* engine;
  Task* task;
  std::string path;
  int flags;
  std::atomic<bool> done = false;
  std::atomic<bool> told = false;  // nothing of the engine is touched from here on
  int result = -1;
};

void PollEngine::open_pipe(Task* task) {
  const abi::Sqe& sqe = task->sqe;
  auto flags = static_cast<int>(sqe.op_flags);
#ifdef __linux__
  if (task->opcode() == abi::kOpenat2) flags = static_cast<int>(task->at<const open_how>(sqe.off)->flags);
#endif
  if (sqe.file != 0) flags |= O_CLOEXEC;
  const auto open = std::make_shared<PipeOpen>();
  open->task = task;
  open->path = "/proc/self/fd/" + std::to_string(task->pipe_fd);
  open->flags = flags & ~(O_CREAT | O_EXCL | O_TRUNC);
  task->state = Task::State::kOpening;
  pipes_.push_back(open);
  open->engine = this;
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  auto* handed = new std::shared_ptr<PipeOpen>(open);
  pthread_t thread;
  const int error = pthread_create(&thread, &attributes, run_pipe_open, handed);
  pthread_attr_destroy(&attributes);
  if (error == 0) return;
  delete handed;
  open->result = -error;
  open->told = true;
  open->done = true;
}

void* PollEngine::run_pipe_open(void* handed) {
  const std::unique_ptr<std::shared_ptr<PipeOpen>> owner(static_cast<std::shared_ptr<PipeOpen>*>(handed));
  PipeOpen& open = **owner;
  const int fd = ::open(open.path.c_str(), open.flags);
  open.result = fd < 0 ? -errno : fd;
  open.done.store(true, std::memory_order_release);
  // The engine waits for this before it goes.
  open.engine->wake();
  open.told.store(true, std::memory_order_release);
  return nullptr;
}

// Whoever waits to open the pipe waits for somebody at the other end: be that for a moment.
void PollEngine::nudge(int pipe_fd) {
  const int other = ::open(("/proc/self/fd/" + std::to_string(pipe_fd)).c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (other >= 0) ::close(other);
}

void PollEngine::take_pipes() {
  for (size_t i = 0; i < pipes_.size();) {
    if (!pipes_[i]->done.load(std::memory_order_acquire)) {
      // It may have been on its way into the call when it was told.
      if (pipes_[i]->task->cancelled) nudge(pipes_[i]->task->pipe_fd);
      ++i;
      continue;
    }
    const std::shared_ptr<PipeOpen> open = pipes_[i];
    pipes_.erase(pipes_.begin() + static_cast<std::ptrdiff_t>(i));
    Task* task = open->task;
    ::close(std::exchange(task->pipe_fd, -1));
    if (task->cancelled && open->result >= 0) {
      // What it waited for was us.
      ::close(open->result);
      open->result = -EINTR;
    }
    apply(task, installed(task, open->result, task->sqe.file));
  }
}

void PollEngine::stop_pipes() {
  for (const auto& open : pipes_) {
    while (!open->told.load(std::memory_order_acquire)) {
      nudge(open->task->pipe_fd);
      std::this_thread::sleep_for(kPatience);
    }
    if (open->result >= 0) ::close(open->result);
    ::close(open->task->pipe_fd);
  }
  pipes_.clear();
}

}  // namespace ouro
