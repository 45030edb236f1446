#include "poll_engine.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#ifdef OURO_LINUX
#include <sys/eventfd.h>
#endif

#include "prepare.hpp"

namespace ouro {
namespace {

constexpr uint32_t kTasksPerBlock = 256;
constexpr size_t kMostReady = 512;
constexpr size_t kMostBetween = 64;
// Turns with completions at hand that go by without a look at the descriptors.
constexpr uint32_t kMostLooksSkipped = 8;
constexpr int64_t kPipePauseNs = 2'000'000;
constexpr uint32_t kCqEntries = 4096;  // what is said; there is no limit

// Whether it asks to wait before it is tried (POLL_FIRST).
bool waits_first(const abi::Sqe& sqe) {
  switch (static_cast<abi::Opcode>(sqe.opcode)) {
    case abi::kSend:
    case abi::kSendZc:
    case abi::kSendmsg:
    case abi::kSendmsgZc:
    case abi::kRecv:
    case abi::kRecvmsg:
      return (sqe.ioprio & abi::kPollFirst) != 0;
    case abi::kAccept:
      return (sqe.ioprio & abi::kAcceptPollFirst) != 0;
    default:
      return false;
  }
}

}  // namespace

std::unique_ptr<PollEngine> PollEngine::create(uint32_t sq_entries, uv_loop_t* loop,
                                               const SharedMemory& memory, int& error) {
  std::unique_ptr<PollEngine> engine(new PollEngine(loop, memory));
  error = engine->setup(sq_entries);
  if (error != 0) return nullptr;
  return engine;
}

PollEngine::PollEngine(uv_loop_t* loop, const SharedMemory& memory)
    : Engine(memory), loop_(loop), others_close_(memory.others_close), pool_(loop, work, [this] { wake(); }) {}

int PollEngine::setup(uint32_t sq_entries) {
  sq_entries_ = sq_entries;
  sqes_ = sys::Mapping::map(sq_entries * sizeof(abi::Sqe), -1, 0);
  if (!sqes_) return -ENOMEM;
  readiness_ = Readiness::create();
  if (readiness_ == nullptr) return -errno;
  ready_fds_.resize(kMostReady);
#ifdef OURO_LINUX
  wake_read_ = sys::Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake_read_) return -errno;
#else
  int ends[2];
  if (::pipe(ends) != 0) return -errno;
  wake_read_ = sys::Fd(ends[0]);
  wake_write_ = sys::Fd(ends[1]);
  for (const int end : ends) {
    ::fcntl(end, F_SETFL, O_NONBLOCK);
    ::fcntl(end, F_SETFD, FD_CLOEXEC);
  }
#endif
  if (const int error = readiness_->watch_level(wake_read_.get()); error != 0) return error;
  join_rings();
  return 0;
}

PollEngine::~PollEngine() {
  leave_rings();
  for (const Message& message : messages_) {
    if (message.replaced >= 0) ::close(message.replaced);
  }
}

RingDescription PollEngine::describe() const {
  RingDescription description;
  description.driver = "poll";
  description.fd = wake_read_.get();
  description.sqes = {sqes_.data(), sqes_.size()};
  description.sq_entries = sq_entries_;
  description.cq_entries = std::max(kCqEntries, sq_entries_);
  description.features = abi::kFeatNodrop | abi::kFeatSubmitStable | abi::kFeatRwCurPos | abi::kFeatCurPersonality |
                         abi::kFeatFastPoll | abi::kFeatExtArg | abi::kFeatCqeSkip | abi::kFeatRegRegRing |
                         abi::kFeatRecvsendBundle | abi::kFeatPbufInc;
  description.opcodes.resize(abi::kEndOfCalls);
  for (uint8_t opcode = 0; opcode < abi::kEndOfCalls; ++opcode) {
    abi::Sqe sqe{};
    sqe.opcode = opcode;
    description.opcodes[opcode] = is_known(sqe) ? 1 : 0;
  }
  return description;
}

// ---- the life of a task

