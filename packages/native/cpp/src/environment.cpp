#include "environment.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "poll/poll_engine.hpp"

namespace ouro {
namespace {

// What the kernel writes before the data of a control message; its CMSG_ALIGN.
struct ControlHeader {
  size_t length;
  int level;
  int type;
};
constexpr size_t kControlAlign = sizeof(size_t);
constexpr int kScmPidfd = 4;

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

SharedMemory Environment::memory() {
  SharedMemory memory;
  memory.control = control();
  memory.batch = {shared_.at<Completion>(kBatchOffset), kBatchCapacity};
  memory.linked_closes = {shared_.at<LinkedClose>(kLinkedClosesOffset), kLinkedCloses};
  memory.fd_table = {fd_table_.data(), fd_table_.size()};
  return memory;
}

Fusion* Environment::beside(int& error) {
  if (fusion_ != nullptr) return fusion_;
  error = -EINVAL;
  if (engine_ == nullptr || is_poll_) return nullptr;
  std::unique_ptr<Fusion> fusion = Fusion::create(memory(), loop_, engine_, error);
  if (fusion == nullptr) return nullptr;
  fusion_ = fusion.get();
  engine_ = std::move(fusion);
  hook_->use(*engine_);
  return fusion_;
}

int Environment::open(bool poll, const UringOptions& options, Napi::Function dispatch) {
  int error = 0;
  is_poll_ = poll;
  if (poll) {
    engine_ = PollEngine::create(options.sq_entries, loop_, memory(), error);
  } else {
    engine_ = open_ring(options, memory(), error);
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

uint8_t* Environment::allocate_for_control(size_t cells, size_t cell) {
  uint8_t* data = allocate(cells * cell);
  for (size_t i = 0; data != nullptr && i < cells; ++i) control_cells_.emplace_back(data + i * cell, cell);
  return data;
}

// A worker may be terminated between the kernel, which has put descriptors there, and JavaScript.
void Environment::close_passed() {
  for (const auto& cell : control_cells_) {
    for (size_t at = 0; at + sizeof(ControlHeader) <= cell.size();) {
      ControlHeader header;
      std::memcpy(&header, cell.data() + at, sizeof(header));
      if (header.length < sizeof(header) || header.length > cell.size() - at) break;
      if (header.level == SOL_SOCKET && (header.type == SCM_RIGHTS || header.type == kScmPidfd)) {
        for (size_t i = at + sizeof(header); i + sizeof(int) <= at + header.length; i += sizeof(int)) {
          int fd;
          std::memcpy(&fd, cell.data() + i, sizeof(fd));
          if (fd >= 0) ::close(fd);
        }
      }
      at += (header.length + kControlAlign - 1) & ~(kControlAlign - 1);
    }
  }
  control_cells_.clear();
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
  close_passed();
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
