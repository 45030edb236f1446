// What a ring registers with the kernel, kept in user space: direct descriptors, fixed buffers, provided buffers.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "sqe.hpp"

namespace ouro {

// Direct descriptors: places with ordinary descriptors behind them, which nobody outside knows. Another thread may put
// something into it (MSG_RING), so it locks.
class FileTable {
 public:
  ~FileTable();

  // IORING_REGISTER_FILES2 (sparse or with descriptors), FILE_ALLOC_RANGE. 0 or -errno.
  int create(const abi::RsrcRegister& request);
  int set_range(const abi::FileIndexRange& range);
  bool exists() const { return exists_; }

  // The descriptor in a place, or -1.
  int at(uint32_t index) const;
  // Puts `fd`, which becomes the table's, into a place (`file_index` as an SQE has it: place + 1, or the choice of a free
  // one). Returns the place, or -errno with `fd` closed; `replaced` is what was there before, or -1.
  int install(int fd, uint32_t file_index, int& replaced);
  // Takes out what is in a place: its descriptor, which is the caller's then, or -errno.
  int take(uint32_t index);
  uint32_t size() const { return static_cast<uint32_t>(fds_.size()); }

 private:
  mutable std::mutex mutex_;
  std::vector<int> fds_;
  bool exists_ = false;
  uint32_t range_begin_ = 0;
  uint32_t range_end_ = 0;
  uint32_t next_ = 0;
};

// Registered memory: what READ_FIXED and its siblings may touch.
class FixedBuffers {
 public:
  int create(const abi::RsrcRegister& request);
  int update(const abi::RsrcUpdate& request);
  // 0, or what the kernel answers: -EFAULT for no such buffer or what lies outside of it.
  int check(uint16_t index, uint64_t address, uint64_t length) const;

 private:
  std::vector<iovec> buffers_;
  bool exists_ = false;
};

// A buffer chosen from a group. `committed` says how much of it was used.
struct Picked {
  uint64_t address = 0;
  uint32_t length = 0;
  uint16_t bid = 0;
};

// Buffers that wait for data: a ring shared with JavaScript, or a list of those handed over by ops.
class BufferGroup {
 public:
  // A ring.
  BufferGroup(abi::Buf* ring, uint32_t entries, bool incremental)
      : ring_(ring), mask_(entries - 1), incremental_(incremental) {}
  // A list.
  BufferGroup() = default;

  bool is_ring() const { return ring_ != nullptr; }
  uint16_t head() const { return head_; }
  // Fills `picks` with the buffers that come next, for up to `length` bytes (0: no limit); returns their number.
  uint32_t pick(Picked* picks, uint32_t most, uint64_t length) const;
  // Buffers that there are.
  uint32_t count() const {
    return is_ring() ? static_cast<uint16_t>(tail() - head_) : static_cast<uint32_t>(list_.size());
  }
  // Bytes to commit so that the first buffer is used up altogether.
  uint64_t whole(const Picked& pick) const { return is_ring() ? ring_[head_ & mask_].len : pick.length; }
  // Uses up `bytes` of what `pick` gave; the flags for the completion. `whole`: buffers without data are used up too.
  uint32_t commit(uint32_t picks, uint64_t bytes);

  void provide(uint64_t address, uint32_t length, uint32_t count, uint16_t first);
  uint32_t remove(uint32_t count);

 private:
  uint16_t tail() const;

  abi::Buf* ring_ = nullptr;
  uint32_t mask_ = 0;
  uint16_t head_ = 0;
  bool incremental_ = false;
  std::deque<Picked> list_;
};

class BufferGroups {
 public:
  int create(const abi::BufReg& request);
  int remove(const abi::BufReg& request);
  int status(abi::BufStatus& request) const;
  BufferGroup* find(uint16_t id) const;
  // PROVIDE_BUFFERS and REMOVE_BUFFERS: 0 or the number removed, or -errno.
  int provide(uint16_t id, uint64_t address, uint32_t length, uint32_t count, uint64_t first);
  int take_back(uint16_t id, uint32_t count);

 private:
  std::unordered_map<uint16_t, std::unique_ptr<BufferGroup>> groups_;
};

}  // namespace ouro
