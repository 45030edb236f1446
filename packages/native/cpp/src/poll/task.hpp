// One SQE that the engine has taken over, until its last completion.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "sqe.hpp"

namespace ouro {

struct Task;
using Timers = std::multimap<int64_t, Task*>;

// Provided buffers that are one op's.
struct Selected {
  std::vector<iovec> parts;
  uint64_t length = 0;
  uint32_t flags = 0;  // of the completion
};

struct Task {
  enum class State : uint8_t {
    kReady,    // about to be tried, or to be ended with `result`
    kLinked,   // waits for the op that it is linked to
    kWaiting,  // for its descriptor to be readable or writable
    kTimed,    // for its time
    kPooled,   // for a thread of the pool, or is in one
    kClosing,  // a close that waits for threads to let go of the descriptor
    kOpening,  // a thread of its own opens a named pipe
    kFutex,    // a thread of its own waits for a futex
    kChild,    // for news of a child process
  };

  abi::Sqe sqe;
  State state = State::kReady;
  bool begun = false;       // has been tried once
  bool put_off = false;     // asked to wait first, and has let the others go before it
  bool ends = false;        // is to end with `result` without being tried
  bool failed = false;      // breaks a soft link
  bool mute = false;        // posts no completion: cancelled with a link whose completions are skipped
  uint8_t follows = 0;      // was linked, and its turn has come: rounds in which others come first
  bool cancelled = false;   // asked for while a thread was at it
  bool taken = false;       // a thread of the pool is at it, or has been: guarded by the pool
  bool counts_fd = false;   // among the threads' users of `fd`
  bool counts_other = false;
  bool owns_other = false;
  bool owns_fd = false;     // `fd` is a duplicate
  int fd = -1;              // the ordinary descriptor that it works on
  int origin_fd = -1;       // of which that is a duplicate, if it is
  int other_fd = -1;        // a splice: where it takes from
  int pipe_fd = -1;         // a named pipe (O_PATH) whose open waits for somebody at the other end
  int in_fd = -1;           // the same under its own number, and where it puts to: `fd` is the one it waits for
  int out_fd = -1;
  bool keeps_ends = false;  // those two are duplicates of its own
  int keeps_open = -1;      // the descriptor that is not closed before this op, which it has woken, or what is linked behind it has been tried
  int turn_fd = -1;         // the descriptor on which it takes its turn, or has it
  bool has_turn = false;
  uint32_t events = 0;      // what its descriptor was ready for when it is tried again; 0 the first time
  uint32_t wanted = 0;      // POLL* bits it waits for
  uint32_t shots = 0;       // completions that a timeout or a receive of messages has posted
  int64_t deadline = 0;
  int64_t interval = 0;
  int32_t result = 0;
  uint64_t moved = 0;       // bytes of earlier tries
  uint64_t arrival = 0;     // when it came to wait for its descriptor
  Task* next = nullptr;     // linked behind it
  Task* guard = nullptr;    // its LINK_TIMEOUT
  std::unique_ptr<Selected> selected;  // provided buffers that a send has taken
  Task* subject = nullptr;  // of a LINK_TIMEOUT: the op whose time it measures
  // In the list of those that wait for the same descriptor, or of what is counted.
  Task* list_next = nullptr;
  Task* list_previous = nullptr;
  // In the list of all.
  Task* all_next = nullptr;
  Task* all_previous = nullptr;
  Timers::iterator timer;

  abi::Opcode opcode() const { return static_cast<abi::Opcode>(sqe.opcode); }
  bool has(uint8_t flag) const { return (sqe.flags & flag) != 0; }
  template <class T>
  T* at(uint64_t address) const {
    return reinterpret_cast<T*>(address);
  }
};

// What came of trying an op.
struct Step {
  enum class Kind : uint8_t { kDone, kWait, kPool, kPending, kAgain };
  Kind kind;
  int32_t result = 0;    // of what is done
  uint32_t flags = 0;    // of its completion; for kWait the POLL* bits
  bool failed = false;   // a soft link breaks

  static Step done(int64_t result, uint32_t flags = 0) {
    return {Kind::kDone, static_cast<int32_t>(result), flags, result < 0};
  }
  // Fewer bytes than asked for: counts as done, and as failed where links are concerned.
  static Step shorter(int64_t result, bool failed, uint32_t flags = 0) {
    return {Kind::kDone, static_cast<int32_t>(result), flags, failed || result < 0};
  }
  static Step wait(uint32_t events) { return {Kind::kWait, 0, events}; }
  static Step pool() { return {Kind::kPool}; }
  static Step pending() { return {Kind::kPending}; }
  // Tried once more in the next turn: others come first.
  static Step again() { return {Kind::kAgain}; }
};

// The list of those that wait for the same thing, in the order of `arrival`.
class TaskList {
 public:
  bool empty() const { return first_ == nullptr; }
  Task* first() const { return first_; }
  Task* last() const { return last_; }
  void push(Task* task) {
    Task* before = last_;
    while (before != nullptr && before->arrival > task->arrival) before = before->list_previous;
    Task* after = before == nullptr ? first_ : before->list_next;
    task->list_previous = before;
    task->list_next = after;
    (before == nullptr ? first_ : before->list_next) = task;
    (after == nullptr ? last_ : after->list_previous) = task;
  }
  void remove(Task* task) {
    (task->list_previous == nullptr ? first_ : task->list_previous->list_next) = task->list_next;
    (task->list_next == nullptr ? last_ : task->list_next->list_previous) = task->list_previous;
    task->list_next = task->list_previous = nullptr;
  }

 private:
  Task* first_ = nullptr;
  Task* last_ = nullptr;
};

}  // namespace ouro
