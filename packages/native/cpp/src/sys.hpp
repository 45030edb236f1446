// Owners of descriptors and mappings.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <utility>

namespace ouro::sys {

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
  // The descriptor, which is the caller's to close.
  int release() { return std::exchange(fd_, -1); }
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
    int flags = fd >= 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
#ifdef MAP_POPULATE
    if (fd >= 0) flags |= MAP_POPULATE;
#endif
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
