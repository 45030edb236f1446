#include "loop_hook.hpp"

#include <utility>

namespace ouro {
namespace {

// Turns inside the hook before libuv is visited in any case. Its poll, timers and immediates end our turns by
// themselves; this bounds what we have not thought of.
constexpr int kMostTurns = 256;

// libuv adds descriptors to epoll only inside its own poll phase. While some wait for that, our poll of the
// backend descriptor would not see them. (A field of uv_loop_t, whose layout is part of libuv's ABI; the list is
// empty when it points at itself.)
bool has_unregistered_watchers(const uv_loop_t* loop) {
  const auto* head = reinterpret_cast<const void* const*>(&loop->watcher_queue);
  return head[0] != static_cast<const void*>(head);
}

}  // namespace

int LoopHook::start(napi_value dispatch) {
  if (napi_create_reference(env_, dispatch, 1, &dispatch_) != napi_ok) return UV_EINVAL;
  uv_prepare_init(loop_, &prepare_);
  uv_idle_init(loop_, &idle_);
  open_handles_ = 2;
  prepare_.data = idle_.data = this;
  uv_unref(reinterpret_cast<uv_handle_t*>(&idle_));
  uv_unref(reinterpret_cast<uv_handle_t*>(&prepare_));
  return uv_prepare_start(&prepare_, on_prepare);
}

void LoopHook::arm() {
  engine_->control()->armed = 1;
  uv_ref(reinterpret_cast<uv_handle_t*>(&prepare_));
}

void LoopHook::follow_refs() {
  Control* control = engine_->control();
  const bool wanted = control->refs > 0;
  if (wanted == (control->armed != 0)) return;
  if (wanted) {
    arm();
  } else {
    control->armed = 0;
    uv_unref(reinterpret_cast<uv_handle_t*>(&prepare_));
  }
}

bool LoopHook::libuv_has_work() const {
  // Zero also when an immediate is pending, a handle is closing, the loop was stopped, or nothing is alive.
  return uv_backend_timeout(loop_) == 0 || has_unregistered_watchers(loop_);
}

bool LoopHook::deliver(uint32_t count) {
  engine_->control()->batches += 1;
  napi_handle_scope scope;
  if (napi_open_handle_scope(env_, &scope) != napi_ok) return false;
  napi_value global;
  napi_value dispatch;
  napi_value argument;
  napi_value ignored;
  bool alive = napi_get_global(env_, &global) == napi_ok &&
               napi_get_reference_value(env_, dispatch_, &dispatch) == napi_ok &&
               napi_create_uint32(env_, count, &argument) == napi_ok;
  if (alive) {
    const napi_status status = napi_make_callback(env_, nullptr, global, dispatch, 1, &argument, &ignored);
    if (status == napi_pending_exception) {
      // Thrown by a microtask or a nextTick callback of the program: the process's own handler decides.
      napi_value error;
      alive = napi_get_and_clear_last_exception(env_, &error) == napi_ok &&
              napi_fatal_exception(env_, error) == napi_ok;
    } else {
      alive = status == napi_ok;  // otherwise the environment is being torn down
    }
  }
  napi_close_handle_scope(env_, scope);
  return alive;
}

void LoopHook::on_prepare(uv_prepare_t* handle) { static_cast<LoopHook*>(handle->data)->turn(); }

void LoopHook::turn() {
  uv_idle_stop(&idle_);
  bool alive = true;
  for (int turns = 0; alive && turns < kMostTurns; ++turns) {
    follow_refs();
    if (engine_->queued() == 0 && engine_->in_flight() == 0 && !engine_->has_completions()) break;

    // Without our poll nothing of libuv's would wake us, so then we must not block, nor stay for a second turn: with
    // IOPOLL, which refuses polls, libuv's epoll_wait of no time is the only one who asks.
    const bool guarded = engine_->arm_loop_poll(uv_backend_fd(loop_));
    int64_t timeout_ns = 0;
    if (guarded && !has_unregistered_watchers(loop_)) {
      const int timeout_ms = uv_backend_timeout(loop_);
      timeout_ns = timeout_ms < 0 ? -1 : static_cast<int64_t>(timeout_ms) * 1'000'000;
    }
    engine_->submit_and_wait(timeout_ns);
    const uint32_t count = engine_->reap();
    if (count > 0) alive = deliver(count);
    uv_update_time(loop_);
    const bool fired = engine_->take_loop_poll_fired();
    if (fired || !guarded || libuv_has_work()) break;
  }
  if (!alive || closed_) return;

  // Leaving. What the last batch queued goes to the kernel now, not after libuv's callbacks.
  if (engine_->queued() > 0) engine_->submit();
  follow_refs();
  engine_->control()->loop_visits += 1;
  // libuv must not sleep while the ring has work: an active idle handle makes its poll return at once.
  if (engine_->in_flight() > 0 || engine_->has_completions()) {
    uv_idle_start(&idle_, [](uv_idle_t*) {});
  }
}

void LoopHook::close(std::function<void()> done) {
  closed_ = std::move(done);
  if (dispatch_ != nullptr) napi_delete_reference(env_, std::exchange(dispatch_, nullptr));
  if (open_handles_ == 0) return closed_();
  const auto on_close = [](uv_handle_t* handle) {
    auto* hook = static_cast<LoopHook*>(handle->data);
    // Moved out first: it may destroy the hook.
    if (--hook->open_handles_ == 0) std::exchange(hook->closed_, nullptr)();
  };
  uv_close(reinterpret_cast<uv_handle_t*>(&prepare_), on_close);
  uv_close(reinterpret_cast<uv_handle_t*>(&idle_), on_close);
}

}  // namespace ouro
