// The io_uring ABI that a 6.1 <linux/io_uring.h> (Debian 12) does not have yet, each name with the kernel that
// brought it. Names carry a k prefix so that a newer system header, which defines the same words, still compiles.
#pragma once

#include <linux/io_uring.h>

#include <cstddef>
#include <cstdint>

namespace ouro::abi {

// io_uring_params.flags
inline constexpr uint32_t kSetupNoSqArray = 1U << 16;    // 6.6: no SQ index array
inline constexpr uint32_t kSetupHybridIopoll = 1U << 17;  // 6.13: sleeps a little before it polls the device

// io_uring_enter flags
inline constexpr uint32_t kEnterNoIowait = 1U << 7;  // 6.15: an idle wait is not counted as iowait

// io_uring_params.features
inline constexpr uint32_t kFeatMinTimeout = 1U << 15;  // 6.12: GetEventsArg::min_wait_usec
inline constexpr uint32_t kFeatNoIowait = 1U << 17;    // 6.15

// struct io_uring_getevents_arg, whose padding became min_wait_usec with 6.12.
struct GetEventsArg {
  uint64_t sigmask;
  uint32_t sigmask_sz;
  uint32_t min_wait_usec;
  uint64_t ts;
};
static_assert(sizeof(GetEventsArg) == sizeof(io_uring_getevents_arg));
static_assert(offsetof(GetEventsArg, ts) == offsetof(io_uring_getevents_arg, ts));

// The last opcode of 6.0. Its presence in the probe stands for what we need from that kernel and cannot be
// probed by itself: multishot receive, provided-buffer rings, cancel by "any".
inline constexpr uint8_t kOpSendZc = 47;

}  // namespace ouro::abi
