// System calls on files that io_uring has no op for, under opcodes of our own: executed here whichever engine runs, by threads
// of the pool. The fields of their SQEs are laid out as the kernel lays out those of their relatives: `fd` is a directory and
// `addr` a path, unless AT_EMPTY_PATH in the flags says that `fd` is the file itself.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#ifdef OURO_LINUX
#include <linux/fs.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#endif

#include "../sys.hpp"
#include "directories.hpp"
#include "in_memory.hpp"
#include "poll_copy.hpp"
#include "poll_engine.hpp"
#include "write_files.hpp"

namespace ouro {

#ifdef OURO_LINUX

namespace {

int64_t answer(int64_t result) { return result < 0 ? -errno : result; }

bool is_file_itself(const abi::Sqe& sqe) {
  switch (sqe.opcode) {
    case abi::kGetdents:
    case abi::kCopyFileRange:
    case abi::kFiclone:
    case abi::kFlock:
    case abi::kLseek:
    case abi::kInotifyAddWatch:
    case abi::kInotifyRmWatch:
    case abi::kSweepDirectory:
      return true;
    case abi::kListDirectory:
      return (sqe.op_flags & kListPath) == 0;
    case abi::kFchmodat:
    case abi::kFchownat:
    case abi::kUtimensat:
    case abi::kListxattr:
    case abi::kRemovexattr:
    case abi::kStatfs:
    case abi::kStat:
      return (sqe.op_flags & AT_EMPTY_PATH) != 0;
    default:
      return false;
  }
}

// The file that a path leads to, without opening it for anything: for calls that know no directories.
sys::Fd look_up(int dir, const char* path) { return sys::Fd(::openat(dir, path, O_PATH | O_CLOEXEC)); }

int64_t stat_file_system(int dir, const char* path, struct statfs* out) {
  if (dir == AT_FDCWD || path[0] == '/') return answer(::statfs(path, out));
  const sys::Fd file = look_up(dir, path);
  return answer(file ? ::fstatfs(file.get(), out) : -1);
}

int64_t real_path(int dir, const char* path, char* out, size_t size) {
  char resolved[PATH_MAX];
  if (dir == AT_FDCWD || path[0] == '/') {
    if (::realpath(path, resolved) == nullptr) return -errno;
    const size_t length = ::strlen(resolved);
    if (length > size) return -ERANGE;
    std::memcpy(out, resolved, length);
    return static_cast<int64_t>(length);
  }
  const sys::Fd file = look_up(dir, path);
  struct stat about;
  if (!file || ::fstat(file.get(), &about) != 0) return -errno;
  if (about.st_nlink == 0) return -ENOENT;
  char link[32];
  std::snprintf(link, sizeof(link), "/proc/self/fd/%d", file.get());
  return answer(::readlink(link, out, size));
}

}  // namespace

Step PollEngine::attempt_call(Task* task) {
  const abi::Sqe& sqe = task->sqe;
  if (sqe.opcode == abi::kInotifyInit) {
    return Step::done(answer(::inotify_init1(static_cast<int>(sqe.op_flags) | IN_CLOEXEC)));
  }
  if (!task->begun) {
    const bool fixed = task->has(abi::kFixedFile);
    if (is_file_itself(sqe)) {
      if (const int error = resolve(task, sqe.fd, fixed, task->fd); error != 0) return Step::done(error);
    } else if (fixed) {
      return Step::done(-EBADF);
    } else if (sqe.fd >= 0) {
      task->fd = sqe.fd;  // so that it is held while a thread is at it
    }
    if (sqe.opcode == abi::kCopyFileRange || sqe.opcode == abi::kFiclone) {
      if (const int error = resolve(task, static_cast<int32_t>(sqe.file), false, task->other_fd); error != 0) {
        return Step::done(error);
      }
    }
  }
  if (sqe.opcode == abi::kFlock) return try_flock(task);
  if (!task->has(abi::kAsync)) {
    if (const auto answer = answer_from_memory(*task)) return Step::done(*answer);
  }
  return Step::pool();
}

// Not in the pool, where one who waits for a lock would take a thread from those who might give it back. The kernel tells
// nobody when a lock is free, so it is looked at again and again.
Step PollEngine::try_flock(Task* task) {
  const auto operation = static_cast<int>(task->sqe.len);
  const auto end = [this, task](int64_t result) {
    release(task);
    return Step::done(result);
  };
  if (::flock(task->fd, operation | LOCK_NB) == 0) return end(0);
  if (errno != EWOULDBLOCK || (operation & LOCK_NB) != 0) return end(-errno);
  return look_again(task);
}

// On a thread of the pool: nothing here may touch the engine.
int64_t PollEngine::run_call(const Task& task) {
  learn_mount(task);
  const abi::Sqe& sqe = task.sqe;
  const bool itself = is_file_itself(sqe);
  const int fd = task.fd >= 0 ? task.fd : sqe.fd;
  const auto* path = task.at<const char>(sqe.addr);
  const auto flags = static_cast<int>(sqe.op_flags);
  const bool no_follow = (sqe.op_flags & AT_SYMLINK_NOFOLLOW) != 0;
  switch (task.opcode()) {
    case abi::kGetdents:
      return answer(::syscall(SYS_getdents64, fd, task.at<void>(sqe.addr), sqe.len));
    case abi::kReadlinkat:
      return answer(::readlinkat(fd, path, task.at<char>(sqe.off), sqe.len));
    case abi::kFchmodat: {
      const auto mode = static_cast<mode_t>(sqe.len);
      return answer(itself ? ::fchmod(fd, mode) : ::fchmodat(fd, path, mode, flags));
    }
    case abi::kFchownat: {
      const auto owner = static_cast<uid_t>(sqe.len);
      const auto group = static_cast<gid_t>(sqe.off);
      return answer(itself ? ::fchown(fd, owner, group) : ::fchownat(fd, path, owner, group, flags));
    }
    case abi::kUtimensat: {
      const auto* times = task.at<const timespec>(sqe.off);
      return answer(itself ? ::futimens(fd, times) : ::utimensat(fd, path, times, flags));
    }
    case abi::kFaccessat:
      return answer(::faccessat(fd, path, static_cast<int>(sqe.len), flags));
    case abi::kListxattr: {
      auto* list = task.at<char>(sqe.off);
      const auto* of = task.at<const char>(sqe.addr3);
      if (itself) return answer(::flistxattr(fd, list, sqe.len));
      return answer(no_follow ? ::llistxattr(of, list, sqe.len) : ::listxattr(of, list, sqe.len));
    }
    case abi::kRemovexattr: {
      const auto* of = task.at<const char>(sqe.addr3);
      if (itself) return answer(::fremovexattr(fd, path));
      return answer(no_follow ? ::lremovexattr(of, path) : ::removexattr(of, path));
    }
    case abi::kLgetxattr:
      return answer(::lgetxattr(task.at<const char>(sqe.addr3), path, task.at<void>(sqe.off), sqe.len));
    case abi::kLsetxattr:
      return answer(::lsetxattr(task.at<const char>(sqe.addr3), path, task.at<void>(sqe.off), sqe.len, flags));
    case abi::kCopyFileRange: {
      auto in = static_cast<loff_t>(sqe.addr);
      auto out = static_cast<loff_t>(sqe.off);
      return answer(::copy_file_range(task.other_fd, in == -1 ? nullptr : &in, fd, out == -1 ? nullptr : &out, sqe.len,
                                      sqe.op_flags));
    }
    case abi::kFiclone:
      return answer(::ioctl(fd, FICLONE, task.other_fd));
    case abi::kLseek: {
      const off_t at = ::lseek(fd, static_cast<off_t>(sqe.off), static_cast<int>(sqe.len));
      if (at < 0) return -errno;
      *task.at<int64_t>(sqe.addr) = at;  // a completion has 32 bits only
      return 0;
    }
    case abi::kMknodat:
      return answer(::mknodat(fd, path, static_cast<mode_t>(sqe.len), static_cast<dev_t>(sqe.off)));
    case abi::kStatfs: {
      auto* out = task.at<struct statfs>(sqe.off);
      return itself ? answer(::fstatfs(fd, out)) : stat_file_system(fd, path, out);
    }
    case abi::kRealpath:
      return real_path(fd, path, task.at<char>(sqe.off), sqe.len);
    case abi::kInotifyAddWatch:
      return answer(::inotify_add_watch(fd, path, sqe.len));
    case abi::kInotifyRmWatch:
      return answer(::inotify_rm_watch(fd, static_cast<int>(sqe.len)));
    case abi::kStat:
      return answer(::statx(fd, path, flags, sqe.len, task.at<struct statx>(sqe.off)));
    case abi::kWriteFiles:
      return write_files(task.at<FilesToWrite>(sqe.addr), sqe.len);
    case abi::kCopyFile:
      return copy_small_file(path, task.at<const char>(sqe.off), sqe.len, sqe.op_flags);
    case abi::kListDirectory:
      if (!itself) return list_path(fd, path, task.at<char>(sqe.off), sqe.len, sqe.op_flags);
      return list_directory(fd, task.at<char>(sqe.off), sqe.len, sqe.op_flags);
    case abi::kSweepDirectory:
      return sweep_directory(fd, task.at<char>(sqe.off), sqe.len);
    default:
      return -EINVAL;
  }
}

#else

Step PollEngine::attempt_call(Task*) { return Step::done(-EINVAL); }

int64_t PollEngine::run_call(const Task&) { return -EINVAL; }

#endif

}  // namespace ouro