Task* PollEngine::make(const abi::Sqe& sqe) {
  if (free_.empty()) {
    blocks_.push_back(std::make_unique<Task[]>(kTasksPerBlock));
    for (uint32_t i = kTasksPerBlock; i > 0; --i) free_.push_back(&blocks_.back()[i - 1]);
  }
  Task* task = free_.back();
  free_.pop_back();
  *task = Task();
  task->sqe = sqe;
  task->all_next = all_;
  if (all_ != nullptr) all_->all_previous = task;
  all_ = task;
  const auto slot = static_cast<uint32_t>(sqe.user_data);
  if (slot < kMostSlots) {
    if (slot >= by_slot_.size()) by_slot_.resize(std::max<size_t>(slot + 1, by_slot_.size() * 2));
    by_slot_[slot] = task;
  }
  ++in_flight_;
  control_->sqes += 1;
  return task;
}

void PollEngine::free(Task* task) {
  (task->all_previous == nullptr ? all_ : task->all_previous->all_next) = task->all_next;
  if (task->all_next != nullptr) task->all_next->all_previous = task->all_previous;
  const auto slot = static_cast<uint32_t>(task->sqe.user_data);
  if (slot < by_slot_.size() && by_slot_[slot] == task) by_slot_[slot] = nullptr;
  free_.push_back(task);
}

Task* PollEngine::take_chain() {
  constexpr uint8_t kLinks = abi::kIoLink | abi::kIoHardlink;
  const auto* sqes = reinterpret_cast<const abi::Sqe*>(sqes_.data());
  Task* first = nullptr;
  Task* last = nullptr;
  bool linked = false;
  bool broken = false;
  do {
    Task* task = make(sqes[sq_submitted_ & (sq_entries_ - 1)]);
    ++sq_submitted_;
    const bool may_guard = linked && last->guard == nullptr && last->opcode() != abi::kLinkTimeout;
    task->result = prepare(task->sqe, may_guard);
    broken |= task->result != 0;
    if (may_guard && task->opcode() == abi::kLinkTimeout) {
      last->guard = task;
      task->subject = last;
      task->state = Task::State::kLinked;
    } else {
      if (last != nullptr) {
        last->next = task;
        task->state = Task::State::kLinked;
      } else {
        first = task;
      }
      last = task;
    }
    linked = (task->sqe.flags & kLinks) != 0;
  } while (linked && sq_submitted_ != control_->sq_tail);
  if (!broken) return first;

  // Nothing of it runs.
  while (first != nullptr) {
    Task* next = std::exchange(first->next, nullptr);
    Task* guard = std::exchange(first->guard, nullptr);
    for (Task* task : {first, guard}) {
      if (task == nullptr) continue;
      complete(task, task->result != 0 ? task->result : -ECANCELED, 0, true);
    }
    first = next;
  }
  return nullptr;
}

void PollEngine::take_queue() {
  while (sq_submitted_ != control_->sq_tail) {
    const uint32_t before = in_flight_;
    Task* chain = take_chain();
    if (chain == nullptr) continue;
    if (!held_.empty() || (chain->has(abi::kIoDrain) && before > 0)) {
      held_.push_back(chain);
      held_tasks_ += in_flight_ - before;
      continue;
    }
    ready_.push_back(chain);
  }
  // Whatever comes first in a chain comes before what is linked behind it.
  run_ready();
  control_->sq_head = sq_submitted_;
  control_->in_flight = in_flight_;
}

void PollEngine::release_held() {
  const auto tasks_of = [](const Task* chain) {
    uint32_t count = 0;
    for (; chain != nullptr; chain = chain->next) count += chain->guard == nullptr ? 1 : 2;
    return count;
  };
  while (!held_.empty()) {
    Task* chain = held_.front();
    if (chain->has(abi::kIoDrain) && in_flight_ > held_tasks_) return;
    held_.pop_front();
    held_tasks_ -= tasks_of(chain);
    ready_.push_back(chain);
  }
}

