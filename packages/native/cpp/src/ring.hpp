// The kernel's ring, as the rest of the addon sees it: there may be none.
#pragma once

#include <cstdint>
#include <memory>

#include "engine.hpp"

namespace ouro {

struct UringOptions {
  uint32_t sq_entries = 256;
  uint32_t cq_entries = 4096;
  uint32_t flag_mask = 0xFFFFFFFF;  // setup flags that may be used at all; tests take rungs of the ladder away
  uint32_t mode = 0;                // setup flags without which there is to be no ring: SQPOLL, SQ_AFF, IOPOLL, HYBRID
  uint32_t sq_idle_ms = 1000;       // SQPOLL: how long the kernel's thread looks before it sleeps
  uint32_t sq_cpu = 0;              // SQPOLL with SQ_AFF: where that thread runs
  int64_t spin_max_ns = 0;          // see SpinBudget
  double spin_share = 0;
  uint32_t min_wait_completions = 0;  // a wait is to bring so many completions, unless min_wait_us pass before
  uint32_t min_wait_us = 0;
};

// Null on failure, with `error` = -errno of the call that failed. -ENOTSUP: the kernel has io_uring but lacks something
// that ouro cannot do without (see abi::kOpSendZc). -ENOSYS: there is no io_uring.
std::unique_ptr<Engine> open_ring(const UringOptions& options, const SharedMemory& memory, int& error);

// 0 if the kernel gives a ring with exactly these setup flags, or -errno.
int try_ring(uint32_t setup_flags, uint32_t cpu);

}  // namespace ouro
