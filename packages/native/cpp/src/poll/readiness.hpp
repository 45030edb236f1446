// Who is told when a descriptor can be read or written: epoll on Linux, poll(2) elsewhere.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

namespace ouro {

struct Ready {
  int fd;
  uint32_t events;  // POLL* bits
};

class Readiness {
 public:
  // Null on failure, with errno set.
  static std::unique_ptr<Readiness> create();
  virtual ~Readiness() = default;

  // Every time that one of `events` comes about anew, `wait` says so at least once; it may say so for no reason. Where
  // edges() is false it says so once, and has to be asked again. Returns 0 or -errno: -EPERM for what is never waited for.
  virtual int watch(int fd, uint32_t events) = 0;
  // As long as `fd` is readable, every `wait` says so.
  virtual int watch_level(int fd) = 0;
  virtual void forget(int fd) = 0;
  virtual bool edges() const = 0;
  virtual int fd() const { return -1; }

  // Number of `out` filled; below zero -errno. timeout_ns < 0 waits for ever.
  virtual int wait(int64_t timeout_ns, std::span<Ready> out) = 0;
};

}  // namespace ouro