void PollEngine::run_ready() {
  if (running_) return;
  running_ = true;
  while (!ready_.empty() || !kept_open_.empty()) {
    if (ready_.empty()) {
      // As in the kernel, which lets go of files at the end of a batch.
      for (const int fd : std::exchange(kept_open_, {})) drop_user(fd);
      continue;
    }
    Task* task = ready_.front();
    ready_.pop_front();
    if (task->ends) {
      complete(task, task->result, task->selected == nullptr ? 0 : task->selected->flags, task->result != 0);
    } else if (task->follows > 1 || (task->follows == 1 && waiting_ > 0)) {
      --task->follows;
      // As in the kernel: whom an op has woken is done before what is linked behind it.
      if (waiting_ > 0) look_between();
      ready_.push_back(task);
    } else if (task->keeps_open >= 0 && !task->begun) {
      // What is linked behind one that was woken still finds its file, unless it is to wait before it is tried.
      const int fd = std::exchange(task->keeps_open, -1);
      const bool first = waits_first(task->sqe);
      if (first) drop_user(fd);
      start(task);
      if (!first) drop_user(fd);
    } else if (!task->begun && !task->put_off && waits_first(task->sqe) && need_not_wait(*task)) {
      // As in the kernel, where it waits even if it need not: till whatever comes first in the other chains has been tried.
      task->put_off = true;
      ready_.push_back(task);
    } else {
      start(task);
      // (Memory of a task that has ended stays: and what it kept is another's.)
      if (task->keeps_open >= 0) kept_open_.push_back(std::exchange(task->keeps_open, -1));
    }
  }
  for (const int fd : std::exchange(closed_late_, {})) ::close(fd);
  running_ = false;
}

// Whether one that asks to wait before it is tried finds its descriptor ready.
bool PollEngine::need_not_wait(const Task& task) const {
  const int fd = task.has(abi::kFixedFile) ? files_.at(static_cast<uint32_t>(task.sqe.fd)) : task.sqe.fd;
  const bool sends = task.opcode() != abi::kRecv && task.opcode() != abi::kRecvmsg && task.opcode() != abi::kAccept;
  return fd >= 0 && !must_wait(fd, sends ? POLLOUT : POLLIN);
}

void PollEngine::look_between() {
  between_.resize(kMostBetween);
  const int count = readiness_->wait(0, between_);
  looking_ = true;
  for (int i = 0; i < count; ++i) on_ready(between_[i].fd, between_[i].events);
  looking_ = false;
}

void PollEngine::start(Task* task) {
  task->state = Task::State::kReady;
  // Its turn has come: if it is woken later it is one of the woken.
  task->follows = 0;
  Step step = attempt(task);
  task->begun = true;
  apply(task, step);
}

void PollEngine::apply(Task* task, Step step) {
  using Kind = Step::Kind;
  if (step.kind == Kind::kDone) return complete(task, step.result, step.flags, step.failed);
  if (task->guard != nullptr && task->guard->state == Task::State::kLinked) arm_guard(task->guard);
  switch (step.kind) {
    case Kind::kWait:
      return park(task, step.flags);
    case Kind::kPool:
      return send_to_pool(task);
    case Kind::kAgain:
      // Nobody closes its descriptor before its turn.
      if (!task->keeps_ends) {
        keep(task);
        hold(task);
      }
      task->state = Task::State::kReady;
      later_.push_back(task);
      return;
    default:
      return;
  }
}

void PollEngine::complete(Task* task, int32_t result, uint32_t flags, bool failed) {
  const bool skips = task->has(abi::kCqeSkipSuccess);
  Task* next = std::exchange(task->next, nullptr);
  Task* guard = std::exchange(task->guard, nullptr);
  int kept_open = std::exchange(task->keeps_open, -1);
  const bool is_guard = task->opcode() == abi::kLinkTimeout;
  const bool hard = task->has(abi::kIoHardlink);
  --in_flight_;
  const bool zero_copy = task->opcode() == abi::kSendZc || task->opcode() == abi::kSendmsgZc;
  if (zero_copy && task->state != Task::State::kLinked) {
    // The second completion, which a send that has failed has too. Here they all are copies.
    if (!task->mute) post_more(task, result, 0);
    result = (task->sqe.ioprio & abi::kZcReportUsage) != 0 ? static_cast<int32_t>(abi::kZcCopied) : 0;
    flags = abi::kCqeNotif;
  }
  if (!task->mute && !(skips && (!failed || is_guard))) {
    post(task->sqe.user_data, result, flags);
  } else {
    account_close(static_cast<uint32_t>(task->sqe.user_data), static_cast<uint32_t>(task->sqe.user_data >> 32), result);
  }
  release(task);
  if (task->keeps_ends) release_ends(task);
  free(task);
  if (guard != nullptr) {
    clear_timer(guard);
    guard->subject = nullptr;
    complete(guard, -ECANCELED, 0, false);
  }
  if (next != nullptr) {
    if (failed && !hard) {
      fail_links(next, skips);
    } else {
      next->state = Task::State::kReady;
      // A shutdown is done by a thread of the kernel: what is linked behind those whom it wakes comes before what is
      // linked behind it.
      next->follows = task->opcode() == abi::kShutdown ? 3 : 1;
      next->keeps_open = std::exchange(kept_open, -1);
      ready_.push_back(next);
    }
  }
  if (kept_open >= 0) kept_open_.push_back(kept_open);
  if (!held_.empty()) release_held();
}

