// What an engine is to the loop hook and to JavaScript. An engine executes the SQEs that lie in shared memory
// and posts completions; it knows no ops beyond that.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "shared.hpp"

namespace ouro {

// What JavaScript is told of an engine's ring.
struct RingDescription {
  const char* driver = "";
  int fd = -1;  // its descriptor: what other rings of the process send messages to
  std::span<uint8_t> sqes;
  uint32_t sq_entries = 0;
  uint32_t cq_entries = 0;
  uint32_t setup_flags = 0;
  uint32_t features = 0;
  std::vector<uint8_t> opcodes;  // one byte an opcode: the flags of IORING_REGISTER_PROBE
};

// What an engine shares with JavaScript: see shared.hpp.
struct SharedMemory {
  Control* control = nullptr;
  std::span<Completion> batch;
  std::span<LinkedClose> linked_closes;
  std::span<uint8_t> fd_table;
  uint32_t* closing = nullptr;  // where closes are counted, if not in the control
  bool others_close = false;    // descriptors of the table are closed by another engine
};

class Engine {
 public:
  explicit Engine(const SharedMemory& memory)
      : control_(memory.control),
        batch_(memory.batch),
        linked_closes_(memory.linked_closes),
        fd_table_(memory.fd_table),
        closing_(memory.closing == nullptr ? &memory.control->closing : memory.closing) {}
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  virtual ~Engine() = default;

  // Hands every complete SQE to the executor without waiting. Returns 0 or -errno; on an error the SQEs stay
  // queued and run with a later call, so whatever they refer to must stay alive.
  virtual int submit() = 0;

  // The same, and returns 0 only when the executor has consumed all of it: the whole queue is free again.
  virtual int flush() = 0;

  // Submits, then waits for one completion: timeout_ns < 0 for ever, 0 not at all.
  virtual int submit_and_wait(int64_t timeout_ns) = 0;

  // Moves up to kBatchCapacity completions into the batch and returns their number.
  virtual uint32_t reap() = 0;

  // True while completions wait to be reaped.
  virtual bool has_completions() const = 0;

  // Arms a one-shot readiness poll of `fd` if none is armed. False if there was no room for it, or if the engine
  // knows no such polls: then nothing that `fd` stands for wakes it, and it must not be waited in.
  virtual bool arm_loop_poll(int fd) = 0;
  // True once that poll has fired; reading it clears it.
  virtual bool take_loop_poll_fired() = 0;

  // SQEs not yet handed over, and ops handed over and not finished, our own poll not counted.
  virtual uint32_t queued() const = 0;
  virtual uint32_t in_flight() const = 0;

  virtual int register_resource(uint32_t opcode, const void* arg, uint32_t nr_args) = 0;

  // Cancels every op and returns when the last one has ended: from then on nothing writes to caller's memory.
  virtual void shutdown() = 0;

  // After that: calls `then`, at once or from the loop, when nobody else holds on to the engine.
  virtual void when_quiet(std::function<void()> then) { then(); }

  virtual RingDescription describe() const = 0;

  Control* control() const { return control_; }

 protected:
  // Keeps the books of closes for a completion that nothing follows.
  void account_close(uint32_t slot, uint32_t generation, int32_t result);
  // Closes a descriptor that nobody will hear of, if the completion brings one.
  static void discard(const Completion& completion);
  // Lets go of what JavaScript has not taken of the batch.
  void discard_rest();

  Control* control_;
  std::span<Completion> batch_;
  std::span<LinkedClose> linked_closes_;
  std::span<uint8_t> fd_table_;
  uint32_t* closing_;
};

}  // namespace ouro
