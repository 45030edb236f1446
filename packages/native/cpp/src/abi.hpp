// The io_uring ABI that a 6.1 <linux/io_uring.h> (Debian 12) does not have yet, each name with the kernel that
// brought it. Names carry a k prefix so that a newer system header, which defines the same words, still compiles.
#pragma once

#include <linux/io_uring.h>

#include <cstdint>

namespace ouro::abi {

// io_uring_params.flags
inline constexpr uint32_t kSetupNoSqArray = 1U << 16;  // 6.6: no SQ index array

// io_uring_enter flags
inline constexpr uint32_t kEnterNoIowait = 1U << 7;  // 6.15: an idle wait is not counted as iowait

// io_uring_params.features
inline constexpr uint32_t kFeatNoIowait = 1U << 17;  // 6.15

// The last opcode of 6.0. Its presence in the probe stands for what we need from that kernel and cannot be
// probed by itself: multishot receive, provided-buffer rings, cancel by "any".
inline constexpr uint8_t kOpSendZc = 47;

}  // namespace ouro::abi
