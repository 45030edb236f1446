// Raw system calls and owners of what they return.
#pragma once

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "abi.hpp"

namespace ouro::sys {

// Every wrapper returns the kernel's own result: zero or more on success, -errno on failure.
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

class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  ~Fd() { reset(); }
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  void reset() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }

 private:
  int fd_ = -1;
};

class Mapping {
 public:
  Mapping() = default;
  Mapping(Mapping&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Mapping& operator=(Mapping&& other) noexcept {
    if (this != &other) {
      reset();
      data_ = std::exchange(other.data_, nullptr);
      size_ = std::exchange(other.size_, 0);
    }
    return *this;
  }
  ~Mapping() { reset(); }

  // Empty on failure, with errno set.
  static Mapping map(size_t size, int fd, off_t offset) {
    const int flags = fd >= 0 ? MAP_SHARED | MAP_POPULATE : MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void* data = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, flags, fd, offset);
    Mapping mapping;
    if (data != MAP_FAILED) {
      mapping.data_ = data;
      mapping.size_ = size;
    }
    return mapping;
  }

  explicit operator bool() const { return data_ != nullptr; }
  uint8_t* data() const { return static_cast<uint8_t*>(data_); }
  size_t size() const { return size_; }
  template <class T>
  T* at(size_t offset) const {
    return reinterpret_cast<T*>(data() + offset);
  }
  void reset() {
    if (data_ != nullptr) ::munmap(std::exchange(data_, nullptr), std::exchange(size_, 0));
  }

 private:
  void* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace ouro::sys
