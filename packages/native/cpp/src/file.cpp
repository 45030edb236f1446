#include "file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace ouro {
namespace {

// (fd) -> bytes of a regular file as far as the kernel knows them without asking anybody (AT_STATX_DONT_SYNC), -1
// for what is not a regular file or cannot be asked. Through the ring the same costs a kernel thread.
Napi::Value SizeHint(const Napi::CallbackInfo& info) {
  const int fd = info[0].As<Napi::Number>().Int32Value();
#ifdef OURO_LINUX
  struct statx answer {};
  const int result = ::statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE | STATX_SIZE, &answer);
  const bool known = result == 0 && S_ISREG(answer.stx_mode);
  return Napi::Number::New(info.Env(), known ? static_cast<double>(answer.stx_size) : -1);
#else
  struct stat answer {};
  const bool known = ::fstat(fd, &answer) == 0 && S_ISREG(answer.st_mode);
  return Napi::Number::New(info.Env(), known ? static_cast<double>(answer.st_size) : -1);
#endif
}

// (fd, position) -> the position that its next op without one begins at, or -errno (ESPIPE for what has none). Puts it
// to `position` first if that is not below zero.
Napi::Value Seek(const Napi::CallbackInfo& info) {
  const int fd = info[0].As<Napi::Number>().Int32Value();
  const auto position = static_cast<off_t>(info[1].As<Napi::Number>().Int64Value());
  const off_t result = position < 0 ? ::lseek(fd, 0, SEEK_CUR) : ::lseek(fd, position, SEEK_SET);
  return Napi::Number::New(info.Env(), static_cast<double>(result < 0 ? -errno : result));
}

}  // namespace

void export_file_calls(Napi::Env env, Napi::Object exports) {
  exports.Set("seek", Napi::Function::New<Seek>(env, "seek"));
  exports.Set("sizeHint", Napi::Function::New<SizeHint>(env, "sizeHint"));
}

}  // namespace ouro
