// A small file copied by one thread in one go: as ops one by one, most of them for threads of the kernel, the same takes several times
// as long. What is neither small nor ordinary is left to those.
#include "poll_copy.hpp"

#ifdef OURO_LINUX

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <new>

#include "../sys.hpp"

namespace ouro {
namespace {

constexpr mode_t kPermissions = 07777;
constexpr mode_t kSetIds = S_ISUID | S_ISGID;
constexpr size_t kUnsized = 16384;

bool same_file(const struct stat& a, const struct stat& b) { return a.st_dev == b.st_dev && a.st_ino == b.st_ino; }

mode_t permissions_of(const struct stat& source, uint32_t flags) {
  return source.st_mode & kPermissions & ~((flags & kCopyNoIds) != 0 ? kSetIds : 0);
}

// Not what is no regular file: whoever is at the other end of a pipe would take notice of its being opened and closed again.
bool may_open(const char* path) {
  struct stat about {};
  return ::stat(path, &about) != 0 || S_ISREG(about.st_mode) || S_ISDIR(about.st_mode);
}

// At most `size` bytes; fewer only at the end of the file. -errno on failure.
ssize_t read_all(int fd, char* into, size_t size) {
  size_t done = 0;
  while (done < size) {
    const ssize_t count = ::read(fd, into + done, size - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return -errno;
    if (count == 0) break;
    done += static_cast<size_t>(count);
  }
  return static_cast<ssize_t>(done);
}

int write_all(int fd, const char* from, size_t size) {
  for (size_t done = 0; done < size;) {
    const ssize_t count = ::write(fd, from + done, size - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return -errno;
    if (count == 0) return -EIO;
    done += static_cast<size_t>(count);
  }
  return 0;
}

// Fills a target that is open. What was in it is overwritten, not cut off first, since ext4 writes a file out when it is closed that
// had been emptied; unless who may read it changes, which is to hold neither for the old nor for the new contents.
int fill(int fd, const struct stat& before, const struct stat& source, const char* data, size_t size, uint32_t flags) {
  const mode_t mode = permissions_of(source, flags);
  auto length = static_cast<size_t>(before.st_size);
  if ((before.st_mode & kPermissions) != mode) {
    if (length > 0 && ::ftruncate(fd, 0) != 0) return -errno;
    length = 0;
    if (::fchmod(fd, mode) != 0) return -errno;
  }
  if (const int error = write_all(fd, data, size); error != 0) return error;
  // Nothing written must still change the time of the file.
  if ((length > size || size == 0) && ::ftruncate(fd, static_cast<off_t>(size)) != 0) return -errno;
  // Writing takes these bits from a file, unless root does it.
  const bool taken = (flags & kCopyMode) != 0 && (mode & kSetIds) != 0;
  if (taken && ::fchmod(fd, mode) != 0) return -errno;
  if ((flags & kCopyTimes) != 0) {
    const timespec both[] = {source.st_atim, source.st_mtim};
    if (::futimens(fd, both) != 0) return -errno;
  }
  return 0;
}

}  // namespace

int64_t copy_small_file(const char* source, const char* target, size_t most, uint32_t flags) {
  const bool exclusive = (flags & kCopyExcl) != 0;
  if (!may_open(source) || (!exclusive && !may_open(target))) return -EAGAIN;
  // O_NONBLOCK: what has become a pipe meanwhile is not waited for.
  const int how = O_RDONLY | O_CLOEXEC | O_NONBLOCK | ((flags & kCopyNoFollow) != 0 ? O_NOFOLLOW : 0);
  const sys::Fd from(::open(source, how));
  if (!from) return -errno;
  struct stat about {};
  if (::fstat(from.get(), &about) != 0) return -errno;
  const bool sparse = static_cast<int64_t>(about.st_blocks) * 512 < static_cast<int64_t>(about.st_size);
  if (!S_ISREG(about.st_mode) || static_cast<size_t>(about.st_size) > most || sparse) return -EAGAIN;

  // One byte more, to know whether it is longer than it says. What says that it is empty may be made while it is read, as in /proc.
  const size_t room = about.st_size > 0 ? static_cast<size_t>(about.st_size) : std::min(most, kUnsized);
  const std::unique_ptr<char[]> data(new (std::nothrow) char[room + 1]);
  if (!data) return -ENOMEM;
  const ssize_t size = read_all(from.get(), data.get(), room + 1);
  if (size < 0) return size;
  if (static_cast<size_t>(size) > room) return -EAGAIN;

  const int create = O_WRONLY | O_CREAT | O_CLOEXEC | (exclusive ? O_EXCL : O_NONBLOCK);
  sys::Fd to(::open(target, create, permissions_of(about, flags)));
  if (!to) return errno == ENXIO ? -EAGAIN : -errno;
  struct stat before {};
  if (::fstat(to.get(), &before) != 0) return -errno;
  if (!S_ISREG(before.st_mode)) return -EAGAIN;
  if (same_file(about, before)) return 0;

  int error = fill(to.get(), before, about, data.get(), static_cast<size_t>(size), flags);
  const int fd = to.release();
  if (::close(fd) != 0 && error == 0 && errno != EINTR) error = -errno;
  if (error == 0) return size;
  // Half a copy is nothing that anybody wants. A link that leads there is not the copy.
  struct stat named {};
  if (::lstat(target, &named) == 0 && same_file(named, before)) ::unlink(target);
  return error;
}

}  // namespace ouro

#else

#include <cerrno>

namespace ouro {

int64_t copy_small_file(const char*, const char*, size_t, uint32_t) { return -EAGAIN; }

}  // namespace ouro

#endif
