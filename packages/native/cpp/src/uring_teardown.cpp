// How a ring ends: nothing may write to memory that V8 is about to give back.
#include "uring.hpp"

#include <sys/socket.h>
#include <time.h>

#include <algorithm>
#include <cstring>

#include "memory.hpp"

namespace ouro {
namespace {

constexpr int64_t kTeardownPatienceNs = 100'000'000;
constexpr int kClosePatience = 50;  // times that without one close: a hung server is not waited for for ever
constexpr int kSendPatience = 10;   // times that nothing ended before sends are taken for stuck
constexpr int kLentPatience = 20;   // and until they are left alone, where there was no connection of ours to reset
constexpr int kMostFailures = 500;

}  // namespace

bool Uring::drain(int64_t timeout_ns) {
  const int result = submit_and_wait(timeout_ns);
  while (reap() > 0) discard_rest();
  if (result == 0 || result == -EBUSY || result == -EAGAIN) return true;
  // Not our ring's doing (a seccomp filter put up later, say): do not spin on it.
  timespec pause{0, 10'000'000};
  nanosleep(&pause, nullptr);
  return false;
}

// A ring with IOPOLL knows no cancel. All that runs on one ends by itself: reads and writes of a device.
bool Uring::drain_polled() {
  const bool entered = drain(0);
  timespec pause{0, 100'000};
  if (in_flight_ > 0) nanosleep(&pause, nullptr);
  return entered;
}

// Closes the descriptors that are ours. `reset` is for connections only, and drops what they have not sent: a zero-copy
// send holds its memory until the peer has taken the data, and a peer that does not read would keep us for ever.
void Uring::close_owned(bool reset) {
  const linger at_once{1, 0};
  const uint32_t high = std::min<uint32_t>(control_->fd_high, static_cast<uint32_t>(fd_table_.size()));
  for (uint32_t fd = 0; fd < high; ++fd) {
    if (fd_table_[fd] == 0) continue;
    const int number = static_cast<int>(fd);
    if (reset && ::setsockopt(number, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)) != 0) continue;
    fd_table_[fd] = 0;
    ::close(number);
  }
}

void Uring::shutdown() {
  spin_ = SpinBudget();
  min_wait_completions_ = 0;
  // Completions that JavaScript had been given and did not get to.
  discard_rest();

  // What was queued is handed over first: an SQE in the queue is complete, and closes among them must run.
  submit();
  const bool polled = has_mode(IORING_SETUP_IOPOLL);
  for (int fruitless = 0; !polled && fruitless < kClosePatience && control_->closing > 0 && in_flight_ > 0;) {
    const uint32_t before = control_->closing;
    drain(kTeardownPatienceNs);
    fruitless = control_->closing < before ? 0 : fruitless + 1;
  }
  int failures = 0;
  int fruitless = 0;
  while ((in_flight_ > 0 || queued() > 0) && failures < kMostFailures) {
    const uint32_t before = in_flight_;
    if (polled) {
      failures = drain_polled() ? 0 : failures + 1;
      continue;
    }
    if (io_uring_sqe* sqe = next_sqe(); sqe != nullptr) {
      sqe->opcode = IORING_OP_ASYNC_CANCEL;
      sqe->cancel_flags = IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL;
      sqe->user_data = kSlotTeardown;
      control_->sq_tail += 1;
    }
    // What cannot be cancelled (a disk read in progress) ends by itself; what slipped by is cancelled again.
    failures = drain(kTeardownPatienceNs) ? 0 : failures + 1;
    if (in_flight_ < before) {
      fruitless = 0;
      continue;
    }
    // That was the answer to our own cancel only: wait for the others.
    drain(kTeardownPatienceNs);
    if (++fruitless == kSendPatience) close_owned(true);
    // The kernel does nothing with what is left but read it, at the leisure of a peer. It has the pages; that nobody
    // else writes to them is our part.
    if (fruitless >= kLentPatience && in_flight_ == lent_) {
      keep_memory();
      break;
    }
  }
  close_owned(false);

  if (enter_flags_ != 0) {
    io_uring_rsrc_update update{};
    update.offset = static_cast<uint32_t>(enter_fd_);
    sys::io_uring_register(fd_.get(), IORING_UNREGISTER_RING_FDS, &update, 1);
  }
  fd_.reset();
}

}  // namespace ouro
