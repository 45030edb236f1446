// Whole directories in one go, for the calls under opcodes of our own: on threads of the pool, where nothing may touch the engine.
#pragma once

#include <cstdint>

namespace ouro {

// Bits of LIST_DIRECTORY.
inline constexpr uint32_t kListStats = 1;
inline constexpr uint32_t kListFollow = 2;
inline constexpr uint32_t kListPath = 4;
inline constexpr uint32_t kListNames = 8;

// Fills `out` with the next names of an open directory, with what `statx` says of each if `flags` ask for that. Returns the bytes
// filled, or an errno below zero.
//
// A head of eight bytes: how many entries (32 bits), and whether that was the last of them (32 bits). Each entry is on a multiple of
// eight: length of the name (16 bits), type (`DT_*`, 8 bits), whether there is a stat (8 bits), why there is none (errno, 32 bits),
// the first 144 bytes of `struct statx` if there is one, the name.
int64_t list_directory(int fd, char* out, uint32_t size, uint32_t flags);

// `list_directory` of what a path leads to, opened for that: as much of it as `out` takes. If that is all of it, by name, in the order of
// their bytes; with kListNames nothing but the names behind the head, with slashes between them.
int64_t list_path(int dir, const char* path, char* out, uint32_t size, uint32_t flags);

// Removes names from an open directory: all that are no directories. Fills `out` with those that are, in the format of
// `list_directory`; there is more to come unless the head says that it was the last. Where one cannot be removed the result is its
// errno, below zero, and the entry stands in `out`.
int64_t sweep_directory(int fd, char* out, uint32_t size);

}  // namespace ouro
