// How a ring is made: the flags it may have, its memory, what the kernel can do.
#include "uring.hpp"

#include <algorithm>
#include <cstring>

namespace ouro {
namespace {

// From the fullest set down; a kernel that does not know a flag answers EINVAL.
//   DEFER_TASKRUN (6.1, needs SINGLE_ISSUER 6.0): completions are made only inside our own enter.
//   NO_SQARRAY (6.6): one indirection less. COOP_TASKRUN (5.19): no interrupts from completions.
//   TASKRUN_FLAG (5.19, needs one of the two): says in the SQ flags that an enter would make completions.
//   SUBMIT_ALL (5.18): one bad SQE does not stop the rest. CQSIZE (5.5), CLAMP (5.6).
constexpr uint32_t kBasic = IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE;
constexpr uint32_t kSingle = kBasic | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER;
constexpr uint32_t kLadder[] = {
    kSingle | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG | abi::kSetupNoSqArray,
    kSingle | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
    kSingle | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
    kBasic | IORING_SETUP_SUBMIT_ALL,
    kBasic,
    0,
};
// With SQPOLL completions are made by the kernel's thread, and the flags that say where else are refused.
constexpr uint32_t kPolledLadder[] = {
    kSingle | abi::kSetupNoSqArray,
    kSingle,
    kBasic | IORING_SETUP_SUBMIT_ALL,
    kBasic,
    0,
};

constexpr uint32_t kTaskrun = IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_COOP_TASKRUN;
constexpr uint32_t kSmallestRing = 8;

}  // namespace

std::unique_ptr<Engine> open_ring(const UringOptions& options, const SharedMemory& memory, int& error) {
  return Uring::create(options, memory, error);
}

int try_ring(uint32_t setup_flags, uint32_t cpu) {
  io_uring_params params{};
  params.flags = setup_flags;
  params.sq_thread_cpu = cpu;
  const int fd = sys::io_uring_setup(8, &params);
  const sys::Fd ring(fd);
  return std::min(fd, 0);
}

std::unique_ptr<Uring> Uring::create(const UringOptions& options, const SharedMemory& memory, int& error) {
  std::unique_ptr<Uring> ring(new Uring(memory));  // the constructor is private: make_unique cannot reach it
  error = ring->setup(options);
  if (error == 0) error = ring->map_rings();
  if (error == 0) error = ring->probe();
  if (error != 0) return nullptr;

  // A registered ring descriptor saves the lookup of the file on every enter (5.18); without it all works too.
  io_uring_rsrc_update update{};
  update.offset = 0xFFFFFFFF;
  update.data = static_cast<uint64_t>(ring->fd_.get());
  ring->enter_fd_ = ring->fd_.get();
  if (sys::io_uring_register(ring->fd_.get(), IORING_REGISTER_RING_FDS, &update, 1) == 1) {
    ring->enter_fd_ = static_cast<int>(update.offset);
    ring->enter_flags_ = IORING_ENTER_REGISTERED_RING;
  }

  // With DEFER_TASKRUN nothing moves without an enter, so without the flag there is nothing to look at.
  const bool visible_work = !ring->has_mode(IORING_SETUP_DEFER_TASKRUN) || ring->has_mode(IORING_SETUP_TASKRUN_FLAG);
  if (visible_work) ring->spin_ = SpinBudget(options.spin_max_ns, options.spin_share);
  if ((ring->params_.features & abi::kFeatMinTimeout) != 0) {
    ring->min_wait_completions_ = options.min_wait_completions;
    ring->min_wait_us_ = options.min_wait_us;
  }
  return ring;
}

int Uring::setup(const UringOptions& options) {
  int error = -EINVAL;
  const std::span<const uint32_t> ladder =
      (options.mode & IORING_SETUP_SQPOLL) != 0 ? std::span<const uint32_t>(kPolledLadder) : kLadder;
  for (const uint32_t rung : ladder) {
    uint32_t flags = rung & options.flag_mask;
    if ((flags & kTaskrun) == 0) flags &= ~IORING_SETUP_TASKRUN_FLAG;
    // Kernels before 5.12 and from 6.13 on charge the ring to the memlock limit, which may be 64 KiB: ENOMEM then,
    // and a smaller ring may still fit.
    uint32_t cq_entries = options.cq_entries;
    for (uint32_t entries = options.sq_entries; entries >= kSmallestRing; entries /= 2, cq_entries /= 2) {
      params_ = {};
      params_.flags = flags | options.mode;
      params_.sq_thread_idle = options.sq_idle_ms;
      params_.sq_thread_cpu = options.sq_cpu;
      if ((params_.flags & IORING_SETUP_CQSIZE) != 0) params_.cq_entries = std::max(cq_entries, entries);
      const int fd = sys::io_uring_setup(entries, &params_);
      if (fd >= 0) {
        fd_ = sys::Fd(fd);
        return 0;
      }
      error = fd;
      if (error != -ENOMEM) break;
    }
    if (error != -EINVAL) break;
  }
  return error;
}

int Uring::map_rings() {
  const size_t cq_size = params_.cq_off.cqes + params_.cq_entries * sizeof(io_uring_cqe);
  const bool indexed = (params_.flags & abi::kSetupNoSqArray) == 0;
  const size_t sq_size =
      indexed ? params_.sq_off.array + params_.sq_entries * sizeof(uint32_t) : cq_size;
  const bool single = (params_.features & IORING_FEAT_SINGLE_MMAP) != 0;

  sq_ring_ = sys::Mapping::map(single ? std::max(sq_size, cq_size) : sq_size, fd_.get(), IORING_OFF_SQ_RING);
  if (!sq_ring_) return -errno;
  if (!single) {
    cq_ring_ = sys::Mapping::map(cq_size, fd_.get(), IORING_OFF_CQ_RING);
    if (!cq_ring_) return -errno;
  }
  sqes_ = sys::Mapping::map(params_.sq_entries * sizeof(io_uring_sqe), fd_.get(), IORING_OFF_SQES);
  if (!sqes_) return -errno;

  const sys::Mapping& cq = single ? sq_ring_ : cq_ring_;
  sq_khead_ = sq_ring_.at<uint32_t>(params_.sq_off.head);
  sq_ktail_ = sq_ring_.at<uint32_t>(params_.sq_off.tail);
  sq_kflags_ = sq_ring_.at<uint32_t>(params_.sq_off.flags);
  cq_khead_ = cq.at<uint32_t>(params_.cq_off.head);
  cq_ktail_ = cq.at<uint32_t>(params_.cq_off.tail);
  cq_mask_ = *cq.at<uint32_t>(params_.cq_off.ring_mask);
  cqes_ = cq.at<io_uring_cqe>(params_.cq_off.cqes);
  if (indexed) {
    // Slot i of the SQ always holds SQE i, so the index array is written once.
    uint32_t* array = sq_ring_.at<uint32_t>(params_.sq_off.array);
    for (uint32_t i = 0; i < params_.sq_entries; ++i) array[i] = i;
  }
  return 0;
}

int Uring::probe() {
  constexpr uint32_t kMost = 256;
  std::vector<uint64_t> memory((sizeof(io_uring_probe) + kMost * sizeof(io_uring_probe_op)) / sizeof(uint64_t) + 1);
  auto* answer = reinterpret_cast<io_uring_probe*>(memory.data());
  const int error = sys::io_uring_register(fd_.get(), IORING_REGISTER_PROBE, answer, kMost);
  if (error < 0) return error;
  opcodes_.assign(static_cast<size_t>(answer->last_op) + 1, 0);
  for (uint32_t i = 0; i < answer->ops_len; ++i) {
    const io_uring_probe_op& op = answer->ops[i];
    if (op.op < opcodes_.size()) opcodes_[op.op] = static_cast<uint8_t>(op.flags);
  }
  const uint32_t needed = IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG;
  const bool new_enough = opcodes_.size() > abi::kOpSendZc && (opcodes_[abi::kOpSendZc] & IO_URING_OP_SUPPORTED) != 0;
  return (params_.features & needed) == needed && new_enough ? 0 : -ENOTSUP;
}

RingDescription Uring::describe() const {
  return {"uring",           fd_.get(),      {sqes_.data(), sqes_.size()}, params_.sq_entries, params_.cq_entries,
          params_.flags,     params_.features, opcodes_};
}

}  // namespace ouro
