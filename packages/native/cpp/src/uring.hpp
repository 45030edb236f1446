// The kernel's ring.
#pragma once

#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "ring.hpp"
#include "spin.hpp"
#include "sys.hpp"
#include "uring_calls.hpp"

namespace ouro {

class Uring final : public Engine {
 public:
  // As open_ring.
  static std::unique_ptr<Uring> create(const UringOptions& options, const SharedMemory& memory, int& error);

  int submit() override;
  int flush() override;
  int submit_and_wait(int64_t timeout_ns) override;
  uint32_t reap() override;
  bool has_completions() const override;
  bool arm_loop_poll(int fd) override;
  bool take_loop_poll_fired() override { return std::exchange(loop_poll_fired_, false); }
  uint32_t queued() const override { return control_->sq_tail - sq_submitted_; }
  uint32_t in_flight() const override;
  int register_resource(uint32_t opcode, const void* arg, uint32_t nr_args) override;
  void shutdown() override;

  RingDescription describe() const override;

 private:
  explicit Uring(const SharedMemory& memory) : Engine(memory) {}
  int setup(const UringOptions& options);
  int map_rings();
  int probe();

  bool has_mode(uint32_t flag) const { return (params_.flags & flag) != 0; }
  bool sqpoll() const { return has_mode(IORING_SETUP_SQPOLL); }
  int enter(uint32_t min_complete, uint32_t flags, const void* arg, size_t arg_size);
  // SQPOLL: hands the queue to the kernel's thread, and wakes that if it sleeps.
  int publish();
  bool sq_full() const { return control_->sq_tail - load_head() >= params_.sq_entries; }
  uint32_t load_head() const;
  void hand_over(uint32_t head);
  // Asks for completions: timeout_ns as in submit_and_wait, min_complete 0 returns at once.
  int get_events(uint32_t min_complete, int64_t timeout_ns);
  // Looks for completions without system calls, but for the one that makes them, until the deadline.
  bool spin(int64_t deadline_ns);
  uint32_t cq_ready() const;
  bool sq_flag(uint32_t flag) const;
  bool overflown() const { return sq_flag(IORING_SQ_CQ_OVERFLOW); }
  bool poll_in_kernel() const;
  // Takes one completion off the ring's books. False for our own, which nobody else is to see.
  bool account(const io_uring_cqe& cqe);
  void spill();
  // One step of the teardown: submits, waits, lets go of what came. False if the kernel refuses to be entered.
  bool drain(int64_t timeout_ns);
  bool drain_polled();
  void close_owned(bool reset);
  io_uring_sqe* next_sqe();

  sys::Fd fd_;
  int enter_fd_ = -1;  // fd_, or its index in the registered rings
  uint32_t enter_flags_ = 0;
  io_uring_params params_{};
  sys::Mapping sq_ring_;
  sys::Mapping cq_ring_;  // empty where one mapping serves both
  sys::Mapping sqes_;

  uint32_t* sq_khead_ = nullptr;
  uint32_t* sq_ktail_ = nullptr;
  uint32_t* sq_kflags_ = nullptr;
  uint32_t* cq_khead_ = nullptr;
  uint32_t* cq_ktail_ = nullptr;
  uint32_t cq_mask_ = 0;
  io_uring_cqe* cqes_ = nullptr;

  std::deque<Completion> spilled_;  // reaped while JavaScript was still reading the batch
  std::vector<uint8_t> opcodes_;

  // How far the queue has been handed over: the kernel's head as we last saw it, and with SQPOLL, where handing over
  // is publishing, the tail.
  uint32_t sq_submitted_ = 0;
  uint32_t in_flight_ = 0;
  uint32_t lent_ = 0;             // zero-copy sends among them that only wait for the network to let go of their memory
  uint32_t loop_poll_index_ = 0;  // its place in the SQ
  bool loop_poll_armed_ = false;
  bool loop_poll_fired_ = false;

  SpinBudget spin_;
  uint32_t min_wait_completions_ = 0;
  uint32_t min_wait_us_ = 0;
};

}  // namespace ouro
