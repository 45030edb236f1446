#include "readiness.hpp"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <map>
#include <vector>

#ifdef OURO_LINUX
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>

#include "../sys.hpp"
#endif

namespace ouro {
namespace {

// Rounded up: a timer must not find that its time has not come yet, again and again.
int milliseconds(int64_t timeout_ns) {
  if (timeout_ns < 0) return -1;
  return static_cast<int>(std::min<int64_t>((timeout_ns + 999'999) / 1'000'000, INT_MAX));
}

#ifdef OURO_LINUX

class Epoll final : public Readiness {
 public:
  explicit Epoll(int fd) : fd_(fd) {}

  // All that can happen, from the first time on: no further system calls however often somebody waits. (The bits are
  // those of poll.)
  int watch(int fd, uint32_t) override {
    epoll_event event{};
    event.events = EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP | EPOLLET;
    event.data.fd = fd;
    return control(EPOLL_CTL_ADD, fd, event);
  }

  int watch_level(int fd) override {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd;
    return control(EPOLL_CTL_ADD, fd, event);
  }

  void forget(int fd) override {
    epoll_event event{};
    ::epoll_ctl(fd_.get(), EPOLL_CTL_DEL, fd, &event);
  }

  bool edges() const override { return true; }
  int fd() const override { return fd_.get(); }

  int wait(int64_t timeout_ns, std::span<Ready> out) override {
    events_.resize(out.size());
    const int count = sleep(timeout_ns);
    for (int i = 0; i < count; ++i) out[i] = {events_[i].data.fd, events_[i].events};
    return count;
  }

 private:
  int control(int operation, int fd, epoll_event& event) {
    if (::epoll_ctl(fd_.get(), operation, fd, &event) == 0) return 0;
    // Registered for a file that had this number before, or still: looking again is what is wanted.
    if (errno == EEXIST && ::epoll_ctl(fd_.get(), EPOLL_CTL_MOD, fd, &event) == 0) return 0;
    return -errno;
  }

  int sleep(int64_t timeout_ns) {
    const int most = static_cast<int>(events_.size());
#ifdef SYS_epoll_pwait2
    if (timeout_ns > 0 && fine_) {
      timespec time{timeout_ns / 1'000'000'000, timeout_ns % 1'000'000'000};
      const long count = ::syscall(SYS_epoll_pwait2, fd_.get(), events_.data(), most, &time, nullptr, 0);
      if (count >= 0) return static_cast<int>(count);
      if (errno == EINTR) return 0;
      // Linux before 5.11, or a seccomp profile that does not know it.
      fine_ = false;
    }
#endif
    const int count = ::epoll_wait(fd_.get(), events_.data(), most, milliseconds(timeout_ns));
    if (count >= 0) return count;
    return errno == EINTR ? 0 : -errno;
  }

  sys::Fd fd_;
  std::vector<epoll_event> events_;
  bool fine_ = true;
};

#endif

class Poll final : public Readiness {
 public:
  int watch(int fd, uint32_t events) override {
    wanted_[fd].once |= static_cast<short>(events);
    return 0;
  }
  int watch_level(int fd) override {
    wanted_[fd].level = POLLIN;
    return 0;
  }
  void forget(int fd) override { wanted_.erase(fd); }
  bool edges() const override { return false; }

  int wait(int64_t timeout_ns, std::span<Ready> out) override {
    set_.clear();
    for (const auto& [fd, wanted] : wanted_) {
      const auto events = static_cast<short>(wanted.once | wanted.level);
      if (events != 0) set_.push_back({fd, events, 0});
    }
    const int result = ::poll(set_.data(), static_cast<nfds_t>(set_.size()), milliseconds(timeout_ns));
    if (result < 0) return errno == EINTR ? 0 : -errno;
    size_t count = 0;
    for (const pollfd& each : set_) {
      if (each.revents == 0) continue;
      if (count == out.size()) break;
      constexpr short kAll = POLLERR | POLLHUP | POLLNVAL;
      short& once = wanted_[each.fd].once;
      once = (each.revents & kAll) != 0 ? short{0} : static_cast<short>(once & ~each.revents);
      out[count++] = {each.fd, static_cast<uint32_t>(static_cast<unsigned short>(each.revents))};
    }
    return static_cast<int>(count);
  }

 private:
  struct Wanted {
    short once = 0;
    short level = 0;
  };
  std::map<int, Wanted> wanted_;
  std::vector<pollfd> set_;
};

}  // namespace

std::unique_ptr<Readiness> Readiness::create() {
#ifdef OURO_LINUX
  if (const int fd = ::epoll_create1(EPOLL_CLOEXEC); fd >= 0) return std::make_unique<Epoll>(fd);
  return nullptr;
#else
  return std::make_unique<Poll>();
#endif
}

}  // namespace ouro
