#include "in_memory.hpp"

#ifdef OURO_LINUX

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "../sys.hpp"

#ifndef STATX_MNT_ID
#define STATX_MNT_ID 0x1000U /* 5.8 */
#endif

namespace ouro {
namespace {

constexpr uint32_t kMountIdUnique = 0x4000;  // STATX_MNT_ID_UNIQUE, 6.8
constexpr uint64_t kDeviceKey = uint64_t{1} << 62;
constexpr uint64_t kLocalBit = uint64_t{1} << 63;
// A link that is no longer than this lies in the inode itself, in all file systems that keep some there.
constexpr uint64_t kShortLink = 59;

// Mounts that were asked about; `kLocalBit` where what is in memory needs nobody else's consent.
std::array<std::atomic<uint64_t>, 64> mounts;
std::atomic<uint32_t> mounts_known = 0;
// Looking takes calls of its own, which a server may have to answer.
std::atomic<int32_t> looks_left = 256;
std::atomic<bool> has_openat2 = true;

// How a mount is known again: by an id that no other ever has, or by the device. 0 if it cannot be: numbers that belong to no
// device are given to other mounts later.
uint64_t key_of(const struct statx& about) {
  if ((about.stx_mask & kMountIdUnique) != 0) {
    uint64_t id;
    // stx_mnt_id, which older headers do not name.
    std::memcpy(&id, reinterpret_cast<const char*>(&about) + 144, sizeof(id));
    return id & ~(kLocalBit | kDeviceKey);
  }
  if (about.stx_dev_major == 0) return 0;
  return kDeviceKey | uint64_t{about.stx_dev_major} << 32 | about.stx_dev_minor;
}

// Null if it is not known.
const std::atomic<uint64_t>* find(uint64_t key) {
  const uint32_t count = std::min<uint32_t>(mounts_known.load(std::memory_order_acquire), mounts.size());
  for (uint32_t i = 0; i < count; ++i) {
    if ((mounts[i].load(std::memory_order_relaxed) & ~kLocalBit) == key) return &mounts[i];
  }
  return nullptr;
}

bool is_local(const struct statx& about) {
  const uint64_t key = key_of(about);
  const auto* mount = key == 0 ? nullptr : find(key);
  return mount != nullptr && (mount->load(std::memory_order_relaxed) & kLocalBit) != 0;
}

bool is_local_type(uint64_t type) {
  switch (type) {
    case 0xEF53:      // ext2, ext3, ext4
    case 0x58465342:  // xfs
    case 0x9123683E:  // btrfs
    case 0x01021994:  // tmpfs
    case 0x858458F6:  // ramfs
    case 0x794C7630:  // overlayfs
    case 0xF2F52010:  // f2fs
    case 0xE0F5E1E2:  // erofs
    case 0x73717368:  // squashfs
      return true;
    default:
      return false;
  }
}

bool follows(const Task& task) {
  if (task.opcode() == abi::kReadlinkat) return false;
  return task.opcode() == abi::kRealpath || (task.sqe.op_flags & AT_SYMLINK_NOFOLLOW) == 0;
}

bool is_open_file(const Task& task) {
  return task.opcode() == abi::kStat && (task.sqe.op_flags & AT_EMPTY_PATH) != 0;
}

int directory_of(const Task& task) { return task.fd >= 0 ? task.fd : task.sqe.fd; }

// The errors of a path that are those of any call that is given it.
bool is_of_path(int error) {
  return error == ENOENT || error == ENOTDIR || error == EACCES || error == ELOOP || error == ENAMETOOLONG;
}

// DONT_SYNC: a server must not be asked by this thread. It changes nothing where there is none.
bool look_at(int fd, uint32_t mask, struct statx& about) {
  return ::statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, mask | kMountIdUnique, &about) == 0;
}

std::optional<int64_t> real_path(int fd, const struct statx& about, char* out, size_t size) {
  char link[32];
  std::snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
  const ssize_t length = ::readlink(link, out, size);
  // Not what was removed meanwhile, nor what this process cannot reach by its name.
  if (length <= 0 || static_cast<size_t>(length) == size || out[0] != '/' || about.stx_nlink == 0) return std::nullopt;
  return length;
}

std::optional<int64_t> answer(const Task& task, int fd) {
  const abi::Sqe& sqe = task.sqe;
  struct statx about;
  const bool stats = task.opcode() == abi::kStat;
  if (!look_at(fd, stats ? sqe.len : STATX_TYPE | STATX_SIZE | STATX_NLINK, about) || !is_local(about)) return std::nullopt;
  switch (task.opcode()) {
    case abi::kStat:
      about.stx_mask &= ~kMountIdUnique;
      std::memcpy(task.at<void>(sqe.off), &about, sizeof(about));
      return 0;
    case abi::kFaccessat:
      return 0;
    case abi::kReadlinkat: {
      if (!S_ISLNK(about.stx_mode) || about.stx_size > kShortLink) return std::nullopt;
      const ssize_t length = ::readlinkat(fd, "", task.at<char>(sqe.off), sqe.len);
      return length < 0 ? std::nullopt : std::optional<int64_t>(length);
    }
    default:
      return real_path(fd, about, task.at<char>(sqe.off), sqe.len);
  }
}

bool may_be_had(const Task& task) {
  switch (task.opcode()) {
    case abi::kStat:
      return (task.sqe.len & STATX_MNT_ID) == 0 &&
             (task.sqe.op_flags & ~uint32_t{AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_NO_AUTOMOUNT}) == 0;
    case abi::kFaccessat:
      // Whether somebody may read it can be written in a block of its own.
      if (task.sqe.len != F_OK || (task.sqe.op_flags & ~uint32_t{AT_SYMLINK_NOFOLLOW | AT_EACCESS}) != 0) return false;
      // Opening is up to whom the process acts as.
      return (task.sqe.op_flags & AT_EACCESS) != 0 || (::getuid() == ::geteuid() && ::getgid() == ::getegid());
    case abi::kReadlinkat:
    case abi::kRealpath:
      return true;
    default:
      return false;
  }
}

}  // namespace

