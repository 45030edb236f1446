#include "directories.hpp"

#ifdef OURO_LINUX

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "../sys.hpp"

namespace ouro {
namespace {

// struct linux_dirent64
struct KernelEntry {
  uint64_t inode;
  int64_t offset;
  uint16_t length;
  uint8_t type;
  char name[1];
};
constexpr size_t kNameAt = offsetof(KernelEntry, name);
// The least that getdents64 makes of a name.
constexpr size_t kLeastEntry = 24;

// What the kernel gives at once: it fits the stack of any thread.
constexpr size_t kChunk = 16'384;
// Room for the longest name of any file system.
constexpr size_t kLeastChunk = 1'088;
// What one sweep removes before it comes back, so that it can be cancelled.
constexpr uint32_t kMostRemoved = 1'024;

// What of struct statx is kept: all up to the numbers of the device.
constexpr size_t kStat = 144;
static_assert(offsetof(struct statx, stx_dev_minor) + sizeof(uint32_t) == kStat);

struct Head {
  uint32_t entries;
  uint32_t last;
};

struct Entry {
  uint16_t name_length;
  uint8_t type;
  uint8_t has_stat;
  int32_t error;
};

constexpr size_t kAlign = 8;
static_assert(sizeof(Head) == kAlign && sizeof(Entry) == kAlign);

// An answer that is being written.
class Answer {
 public:
  Answer(char* out, uint32_t size) : out_(out), size_(size) { head_at(0, 0); }

  size_t used() const { return used_; }
  // How much the kernel may give so that all of it has room here, when each entry takes `more` bytes beside its name.
  size_t room(size_t more) const {
    const size_t left = size_ - used_;
    const size_t fits = left * kLeastEntry / (kLeastEntry + sizeof(Entry) + kAlign + more);
    return std::min(kChunk, fits & ~(kAlign - 1));
  }

  void add(const char* name, uint8_t type, const struct statx* stat, int error) {
    const size_t length = std::strlen(name);
    char* at = out_ + used_;
    const Entry entry{static_cast<uint16_t>(length), type, static_cast<uint8_t>(stat != nullptr), error};
    std::memcpy(at, &entry, sizeof(entry));
    at += sizeof(entry);
    if (stat != nullptr) {
      std::memcpy(at, stat, kStat);
      at += kStat;
    }
    std::memcpy(at, name, length);
    used_ = (static_cast<size_t>(at - out_) + length + kAlign - 1) & ~(kAlign - 1);
    ++entries_;
  }

  int64_t end(bool last) {
    head_at(entries_, last ? 1 : 0);
    return static_cast<int64_t>(used_);
  }

 private:
  void head_at(uint32_t entries, uint32_t last) {
    const Head head{entries, last};
    std::memcpy(out_, &head, sizeof(head));
  }

