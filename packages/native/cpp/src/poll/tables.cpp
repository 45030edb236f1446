#include "tables.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace ouro {
namespace {

constexpr uint32_t kMostFiles = 1U << 20;
constexpr uint32_t kMostBuffers = 1U << 14;
constexpr uint32_t kMostRingEntries = 1U << 15;
constexpr uint64_t kMostProvided = 1U << 16;
constexpr uint64_t kPage = 4096;

}  // namespace

FileTable::~FileTable() {
  for (const int fd : fds_) {
    if (fd >= 0) ::close(fd);
  }
}

int FileTable::create(const abi::RsrcRegister& request) {
  if (exists_) return -EBUSY;
  if (request.nr == 0) return -EINVAL;
  if (request.nr > kMostFiles) return -EMFILE;
  const auto* given = reinterpret_cast<const int32_t*>(request.data);
  const bool sparse = (request.flags & abi::kRsrcRegisterSparse) != 0;
  if (sparse && given != nullptr) return -EINVAL;
  const std::lock_guard lock(mutex_);
  fds_.assign(request.nr, -1);
  for (uint32_t i = 0; !sparse && i < request.nr; ++i) {
    if (given[i] < 0) continue;
    fds_[i] = ::fcntl(given[i], F_DUPFD_CLOEXEC, 0);
    if (fds_[i] >= 0) continue;
    const int error = errno;
    for (const int fd : fds_) {
      if (fd >= 0) ::close(fd);
    }
    fds_.clear();
    return -error;
  }
  exists_ = true;
  range_begin_ = next_ = 0;
  range_end_ = request.nr;
  return 0;
}

int FileTable::set_range(const abi::FileIndexRange& range) {
  const std::lock_guard lock(mutex_);
  if (range.reserved != 0) return -EINVAL;
  if (uint64_t{range.off} + range.len > UINT32_MAX) return -EOVERFLOW;
  if (uint64_t{range.off} + range.len > fds_.size()) return -EINVAL;
  range_begin_ = next_ = range.off;
  range_end_ = range.off + range.len;
  return 0;
}

int FileTable::at(uint32_t index) const {
  const std::lock_guard lock(mutex_);
  return index < fds_.size() ? fds_[index] : -1;
}

int FileTable::install(int fd, uint32_t file_index, int& replaced) {
  const std::lock_guard lock(mutex_);
  replaced = -1;
  int error = exists_ ? 0 : file_index == abi::kFileIndexAlloc ? ENFILE : ENXIO;
  uint32_t index = file_index - 1;
  if (error == 0 && file_index == abi::kFileIndexAlloc) {
    error = ENFILE;
    for (uint32_t looks = range_begin_; looks < range_end_; ++looks) {
      if (next_ >= range_end_) next_ = range_begin_;
      index = next_++;
      if (fds_[index] < 0) {
        error = 0;
        break;
      }
    }
  } else if (error == 0 && index >= fds_.size()) {
    error = EINVAL;
  }
  if (error != 0) {
    ::close(fd);
    return -error;
  }
  replaced = std::exchange(fds_[index], fd);
  // The search for a free place goes on behind the last one that was taken.
  if (replaced < 0) next_ = std::clamp(index + 1, range_begin_, range_end_);
  return static_cast<int>(index);
}

int FileTable::take(uint32_t index) {
  const std::lock_guard lock(mutex_);
  if (!exists_) return -ENXIO;
  if (index >= fds_.size()) return -EINVAL;
  if (fds_[index] < 0) return -EBADF;
  next_ = std::clamp(index, range_begin_, range_end_);
  return std::exchange(fds_[index], -1);
}

int FixedBuffers::create(const abi::RsrcRegister& request) {
  if (exists_) return -EBUSY;
  if (request.nr == 0 || request.nr > kMostBuffers) return -EINVAL;
  const auto* given = reinterpret_cast<const iovec*>(request.data);
  if ((request.flags & abi::kRsrcRegisterSparse) != 0 || given == nullptr) {
    buffers_.assign(request.nr, {});
  } else {
    buffers_.assign(given, given + request.nr);
  }
  exists_ = true;
  return 0;
}

int FixedBuffers::update(const abi::RsrcUpdate& request) {
  if (!exists_) return -ENXIO;
  if (request.nr == 0 || uint64_t{request.offset} + request.nr > buffers_.size()) return -EINVAL;
  const auto* given = reinterpret_cast<const iovec*>(request.data);
  std::copy(given, given + request.nr, buffers_.begin() + request.offset);
  return static_cast<int>(request.nr);
}

int FixedBuffers::check(uint16_t index, uint64_t address, uint64_t length) const {
  if (index >= buffers_.size()) return -EFAULT;
  const auto begin = reinterpret_cast<uint64_t>(buffers_[index].iov_base);
  const uint64_t size = buffers_[index].iov_len;
  const bool inside = begin != 0 && address >= begin && length <= size && address - begin <= size - length;
  return inside ? 0 : -EFAULT;
}

// JavaScript writes the tail with a store that others see in order; it is the same thread, mostly.
uint16_t BufferGroup::tail() const { return __atomic_load_n(&ring_[0].tail, __ATOMIC_ACQUIRE); }

