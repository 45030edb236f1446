#include "socket.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string>

#include "environment.hpp"

namespace ouro {
namespace {

int32_t integer(const Napi::CallbackInfo& info, size_t index) { return info[index].As<Napi::Number>().Int32Value(); }

Napi::Value answer(const Napi::CallbackInfo& info, int result) {
  return Napi::Number::New(info.Env(), result < 0 ? -errno : result);
}

// (domain, type, protocol) -> descriptor. Blocking, as io_uring wants it: it would answer EAGAIN otherwise.
Napi::Value Socket(const Napi::CallbackInfo& info) {
#ifdef SOCK_CLOEXEC
  const int fd = ::socket(integer(info, 0), integer(info, 1) | SOCK_CLOEXEC, integer(info, 2));
#else
  const int fd = ::socket(integer(info, 0), integer(info, 1), integer(info, 2));
  if (fd >= 0) ::fcntl(fd, F_SETFD, FD_CLOEXEC);
#endif
  if (fd >= 0) {
    if (Environment* environment = Environment::of(info.Env()); environment != nullptr) environment->own(fd);
  }
  return answer(info, fd);
}

// (fd, sockaddr bytes)
Napi::Value Bind(const Napi::CallbackInfo& info) {
  const auto address = info[1].As<Napi::Uint8Array>();
  return answer(info, ::bind(integer(info, 0), reinterpret_cast<const sockaddr*>(address.Data()),
                             static_cast<socklen_t>(address.ByteLength())));
}

// (fd, sockaddr bytes). For sockets of datagrams, which it does not keep waiting; AF_UNSPEC disconnects.
Napi::Value Connect(const Napi::CallbackInfo& info) {
  const auto address = info[1].As<Napi::Uint8Array>();
  return answer(info, ::connect(integer(info, 0), reinterpret_cast<const sockaddr*>(address.Data()),
                                static_cast<socklen_t>(address.ByteLength())));
}

Napi::Value Listen(const Napi::CallbackInfo& info) {
  return answer(info, ::listen(integer(info, 0), integer(info, 1)));
}

// (fd, SHUT_*). The ring's own op goes by way of a kernel thread.
Napi::Value Shutdown(const Napi::CallbackInfo& info) {
  return answer(info, ::shutdown(integer(info, 0), integer(info, 1)));
}

/** The most pieces that one call sends. */
constexpr size_t MOST_PIECES = 64;

// Where the bytes of a typed array are; false for what is none.
bool located(Napi::Env env, napi_value array, iovec& piece) {
  napi_typedarray_type type;
  const napi_status status =
      napi_get_typedarray_info(env, array, &type, &piece.iov_len, &piece.iov_base, nullptr, nullptr);
  return status == napi_ok && type == napi_uint8_array;
}

// (fd, Uint8Array or an Array of some, MSG_* flags, sockaddr bytes of the receiver or nothing) -> bytes that the socket has taken, or
// -errno. Of an Array no more than the first MOST_PIECES are sent. With MSG_DONTWAIT it never waits.
Napi::Value Send(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  std::array<iovec, MOST_PIECES> pieces;
  size_t count = 1;
  if (info[1].IsArray()) {
    const auto given = info[1].As<Napi::Array>();
    count = std::min<size_t>(given.Length(), MOST_PIECES);
    for (uint32_t i = 0; i < count; i++) {
      if (!located(env, given.Get(i), pieces[i])) return Napi::Number::New(env, -EINVAL);
    }
  } else if (!located(env, info[1], pieces[0])) {
    return Napi::Number::New(env, -EINVAL);
  }
  if (Environment* environment = Environment::of(env); environment != nullptr) {
    environment->control()->api_calls += 1;
  }
  msghdr message{};
  message.msg_iov = pieces.data();
  message.msg_iovlen = count;
  if (info[3].IsTypedArray()) {
    auto address = info[3].As<Napi::Uint8Array>();
    message.msg_name = address.Data();
    message.msg_namelen = static_cast<socklen_t>(address.ByteLength());
  }
  const ssize_t sent = ::sendmsg(integer(info, 0), &message, integer(info, 2));
  return Napi::Number::New(env, static_cast<double>(sent < 0 ? -errno : sent));
}

// (fd, level, name, integer value, or the bytes of a struct)
Napi::Value SetSockOpt(const Napi::CallbackInfo& info) {
  if (info[3].IsTypedArray()) {
    const auto bytes = info[3].As<Napi::Uint8Array>();
    return answer(info, ::setsockopt(integer(info, 0), integer(info, 1), integer(info, 2), bytes.Data(),
                                     static_cast<socklen_t>(bytes.ByteLength())));
  }
  const int value = integer(info, 3);
  return answer(info, ::setsockopt(integer(info, 0), integer(info, 1), integer(info, 2), &value, sizeof(value)));
}

// (fd, level, name) -> value or -errno. Only for options whose value is never negative. With room for the bytes of a struct
// behind that: their number.
Napi::Value GetSockOpt(const Napi::CallbackInfo& info) {
  if (info[3].IsTypedArray()) {
    auto room = info[3].As<Napi::Uint8Array>();
    auto length = static_cast<socklen_t>(room.ByteLength());
    const int got = ::getsockopt(integer(info, 0), integer(info, 1), integer(info, 2), room.Data(), &length);
    return answer(info, got < 0 ? got : static_cast<int>(length));
  }
  int value = 0;
  socklen_t size = sizeof(value);
  const int result = ::getsockopt(integer(info, 0), integer(info, 1), integer(info, 2), &value, &size);
  return answer(info, result < 0 ? result : value);
}

// (host, port, out) -> bytes of the sockaddr written, or -EINVAL where host is not a numeric address. IPv6 may carry
// a zone ("fe80::1%eth0" or "%2").
Napi::Value SockAddr(const Napi::CallbackInfo& info) {
  std::string host = info[0].As<Napi::String>().Utf8Value();
  const auto port = htons(static_cast<uint16_t>(info[1].As<Napi::Number>().Uint32Value()));
  auto out = info[2].As<Napi::Uint8Array>();
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  v4.sin_port = port;
  if (::inet_pton(AF_INET, host.c_str(), &v4.sin_addr) == 1 && out.ByteLength() >= sizeof(v4)) {
    std::memcpy(out.Data(), &v4, sizeof(v4));
    return Napi::Number::New(info.Env(), sizeof(v4));
  }
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_port = port;
  if (const size_t zone = host.find('%'); zone != std::string::npos) {
    const std::string name = host.substr(zone + 1);
    v6.sin6_scope_id = ::if_nametoindex(name.c_str());
    if (v6.sin6_scope_id == 0) v6.sin6_scope_id = static_cast<uint32_t>(std::strtoul(name.c_str(), nullptr, 10));
    host.resize(zone);
  }
  if (::inet_pton(AF_INET6, host.c_str(), &v6.sin6_addr) == 1 && out.ByteLength() >= sizeof(v6)) {
    std::memcpy(out.Data(), &v6, sizeof(v6));
    return Napi::Number::New(info.Env(), sizeof(v6));
  }
  return Napi::Number::New(info.Env(), -EINVAL);
}

// (fd) -> { address, port, family } or -errno
template <int (*call)(int, sockaddr*, socklen_t*)>
Napi::Value Name(const Napi::CallbackInfo& info) {
  sockaddr_storage storage{};
  socklen_t size = sizeof(storage);
  if (call(integer(info, 0), reinterpret_cast<sockaddr*>(&storage), &size) < 0) return answer(info, -1);
  char text[INET6_ADDRSTRLEN + IF_NAMESIZE + 1] = "";
  uint16_t port = 0;
  if (storage.ss_family == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(&storage);
    ::inet_ntop(AF_INET, &v4->sin_addr, text, sizeof(text));
    port = ntohs(v4->sin_port);
  } else if (storage.ss_family == AF_INET6) {
    const auto* v6 = reinterpret_cast<const sockaddr_in6*>(&storage);
    ::inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof(text));
    port = ntohs(v6->sin6_port);
    if (IN6_IS_ADDR_LINKLOCAL(&v6->sin6_addr)) {
      char name[IF_NAMESIZE];
      if (::if_indextoname(v6->sin6_scope_id, name) != nullptr) {
        std::strcat(text, "%");
        std::strcat(text, name);
      }
    }
  }
  Napi::Object result = Napi::Object::New(info.Env());
  result.Set("address", text);
  result.Set("port", port);
  result.Set("family", storage.ss_family == AF_INET6 ? "IPv6" : "IPv4");
  return result;
}

int getsockname_call(int fd, sockaddr* address, socklen_t* size) { return ::getsockname(fd, address, size); }
int getpeername_call(int fd, sockaddr* address, socklen_t* size) { return ::getpeername(fd, address, size); }

}  // namespace

void export_socket_calls(Napi::Env env, Napi::Object exports) {
  exports.Set("socket", Napi::Function::New<Socket>(env, "socket"));
  exports.Set("sockaddr", Napi::Function::New<SockAddr>(env, "sockaddr"));
  exports.Set("bind", Napi::Function::New<Bind>(env, "bind"));
  exports.Set("connect", Napi::Function::New<Connect>(env, "connect"));
  exports.Set("listen", Napi::Function::New<Listen>(env, "listen"));
  exports.Set("shutdown", Napi::Function::New<Shutdown>(env, "shutdown"));
  exports.Set("send", Napi::Function::New<Send>(env, "send"));
  exports.Set("setsockopt", Napi::Function::New<SetSockOpt>(env, "setsockopt"));
  exports.Set("getsockopt", Napi::Function::New<GetSockOpt>(env, "getsockopt"));
  exports.Set("getsockname", Napi::Function::New<Name<getsockname_call>>(env, "getsockname"));
  exports.Set("getpeername", Napi::Function::New<Name<getpeername_call>>(env, "getpeername"));
}

}  // namespace ouro
