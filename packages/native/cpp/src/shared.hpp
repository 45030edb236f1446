// The memory that C++ and TypeScript both read and write. src/layout.ts is the other half: change both together;
// test/layout.test.ts holds them against each other.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ouro {

// One page. Words first, then counters as doubles so that JavaScript reads them without BigInt.
struct Control {
  uint32_t sq_tail;         // written by JS: SQEs that are complete in memory
  uint32_t sq_head;         // written here: SQEs that the kernel has consumed, as we last saw it
  uint32_t refs;            // written by JS: ops in flight that keep the process alive
  uint32_t armed;           // written here: 1 while the prepare handle is ref'd
  uint32_t batch_length;    // written here: completions in the batch
  uint32_t batch_position;  // written by JS: completions of the batch already taken over
  uint32_t fd_high;         // written by both: one more than the highest descriptor ever owned
  uint32_t in_flight;       // written here: ops the kernel has and has not finished

  uint32_t closing;         // raised by JS for each close queued, lowered here when it has been done
  uint32_t spin_budget_ns;  // written here: how long the next wait may spin before it sleeps

  double enters;        // io_uring_enter calls
  double sqes;          // SQEs handed to the kernel, our own poll not counted
  double cqes;          // completions reaped
  double batches;       // entries into JavaScript
  double overflows;     // times that the completion queue was found overflown
  double loop_visits;   // times the hook gave way to libuv
  double api_calls;     // Node-API calls that JavaScript made into the engine
  double waits;         // enters that were allowed to block
  double spins;         // waits that began with a spin
  double spin_hits;     // spins that a completion ended
  double spin_ns;       // time in spins, hits and misses
  double idle_ns;       // time in enters that were allowed to block
  double wakeups;       // enters that woke the kernel's submission thread (SQPOLL)
};
static_assert(offsetof(Control, enters) == 40);
static_assert(sizeof(Control) == 144);

// One completion as JavaScript reads it from the batch: four 32-bit words.
struct Completion {
  uint32_t slot;        // low half of user_data
  uint32_t generation;  // high half of user_data; see kResultIsFd
  int32_t result;
  uint32_t flags;
};
static_assert(sizeof(Completion) == 16);

// Top bit of user_data: a result of zero or more is a descriptor. The one thing that native code knows of an op:
// at teardown, when no JavaScript runs any more, such a descriptor has to be closed by us.
inline constexpr uint32_t kResultIsFd = 1U << 31;

// The bit below: the op closes a descriptor, which was disowned when it was queued. Teardown lets these end before it
// cancels the rest: one that a kernel thread has not begun (on overlayfs, NFS, FUSE) would leave its file open.
inline constexpr uint32_t kClosesFd = 1U << 30;

// And below: a zero-copy send, whose first completion leaves the memory lent to the network until the second. Teardown
// does not wait for that for ever: whether it comes is up to the peer.
inline constexpr uint32_t kLendsMemory = 1U << 29;

// Slots that belong to no op. Their completions never reach a slot table.
inline constexpr uint32_t kSlotIgnored = 0xFFFFFFFF;  // JS: cancel requests and the like
inline constexpr uint32_t kSlotLoop = 0xFFFFFFFE;     // the poll on libuv's backend descriptor
inline constexpr uint32_t kSlotTeardown = 0xFFFFFFFD; // the cancel of everything

// The batch lies behind the page of the Control.
inline constexpr size_t kBatchOffset = 4096;
inline constexpr uint32_t kBatchCapacity = 1024;

// A close behind a link of a chain, which may never be run: its descriptor was disowned when it was queued, and is the
// environment's again if the close is cancelled. Found by the slot; one whose place is taken over is forgotten.
struct LinkedClose {
  uint32_t slot;
  uint32_t generation;
  uint32_t fd_and_one;  // 0 for none
  uint32_t reserved;
};
inline constexpr size_t kLinkedCloses = 1024;
inline constexpr size_t kLinkedClosesOffset = kBatchOffset + kBatchCapacity * sizeof(Completion);

// One byte a descriptor: 1 where this environment owns it. Descriptors beyond are not tracked.
inline constexpr size_t kFdTableSize = 1U << 20;

}  // namespace ouro
