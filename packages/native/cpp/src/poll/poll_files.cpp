// Ops on files and paths. Reads and writes are tried without blocking first; what would block goes to the pool, except on
// what can be waited for: pipes, terminals, sockets.
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <climits>
#include <optional>
#include <string>
#include <vector>

#ifdef OURO_LINUX
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#endif

#include "non_blocking.hpp"
#include "poll_engine.hpp"
#include "prepare.hpp"

namespace ouro {
namespace {

constexpr uint32_t kMostParts = 1024;  // UIO_MAXIOV
constexpr int kMostShots = 64;

int64_t answer(ssize_t result) { return result < 0 ? -errno : result; }

template <class Call>
int64_t retry(Call call) {
  for (;;) {
    const ssize_t result = call();
    if (result >= 0) return result;
    if (errno != EINTR) return -errno;
  }
}

bool writes(abi::Opcode opcode) {
  return opcode == abi::kWrite || opcode == abi::kWritev || opcode == abi::kWriteFixed || opcode == abi::kWritevFixed;
}

bool is_vector(abi::Opcode opcode) {
  return opcode == abi::kReadv || opcode == abi::kWritev || opcode == abi::kReadvFixed || opcode == abi::kWritevFixed;
}

// O_ACCMODE and such of a descriptor that can be worked with, or -1.
int access_of(int fd) {
  const int mode = ::fcntl(fd, F_GETFL);
#ifdef O_PATH
  if (mode >= 0 && (mode & O_PATH) != 0) return -1;
#endif
  return mode;
}

// Whether a descriptor with these flags is not for writing, or not for reading. (O_ACCMODE: for neither.)
bool is_barred(int mode, bool out) {
  const int access = mode & O_ACCMODE;
  return access == O_ACCMODE || access == (out ? O_RDONLY : O_WRONLY);
}

// What is left of the memory of a transfer.
class Parts {
 public:
  explicit Parts(const Task& task) {
    uint64_t skip = task.moved;
    const auto add = [&](iovec part) {
      part.iov_len = std::min<uint64_t>(part.iov_len, abi::kMostBytes - wanted_);
      const auto gone = std::min<uint64_t>(skip, part.iov_len);
      skip -= gone;
      wanted_ += part.iov_len;
      if (gone == part.iov_len && gone > 0) return;
      part.iov_base = static_cast<uint8_t*>(part.iov_base) + gone;
      part.iov_len -= gone;
      parts_.push_back(part);
    };
    if (!is_vector(task.opcode())) {
      wanted_ = std::min<uint64_t>(task.sqe.len, abi::kMostBytes);
      single_ = {task.at<uint8_t>(task.sqe.addr) + task.moved, wanted_ - task.moved};
      return;
    }
    const auto* given = task.at<const iovec>(task.sqe.addr);
    for (uint32_t i = 0; i < task.sqe.len; ++i) add(given[i]);
    vector_ = true;
  }
  const iovec* data() const { return vector_ ? parts_.data() : &single_; }
  int count() const { return vector_ ? static_cast<int>(parts_.size()) : 1; }
  uint64_t wanted() const { return wanted_; }

