#pragma once

#include <cstddef>
#include <cstdint>

namespace ouro {

// COPY_FILE_* of abi.ts.
inline constexpr uint32_t kCopyExcl = 1;
inline constexpr uint32_t kCopyNoFollow = 2;
inline constexpr uint32_t kCopyTimes = 4;
inline constexpr uint32_t kCopyMode = 8;
inline constexpr uint32_t kCopyNoIds = 16;

// Copies a regular file without holes of at most `most` bytes, with its permissions. The bytes copied, or -errno; -EAGAIN: not
// such a file, or not such a target, and nothing has been changed.
int64_t copy_small_file(const char* source, const char* target, size_t most, uint32_t flags);

}  // namespace ouro