std::optional<int64_t> answer_from_memory(const Task& task) {
  if (!may_be_had(task)) return std::nullopt;
  if (is_open_file(task)) return answer(task, task.fd);
  if (!has_openat2.load(std::memory_order_relaxed)) return std::nullopt;
  open_how how{};
  how.flags = O_PATH | O_CLOEXEC | (follows(task) ? 0 : O_NOFOLLOW);
  how.resolve = RESOLVE_CACHED;
  const long fd = ::syscall(SYS_openat2, directory_of(task), task.at<const char>(task.sqe.addr), &how, sizeof(how));
  if (fd < 0) {
    // Linux before 5.12, or a seccomp profile that does not know it.
    if (errno == ENOSYS || errno == EINVAL || errno == EPERM) has_openat2 = false;
    // realpath(3) goes along the path by itself, and has limits of its own.
    const bool told = is_of_path(errno) && task.opcode() != abi::kRealpath;
    return told ? std::optional<int64_t>(-errno) : std::nullopt;
  }
  const sys::Fd file(static_cast<int>(fd));
  return answer(task, file.get());
}

void learn_mount(const Task& task) {
  if (!may_be_had(task) || looks_left.fetch_sub(1, std::memory_order_relaxed) <= 0) return;
  sys::Fd file;
  int fd = task.fd;
  if (!is_open_file(task)) {
    const int flags = O_PATH | O_CLOEXEC | (follows(task) ? 0 : O_NOFOLLOW);
    file = sys::Fd(::openat(directory_of(task), task.at<const char>(task.sqe.addr), flags));
    fd = file.get();
  }
  struct statx about;
  struct statfs system;
  if (fd < 0 || !look_at(fd, STATX_TYPE, about)) return;
  const uint64_t key = key_of(about);
  if (key == 0 || find(key) != nullptr || ::fstatfs(fd, &system) != 0) return;
  const uint64_t known = key | (is_local_type(static_cast<uint32_t>(system.f_type)) ? kLocalBit : 0);
  // (Two threads may note the same one.)
  const uint32_t at = mounts_known.load(std::memory_order_relaxed);
  uint64_t empty = 0;
  if (at >= mounts.size() || !mounts[at].compare_exchange_strong(empty, known)) return;
  mounts_known.fetch_add(1, std::memory_order_release);
}

}  // namespace ouro

#else

namespace ouro {

std::optional<int64_t> answer_from_memory(const Task&) { return std::nullopt; }

void learn_mount(const Task&) {}

}  // namespace ouro

#endif