 private:
  iovec single_{};
  std::vector<iovec> parts_;
  uint64_t wanted_ = 0;
  bool vector_ = false;
};

constexpr int kNowait = 8;        // RWF_NOWAIT
constexpr uint32_t kHipri = 1;  // RWF_HIPRI
constexpr uint32_t kKnownFlags = 0xFF;

int64_t transfer(const Task& task, const Parts& parts, int64_t offset, int flags) {
  const bool out = writes(task.opcode());
  if (struct stat about; out && parts.wanted() == 0 && ::fstat(task.fd, &about) == 0 && S_ISSOCK(about.st_mode)) {
    // The calls for files leave out what has no bytes; of a socket it is an empty packet, or finds it shut.
    if (offset > 0) return -ESPIPE;
    return retry([&] { return ::send(task.fd, "", 0, MSG_DONTWAIT); });
  }
#ifdef OURO_LINUX
  const auto call = [&](int64_t at) {
    return retry([&] {
      return out ? ::pwritev2(task.fd, parts.data(), parts.count(), at, flags)
                 : ::preadv2(task.fd, parts.data(), parts.count(), at, flags);
    });
  };
#else
  if (flags != 0) return -EOPNOTSUPP;
  const auto call = [&](int64_t at) {
    return retry([&] {
      if (at == -1) {
        return out ? ::writev(task.fd, parts.data(), parts.count()) : ::readv(task.fd, parts.data(), parts.count());
      }
      return out ? ::pwritev(task.fd, parts.data(), parts.count(), at)
                 : ::preadv(task.fd, parts.data(), parts.count(), at);
    });
  };
#endif
  const int64_t result = call(offset);
  struct stat about {};
#ifdef OURO_LINUX
  // Directories are read one part after the other, which preadv2 refuses if there are flags; io_uring does not mind.
  if (result == -EOPNOTSUPP && !out && (flags & kNowait) == 0 && ::fstat(task.fd, &about) == 0 && S_ISDIR(about.st_mode)) {
    return -EISDIR;
  }
#endif
  if (result != -ESPIPE || offset == -1) return result;
  // A position means nothing there, and io_uring does not mind; but a socket has none other than 0.
  if (offset != 0 && ::fstat(task.fd, &about) == 0 && S_ISSOCK(about.st_mode)) return result;
  return call(-1);
}

#ifdef OURO_LINUX
constexpr int kPipeFlags = O_CLOEXEC | O_NONBLOCK | O_DIRECT;
int make_pipe(int* ends, int flags) { return ::pipe2(ends, flags); }
#else
constexpr int kPipeFlags = O_CLOEXEC | O_NONBLOCK;
int make_pipe(int* ends, int flags) {
  if (::pipe(ends) != 0) return -1;
  for (const int end : {ends[0], ends[1]}) {
    ::fcntl(end, F_SETFD, (flags & O_CLOEXEC) != 0 ? FD_CLOEXEC : 0);
    ::fcntl(end, F_SETFL, ::fcntl(end, F_GETFL) | (flags & O_NONBLOCK));
  }
  return 0;
}
#endif

int64_t offset_of(const Task& task) {
  const auto offset = static_cast<int64_t>(task.sqe.off);
  return offset == -1 ? -1 : offset + static_cast<int64_t>(task.moved);
}

// Direct I/O waits for the device, RWF_NOWAIT or not. It is told by memory and length first: to ask the file takes a call.
bool may_wait_for_device(const Task& task, const Parts& parts) {
#ifdef OURO_LINUX
  constexpr uint64_t kSector = 512;
  const uint64_t wanted = parts.wanted();
  if (wanted == 0 || wanted % kSector != 0 || reinterpret_cast<uint64_t>(parts.data()->iov_base) % kSector != 0) return false;
  return (::fcntl(task.fd, F_GETFL) & O_DIRECT) != 0;
#else
  return false;
#endif
}

// Files that block for as long as a disk takes, and cannot be waited for.
bool is_file(const struct stat& about) {
  return S_ISREG(about.st_mode) || S_ISBLK(about.st_mode) || S_ISDIR(about.st_mode);
}

[[maybe_unused]] bool is_socket(int fd) {
  struct stat about {};
  return ::fstat(fd, &about) == 0 && S_ISSOCK(about.st_mode);
}

}  // namespace

Step PollEngine::attempt_file(Task* task) {
  const abi::Sqe& sqe = task->sqe;
  switch (task->opcode()) {
    case abi::kRead:
    case abi::kReadv:
    case abi::kReadFixed:
    case abi::kReadvFixed:
    case abi::kWrite:
    case abi::kWritev:
    case abi::kWriteFixed:
    case abi::kWritevFixed:
      return task->has(abi::kBufferSelect) ? try_read_provided(task) : try_transfer(task);
    case abi::kReadMultishot:
      return try_read_provided(task);
    case abi::kSplice:
    case abi::kTee:
      return try_splice(task);
    case abi::kOpenat:
    case abi::kOpenat2:
      return try_open(task);
    case abi::kPipe: {
      int ends[2];
      if (sqe.fd != 0 || sqe.off != 0 || (sqe.op_flags & ~static_cast<uint32_t>(kPipeFlags)) != 0) {
        return Step::done(-EINVAL);
      }
      const int flags = static_cast<int>(sqe.op_flags) | (sqe.file != 0 ? O_CLOEXEC : 0);
      if (make_pipe(ends, flags) != 0) return Step::done(-errno);
      auto* out = task->at<int32_t>(sqe.addr);
      for (uint32_t i = 0; i < 2; ++i) out[i] = ends[i];
      if (sqe.file == 0) return Step::done(0);
      for (uint32_t i = 0; i < 2; ++i) {
        const uint32_t index = sqe.file == abi::kFileIndexAlloc ? sqe.file : sqe.file + i;
        const int place = direct_place(task, ends[i], index);
        if (place < 0) {
          if (i == 0) ::close(ends[1]);
          if (i == 1) {
            if (const int first = files_.take(static_cast<uint32_t>(out[0])); first >= 0) close_now(first);
          }
          return Step::done(place);
        }
        out[i] = place;
      }
      return Step::done(0);
    }
    case abi::kMadvise: {
      // JavaScript lets nothing through that takes long.
      const uint64_t length = sqe.off != 0 ? sqe.off : sqe.len;
      Step step = Step::done(answer(::madvise(task->at<void>(sqe.addr), length, static_cast<int>(sqe.op_flags))));
      step.failed = false;
      return step;
    }
    default:
      // A descriptor that is none is found out before the op is one: that breaks links whatever the op is.
      if (needs_file(task->opcode()) && access_of(task->fd) < 0) return Step::done(-EBADF);
      return Step::pool();
  }
}

Step PollEngine::try_transfer(Task* task) {
  const abi::Sqe& sqe = task->sqe;
  const abi::Opcode opcode = task->opcode();
  if (!task->begun) {
    // The kernel looks for the descriptor first, for the buffer next, and then whether the one is for the other.
    const auto refuse = [&](int error) {
      const int mode = access_of(task->fd);
      const bool other = error != -EFAULT && is_barred(mode, writes(opcode));
      return Step::done(mode < 0 || other ? -EBADF : error);
    };
    if (is_vector(opcode) && sqe.len > kMostParts) return Step::done(-EINVAL);
    if (opcode == abi::kReadFixed || opcode == abi::kWriteFixed) {
      if (const int error = buffers_.check(sqe.buf, sqe.addr, sqe.len); error != 0) return refuse(error);
    } else if (opcode == abi::kReadvFixed || opcode == abi::kWritevFixed) {
      const auto* given = task->at<const iovec>(sqe.addr);
      for (uint32_t i = 0; i < sqe.len; ++i) {
        const auto base = reinterpret_cast<uint64_t>(given[i].iov_base);
        if (given[i].iov_len == 0) return refuse(-EFAULT);
        if (const int error = buffers_.check(sqe.buf, base, given[i].iov_len); error != 0) return refuse(error);
      }
    }
    if ((sqe.op_flags & kHipri) != 0) return refuse(-EINVAL);
    if ((sqe.op_flags & ~kKnownFlags) != 0) return refuse(-EOPNOTSUPP);
    // Others are at it, one after the other.
    const auto index = static_cast<size_t>(task->fd);
    const bool busy = index < descriptors_.size() && descriptors_[index] != nullptr && descriptors_[index]->busy;
    if (busy && (writes(opcode) || sqe.off == UINT64_MAX)) return Step::pool();
  }

  const Parts parts(*task);
  const auto flags = static_cast<int>(sqe.op_flags);
  const auto ready = writes(opcode) ? POLLOUT : POLLIN;
  struct stat about {};
  const auto know = [&] { return about.st_mode != 0 || ::fstat(task->fd, &about) == 0; };
  const bool threaded = task->has(abi::kAsync) || may_wait_for_device(*task, parts);
  const bool at_once = !threaded || task->begun || !know() || !is_file(about);
  int64_t result = at_once ? transfer(*task, parts, offset_of(*task), flags | kNowait) : -EOPNOTSUPP;

  if (result == -EAGAIN || result == -EWOULDBLOCK) {
    if ((flags & kNowait) != 0) return Step::done(result);
    return know() && is_file(about) ? Step::pool() : Step::wait(static_cast<uint32_t>(ready));
  }
  if (result == -EOPNOTSUPP || result == -ENOSYS || result == -EINVAL) {
    if (!know()) return Step::done(-errno);
    if (is_barred(::fcntl(task->fd, F_GETFL), writes(opcode))) return Step::done(-EBADF);
    if (is_file(about)) return Step::pool();
    pollfd look{task->fd, static_cast<short>(ready), 0};
    // Splices take the RWF_NOWAIT of pipes away, but not from the kernel's ring.
    const bool waits = (flags & kNowait) == 0;
    if (!waits && !S_ISFIFO(about.st_mode)) return Step::done(result);
    const Step later = waits ? Step::wait(static_cast<uint32_t>(ready)) : Step::done(-EAGAIN);
    if (::poll(&look, 1, 0) == 0) return later;
    const NonBlocking quick(task->fd);
    result = transfer(*task, parts, offset_of(*task), flags & ~kNowait);
    if (result == -EAGAIN) return later;
  }
  if (result < 0) return Step::done(result);

  task->moved += static_cast<uint64_t>(result);
  const bool whole = task->moved >= parts.wanted();
  if (whole || result == 0 || !know() || !is_file(about)) {
    return Step::shorter(static_cast<int64_t>(task->moved), !whole);
  }
  if (!writes(opcode)) {
    // The end of the file, or only of what is in memory?
    const int64_t at = sqe.off == UINT64_MAX ? ::lseek(task->fd, 0, SEEK_CUR) : offset_of(*task);
    if (at >= about.st_size) return Step::shorter(static_cast<int64_t>(task->moved), true);
  }
  return Step::pool();
}

Step PollEngine::try_read_provided(Task* task) {
  const abi::Sqe& sqe = task->sqe;
  const bool many = task->opcode() == abi::kReadMultishot;
  struct stat about {};
  if (::fstat(task->fd, &about) != 0) return Step::done(-errno);
  if (access_of(task->fd) < 0) return Step::done(-EBADF);
  if (many && (!task->has(abi::kBufferSelect))) return Step::done(-EINVAL);
  if (many && is_file(about)) return Step::done(-EBADFD);
  for (int shots = 0; shots < kMostShots; ++shots) {
    Picked pick;
    BufferGroup* group = groups_.find(sqe.buf);
    // It is woken for bytes: without any it takes no buffer.
    if (many && (shots > 0 || task->begun) && must_wait(task->fd, POLLIN)) return Step::wait(POLLIN);
    if (group == nullptr || group->pick(&pick, 1, sqe.len) == 0) return Step::done(-ENOBUFS);
    if (is_file(about)) {
      // What cannot be waited for takes the buffer before it reads, and tells of it whatever comes of that.
      const uint32_t used = group->commit(1, pick.length);
      const int64_t result = retry([&] {
        return static_cast<int64_t>(sqe.off) == -1
                   ? ::read(task->fd, task->at<void>(pick.address), pick.length)
                   : ::pread(task->fd, task->at<void>(pick.address), pick.length, static_cast<off_t>(sqe.off));
      });
      return Step::shorter(result, result != pick.length, used);
    }
    pollfd look{task->fd, POLLIN, 0};
    if (::poll(&look, 1, 0) == 0) return Step::wait(POLLIN);
    int64_t result;
    {
      const NonBlocking quick(task->fd);
      result = retry([&] { return ::read(task->fd, task->at<void>(pick.address), pick.length); });
    }
    if (result == -EAGAIN) return Step::wait(POLLIN);
    if (result < 0 || (many && result == 0)) return Step::done(result);
    const uint32_t used = group->commit(1, static_cast<uint64_t>(result));
    if (!many) return Step::shorter(result, result != pick.length, used);
    post_more(task, static_cast<int32_t>(result), used);
  }
  return Step::again();
}

#ifdef OURO_LINUX

Step PollEngine::try_splice(Task* task) {
  const abi::Sqe& sqe = task->sqe;
  const bool tees = task->opcode() == abi::kTee;
  const uint32_t flags = sqe.op_flags & ~abi::kSpliceFdInFixed;
  if (!task->begun) {
    if (tees && (sqe.addr != 0 || sqe.off != 0)) return Step::done(-EINVAL);
    if ((flags & ~0xFU) != 0) return Step::done(-EINVAL);
    const bool fixed = (sqe.op_flags & abi::kSpliceFdInFixed) != 0;
    if (const int error = resolve(task, static_cast<int32_t>(sqe.file), fixed, task->other_fd); error != 0) {
      return Step::done(error);
    }
    task->in_fd = task->other_fd;
    task->out_fd = task->fd;
    if (access_of(task->in_fd) < 0 || access_of(task->out_fd) < 0) return Step::done(-EBADF);
    if (sqe.len == 0) return Step::done(0);
  }
  task->fd = task->out_fd;
  task->other_fd = task->in_fd;
  const auto in_pool = [](int fd) {
    struct stat about {};
    return ::fstat(fd, &about) == 0 && is_file(about);
  };
  const bool blocks = in_pool(task->in_fd) || in_pool(task->out_fd);
  const auto keep = [&] {
    const int error = task->keeps_ends ? 0 : keep_ends(task);
    task->fd = task->out_fd;
    task->other_fd = task->in_fd;
    return error;
  };
  if (task->result != -EAGAIN) {
    if (blocks) {
      const int error = keep();
      return error == 0 ? Step::pool() : Step::done(error);
    }
    work(*task);
    if (task->result != -EAGAIN) return finish_work(task);
  }
  task->result = 0;
  // The one op that does not wait for what its owner has made non-blocking.
  const auto immediate = [](int fd) { return (::fcntl(fd, F_GETFL) & O_NONBLOCK) != 0; };
  const bool never = (flags & SPLICE_F_NONBLOCK) != 0 || immediate(task->in_fd) || immediate(task->out_fd);
  if (never) return Step::done(-EAGAIN);
  if (const int error = keep(); error != 0) return Step::done(error);
  // Whoever is not ready is who it waits for.
  std::array<pollfd, 2> ends{pollfd{task->in_fd, POLLIN, 0}, pollfd{task->out_fd, POLLOUT, 0}};
  if (::poll(ends.data(), ends.size(), 0) < 0) return Step::done(-errno);
  for (const pollfd& end : ends) {
    if (end.revents != 0) continue;
    task->fd = end.fd;
    return Step::wait(static_cast<uint32_t>(end.events));
  }
  return Step::again();
}

#else

Step PollEngine::try_splice(Task*) { return Step::done(-EINVAL); }

#endif

Step PollEngine::try_open(Task* task) {
#ifdef OURO_LINUX
  const abi::Sqe& sqe = task->sqe;
  open_how how{};
  if (task->opcode() == abi::kOpenat) {
    how.flags = sqe.op_flags;
    how.mode = sqe.len;
  } else {
    if (sqe.len < sizeof(how)) return Step::done(-EINVAL);
    how = *task->at<const open_how>(sqe.off);
  }
  if (sqe.file != 0 && (how.flags & O_CLOEXEC) != 0) return Step::done(-EINVAL);
  // As the kernel's ring does it: at once, if all of the path is in memory.
  constexpr uint64_t kChanges = O_CREAT | O_TRUNC | (O_TMPFILE & ~O_DIRECTORY);
  static std::atomic<bool> quick = true;
  if (!quick || task->has(abi::kAsync) || (how.flags & kChanges) != 0) return Step::pool();
  if (task->opcode() == abi::kOpenat && (how.flags & O_PATH) == 0) how.mode = 0;
  const bool blocking = (how.flags & O_NONBLOCK) == 0;
  how.flags |= O_NONBLOCK | (sqe.file != 0 ? O_CLOEXEC : 0);
  how.resolve |= RESOLVE_CACHED;
  const long fd = ::syscall(SYS_openat2, sqe.fd, task->at<const char>(sqe.addr), &how, sizeof(how));
  if (fd < 0) {
    // Linux before 5.12, or a seccomp profile that does not know it.
    if (errno == ENOSYS) quick = false;
    if (errno == EAGAIN || errno == EINVAL || errno == ENOSYS || errno == EPERM) return Step::pool();
    return Step::done(-errno);
  }
  if (blocking && (how.flags & O_PATH) == 0) ::fcntl(static_cast<int>(fd), F_SETFL, how.flags & ~uint64_t{O_NONBLOCK});
  return installed(task, static_cast<int>(fd), sqe.file);
#else
  return Step::pool();
#endif
}

namespace {

int64_t open_there(Task& task) {
  const abi::Sqe& sqe = task.sqe;
  const auto* path = task.at<const char>(sqe.addr);
#ifdef OURO_LINUX
  constexpr int kOther = O_PATH | O_NONBLOCK | O_NOFOLLOW;
  const bool plain = task.opcode() == abi::kOpenat || task.at<const open_how>(sqe.off)->resolve == 0;
  const auto wanted = task.opcode() == abi::kOpenat ? sqe.op_flags : task.at<const open_how>(sqe.off)->flags;
  const bool may_wait = plain && (wanted & kOther) == 0 && (wanted & (O_CREAT | O_EXCL)) != (O_CREAT | O_EXCL);
  if (struct stat about; may_wait && ::fstatat(sqe.fd, path, &about, 0) == 0 && S_ISFIFO(about.st_mode)) {
    // By way of a descriptor that cannot block, so that it can be given up whatever becomes of the path.
    task.pipe_fd = ::openat(sqe.fd, path, O_PATH | O_CLOEXEC);
    return answer(task.pipe_fd);
  }
  if (task.opcode() == abi::kOpenat2) {
    open_how how = *task.at<const open_how>(sqe.off);
    if (sqe.file != 0) how.flags |= O_CLOEXEC;
    const long fd = ::syscall(SYS_openat2, sqe.fd, path, &how, sizeof(how));
    if (fd >= 0 || errno != ENOSYS || how.resolve != 0) return answer(fd);
    return answer(::openat(sqe.fd, path, static_cast<int>(how.flags), static_cast<mode_t>(how.mode)));
  }
#endif
  const int flags = static_cast<int>(sqe.op_flags) | (sqe.file != 0 ? O_CLOEXEC : 0);
  return answer(::openat(sqe.fd, path, flags, static_cast<mode_t>(sqe.len)));
}

}  // namespace

// On a thread of the pool: nothing here may touch the engine.
void PollEngine::work(Task& task) {
  const abi::Sqe& sqe = task.sqe;
  const auto* path = task.at<const char>(sqe.addr);
  const auto* path2 = task.at<const char>(sqe.off);
  const auto off = static_cast<off_t>(sqe.off);
  const auto run = [&]() -> int64_t {
    switch (task.opcode()) {
      case abi::kRead:
      case abi::kReadv:
      case abi::kReadFixed:
      case abi::kReadvFixed:
      case abi::kWrite:
      case abi::kWritev:
      case abi::kWriteFixed:
      case abi::kWritevFixed:
        return transfer(task, Parts(task), offset_of(task), static_cast<int>(sqe.op_flags));
      case abi::kOpenat:
      case abi::kOpenat2:
        return open_there(task);
      case abi::kClose:
        return answer(::close(task.fd));
      case abi::kFsync:
#ifdef __APPLE__
        return answer(::fsync(task.fd));
#else
        return answer((sqe.op_flags & abi::kFsyncDatasync) != 0 ? ::fdatasync(task.fd) : ::fsync(task.fd));
#endif
      case abi::kFtruncate:
        return answer(::ftruncate(task.fd, off));
      case abi::kUnlinkat:
        return answer(::unlinkat(sqe.fd, path, static_cast<int>(sqe.op_flags)));
      case abi::kMkdirat:
        return answer(::mkdirat(sqe.fd, path, static_cast<mode_t>(sqe.len)));
      case abi::kSymlinkat:
        return answer(::symlinkat(path, sqe.fd, path2));
      case abi::kLinkat:
        return answer(::linkat(sqe.fd, path, static_cast<int>(sqe.len), path2, static_cast<int>(sqe.op_flags)));
#ifdef OURO_LINUX
      case abi::kSyncFileRange:
        return answer(::sync_file_range(task.fd, off, sqe.len, sqe.op_flags));
      case abi::kFallocate:
        return answer(::fallocate(task.fd, static_cast<int>(sqe.len), off, static_cast<off_t>(sqe.addr)));
      case abi::kFadvise: {
        const uint64_t length = sqe.addr != 0 ? sqe.addr : sqe.len;
        return -::posix_fadvise(task.fd, off, static_cast<off_t>(length), static_cast<int>(sqe.op_flags));
      }
      case abi::kStatx:
        return answer(::statx(sqe.fd, path, static_cast<int>(sqe.op_flags), sqe.len, task.at<struct statx>(sqe.off)));
      case abi::kRenameat:
        return answer(::renameat2(sqe.fd, path, static_cast<int>(sqe.len), path2, sqe.op_flags));
      case abi::kSetxattr:
        return answer(::setxattr(task.at<const char>(sqe.addr3), path, path2, sqe.len, static_cast<int>(sqe.op_flags)));
      case abi::kFsetxattr:
        return answer(::fsetxattr(task.fd, path, path2, sqe.len, static_cast<int>(sqe.op_flags)));
      case abi::kGetxattr:
        return answer(::getxattr(task.at<const char>(sqe.addr3), path, task.at<void>(sqe.off), sqe.len));
      case abi::kFgetxattr:
        return answer(::fgetxattr(task.fd, path, task.at<void>(sqe.off), sqe.len));
      case abi::kSplice: {
        auto in = static_cast<loff_t>(sqe.addr);
        auto out = static_cast<loff_t>(sqe.off);
        const unsigned flags = (sqe.op_flags & ~abi::kSpliceFdInFixed) | SPLICE_F_NONBLOCK;
        // It waits for a socket whatever the flags say.
        std::optional<NonBlocking> quick;
        for (const int end : {task.other_fd, task.fd}) {
          if (!quick && is_socket(end)) quick.emplace(end);
        }
        return answer(::splice(task.other_fd, in == -1 ? nullptr : &in, task.fd, out == -1 ? nullptr : &out,
                               sqe.len, flags));
      }
      case abi::kTee:
        return answer(::tee(task.other_fd, task.fd, sqe.len,
                            (sqe.op_flags & ~abi::kSpliceFdInFixed) | SPLICE_F_NONBLOCK));
#else
      case abi::kRenameat:
        return sqe.op_flags != 0 ? -EINVAL : answer(::renameat(sqe.fd, path, static_cast<int>(sqe.len), path2));
#endif
      default:
        return run_call(task);
    }
  };
  task.result = static_cast<int32_t>(run());
}

Step PollEngine::finish_work(Task* task) {
  const abi::Sqe& sqe = task->sqe;
  switch (task->opcode()) {
    case abi::kOpenat:
    case abi::kOpenat2:
      if (task->pipe_fd >= 0) {
        if (task->cancelled) {
          ::close(task->pipe_fd);
          return Step::done(-EINTR);
        }
        open_pipe(task);
        return Step::pending();
      }
      return installed(task, task->result, sqe.file);
    case abi::kRead:
    case abi::kReadv:
    case abi::kReadFixed:
    case abi::kReadvFixed:
    case abi::kWrite:
    case abi::kWritev:
    case abi::kWriteFixed:
    case abi::kWritevFixed: {
      if (task->result < 0 && task->moved == 0) return Step::done(task->result);
      if (task->result > 0) task->moved += static_cast<uint64_t>(task->result);
      return Step::shorter(static_cast<int64_t>(task->moved), task->moved < Parts(*task).wanted());
    }
    case abi::kSplice:
    case abi::kTee:
      if (task->result == -EAGAIN) return Step::again();
      return Step::shorter(task->result, task->result != static_cast<int32_t>(sqe.len));
    default: {
      Step step = Step::done(task->result);
      step.failed = step.failed && breaks_link(task->opcode());
      return step;
    }
  }
}

}  // namespace ouro
