// The kernel's ring, with the poll engine beside it for those ops that this kernel lacks.
#pragma once

#include <uv.h>

#include <memory>

#include "engine.hpp"
#include "poll/poll_engine.hpp"
#include "sys.hpp"

namespace ouro {

class Fusion final : public Engine {
 public:
  // Null on failure, with `error` = -errno; `ring` is taken over only on success.
  static std::unique_ptr<Fusion> create(const SharedMemory& memory, uv_loop_t* loop, std::unique_ptr<Engine>& ring,
                                        int& error);
  ~Fusion() override;

  int submit() override;
  int flush() override;
  int submit_and_wait(int64_t timeout_ns) override;
  uint32_t reap() override;
  bool has_completions() const override { return ring_->has_completions() || beside_->has_completions(); }
  bool arm_loop_poll(int fd) override { return ring_->arm_loop_poll(fd); }
  bool take_loop_poll_fired() override { return ring_->take_loop_poll_fired(); }
  uint32_t queued() const override { return ring_->queued() + beside_->queued(); }
  uint32_t in_flight() const override { return ring_->in_flight() + beside_->in_flight(); }
  int register_resource(uint32_t opcode, const void* arg, uint32_t nr_args) override {
    return ring_->register_resource(opcode, arg, nr_args);
  }
  void shutdown() override;
  void when_quiet(std::function<void()> then) override;
  RingDescription describe() const override { return ring_->describe(); }

  // The other queue: its control, and what describe() says of it.
  sys::Mapping& control() { return control_page_; }
  RingDescription describe_beside() const { return beside_->describe(); }

 private:
  explicit Fusion(const SharedMemory& memory) : Engine(memory) {}

  sys::Mapping control_page_;
  std::unique_ptr<Engine> ring_;
  std::unique_ptr<PollEngine> beside_;
  // Readiness of what the poll engine waits for reaches the ring by way of libuv, which the ring polls.
  uv_poll_t* poll_ = nullptr;
};

}  // namespace ouro
