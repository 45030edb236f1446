#include "poll_engine.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <string>
#include <utility>

#ifdef __linux__
#include <sys/eventfd.h>
#endif

#include "prepare.hpp"

namespace ouro {
namespace {

constexpr uint32_t kTasksPerBlock = 256;
constexpr size_t kMostReady = 512;
// Turns with completions at hand that go by without a look at the descriptors.
constexpr uint32_t kMostLooksSkipped = 8;
constexpr uint32_t kMostSlots = 1U << 22;
constexpr uint32_t kCqEntries = 4096;  // what is said; there is no limit

int64_t now_ns() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

// Rings of the process by the descriptor that names them.
std::map<int, PollEngine*>& rings() {
  // Never destroyed: threads may outlive the end of the program's own code.
  static auto* all = new std::map<int, PollEngine*>();
  return *all;
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
    : Engine(memory), loop_(loop), pool_(loop, work, [this] { wake(); }) {}

int PollEngine::setup(uint32_t sq_entries) {
  sq_entries_ = sq_entries;
  sqes_ = sys::Mapping::map(sq_entries * sizeof(abi::Sqe), -1, 0);
  if (!sqes_) return -ENOMEM;
  readiness_ = Readiness::create();
  if (readiness_ == nullptr) return -errno;
  ready_fds_.resize(kMostReady);
#ifdef __linux__
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
  const std::lock_guard lock(rings_mutex());
  rings()[wake_read_.get()] = this;
  return 0;
}

PollEngine::~PollEngine() {
  const std::lock_guard lock(rings_mutex());
  if (wake_read_) rings().erase(wake_read_.get());
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
  description.opcodes.resize(abi::kOpcodes);
  for (uint8_t opcode = 0; opcode < abi::kOpcodes; ++opcode) {
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
    task->result = prepare(task->sqe, linked && last->guard == nullptr);
    broken |= task->result != 0;
    if (linked && task->opcode() == abi::kLinkTimeout && last->guard == nullptr) {
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
    run_ready();
  }
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
  while (!ready_.empty()) {
    Task* task = ready_.front();
    ready_.pop_front();
    if (task->ends) {
      complete(task, task->result, 0, task->result != 0);
    } else {
      start(task);
    }
  }
  running_ = false;
}

void PollEngine::start(Task* task) {
  task->state = Task::State::kReady;
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
      ready_.push_back(next);
    }
  }
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

// ---- descriptors

PollEngine::Descriptor& PollEngine::descriptor(int fd) {
  const auto index = static_cast<size_t>(fd);
  if (index >= descriptors_.size()) descriptors_.resize(std::max(index + 1, descriptors_.size() * 2));
  std::unique_ptr<Descriptor>& place = descriptors_[index];
  if (place == nullptr) place = std::make_unique<Descriptor>();
  return *place;
}

// One that nobody closes but through this engine.
bool PollEngine::owned(int fd) const {
  const auto index = static_cast<size_t>(fd);
  if (index < fd_table_.size() && fd_table_[index] != 0) return true;
  return index < descriptors_.size() && descriptors_[index] != nullptr &&
         (descriptors_[index]->direct || descriptors_[index]->kept);
}

int PollEngine::resolve(Task* task, int32_t fd, bool fixed, int& out) {
  if (fixed) {
    out = files_.at(static_cast<uint32_t>(fd));
    if (out >= 0) descriptor(out).direct = true;
  } else {
    out = fd;
  }
  return out < 0 ? -EBADF : 0;
}

void PollEngine::park(Task* task, uint32_t events) {
  const int fd = task->fd;
  const abi::Opcode opcode = task->opcode();
  if (!task->checked) {
    task->checked = true;
    const bool itself = opcode == abi::kPollAdd || opcode == abi::kEpollWait || opcode == abi::kConnect ||
                        opcode == abi::kReadMultishot;
    // A descriptor that its owner has made non-blocking is not waited for.
    if (const int flags = ::fcntl(fd, F_GETFL); !itself && flags >= 0 && (flags & O_NONBLOCK) != 0) {
      return complete(task, -EAGAIN, 0, true);
    }
  }
  if (!owned(fd)) {
    // An op holds the file it works on, whatever becomes of a number that others may close.
    if (const int copy = ::fcntl(fd, F_DUPFD_CLOEXEC, 0); copy >= 0) {
      task->origin_fd = fd;
      task->fd = copy;
      descriptor(copy).kept = true;
    }
  }
  Descriptor& place = descriptor(task->fd);
  if (!place.watched || !readiness_->edges() || !owned(task->fd)) {
    const int error = readiness_->watch(task->fd, events);
    if (error != 0) {
      const int copy = task->fd;
      if (error == -EPERM) {
        send_to_pool(task);
      } else {
        complete(task, error, 0, true);
      }
      return let_go(copy);
    }
    place.watched = true;
  }
  task->wanted = events | POLLERR | POLLHUP;
  task->events = 0;
  task->state = Task::State::kWaiting;
  if (task->arrival == 0) task->arrival = ++arrivals_;
  place.waiting.push(task);
  ++waiting_;
}

void PollEngine::unpark(Task* task) {
  descriptor(task->fd).waiting.remove(task);
  --waiting_;
}

// Nobody may wait for the descriptor any more: then what is not ours must not stay registered under its number.
void PollEngine::let_go(int fd) {
  const Descriptor& place = descriptor(fd);
  if (place.kept && place.waiting.empty() && place.users == 0) {
    close_now(fd);
  } else if (place.watched && place.waiting.empty() && !owned(fd)) {
    readiness_->forget(fd);
    descriptor(fd).watched = false;
  }
}

void PollEngine::on_ready(int fd, uint32_t events) {
  if (fd == loop_fd_) {
    loop_poll_fired_ = true;
    return;
  }
  if (fd == wake_read_.get()) return take_messages();
  if (static_cast<size_t>(fd) >= descriptors_.size() || descriptors_[fd] == nullptr) return;
  Descriptor& place = *descriptors_[fd];
  // The kernel wakes those first who came last.
  Task* next = nullptr;
  for (Task* task = place.waiting.last(); task != nullptr; task = next) {
    next = task->list_previous;
    if ((task->wanted & events) == 0) continue;
    if (task->opcode() == abi::kPollAdd && (task->sqe.len & abi::kPollAddMulti) != 0) {
      pollfd look{fd, static_cast<short>(task->wanted), 0};
      if (::poll(&look, 1, 0) > 0) post_more(task, look.revents, 0);
      continue;
    }
    unpark(task);
    task->state = Task::State::kReady;
    task->events = events;
    ready_.push_back(task);
  }
  run_ready();
  let_go(fd);
}

// Writes to one file are done one after the other, as the kernel's own threads do them; so is what moves the file's
// position.
static bool takes_turns(const abi::Sqe& sqe) {
  switch (static_cast<abi::Opcode>(sqe.opcode)) {
    case abi::kWrite:
    case abi::kWritev:
    case abi::kWriteFixed:
    case abi::kWritevFixed:
      return true;
    case abi::kRead:
    case abi::kReadv:
    case abi::kReadFixed:
    case abi::kReadvFixed:
      return sqe.off == UINT64_MAX;
    default:
      return false;
  }
}

void PollEngine::send_to_pool(Task* task) {
  task->state = Task::State::kPooled;
  task->taken = false;
  const int number = task->fd;
  hold(task);
  if (takes_turns(task->sqe) && !task->has_turn) {
    Descriptor& place = descriptor(number);
    task->turn_fd = number;
    if (place.busy) {
      place.turn.push_back(task);
      return;
    }
    place.busy = task->has_turn = true;
  }
  ++pooled_;
  pool_.add(task);
}

void PollEngine::hold(Task* task) {
  // The kernel holds on to the file. So that nobody closes the descriptor under a thread: our own are closed when no
  // thread is at them, others are duplicated.
  const bool closes = task->opcode() == abi::kClose;
  const auto keep = [this, closes](int& fd, bool& counts, bool& owns) {
    if (fd < 0 || counts || owns || closes) return;
    if (owned(fd)) {
      ++descriptor(fd).users;
      counts = true;
    } else if (const int copy = ::fcntl(fd, F_DUPFD_CLOEXEC, 0); copy >= 0) {
      fd = copy;
      owns = true;
    }
  };
  keep(task->fd, task->counts_fd, task->owns_fd);
  keep(task->other_fd, task->counts_other, task->owns_other);
}

void PollEngine::end_turn(int fd) {
  Descriptor& place = descriptor(fd);
  place.busy = false;
  if (place.turn.empty()) return;
  Task* task = place.turn.front();
  place.turn.pop_front();
  place.busy = task->has_turn = true;
  send_to_pool(task);
}

void PollEngine::leave_pool(Task* task) {
  --pooled_;
  release(task);
  if (std::exchange(task->has_turn, false)) end_turn(task->turn_fd);
}

void PollEngine::release(Task* task) {
  const auto let_free = [this](int fd, bool& counts, bool& owns) {
    if (std::exchange(owns, false)) ::close(fd);
    if (!std::exchange(counts, false)) return;
    Descriptor& place = descriptor(fd);
    if (--place.users > 0) return;
    for (Task* closer : std::exchange(place.closers, {})) {
      closer->state = Task::State::kReady;
      apply(closer, close_fd(fd, closer));
    }
    let_go(fd);
  };
  let_free(task->fd, task->counts_fd, task->owns_fd);
  let_free(task->other_fd, task->counts_other, task->owns_other);
}

void PollEngine::close_now(int fd) {
  if (static_cast<size_t>(fd) < descriptors_.size() && descriptors_[fd] != nullptr) {
    Descriptor& place = *descriptors_[fd];
    // By hand: a duplicate elsewhere would keep it registered.
    if (place.watched) readiness_->forget(fd);
    place.watched = place.direct = place.kept = false;
    place.type = -1;
  }
  ::close(fd);
}

Step PollEngine::close_fd(int fd, Task* task) {
  if (static_cast<size_t>(fd) < descriptors_.size() && descriptors_[fd] != nullptr) {
    Descriptor& place = *descriptors_[fd];
    if (place.users > 0) {
      task->state = Task::State::kClosing;
      place.closers.push_back(task);
      return Step::pending();
    }
    if (!place.waiting.empty()) {
      // Ops in flight keep the file: they go on with a duplicate.
      const int copy = ::fcntl(fd, F_DUPFD_CLOEXEC, 0);
      if (copy >= 0) {
        Descriptor& moved = descriptor(copy);
        Descriptor& from = descriptor(fd);  // the vector may have grown
        moved.kept = true;
        moved.watched = readiness_->watch(copy, POLLIN | POLLOUT) == 0;
        while (Task* waiting = from.waiting.first()) {
          from.waiting.remove(waiting);
          waiting->fd = copy;
          moved.waiting.push(waiting);
        }
      }
    }
  }
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0) return Step::done(-EBADF);
  struct stat about;
  // Closing what has been written to may write.
  if ((flags & O_ACCMODE) != O_RDONLY && ::fstat(fd, &about) == 0 && S_ISREG(about.st_mode)) {
    if (static_cast<size_t>(fd) < descriptors_.size() && descriptors_[fd] != nullptr) descriptors_[fd]->direct = false;
    task->fd = fd;
    return Step::pool();
  }
  close_now(fd);
  return Step::done(0);
}

// Whether an op that asks to wait first (POLL_FIRST) has to.
bool PollEngine::must_wait(int fd, uint32_t events) {
  pollfd look{fd, static_cast<short>(events), 0};
  return ::poll(&look, 1, 0) == 0;
}

// ---- time

void PollEngine::set_timer(Task* task, int64_t deadline) {
  task->deadline = deadline;
  task->timer = timers_.emplace(deadline, task);
  task->state = Task::State::kTimed;
}

void PollEngine::clear_timer(Task* task) {
  if (task->state != Task::State::kTimed) return;
  timers_.erase(task->timer);
  task->state = Task::State::kLinked;
  std::erase(counted_, task);
}

int PollEngine::read_time(uint64_t address, uint32_t flags, int64_t& deadline, int64_t& interval) {
  const auto* time = reinterpret_cast<const abi::Timespec*>(address);
  if (time == nullptr) return -EFAULT;
  const auto [sec, nsec] = *time;
  if (sec < 0 || nsec < 0) return -EINVAL;
  constexpr int64_t kMostSeconds = INT64_MAX / 1'000'000'000 / 4;
  const int64_t ns = std::min(sec, kMostSeconds) * 1'000'000'000 + std::min<int64_t>(nsec, INT64_MAX / 4);
  const int64_t now = now_ns();
  interval = ns;
  deadline = now + ns;
  if ((flags & abi::kTimeoutAbs) == 0) return 0;
  deadline = ns;
#ifdef CLOCK_BOOTTIME
  const clockid_t clock = (flags & abi::kTimeoutRealtime) != 0   ? CLOCK_REALTIME
                          : (flags & abi::kTimeoutBoottime) != 0 ? CLOCK_BOOTTIME
                                                                 : CLOCK_MONOTONIC;
#else
  const clockid_t clock = (flags & abi::kTimeoutRealtime) != 0 ? CLOCK_REALTIME : CLOCK_MONOTONIC;
#endif
  timespec there;
  clock_gettime(clock, &there);
  deadline = now + (ns - (there.tv_sec * 1'000'000'000LL + there.tv_nsec));
  return 0;
}

void PollEngine::arm_guard(Task* guard) {
  int64_t deadline = 0;
  int64_t interval = 0;
  if (read_time(guard->sqe.addr, guard->sqe.op_flags, deadline, interval) != 0) return;
  set_timer(guard, deadline);
}

void PollEngine::expire(Task* task) {
  if (task->opcode() == abi::kLinkTimeout) {
    Task* subject = std::exchange(task->subject, nullptr);
    subject->guard = nullptr;
    const int error = cancel_one(subject);
    return complete(task, error == 0 ? -ETIME : error, 0, true);
  }
  const bool counts = (task->sqe.op_flags & abi::kTimeoutEtimeSuccess) != 0;
  if ((task->sqe.op_flags & abi::kTimeoutMultishot) != 0) {
    ++task->shots;
    if (task->sqe.off == 0 || task->shots < task->sqe.off) {
      post_more(task, -ETIME, 0);
      return set_timer(task, std::max(task->deadline + task->interval, now_ns()));
    }
  }
  std::erase(counted_, task);
  complete(task, -ETIME, 0, !counts);
}

void PollEngine::run_timers() {
  if (timers_.empty()) return;
  const int64_t now = now_ns();
  while (!timers_.empty() && timers_.begin()->first <= now) {
    Task* task = timers_.begin()->second;
    timers_.erase(timers_.begin());
    task->state = Task::State::kReady;
    expire(task);
    run_ready();
  }
}

// ---- cancelling

bool PollEngine::can_cancel(const Task& task) {
  switch (task.state) {
    case Task::State::kWaiting:
    case Task::State::kPooled:
    case Task::State::kOpening:
    case Task::State::kFutex:
    case Task::State::kChild:
      return true;
    case Task::State::kTimed:
      return task.sqe.opcode == abi::kTimeout;
    case Task::State::kReady:
      return task.begun && !task.ends;
    default:
      return false;
  }
}

int PollEngine::cancel_one(Task* task) {
  const int32_t result = task->moved > 0 ? static_cast<int32_t>(task->moved) : -ECANCELED;
  switch (task->state) {
    case Task::State::kWaiting:
      unpark(task);
      end_later(task, result);
      let_go(task->fd);
      return 0;
    case Task::State::kTimed:
      clear_timer(task);
      end_later(task, -ECANCELED);
      return 0;
    case Task::State::kReady:
      // It is in a list of those to be tried.
      task->ends = true;
      task->result = result;
      return 0;
    case Task::State::kPooled:
      if (!task->has_turn && task->turn_fd >= 0) {
        std::erase(descriptor(task->turn_fd).turn, task);
        release(task);
        end_later(task, result);
        return 0;
      }
      if (pool_.remove(task)) {
        leave_pool(task);
        end_later(task, result);
        return 0;
      }
      task->cancelled = true;
      return -EALREADY;
    case Task::State::kFutex:
      give_up_futex(task);
      return 0;
    case Task::State::kChild:
      children_.remove(task);
      end_later(task, -ECANCELED);
      return 0;
    case Task::State::kOpening:
      task->cancelled = true;
      nudge(task->pipe_fd);
      return -EALREADY;
    default:
      return -EALREADY;
  }
}

Task* PollEngine::find(uint64_t user_data, bool (*matches)(const Task&)) const {
  const auto slot = static_cast<uint32_t>(user_data);
  if (slot < by_slot_.size() && by_slot_[slot] != nullptr) {
    Task* task = by_slot_[slot];
    if (task->sqe.user_data == user_data && matches(*task)) return task;
  }
  for (Task* task = all_; slot >= kMostSlots && task != nullptr; task = task->all_next) {
    if (task->sqe.user_data == user_data && matches(*task)) return task;
  }
  return nullptr;
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

int PollEngine::submit_and_wait(int64_t timeout_ns) {
  if (stopping_) return 0;
  control_->enters += 1;
  take_queue();
  for (Task* task : std::exchange(later_, {})) ready_.push_back(task);
  take_done();
  run_ready();
  run_timers();
  if (!completions_.empty()) {
    control_->in_flight = in_flight_;
    // What a turn does at once (a server's answers) is told first: meanwhile more arrives for one look to find.
    if (looks_skipped_++ < (waiting_ == 0 ? kMostLooksSkipped : 1)) return 0;
  }
  looks_skipped_ = 0;

  if (!completions_.empty() || !later_.empty()) timeout_ns = 0;
  if (timeout_ns != 0 && !timers_.empty()) {
    const int64_t until = std::max<int64_t>(timers_.begin()->first - now_ns(), 0);
    timeout_ns = timeout_ns < 0 ? until : std::min(timeout_ns, until);
  }
  const int64_t began = timeout_ns == 0 ? 0 : now_ns();
  if (timeout_ns != 0) control_->waits += 1;
  const int count = readiness_->wait(timeout_ns, ready_fds_);
  if (timeout_ns != 0) control_->idle_ns += static_cast<double>(now_ns() - began);
  for (int i = 0; i < count; ++i) on_ready(ready_fds_[i].fd, ready_fds_[i].events);
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
  return timers_.empty() ? -1 : std::max<int64_t>(timers_.begin()->first - now_ns(), 0);
}

uint32_t PollEngine::reap() {
  discard_rest();
  const uint32_t count = take(batch_);
  control_->in_flight = in_flight_;
  control_->batch_length = count;
  control_->batch_position = 0;
  return count;
}

// ---- messages

std::mutex& PollEngine::rings_mutex() {
  static std::mutex mutex;
  return mutex;
}

PollEngine* PollEngine::ring_of(int fd) {
  const auto found = rings().find(fd);
  return found == rings().end() ? nullptr : found->second;
}

void PollEngine::deliver_message(const Message& message) {
  {
    const std::lock_guard lock(messages_mutex_);
    messages_.push_back(message);
  }
  wake();
}

void PollEngine::take_messages() {
  uint64_t buffer[8];
  while (::read(wake_read_.get(), buffer, sizeof(buffer)) == static_cast<ssize_t>(sizeof(buffer))) {
  }
  std::vector<Message> messages;
  {
    const std::lock_guard lock(messages_mutex_);
    messages.swap(messages_);
  }
  for (const Message& message : messages) post(message.user_data, message.result, message.flags);
  run_ready();
}

void PollEngine::wake() {
  const uint64_t one = 1;
  const int fd = wake_write_ ? wake_write_.get() : wake_read_.get();
  // Full means that it is awake already.
  [[maybe_unused]] const ssize_t written = ::write(fd, &one, sizeof(one));
}

// ---- the end

void PollEngine::shutdown() {
  {
    const std::lock_guard lock(rings_mutex());
    rings().erase(wake_read_.get());
  }
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
