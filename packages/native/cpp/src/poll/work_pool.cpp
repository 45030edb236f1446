#include "work_pool.hpp"

#include <algorithm>
#include <cstdlib>
#include <utility>

namespace ouro {
namespace {

constexpr uint32_t kDefaultThreads = 4;  // of libuv
constexpr uint32_t kMostThreads = 1024;
// What one request does before it goes back to the end of libuv's queue: others use the pool too.
constexpr uint32_t kMostAtOnce = 32;
constexpr int64_t kLongestNs = 2'000'000;

uint32_t pool_threads() {
  const char* text = std::getenv("UV_THREADPOOL_SIZE");
  if (text == nullptr) return kDefaultThreads;
  return std::clamp<uint32_t>(static_cast<uint32_t>(std::strtoul(text, nullptr, 10)), 1, kMostThreads);
}

}  // namespace

// Outlives the pool as long as libuv has requests of it.
struct WorkPool::Shared {
  uv_loop_t* loop;
  Work work;
  std::function<void()> wake;
  // All but one of the pool's threads: Node's own work gets on however much there is of ours.
  uint32_t most_jobs = std::max(1U, pool_threads() - 1);

  std::mutex mutex;
  std::condition_variable idle;
  std::deque<Task*> queue;
  std::vector<Task*> done;
  uint32_t running = 0;  // threads that are at something
  uint32_t pending = 0;  // requests that no thread has begun
  bool stopped = false;
  bool woken = false;
  // The loop's thread only:
  uint32_t jobs = 0;  // requests that libuv has
  std::vector<Job*> all;
  std::function<void()> quiet;
};

struct WorkPool::Job {
  uv_work_t request;
  std::shared_ptr<Shared> shared;
};

WorkPool::WorkPool(uv_loop_t* loop, Work work, std::function<void()> wake) : shared_(std::make_shared<Shared>()) {
  shared_->loop = loop;
  shared_->work = work;
  shared_->wake = std::move(wake);
}

WorkPool::~WorkPool() = default;

void WorkPool::add(Task* task) {
  {
    const std::lock_guard lock(shared_->mutex);
    task->state = Task::State::kPooled;
    task->taken = false;
    shared_->queue.push_back(task);
  }
  start_jobs(shared_);
}

void WorkPool::start_jobs(const std::shared_ptr<Shared>& owner) {
  Shared& shared = *owner;
  const std::unique_lock lock(shared.mutex);
  if (shared.stopped) return;
  const size_t waiting = shared.queue.size();
  // One for each op that waits, so that ops run side by side; each takes as many as it finds.
  while (shared.jobs < shared.most_jobs && shared.pending < waiting) {
    auto* job = new Job{{}, owner};
    job->request.data = job;
    const auto run = [](uv_work_t* request) {
      Shared& s = *static_cast<Job*>(request->data)->shared;
      std::unique_lock lock(s.mutex);
      ++s.running;
      --s.pending;
      const uint64_t until = uv_hrtime() + kLongestNs;
      for (uint32_t i = 0; i < kMostAtOnce && !s.queue.empty() && !s.stopped && uv_hrtime() < until; ++i) {
        Task* task = s.queue.front();
        s.queue.pop_front();
        task->taken = true;
        lock.unlock();
        s.work(*task);
        lock.lock();
        s.done.push_back(task);
        // The end of the request wakes the loop by itself.
        if (!s.queue.empty() && !std::exchange(s.woken, true)) s.wake();
      }
      --s.running;
      s.idle.notify_all();
    };
    const auto after = [](uv_work_t* request, int status) {
      const std::unique_ptr<Job> ended(static_cast<Job*>(request->data));
      Shared& s = *ended->shared;
      --s.jobs;
      std::erase(s.all, ended.get());
      bool more;
      {
        const std::lock_guard lock(s.mutex);
        if (status == UV_ECANCELED) --s.pending;
        more = !s.queue.empty() && !s.stopped;
      }
      if (more) start_jobs(ended->shared);
      if (s.jobs == 0 && s.quiet) std::exchange(s.quiet, nullptr)();
    };
    if (uv_queue_work(shared.loop, &job->request, run, after) != 0) {
      delete job;
      return;
    }
    ++shared.jobs;
    ++shared.pending;
    shared.all.push_back(job);
  }
}

bool WorkPool::remove(Task* task) {
  const std::lock_guard lock(shared_->mutex);
  if (task->taken) return false;
  std::erase(shared_->queue, task);
  return true;
}

void WorkPool::take(std::vector<Task*>& done) {
  const std::lock_guard lock(shared_->mutex);
  shared_->woken = false;
  done.insert(done.end(), shared_->done.begin(), shared_->done.end());
  shared_->done.clear();
}

void WorkPool::stop() {
  for (Job* job : shared_->all) uv_cancel(reinterpret_cast<uv_req_t*>(&job->request));
  std::unique_lock lock(shared_->mutex);
  shared_->stopped = true;
  shared_->idle.wait(lock, [this] { return shared_->running == 0; });
  shared_->queue.clear();
  shared_->wake = [] {};
}

void WorkPool::when_quiet(std::function<void()> then) {
  if (shared_->jobs == 0) return then();
  shared_->quiet = std::move(then);
}

}  // namespace ouro
