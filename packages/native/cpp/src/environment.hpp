// What one Node environment (the main thread or one worker) owns: its ring, its hook, the memory shared with
// JavaScript, its descriptors.
#pragma once

#include <napi.h>
#include <uv.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "fusion.hpp"
#include "loop_hook.hpp"
#include "recycler.hpp"
#include "ring.hpp"
#include "sys.hpp"

namespace ouro {

class Environment {
 public:
  // The environment of the caller; made on first use and taken down by Node's clean-up of that environment.
  static Environment* of(Napi::Env env);

  // Zero, or -errno with nothing left behind.
  int open(bool poll, const UringOptions& options, Napi::Function dispatch);
  // Puts the poll engine beside the ring. Null with `error` = -errno; -EINVAL where there is no ring.
  Fusion* beside(int& error);
  bool is_open() const { return engine_ != nullptr; }

  Engine& engine() { return *engine_; }
  LoopHook& hook() { return *hook_; }
  Control* control() { return shared_.at<Control>(0); }
  sys::Mapping& shared() { return shared_; }
  Recycler& recycler() { return recycler_; }
  sys::Mapping& fd_table() { return fd_table_; }

  // Zeroed page-aligned memory that lives as long as the environment; null if there is none.
  uint8_t* allocate(size_t size);

  // The same, for descriptors that the kernel writes there: those not 0 at teardown are closed.
  uint8_t* allocate_for_fds(size_t size);

  // The same, for control messages: what they bring of descriptors is closed at teardown.
  uint8_t* allocate_for_control(size_t cells, size_t cell);

  // Notes that the environment owns a descriptor, which is closed at teardown unless JavaScript closed it.
  void own(int fd);

 private:
  explicit Environment(Napi::Env env);
  SharedMemory memory();
  void shutdown();
  void close_passed();

  napi_env env_;
  uv_loop_t* loop_ = nullptr;
  napi_async_cleanup_hook_handle cleanup_ = nullptr;
  // Order matters: what is declared first is destroyed last, and the engine uses all of the memory.
  Recycler recycler_;
  sys::Mapping shared_;    // Control, then the batch
  sys::Mapping fd_table_;
  std::vector<sys::Mapping> regions_;
  std::vector<std::span<const int32_t>> written_fds_;  // in regions_
  std::vector<std::span<const uint8_t>> control_cells_;  // in regions_
  std::unique_ptr<Engine> engine_;
  bool is_poll_ = false;
  Fusion* fusion_ = nullptr;  // engine_, if it is one
  std::unique_ptr<LoopHook> hook_;
};

}  // namespace ouro
