// The three system calls of io_uring. Each returns the kernel's own result: zero or more on success, -errno on failure.
#pragma once

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>

#include "abi.hpp"

namespace ouro::sys {

inline int result(long value) { return value < 0 ? -errno : static_cast<int>(value); }

inline int io_uring_setup(uint32_t entries, io_uring_params* params) {
  return result(::syscall(__NR_io_uring_setup, entries, params));
}

inline int io_uring_enter(int fd, uint32_t to_submit, uint32_t min_complete, uint32_t flags, const void* arg,
                          size_t arg_size) {
  return result(::syscall(__NR_io_uring_enter, fd, to_submit, min_complete, flags, arg, arg_size));
}

inline int io_uring_register(int fd, uint32_t opcode, const void* arg, uint32_t nr_args) {
  return result(::syscall(__NR_io_uring_register, fd, opcode, arg, nr_args));
}

}  // namespace ouro::sys
