// Many files written by one thread of the pool, with one op.
#pragma once

#include <cstdint>

namespace ouro {

// What lies at the op's `addr`: this, then as many `FileToWrite`. JavaScript lays them out (packages/fs/src/op/write-files.ts).
struct FilesToWrite {
  uint32_t stop;  // not 0: begin no more, and go on with none
  uint32_t reserved[15];
};
static_assert(sizeof(FilesToWrite) == 64);

struct FileToWrite {
  uint64_t path;
  uint64_t data;
  uint64_t length;
  uint32_t flags;
  uint32_t mode;
  int32_t result;   // 0, -errno, or kNotRegular
  uint32_t step;    // what failed
  uint64_t written;
  uint64_t reserved[2];
};
static_assert(sizeof(FileToWrite) == 64);

// Steps, and the result of what is no regular file: nothing was done with it.
inline constexpr uint32_t kStepOpen = 0;
inline constexpr uint32_t kStepWrite = 1;
inline constexpr uint32_t kStepTruncate = 2;
inline constexpr int32_t kNotRegular = 1;

// Returns how many files it got to.
int64_t write_files(FilesToWrite* all, uint32_t count);

}  // namespace ouro
