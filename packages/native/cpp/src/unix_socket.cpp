#include "unix_socket.hpp"

#include <fcntl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "environment.hpp"

namespace ouro {
namespace {

int32_t integer(const Napi::CallbackInfo& info, size_t index) { return info[index].As<Napi::Number>().Int32Value(); }

Napi::Value answer(const Napi::CallbackInfo& info, int result) {
  return Napi::Number::New(info.Env(), result < 0 ? -errno : result);
}

void own(const Napi::CallbackInfo& info, int fd) {
  if (Environment* environment = Environment::of(info.Env()); environment != nullptr) environment->own(fd);
}

// (type, out) -> 0 with both ends of a connected pair in `out`
Napi::Value SocketPair(const Napi::CallbackInfo& info) {
  auto out = info[1].As<Napi::Int32Array>();
  int fds[2] = {-1, -1};
#ifdef SOCK_CLOEXEC
  const int result = ::socketpair(AF_UNIX, integer(info, 0) | SOCK_CLOEXEC, 0, fds);
#else
  const int result = ::socketpair(AF_UNIX, integer(info, 0), 0, fds);
#endif
  if (result != 0 || out.ElementLength() < 2) return answer(info, -1);
  for (size_t i = 0; i < 2; ++i) {
#ifndef SOCK_CLOEXEC
    ::fcntl(fds[i], F_SETFD, FD_CLOEXEC);
#endif
    own(info, fds[i]);
    out[i] = fds[i];
  }
  return answer(info, 0);
}

// (fd) -> another descriptor of the same open file
Napi::Value Duplicate(const Napi::CallbackInfo& info) {
  const int fd = ::fcntl(integer(info, 0), F_DUPFD_CLOEXEC, 0);
  if (fd >= 0) own(info, fd);
  return answer(info, fd);
}

// (fd, whether it is the peer's that is wanted, out) -> bytes of the sockaddr
Napi::Value RawName(const Napi::CallbackInfo& info) {
  auto out = info[2].As<Napi::Uint8Array>();
  sockaddr_storage storage{};
  socklen_t size = sizeof(storage);
  auto* name = reinterpret_cast<sockaddr*>(&storage);
  const int fd = integer(info, 0);
  const int result = info[1].As<Napi::Boolean>().Value() ? ::getpeername(fd, name, &size) : ::getsockname(fd, name, &size);
  if (result != 0) return answer(info, result);
  const size_t length = std::min({static_cast<size_t>(size), sizeof(storage), out.ByteLength()});
  std::memcpy(out.Data(), &storage, length);
  return Napi::Number::New(info.Env(), static_cast<double>(length));
}

}  // namespace

void export_unix_calls(Napi::Env env, Napi::Object exports) {
  exports.Set("socketPair", Napi::Function::New<SocketPair>(env, "socketPair"));
  exports.Set("duplicate", Napi::Function::New<Duplicate>(env, "duplicate"));
  exports.Set("rawName", Napi::Function::New<RawName>(env, "rawName"));
}

}  // namespace ouro
