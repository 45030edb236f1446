#include "uring.hpp"

#include <linux/time_types.h>
#include <poll.h>
#include <sched.h>
#include <time.h>

#include <algorithm>
#include <cstring>

namespace ouro {
namespace {

uint32_t load_acquire(const uint32_t* word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }
void store_release(uint32_t* word, uint32_t value) { __atomic_store_n(word, value, __ATOMIC_RELEASE); }

int64_t now_ns() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

void relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// An op that a kernel thread was blocked in when it was cancelled may end with one of the codes by which the kernel
// tells itself to restart a system call (ERESTARTSYS 512 to ERESTART_RESTARTBLOCK 516: openat of a pipe does, on
// 6.18). No system call ever shows them to a program; EINTR is what they mean to it.
int32_t visible(int32_t result) { return result <= -512 && result >= -516 ? -EINTR : result; }

Completion completion_of(const io_uring_cqe& cqe) {
  return {static_cast<uint32_t>(cqe.user_data), static_cast<uint32_t>(cqe.user_data >> 32), visible(cqe.res),
          cqe.flags};
}

constexpr int kPausesPerLook = 16;  // about a microsecond: looking at the clock costs more than at the queue
constexpr int kLooksBeforeYield = 8;
constexpr int64_t kFlushPatienceNs = 100'000'000;

}  // namespace

uint32_t Uring::load_head() const { return load_acquire(sq_khead_); }

bool Uring::sq_flag(uint32_t flag) const { return (load_acquire(sq_kflags_) & flag) != 0; }

// Everything before `head` is the kernel's now.
void Uring::hand_over(uint32_t head) {
  const bool poll_was_in_kernel = poll_in_kernel();
  const uint32_t taken = head - sq_submitted_;
  in_flight_ += taken;
  sq_submitted_ = head;
  control_->sqes += taken - (poll_in_kernel() && !poll_was_in_kernel ? 1 : 0);
  control_->in_flight = in_flight();
}

int Uring::enter(uint32_t min_complete, uint32_t flags, const void* arg, size_t arg_size) {
  const uint32_t to_submit = sqpoll() ? 0 : queued();
  if (!sqpoll()) store_release(sq_ktail_, control_->sq_tail);
  control_->enters += 1;
  const int result =
      sys::io_uring_enter(enter_fd_, to_submit, min_complete, flags | enter_flags_, arg, arg_size);
  // The kernel's own head says what it took, whatever the call returned.
  control_->sq_head = load_head();
  if (!sqpoll()) hand_over(control_->sq_head);
  return result;
}

int Uring::publish() {
  int result = 0;
  if (queued() > 0) {
    store_release(sq_ktail_, control_->sq_tail);
    hand_over(control_->sq_tail);
    // The thread raises its flag, then looks at the tail once more, then sleeps. We store the tail, then look at the
    // flag. Without a full barrier between the two each side could miss what the other has written.
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
  }
  control_->sq_head = load_head();
  if (control_->sq_head != sq_submitted_ && sq_flag(IORING_SQ_NEED_WAKEUP)) {
    control_->wakeups += 1;
    result = enter(0, IORING_ENTER_SQ_WAKEUP, nullptr, 0);
  }
  return result < 0 && result != -EINTR ? result : 0;
}

int Uring::submit() {
  if (sqpoll()) return publish();
  int result = 0;
  for (int fruitless = 0; queued() > 0 && fruitless < 2;) {
    const uint32_t before = queued();
    result = enter(0, 0, nullptr, 0);
    // Inline completions fill the CQ while JavaScript cannot reap, and an overflown CQ makes enter answer EBUSY
    // on kernels before 5.19: take them off the ring. They reach JavaScript with the next batches, in order.
    if (cq_ready() > cq_mask_ / 2 || overflown()) spill();
    fruitless = queued() < before || result == -EINTR ? 0 : fruitless + 1;
  }
  if (queued() == 0) return 0;
  return result < 0 ? result : -EAGAIN;
}

int Uring::flush() {
  if (!sqpoll()) return submit();
  const int64_t deadline_ns = now_ns() + kFlushPatienceNs;
  for (;;) {
    if (const int result = publish(); result != 0) return result;
    if (cq_ready() > cq_mask_ / 2 || overflown()) spill();
    if (control_->sq_head == control_->sq_tail) return 0;
    if (sq_full()) {
      // Returns as soon as there is room for one.
      if (const int result = enter(0, IORING_ENTER_SQ_WAIT, nullptr, 0); result < 0 && result != -EINTR) return result;
    } else {
      sched_yield();  // the thread may need our CPU to get on
    }
    if (now_ns() > deadline_ns) return -EAGAIN;
  }
}

int Uring::get_events(uint32_t min_complete, int64_t timeout_ns) {
  __kernel_timespec ts{};
  abi::GetEventsArg arg{};
  if (min_complete > 0) {
    control_->waits += 1;
    if (timeout_ns > 0) {
      ts.tv_sec = timeout_ns / 1'000'000'000;
      ts.tv_nsec = timeout_ns % 1'000'000'000;
      arg.ts = reinterpret_cast<uint64_t>(&ts);
    }
    const uint32_t most = std::min(min_wait_completions_, in_flight() + queued());
    if (most > min_complete) {
      min_complete = most;
      // The kernel looks at the timeout only when this time is over.
      arg.min_wait_usec = timeout_ns > 0 ? static_cast<uint32_t>(std::min<int64_t>(min_wait_us_, timeout_ns / 1000))
                                         : min_wait_us_;
    }
  }
  uint32_t flags = IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG;
  if ((params_.features & abi::kFeatNoIowait) != 0) flags |= abi::kEnterNoIowait;
  const int result = enter(min_complete, flags, &arg, sizeof(arg));
  return result == -ETIME || result == -EINTR || result > 0 ? 0 : result;
}

bool Uring::spin(int64_t deadline_ns) {
  for (int looks = 0;; ++looks) {
    for (int i = 0; i < kPausesPerLook; ++i) {
      if (cq_ready() > 0) return true;
      if (sq_flag(IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) {
        // It may be work that makes no completion, such as another try of a read.
        if (get_events(0, 0) != 0) return false;
        continue;
      }
      relax();
    }
    if (now_ns() >= deadline_ns) return false;
    // The kernel's thread may have been put on our own CPU, where it waits for us as we wait for it.
    if (sqpoll() && looks >= kLooksBeforeYield && load_head() != sq_submitted_) sched_yield();
  }
}

int Uring::submit_and_wait(int64_t timeout_ns) {
  if (sqpoll()) {
    if (const int result = publish(); result != 0) return result;
  }
  if (timeout_ns == 0 || !spilled_.empty() || has_mode(IORING_SETUP_IOPOLL)) {
    return sqpoll() ? 0 : get_events(0, 0);
  }
  if (sqpoll() && cq_ready() > 0) return 0;

  int64_t begin_ns = now_ns();
  int64_t spin_ns = spin_.begin(begin_ns);
  if (timeout_ns > 0) spin_ns = std::min(spin_ns, timeout_ns);
  if (spin_ns > 0) {
    if (queued() > 0) {
      const int result = get_events(0, 0);
      if (result != 0 || cq_ready() > 0) return result;
    }
    const bool hit = spin(begin_ns + spin_ns);
    const int64_t spun_ns = now_ns() - begin_ns;
    control_->spins += 1;
    control_->spin_ns += static_cast<double>(spun_ns);
    control_->spin_hits += hit ? 1 : 0;
    if (hit) {
      spin_.hit();
    } else {
      spin_.miss(spun_ns);
    }
    control_->spin_budget_ns = spin_.budget_ns();
    if (hit) return 0;
    if (timeout_ns > 0) {
      timeout_ns -= spun_ns;
      if (timeout_ns <= 0) return 0;
    }
    begin_ns += spun_ns;
  }
  const int result = get_events(1, timeout_ns);
  const int64_t slept_ns = now_ns() - begin_ns;
  control_->idle_ns += static_cast<double>(slept_ns);
  if (spin_ns == 0) spin_.slept(slept_ns);
  return result;
}

bool Uring::poll_in_kernel() const {
  return loop_poll_armed_ && static_cast<int32_t>(sq_submitted_ - loop_poll_index_) > 0;
}

uint32_t Uring::in_flight() const { return in_flight_ - (poll_in_kernel() ? 1 : 0); }

uint32_t Uring::cq_ready() const { return load_acquire(cq_ktail_) - *cq_khead_; }

bool Uring::has_completions() const { return !spilled_.empty() || cq_ready() > 0; }

bool Uring::account(const io_uring_cqe& cqe) {
  if ((cqe.flags & IORING_CQE_F_MORE) == 0) --in_flight_;
  const auto slot = static_cast<uint32_t>(cqe.user_data);
  const auto generation = static_cast<uint32_t>(cqe.user_data >> 32);
  if (slot < kSlotLoop || slot == kSlotIgnored) {
    if ((generation & kClosesFd) != 0) --control_->closing;
    if ((generation & kLendsMemory) != 0) {
      if ((cqe.flags & IORING_CQE_F_MORE) != 0) {
        ++lent_;
      } else if ((cqe.flags & IORING_CQE_F_NOTIF) != 0) {
        --lent_;
      }
    }
  }
  LinkedClose& close = linked_closes_[slot % kLinkedCloses];
  if (close.fd_and_one != 0 && close.slot == slot && close.generation == generation) {
    if (cqe.res == -ECANCELED) fd_table_[close.fd_and_one - 1] = 1;
    close.fd_and_one = 0;
  }
  if (slot == kSlotLoop) {
    loop_poll_armed_ = false;
    loop_poll_fired_ = true;
    return false;
  }
  if (slot == kSlotTeardown) return false;
  control_->cqes += 1;
  return slot != kSlotIgnored;
}

void Uring::spill() {
  if (overflown()) control_->overflows += 1;
  for (;;) {
    uint32_t head = *cq_khead_;
    const uint32_t tail = load_acquire(cq_ktail_);
    for (; head != tail; ++head) {
      const io_uring_cqe& cqe = cqes_[head & cq_mask_];
      if (account(cqe)) spilled_.push_back(completion_of(cqe));
    }
    store_release(cq_khead_, head);
    if (!overflown()) break;
    // The backlog moves into the ring on an enter that asks for events.
    control_->enters += 1;
    const int result = sys::io_uring_enter(enter_fd_, 0, 0, IORING_ENTER_GETEVENTS | enter_flags_, nullptr, 0);
    if (result < 0 && result != -EINTR) break;
  }
  control_->in_flight = in_flight();
}

uint32_t Uring::reap() {
  // Where JavaScript was stopped in the middle of a batch (a worker terminated) nobody will take the rest.
  discard_rest();
  if (overflown()) spill();
  uint32_t count = 0;
  while (count < batch_.size() && !spilled_.empty()) {
    batch_[count++] = spilled_.front();
    spilled_.pop_front();
  }
  uint32_t head = *cq_khead_;
  const uint32_t tail = load_acquire(cq_ktail_);
  for (; head != tail && count < batch_.size(); ++head) {
    const io_uring_cqe& cqe = cqes_[head & cq_mask_];
    if (account(cqe)) batch_[count++] = completion_of(cqe);
  }
  store_release(cq_khead_, head);
  if (sqpoll()) control_->sq_head = load_head();
  control_->in_flight = in_flight();
  control_->batch_length = count;
  control_->batch_position = 0;
  return count;
}

io_uring_sqe* Uring::next_sqe() {
  if (sq_full()) submit();
  if (sq_full()) return nullptr;
  auto* sqe = sqes_.at<io_uring_sqe>((control_->sq_tail & (params_.sq_entries - 1)) * sizeof(io_uring_sqe));
  std::memset(sqe, 0, sizeof(*sqe));
  return sqe;
}

bool Uring::arm_loop_poll(int fd) {
  if (loop_poll_armed_) return true;
  if (has_mode(IORING_SETUP_IOPOLL)) return false;
  io_uring_sqe* sqe = next_sqe();
  if (sqe == nullptr) return false;
  sqe->opcode = IORING_OP_POLL_ADD;
  sqe->fd = fd;
  sqe->poll32_events = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? POLLIN << 16 : POLLIN;
  sqe->user_data = kSlotLoop;
  loop_poll_index_ = control_->sq_tail++;
  loop_poll_armed_ = true;
  return true;
}

int Uring::register_resource(uint32_t opcode, const void* arg, uint32_t nr_args) {
  return sys::io_uring_register(fd_.get(), opcode, arg, nr_args);
}

}  // namespace ouro
