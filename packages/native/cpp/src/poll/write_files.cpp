#include "write_files.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "../sys.hpp"

namespace ouro {
namespace {

// Between two of them it is looked whether anybody still wants the rest.
constexpr uint64_t kMostAtOnce = 8U << 20;

bool stopped(const FilesToWrite* all) { return __atomic_load_n(&all->stop, __ATOMIC_RELAXED) != 0; }

// Writes `file.data` from `from` to `to` at the same place of the file. 0 or -errno.
int write_part(const FilesToWrite* all, FileToWrite& file, int fd, uint64_t from, uint64_t to, bool append) {
  const auto* data = reinterpret_cast<const uint8_t*>(file.data);
  while (from < to) {
    if (stopped(all)) return -ECANCELED;
    const size_t length = std::min(to - from, kMostAtOnce);
    const ssize_t moved =
        append ? ::write(fd, data + from, length) : ::pwrite(fd, data + from, length, static_cast<off_t>(from));
    if (moved < 0 && errno == EINTR) continue;
    if (moved < 0) return -errno;
    if (moved == 0) return -EIO;
    from += static_cast<uint64_t>(moved);
    file.written += static_cast<uint64_t>(moved);
  }
  return 0;
}

int truncate_to(int fd, uint64_t length) { return ::ftruncate(fd, static_cast<off_t>(length)) == 0 ? 0 : -errno; }

// What was emptied first, or is appended to.
int write_plainly(const FilesToWrite* all, FileToWrite& file, int fd) {
  file.step = kStepWrite;
  return write_part(all, file, fd, 0, file.length, (file.flags & O_APPEND) != 0);
}

// Over what is there, which is cut off behind it.
int write_over(const FilesToWrite* all, FileToWrite& file, int fd, uint64_t size) {
  file.step = kStepWrite;
  if (file.length > size) {
    // First what needs more room: should there be none, the file is as it was.
    if (const int result = write_part(all, file, fd, size, file.length, false); result != 0) {
      truncate_to(fd, size);
      file.written = 0;
      return result;
    }
  }
  if (const int result = write_part(all, file, fd, 0, std::min(size, file.length), false); result != 0) return result;
  file.step = kStepTruncate;
  // Writing nothing changes the times of the file all the same.
  return size > file.length || file.length == 0 ? truncate_to(fd, file.length) : 0;
}

int write_file(const FilesToWrite* all, FileToWrite& file) {
  const auto* path = reinterpret_cast<const char*>(file.path);
  struct stat about;
  file.step = kStepOpen;
  // To open a pipe would wake who waits for a writer.
  if (::stat(path, &about) == 0 && !S_ISREG(about.st_mode) && !S_ISDIR(about.st_mode)) return kNotRegular;
  constexpr uint32_t kOther = O_EXCL | O_APPEND;
  const bool over = (file.flags & O_TRUNC) != 0 && (file.flags & kOther) == 0;
  const uint32_t flags = (over ? file.flags & ~static_cast<uint32_t>(O_TRUNC) : file.flags) | O_CLOEXEC | O_NONBLOCK;
  const sys::Fd fd(::open(path, static_cast<int>(flags), static_cast<mode_t>(file.mode)));
  if (!fd) return -errno;
  if (!over) return write_plainly(all, file, fd.get());
  if (::fstat(fd.get(), &about) != 0) return -errno;
  if (!S_ISREG(about.st_mode)) return kNotRegular;
  return write_over(all, file, fd.get(), static_cast<uint64_t>(about.st_size));
}

}  // namespace

int64_t write_files(FilesToWrite* all, uint32_t count) {
  auto* files = reinterpret_cast<FileToWrite*>(all + 1);
  for (uint32_t i = 0; i < count; ++i) {
    if (stopped(all)) return i;
    files[i].result = write_file(all, files[i]);
  }
  return count;
}

}  // namespace ouro