uint32_t BufferGroup::pick(Picked* picks, uint32_t most, uint64_t length) const {
  uint32_t count = 0;
  uint64_t total = 0;
  const auto wanted = [&] { return count < most && (count == 0 || length == 0 || total < length); };
  const auto add = [&](uint64_t address, uint32_t size, uint16_t bid) {
    if (length != 0) size = static_cast<uint32_t>(std::min<uint64_t>(size, length - total));
    picks[count++] = {address, size, bid};
    total += size;
  };
  if (is_ring()) {
    for (uint16_t at = head_, end = tail(); at != end && wanted(); ++at) {
      const abi::Buf& buf = ring_[at & mask_];
      add(buf.addr, buf.len, buf.bid);
    }
  } else {
    for (auto it = list_.begin(); it != list_.end() && wanted(); ++it) add(it->address, it->length, it->bid);
  }
  return count;
}

uint32_t BufferGroup::commit(uint32_t picks, uint64_t bytes) {
  const uint16_t bid = is_ring() ? ring_[head_ & mask_].bid : list_.front().bid;
  uint32_t flags = abi::kCqeBuffer | (uint32_t{bid} << abi::kCqeBufferShift);
  if (!is_ring()) {
    list_.pop_front();
    return flags;
  }
  if (incremental_) {
    do {
      abi::Buf& buf = ring_[head_ & mask_];
      const auto used = static_cast<uint32_t>(std::min<uint64_t>(bytes, buf.len));
      if (used < buf.len) {
        buf.addr += used;
        buf.len -= used;
        return flags | abi::kCqeBufMore;
      }
      buf.len = 0;
      ++head_;
      bytes -= used;
    } while (bytes > 0);
    return flags;
  }
  uint64_t left = bytes;
  uint32_t used = 0;
  do {
    const uint32_t length = ring_[(head_ + used) & mask_].len;
    ++used;
    if (left <= length) break;
    left -= length;
  } while (used < picks);
  head_ = static_cast<uint16_t>(head_ + used);
  return flags;
}

void BufferGroup::provide(uint64_t address, uint32_t length, uint32_t count, uint16_t first) {
  for (uint32_t i = 0; i < count; ++i) {
    list_.push_back({address + uint64_t{i} * length, length, static_cast<uint16_t>(first + i)});
  }
}

uint32_t BufferGroup::remove(uint32_t count) {
  const auto removed = std::min<size_t>(count, list_.size());
  list_.erase(list_.begin(), list_.begin() + static_cast<std::ptrdiff_t>(removed));
  return static_cast<uint32_t>(removed);
}

int BufferGroups::create(const abi::BufReg& request) {
  const uint32_t entries = request.ring_entries;
  if ((request.flags & ~abi::kPbufRingInc) != 0) return -EINVAL;
  if (request.ring_addr == 0) return -EFAULT;
  if (request.ring_addr % kPage != 0) return -EINVAL;
  if (entries == 0 || (entries & (entries - 1)) != 0 || entries > kMostRingEntries) return -EINVAL;
  if (BufferGroup* other = find(request.bgid); other != nullptr) {
    uint32_t buffers = 0;
    Picked first;
    buffers = other->pick(&first, 1, 0);
    if (other->is_ring() || buffers > 0) return -EEXIST;
  }
  groups_[request.bgid] = std::make_unique<BufferGroup>(reinterpret_cast<abi::Buf*>(request.ring_addr), entries,
                                                        (request.flags & abi::kPbufRingInc) != 0);
  return 0;
}

int BufferGroups::remove(const abi::BufReg& request) {
  const BufferGroup* group = find(request.bgid);
  if (group == nullptr) return -ENOENT;
  if (!group->is_ring()) return -EINVAL;
  groups_.erase(request.bgid);
  return 0;
}

int BufferGroups::status(abi::BufStatus& request) const {
  const BufferGroup* group = find(static_cast<uint16_t>(request.buf_group));
  if (group == nullptr) return -ENOENT;
  if (!group->is_ring()) return -EINVAL;
  request.head = group->head();
  return 0;
}

BufferGroup* BufferGroups::find(uint16_t id) const {
  const auto found = groups_.find(id);
  return found == groups_.end() ? nullptr : found->second.get();
}

int BufferGroups::provide(uint16_t id, uint64_t address, uint32_t length, uint32_t count, uint64_t first) {
  if (count == 0 || count > kMostProvided) return -E2BIG;
  if (address == 0) return -EFAULT;
  if (length == 0) return -EINVAL;
  if (first > UINT16_MAX) return -E2BIG;
  if (first + count > kMostProvided) return -EINVAL;
  std::unique_ptr<BufferGroup>& group = groups_[id];
  if (group == nullptr) group = std::make_unique<BufferGroup>();
  if (group->is_ring()) return -EINVAL;
  group->provide(address, length, count, static_cast<uint16_t>(first));
  return 0;
}

int BufferGroups::take_back(uint16_t id, uint32_t count) {
  if (count == 0 || count > kMostProvided) return -EINVAL;
  BufferGroup* group = find(id);
  if (group == nullptr) return -ENOENT;
  if (group->is_ring()) return -EINVAL;
  return static_cast<int>(group->remove(count));
}

}  // namespace ouro