void PollEngine::fail_links(Task* task, bool mute) {
  while (task != nullptr) {
    Task* next = std::exchange(task->next, nullptr);
    Task* guard = std::exchange(task->guard, nullptr);
    for (Task* each : {task, guard}) {
      if (each == nullptr) continue;
      each->mute = mute;
      each->sqe.flags &= static_cast<uint8_t>(~abi::kCqeSkipSuccess);
      complete(each, -ECANCELED, 0, true);
    }
    task = next;
  }
}

void PollEngine::post(uint64_t user_data, int32_t result, uint32_t flags) {
  const auto slot = static_cast<uint32_t>(user_data);
  const auto generation = static_cast<uint32_t>(user_data >> 32);
  if (slot == kSlotTeardown) return;
  if ((flags & abi::kCqeMore) == 0) account_close(slot, generation, result);
  control_->cqes += 1;
  ++posted_;
  if (slot != kSlotIgnored) completions_.push_back({slot, generation, result, flags});
  for (size_t i = 0; i < counted_.size(); ++i) {
    Task* timeout = counted_[i];
    if (posted_ < static_cast<uint64_t>(timeout->interval)) continue;
    counted_.erase(counted_.begin() + static_cast<std::ptrdiff_t>(i));
    --i;
    clear_timer(timeout);
    timeout->ends = true;
    timeout->failed = false;
    timeout->result = 0;
    timeout->state = Task::State::kReady;
    ready_.push_back(timeout);
  }
}

void PollEngine::end_later(Task* task, int32_t result) {
  task->ends = true;
  task->result = result;
  task->state = Task::State::kReady;
  ready_.push_back(task);
}

// ---- the queue, and waiting

int PollEngine::submit() {
  if (stopping_ || queued() == 0) return 0;
  control_->enters += 1;
  take_queue();
  return 0;
}

void PollEngine::take_done() {
  if (pooled_ > 0) {
    pool_.take(done_);
    for (Task* task : std::exchange(done_, {})) {
      leave_pool(task);
      apply(task, finish_work(task));
    }
  }
  if (!pipes_.empty()) take_pipes();
  if (!futexes_.empty()) take_futexes();
}

void PollEngine::advance() {
  control_->enters += 1;
  take_queue();
  for (Task* task : std::exchange(later_, {})) ready_.push_back(task);
  take_done();
  run_ready();
  run_timers();
}

void PollEngine::turn() {
  if (waiting_ > 0) {
    submit_and_wait(0);
  } else if (!stopping_) {
    advance();
  }
}

void PollEngine::gather() {
  if (stopping_ || pooled_ == 0) return;
  take_done();
  run_ready();
}

int PollEngine::submit_and_wait(int64_t timeout_ns) {
  if (stopping_) return 0;
  advance();
  if (!completions_.empty()) {
    control_->in_flight = in_flight_;
    // What a turn does at once (a server's answers) is told first: meanwhile more arrives for one look to find.
    if (looks_skipped_++ < (waiting_ == 0 ? kMostLooksSkipped : 1)) return 0;
  }
  looks_skipped_ = 0;

  if (!completions_.empty() || !later_.empty()) timeout_ns = 0;
  if (const int64_t next_ns = timeout_ns == 0 ? -1 : next_timer_ns(); next_ns >= 0) {
    timeout_ns = timeout_ns < 0 ? next_ns : std::min(timeout_ns, next_ns);
  }
  const int64_t began = timeout_ns == 0 ? 0 : now_ns();
  if (timeout_ns != 0) control_->waits += 1;
  const int count = readiness_->wait(timeout_ns, ready_fds_);
  if (timeout_ns != 0) control_->idle_ns += static_cast<double>(now_ns() - began);
  // All that have been woken come before what is linked behind one of them.
  running_ = true;
  for (int i = 0; i < count; ++i) on_ready(ready_fds_[i].fd, ready_fds_[i].events);
  running_ = false;
  take_done();
  run_ready();
  run_timers();
  control_->in_flight = in_flight_;
  return count < 0 ? count : 0;
}

