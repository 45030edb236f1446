// Work that blocks, on the threads of libuv's pool.
#pragma once

#include <uv.h>

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "task.hpp"

namespace ouro {

class WorkPool {
 public:
  using Work = void (*)(Task&);

  // `wake` is called on a thread of the pool when something has been done; at most once for what one `take` finds.
  WorkPool(uv_loop_t* loop, Work work, std::function<void()> wake);
  ~WorkPool();
  WorkPool(const WorkPool&) = delete;
  WorkPool& operator=(const WorkPool&) = delete;

  void add(Task* task);
  // Takes back what no thread has begun. False if one has.
  bool remove(Task* task);
  // Moves what has been done to the end of `done`.
  void take(std::vector<Task*>& done);
  // Starts no more, and returns when no thread is at anything. What had not begun is not done.
  void stop();
  // Calls `then` (at once, or from the loop) when libuv has let go of all requests.
  void when_quiet(std::function<void()> then);

 private:
  struct Shared;
  struct Job;
  static void start_jobs(const std::shared_ptr<Shared>& shared);

  std::shared_ptr<Shared> shared_;
};

}  // namespace ouro
