// The one place where Node's event loop would block. While ring ops are in flight we block there instead, inside
// the ring, with libuv's backend descriptor polled by that same ring: libuv is the guest.
#pragma once

#include <node_api.h>
#include <uv.h>

#include <functional>

#include "engine.hpp"

namespace ouro {

class LoopHook {
 public:
  LoopHook(napi_env env, uv_loop_t* loop, Engine& engine) : env_(env), loop_(loop), engine_(&engine) {}
  LoopHook(const LoopHook&) = delete;
  LoopHook& operator=(const LoopHook&) = delete;

  // `dispatch(count)` is called once for each batch of completions.
  int start(napi_value dispatch);
  // From here on `engine` is the one.
  void use(Engine& engine) { engine_ = &engine; }
  // Keeps the process alive for ref'd ops; called by JavaScript when `control.armed` is 0 and it queues one.
  void arm();
  // Stops at once; `done` runs from the loop when libuv has let go of the handles.
  void close(std::function<void()> done);

 private:
  static void on_prepare(uv_prepare_t* handle);
  void turn();
  void follow_refs();
  bool deliver(uint32_t count);
  bool libuv_has_work() const;

  napi_env env_;
  uv_loop_t* loop_;
  Engine* engine_;
  napi_ref dispatch_ = nullptr;
  uv_prepare_t prepare_{};
  uv_idle_t idle_{};
  int open_handles_ = 0;
  std::function<void()> closed_;
};

}  // namespace ouro
