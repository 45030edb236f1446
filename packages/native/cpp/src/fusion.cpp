#include "fusion.hpp"

#include <algorithm>
#include <cerrno>
#include <utility>

namespace ouro {
namespace {

constexpr uint32_t kEntries = 256;

}  // namespace

std::unique_ptr<Fusion> Fusion::create(const SharedMemory& memory, uv_loop_t* loop, std::unique_ptr<Engine>& ring,
                                       int& error) {
  std::unique_ptr<Fusion> fusion(new Fusion(memory));
  fusion->control_page_ = sys::Mapping::map(kBatchOffset, -1, 0);
  error = -ENOMEM;
  if (!fusion->control_page_) return nullptr;
  SharedMemory own = memory;
  own.control = fusion->control_page_.at<Control>(0);
  own.batch = {};
  own.closing = &memory.control->closing;
  own.others_close = true;
  fusion->beside_ = PollEngine::create(kEntries, loop, own, error);
  if (fusion->beside_ == nullptr) return nullptr;
  const int fd = fusion->beside_->readiness_fd();
  error = -EOPNOTSUPP;
  if (fd < 0) return nullptr;
  fusion->poll_ = new uv_poll_t();
  error = uv_poll_init(loop, fusion->poll_, fd);
  if (error != 0) {
    delete std::exchange(fusion->poll_, nullptr);
    return nullptr;
  }
  fusion->poll_->data = fusion.get();
  uv_unref(reinterpret_cast<uv_handle_t*>(fusion->poll_));
  uv_poll_start(fusion->poll_, UV_READABLE, [](uv_poll_t* handle, int, int) {
    static_cast<Fusion*>(handle->data)->beside_->submit_and_wait(0);
  });
  fusion->ring_ = std::move(ring);
  return fusion;
}

Fusion::~Fusion() = default;

int Fusion::submit() {
  beside_->submit();
  return ring_->submit();
}

int Fusion::flush() {
  beside_->submit();
  return ring_->flush();
}

int Fusion::submit_and_wait(int64_t timeout_ns) {
  if (beside_->queued() > 0 || beside_->in_flight() > 0) beside_->turn();
  if (beside_->has_completions()) timeout_ns = 0;
  if (const int64_t next_ns = beside_->next_timer_ns(); next_ns >= 0) {
    timeout_ns = timeout_ns < 0 ? next_ns : std::min(timeout_ns, next_ns);
  }
  const int result = ring_->submit_and_wait(timeout_ns);
  // What woke us may be a thread that is done. Its op is told now, and the next one on its way before libuv hears of it.
  beside_->gather();
  return result;
}

uint32_t Fusion::reap() {
  uint32_t count = ring_->reap();
  count += beside_->take(batch_.subspan(count));
  control_->batch_length = count;
  control_->in_flight = in_flight();
  return count;
}

void Fusion::shutdown() {
  uv_poll_stop(poll_);
  beside_->shutdown();
  ring_->shutdown();
}

void Fusion::when_quiet(std::function<void()> then) {
  poll_->data = new std::function<void()>([this, then] { beside_->when_quiet(then); });
  uv_close(reinterpret_cast<uv_handle_t*>(std::exchange(poll_, nullptr)), [](uv_handle_t* handle) {
    const std::unique_ptr<std::function<void()>> closed(static_cast<std::function<void()>*>(handle->data));
    delete reinterpret_cast<uv_poll_t*>(handle);
    (*closed)();
  });
}

}  // namespace ouro
