#include "environment.hpp"

#include <unistd.h>

#include <algorithm>

#include "poll/poll_engine.hpp"

namespace ouro {
namespace {

constexpr size_t kSharedSize = kLinkedClosesOffset + kLinkedCloses * sizeof(LinkedClose);

}  // namespace

Environment* Environment::of(Napi::Env env) {
  if (auto* existing = env.GetInstanceData<Environment>(); existing != nullptr) return existing;
  auto created = std::unique_ptr<Environment>(new Environment(env));
  if (created->loop_ == nullptr || !created->shared_ || !created->fd_table_) return nullptr;
  Environment* environment = created.get();
  // The clean-up hook below destroys it, not the finalizer of the instance data, which may run while libuv
  // still closes our handles.
  const auto on_cleanup = [](napi_async_cleanup_hook_handle, void* data) {
    static_cast<Environment*>(data)->shutdown();
  };
  if (napi_add_async_cleanup_hook(env, on_cleanup, environment, &environment->cleanup_) != napi_ok) return nullptr;
  created.release();
  if (napi_set_instance_data(env, environment, nullptr, nullptr) != napi_ok) return nullptr;
  return environment;
}

Environment::Environment(Napi::Env env)
    : env_(env),
      shared_(sys::Mapping::map(kSharedSize, -1, 0)),
      fd_table_(sys::Mapping::map(kFdTableSize, -1, 0)) {
  if (napi_get_uv_event_loop(env, &loop_) != napi_ok) loop_ = nullptr;
}

int Environment::open(bool poll, const UringOptions& options, Napi::Function dispatch) {
  int error = 0;
  const SharedMemory memory{control(),
                            {shared_.at<Completion>(kBatchOffset), kBatchCapacity},
                            {shared_.at<LinkedClose>(kLinkedClosesOffset), kLinkedCloses},
                            {fd_table_.data(), fd_table_.size()}};
  if (poll) {
    engine_ = PollEngine::create(options.sq_entries, loop_, memory, error);
  } else {
    engine_ = Uring::create(options, memory, error);
  }
  if (!engine_) return error;
  hook_ = std::make_unique<LoopHook>(env_, loop_, *engine_);
  if (const int failed = hook_->start(dispatch); failed != 0) {
    hook_.reset();
    engine_.reset();
    return failed;
  }
  return 0;
}

uint8_t* Environment::allocate(size_t size) {
  sys::Mapping region = sys::Mapping::map(size, -1, 0);
  if (!region) return nullptr;
  return regions_.emplace_back(std::move(region)).data();
}

uint8_t* Environment::allocate_for_fds(size_t size) {
  uint8_t* data = allocate(size);
  if (data != nullptr) written_fds_.emplace_back(reinterpret_cast<const int32_t*>(data), size / sizeof(int32_t));
  return data;
}

void Environment::own(int fd) {
  if (static_cast<size_t>(fd) >= fd_table_.size()) return;
  fd_table_.data()[fd] = 1;
  control()->fd_high = std::max(control()->fd_high, static_cast<uint32_t>(fd) + 1);
}

void Environment::shutdown() {
  // Cancel, drain to the last completion, and only then free anything: nothing may write into memory that V8 is
  // about to give back.
  if (engine_) engine_->shutdown();
  for (const auto& fds : written_fds_) {
    for (const int32_t fd : fds) {
      if (fd > 0) ::close(fd);
    }
  }
  written_fds_.clear();
  const auto destroy = [this] {
    napi_async_cleanup_hook_handle cleanup = cleanup_;
    std::unique_ptr<Environment> self(this);
    self.reset();
    napi_remove_async_cleanup_hook(cleanup);
  };
  if (!hook_) return destroy();
  // The hook first: the loop must not come to the engine any more.
  hook_->close([this, destroy] { engine_->when_quiet(destroy); });
}

}  // namespace ouro