bool PollEngine::arm_loop_poll(int fd) {
  if (loop_fd_ >= 0) return true;
  if (readiness_->watch_level(fd) != 0) return false;
  loop_fd_ = fd;
  return true;
}

bool PollEngine::has_completions() const { return !completions_.empty() || !later_.empty(); }

uint32_t PollEngine::take(std::span<Completion> out) {
  uint32_t count = 0;
  while (count < out.size() && !completions_.empty()) {
    out[count++] = completions_.front();
    completions_.pop_front();
  }
  return count;
}

int64_t PollEngine::next_timer_ns() const {
  // Opens of pipes are given up again and again, until they are.
  int64_t next_ns = !pipes_.empty() && has_cancelled_pipes() ? kPipePauseNs : -1;
  if (timers_.empty()) return next_ns;
  const int64_t until = std::max<int64_t>(timers_.begin()->first - now_ns(), 0);
  return next_ns < 0 ? until : std::min(next_ns, until);
}

uint32_t PollEngine::reap() {
  discard_rest();
  const uint32_t count = take(batch_);
  control_->in_flight = in_flight_;
  control_->batch_length = count;
  control_->batch_position = 0;
  return count;
}

// ---- the end

void PollEngine::shutdown() {
  leave_rings();
  discard_rest();
  take_queue();
  stopping_ = true;
  const auto running = [this](Task* task) {
    return task->state == Task::State::kPooled && (task->has_turn || task->turn_fd < 0);
  };
  // What no thread has begun is given up, but closes are done.
  for (Task* task = all_; task != nullptr; task = task->all_next) {
    if (!running(task) || !pool_.remove(task)) continue;
    if (task->opcode() == abi::kClose) work(*task);
    task->state = Task::State::kReady;
  }
  pool_.stop();
  pool_.take(done_);
  for (Task* task : done_) {
    const Step step = finish_work(task);
    if (step.kind == Step::Kind::kDone) post(task->sqe.user_data, step.result, step.flags);
    task->state = Task::State::kReady;
  }
  stop_pipes();
  stop_futexes();
  for (const Completion& completion : completions_) discard(completion);
  completions_.clear();
  for (Task* task = all_; task != nullptr; task = task->all_next) {
    if (task->owns_fd) ::close(task->fd);
    if (task->owns_other) ::close(task->other_fd);
    // A close that has not been run: the descriptor is nobody else's any more.
    const auto generation = static_cast<uint32_t>(task->sqe.user_data >> 32);
    const bool closes = task->opcode() == abi::kClose && (generation & kClosesFd) != 0;
    if (task->state == Task::State::kClosing) {
      ::close(task->fd);
    } else if (closes && !task->begun) {
      ::close(task->sqe.fd);
    }
    account_close(static_cast<uint32_t>(task->sqe.user_data), generation, -ECANCELED);
  }
  for (size_t fd = 0; fd < descriptors_.size(); ++fd) {
    if (descriptors_[fd] != nullptr && descriptors_[fd]->kept) ::close(static_cast<int>(fd));
  }
  all_ = nullptr;
  in_flight_ = 0;
  // (The engine of a few ops beside a ring counts none: they are the ring's to close.)
  const uint32_t high = std::min<uint32_t>(control_->fd_high, static_cast<uint32_t>(fd_table_.size()));
  for (uint32_t fd = 0; fd < high; ++fd) {
    if (std::exchange(fd_table_[fd], 0) != 0) ::close(static_cast<int>(fd));
  }
}

}  // namespace ouro
