#include "splice.hpp"

#include <cerrno>

#ifdef OURO_LINUX
#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>

#include "environment.hpp"
#include "poll/non_blocking.hpp"
#endif

namespace ouro {
namespace {

Napi::Value number(const Napi::CallbackInfo& info, int64_t value) {
  return Napi::Number::New(info.Env(), static_cast<double>(value));
}

#ifdef OURO_LINUX

constexpr uint64_t kPage = 4096;
// What `SendCached` answers where it cannot know what is in memory.
constexpr int kUnknown = -ENOTSUP;

int32_t integer(const Napi::CallbackInfo& info, size_t index) { return info[index].As<Napi::Number>().Int32Value(); }

int64_t wide(const Napi::CallbackInfo& info, size_t index) { return info[index].As<Napi::Number>().Int64Value(); }

template <class Call>
int64_t retry(Call call) {
  for (;;) {
    const ssize_t result = call();
    if (result >= 0) return result;
    if (errno != EINTR) return -errno;
  }
}

// (bytes) -> [read end, write end, what it holds], both ends without waiting; or -errno. It may hold less than asked for, where
// the user's pipes take too much already.
Napi::Value Pipe(const Napi::CallbackInfo& info) {
  Environment* environment = Environment::of(info.Env());
  if (environment == nullptr) return number(info, -EBADF);
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return number(info, -errno);
  environment->own(ends[0]);
  environment->own(ends[1]);
  ::fcntl(ends[1], F_SETPIPE_SZ, integer(info, 0));
  Napi::Array result = Napi::Array::New(info.Env(), 3);
  result.Set(0U, ends[0]);
  result.Set(1U, ends[1]);
  result.Set(2U, ::fcntl(ends[1], F_GETPIPE_SZ));
  return result;
}

// (from, to, bytes, flags, which of both is a socket) -> bytes moved, 0 at the end, or -errno: EAGAIN where it would wait. A splice waits
// for a socket whatever its flags say, unless that is non-blocking.
Napi::Value Splice(const Napi::CallbackInfo& info) {
  const int from = integer(info, 0);
  const int to = integer(info, 1);
  const auto length = static_cast<size_t>(wide(info, 2));
  const auto flags = static_cast<unsigned>(integer(info, 3)) | SPLICE_F_NONBLOCK;
  const NonBlocking quick(integer(info, 4));
  return number(info, retry([&] { return ::splice(from, nullptr, to, nullptr, length, flags); }));
}

struct CachestatRange {
  uint64_t off;
  uint64_t len;
};

struct Cachestat {
  uint64_t cache;
  uint64_t dirty;
  uint64_t writeback;
  uint64_t evicted;
  uint64_t recently_evicted;
};

constexpr long kCachestat = 451;  // the same number everywhere

// How many of the bytes from `offset` on are sure to be in memory: `length` or none; -errno where the kernel does not tell (before
// 6.5), or not to this user.
int64_t cached(int file, uint64_t offset, uint64_t length) {
  static std::atomic<bool> there = true;
  if (!there) return kUnknown;
  CachestatRange range{offset, length};
  Cachestat found{};
  if (::syscall(kCachestat, file, &range, &found, 0) != 0) {
    if (errno == ENOSYS) there = false;
    return kUnknown;
  }
  const uint64_t pages = (offset + length + kPage - 1) / kPage - offset / kPage;
  return found.cache >= pages ? static_cast<int64_t>(length) : 0;
}

// (file, offset, socket, bytes) -> bytes that the socket took, 0 at the end of the file, or -errno: EAGAIN where the socket takes no
// more, ENODATA where the file is not in memory, ENOTSUP where that cannot be known or the file cannot be sent so.
Napi::Value SendCached(const Napi::CallbackInfo& info) {
  const int file = integer(info, 0);
  auto offset = static_cast<off_t>(wide(info, 1));
  const int socket = integer(info, 2);
  struct stat about {};
  if (::fstat(file, &about) != 0) return number(info, -errno);
  if (!S_ISREG(about.st_mode) || about.st_size == 0) return number(info, kUnknown);
  if (offset >= about.st_size) return number(info, 0);
  const auto length = static_cast<uint64_t>(std::min<int64_t>(wide(info, 3), about.st_size - offset));
  const int64_t known = cached(file, static_cast<uint64_t>(offset), length);
  if (known < 0) return number(info, known);
  if (known == 0) return number(info, -ENODATA);
  const NonBlocking quick(socket);
  const int64_t sent = retry([&] { return ::sendfile(socket, file, &offset, length); });
  return number(info, sent == -EINVAL || sent == -ENOSYS ? kUnknown : sent);
}

#else

Napi::Value Pipe(const Napi::CallbackInfo& info) { return number(info, -ENOTSUP); }
Napi::Value Splice(const Napi::CallbackInfo& info) { return number(info, -ENOTSUP); }
Napi::Value SendCached(const Napi::CallbackInfo& info) { return number(info, -ENOTSUP); }

#endif

}  // namespace

void export_splice_calls(Napi::Env env, Napi::Object exports) {
  exports.Set("pipe", Napi::Function::New<Pipe>(env, "pipe"));
  exports.Set("splice", Napi::Function::New<Splice>(env, "splice"));
  exports.Set("sendCached", Napi::Function::New<SendCached>(env, "sendCached"));
}

}  // namespace ouro
