// Calls that know no flag for not blocking.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <mutex>

namespace ouro {

// Makes the calls between its begin and end non-blocking. One thread at a time for one file: descriptors of several threads may
// stand for the same open one, and who finds it non-blocking must not have that taken away before the call. Never two at once in a
// thread: their files may share a lock.
class NonBlocking {
 public:
  explicit NonBlocking(int fd) : lock_(mutex_of(fd)), fd_(fd), flags_(::fcntl(fd, F_GETFL)) {
    if (needed()) ::fcntl(fd_, F_SETFL, flags_ | O_NONBLOCK);
  }
  ~NonBlocking() {
    const int error = errno;
    if (needed()) ::fcntl(fd_, F_SETFL, flags_);
    errno = error;
  }
  NonBlocking(const NonBlocking&) = delete;
  NonBlocking& operator=(const NonBlocking&) = delete;

 private:
  static std::mutex& mutex_of(int fd) {
    static std::array<std::mutex, 64> some;
    struct stat about {};
    if (::fstat(fd, &about) != 0) return some[0];
    return some[static_cast<size_t>(about.st_ino) % some.size()];
  }
  bool needed() const { return flags_ >= 0 && (flags_ & O_NONBLOCK) == 0; }
  const std::lock_guard<std::mutex> lock_;
  const int fd_;
  const int flags_;
};

}  // namespace ouro