  char* out_;
  size_t size_;
  size_t used_ = sizeof(Head);
  uint32_t entries_ = 0;
};

bool is_dots(const char* name) {
  return name[0] == '.' && (name[1] == 0 || (name[1] == '.' && name[2] == 0));
}

// Calls `each(name, type)` for the next names that `size` bytes take. Returns what getdents64 does.
template <class Each>
int64_t next_names(int fd, size_t size, Each each) {
  alignas(KernelEntry) char chunk[kChunk];
  const auto got = ::syscall(SYS_getdents64, fd, chunk, size);
  // A directory that has been removed has no names.
  if (got < 0) return errno == ENOENT ? 0 : -errno;
  for (int64_t at = 0; at < got;) {
    const auto* entry = reinterpret_cast<const KernelEntry*>(chunk + at);
    at += entry->length;
    const char* name = reinterpret_cast<const char*>(entry) + kNameAt;
    if (is_dots(name)) continue;
    if (const int error = each(name, entry->type); error != 0) return -error;
  }
  return got;
}

int stat_at(int fd, const char* name, bool follow, struct statx* out) {
  constexpr unsigned kMask = STATX_BASIC_STATS | STATX_BTIME;
  if (follow) {
    if (::statx(fd, name, 0, kMask, out) == 0) return 0;
    // A link that leads nowhere is what it is.
    if (errno != ENOENT && errno != ELOOP && errno != EACCES && errno != ENOTDIR) return errno;
  }
  return ::statx(fd, name, AT_SYMLINK_NOFOLLOW, kMask, out) == 0 ? 0 : errno;
}

uint8_t type_of(uint16_t mode) { return static_cast<uint8_t>((mode & S_IFMT) >> 12); }

}  // namespace

int64_t list_directory(int fd, char* out, uint32_t size, uint32_t flags) {
  if (size < sizeof(Head)) return -EINVAL;
  const bool stats = (flags & kListStats) != 0;
  const bool follow = (flags & kListFollow) != 0;
  Answer answer(out, size);
  for (;;) {
    const size_t room = answer.room(stats ? kStat : 0);
    if (room < kLeastChunk && answer.used() > sizeof(Head)) return answer.end(false);
    const int64_t got = next_names(fd, room, [&](const char* name, uint8_t type) {
      struct statx about;
      if (stats) {
        const int error = stat_at(fd, name, follow, &about);
        if (error == ENOENT) return 0;  // removed meanwhile
        answer.add(name, error == 0 ? type_of(about.stx_mode) : type, error == 0 ? &about : nullptr, error);
      } else {
        // Some file systems do not say in their directories what is what.
        if (type == DT_UNKNOWN) {
          const int error = stat_at(fd, name, false, &about);
          if (error == ENOENT) return 0;
          if (error == 0) type = type_of(about.stx_mode);
        }
        answer.add(name, type, nullptr, 0);
      }
      return 0;
    });
    if (got == 0) return answer.end(true);
    // A failure comes again the next time, when there is nothing else to tell.
    if (got < 0) return answer.used() > sizeof(Head) ? answer.end(false) : got;
  }
}

namespace {

// An entry of an answer, with all that belongs to it.
struct Listed {
  std::string_view whole;
  std::string_view name;
};

std::vector<Listed> entries_by_name(const char* answer, uint32_t count) {
  std::vector<Listed> all(count);
  const char* at = answer + sizeof(Head);
  for (Listed& listed : all) {
    Entry entry;
    std::memcpy(&entry, at, sizeof(entry));
    const size_t name_at = sizeof(Entry) + (entry.has_stat != 0 ? kStat : 0);
    const size_t length = (name_at + entry.name_length + kAlign - 1) & ~(kAlign - 1);
    listed = {{at, length}, {at + name_at, entry.name_length}};
    at += length;
  }
  std::sort(all.begin(), all.end(), [](const Listed& a, const Listed& b) { return a.name < b.name; });
  return all;
}

// Puts what `out` holds into order. Returns how much of it is filled then.
int64_t put_in_order(char* out, int64_t filled, bool names_only) {
  Head head;
  std::memcpy(&head, out, sizeof(head));
  if (head.last == 0) return filled;
  const std::string copy(out, static_cast<size_t>(filled));
  char* at = out + sizeof(Head);
  for (const Listed& listed : entries_by_name(copy.data(), head.entries)) {
    const std::string_view& wanted = names_only ? listed.name : listed.whole;
    std::memcpy(at, wanted.data(), wanted.size());
    at += wanted.size();
    if (names_only) *at++ = '/';
  }
  return names_only && head.entries > 0 ? at - out - 1 : at - out;
}

}  // namespace

int64_t list_path(int dir, const char* path, char* out, uint32_t size, uint32_t flags) {
  const sys::Fd fd(::openat(dir, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return -errno;
  const int64_t filled = list_directory(fd.get(), out, size, flags);
  return filled < 0 ? filled : put_in_order(out, filled, (flags & kListNames) != 0);
}

int64_t sweep_directory(int fd, char* out, uint32_t size) {
  if (size < sizeof(Head)) return -EINVAL;
  Answer answer(out, size);
  uint32_t removed = 0;
  while (removed < kMostRemoved) {
    const size_t room = answer.room(0);
    if (room < kLeastChunk && answer.used() > sizeof(Head)) return answer.end(false);
    const int64_t got = next_names(fd, room, [&](const char* name, uint8_t type) {
      ++removed;
      if (type != DT_DIR) {
        if (::unlinkat(fd, name, 0) == 0 || errno == ENOENT) return 0;
        const int error = errno;
        // It has become a directory, or nobody said that it is one.
        struct statx about;
        const bool directory = (error == EISDIR || error == EPERM) && stat_at(fd, name, false, &about) == 0 &&
                               S_ISDIR(about.stx_mode);
        if (!directory) {
          answer = Answer(out, size);
          answer.add(name, type, nullptr, error);
          answer.end(false);
          return error;
        }
      }
      answer.add(name, DT_DIR, nullptr, 0);
      return 0;
    });
    if (got < 0) return got;
    if (got == 0) return answer.end(true);
  }
  return answer.end(false);
}

}  // namespace ouro

#else

#include <cerrno>

namespace ouro {

int64_t list_directory(int, char*, uint32_t, uint32_t) { return -EINVAL; }
int64_t list_path(int, const char*, char*, uint32_t, uint32_t) { return -EINVAL; }
int64_t sweep_directory(int, char*, uint32_t) { return -EINVAL; }

}  // namespace ouro

#endif
