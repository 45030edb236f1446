// The engine for where io_uring is denied: takes the same SQEs from the same memory, executes them in user space, and posts
// the same completions. Sockets, pipes and terminals: the call is tried, and tried again when the descriptor is ready.
// Regular files: tried without blocking where the system can do that, else on a thread of libuv's pool.
#pragma once

#include <deque>
#include <list>
#include <memory>
#include <span>
#include <vector>

#include "../engine.hpp"
#include "../sys.hpp"
#include "readiness.hpp"
#include "tables.hpp"
#include "task.hpp"
#include "work_pool.hpp"

namespace ouro {

class PollEngine final : public Engine {
 public:
  // Null on failure, with `error` = -errno.
  static std::unique_ptr<PollEngine> create(uint32_t sq_entries, uv_loop_t* loop, const SharedMemory& memory,
                                            int& error);
  ~PollEngine() override;

  int submit() override;
  int flush() override { return submit(); }
  int submit_and_wait(int64_t timeout_ns) override;
  uint32_t reap() override;
  // For the engine beside a ring, where others wait: does what there is to be done, with a look at descriptors only if an op
  // waits for one.
  void turn();
  // And takes what threads have done meanwhile.
  void gather();
  // Moves completions to `out`, and returns their number.
  uint32_t take(std::span<Completion> out);
  // Nanoseconds until there is something to do whether a descriptor is ready or not, or -1.
  int64_t next_timer_ns() const;
  // A descriptor that is readable when submit_and_wait has something to do; -1 if the system has no such thing.
  int readiness_fd() const { return readiness_->fd(); }
  bool has_completions() const override;
  bool arm_loop_poll(int fd) override;
  bool take_loop_poll_fired() override { return std::exchange(loop_poll_fired_, false); }
  uint32_t queued() const override { return control_->sq_tail - sq_submitted_; }
  uint32_t in_flight() const override { return in_flight_; }
  int register_resource(uint32_t opcode, const void* arg, uint32_t nr_args) override;
  void shutdown() override;
  void when_quiet(std::function<void()> then) override {
    forget_children([this, then] { pool_.when_quiet(then); });
  }
  RingDescription describe() const override;

 private:
  // A descriptor that somebody waits for or works on.
  struct Descriptor {
    TaskList waiting;
    std::vector<Task*> closers;  // closes that wait until no thread works on it
    std::list<Task*> turn;       // ops that take their turns on it: see takes_turns. (An empty deque has 600 bytes.)
    int type = -1;               // of a socket: SO_TYPE, once it was asked for
    uint32_t users = 0;          // threads' ops on it, begun or not
    bool watched = false;
    bool direct = false;         // in the table of direct descriptors, so nobody else closes it
    bool kept = false;           // a duplicate that outlives a close, as long as somebody waits for it
    bool busy = false;           // one of those that take turns is at it
  };
  struct Message {
    uint64_t user_data;
    int32_t result;
    uint32_t flags;
    bool told = true;
    int replaced = -1;  // what is not in the table any more
  };

  PollEngine(uv_loop_t* loop, const SharedMemory& memory);
  int setup(uint32_t sq_entries);

  // Of user_data that name no slot there are this many and more.
  static constexpr uint32_t kMostSlots = 1U << 22;

  // Life of a task (poll_engine.cpp).
  Task* make(const abi::Sqe& sqe);
  void free(Task* task);
  Task* take_chain();
  void take_queue();
  void advance();
  void run_ready();
  void look_between();
  void start(Task* task);
  void apply(Task* task, Step step);
  void complete(Task* task, int32_t result, uint32_t flags, bool failed);
  void post(uint64_t user_data, int32_t result, uint32_t flags);
  // A completion of an op that goes on.
  void post_more(Task* task, int32_t result, uint32_t flags) { post(task->sqe.user_data, result, flags | abi::kCqeMore); }
  void end_later(Task* task, int32_t result);
  void fail_links(Task* task, bool mute);
  void release_held();

  // Descriptors (poll_descriptors.cpp).
  Descriptor& descriptor(int fd);
  bool owned(int fd) const;
  bool is_same_file(int one, int other) const;
  void park(Task* task, uint32_t events);
  void unpark(Task* task);
  void let_go(int fd);
  bool is_stream(int fd);
  static bool must_wait(int fd, uint32_t events);
  bool need_not_wait(const Task& task) const;
  static int duplicate(int fd);
  int resolve(Task* task, int32_t fd, bool fixed, int& out);
  void on_ready(int fd, uint32_t events);
  void drop_user(int fd);
  void send_to_pool(Task* task);
  void leave_pool(Task* task);
  void hold(Task* task);
  void keep(Task* task);
  void release(Task* task);
  int keep_ends(Task* task);
  void release_ends(Task* task);
  Step close_fd(int fd, Task* task);
  void close_now(int fd);
  void drop(int fd);
  void end_turn(int fd);

  // Time (poll_time.cpp).
  static int64_t now_ns();
  void set_timer(Task* task, int64_t deadline);
  void clear_timer(Task* task);
  void run_timers();
  void arm_guard(Task* guard);
  void expire(Task* task);
  static int read_time(uint64_t address, uint32_t flags, int64_t& deadline, int64_t& interval);

  // Cancelling.
  int cancel_one(Task* task);
  Task* find(uint64_t user_data, bool (*matches)(const Task&)) const;
  static bool can_cancel(const Task& task);

  // Trying ops, by family: poll_control.cpp, poll_sockets.cpp, poll_files.cpp, poll_calls.cpp.
  Step attempt(Task* task);
  Step attempt_control(Task* task);
  Step attempt_socket(Task* task);
  Step attempt_file(Task* task);
  static bool needs_file(abi::Opcode opcode);

  Step try_timeout(Task* task);
  Step try_timeout_remove(Task* task);
  Step try_cancel(Task* task);
  Step try_poll_add(Task* task);
  Step try_poll_remove(Task* task);
  Step try_close(Task* task);
  Step try_files_update(Task* task);
  Step try_msg_ring(Task* task);
  Step try_epoll_wait(Task* task);

  Step try_accept(Task* task);
  Step try_connect(Task* task);
  Step try_recv(Task* task);
  Step try_recv_provided(Task* task);
  Step try_fill_provided(Task* task);
  Step try_send(Task* task);
  Step try_send_provided(Task* task);
  Step try_message(Task* task, bool sends);
  Step try_messages(Task* task);
  Step try_command(Task* task);
  Step sent(Task* task, ssize_t result, uint64_t wanted);

  Step try_transfer(Task* task);
  Step try_read_provided(Task* task);
  Step try_splice(Task* task);
  Step try_open(Task* task);

  // System calls on files under opcodes of our own (poll_calls.cpp).
  Step attempt_call(Task* task);
  Step try_flock(Task* task);
  Step look_again(Task* task);
  static int64_t run_call(const Task& task);

  // What a thread of the pool does.
  static void work(Task& task);
  Step finish_work(Task* task);
  void take_done();

  // Named pipes, whose open waits for somebody at the other end, for ever perhaps. Not in the pool: Node waits for that
  // when it exits. (poll_pipes.cpp)
  struct PipeOpen;
  void open_pipe(Task* task);
  static void* run_pipe_open(void* handed);
  void take_pipes();
  void stop_pipes();
  bool has_cancelled_pipes() const;

  // What waits for other threads and processes (poll_waits.cpp).
  struct FutexWait;
  Step try_futex(Task* task);
  void give_up_futex(const Task* task);
  void take_futexes();
  void stop_futexes();
  Step try_waitid(Task* task);
  void watch_children();
  void forget_children(std::function<void()> then);

  Step installed(Task* task, int fd, uint32_t file_index);
  int direct_place(Task* task, int fd, uint32_t file_index);

  // Messages from other threads (poll_messages.cpp).
  static PollEngine* ring_of(int fd);
  static std::mutex& rings_mutex();
  void join_rings();
  void leave_rings();
  void deliver_message(const Message& message);
  void take_messages();
  void wake();

  uv_loop_t* loop_;
  sys::Mapping sqes_;
  uint32_t sq_entries_ = 0;
  uint32_t sq_submitted_ = 0;
  uint32_t in_flight_ = 0;
  std::deque<Completion> completions_;
  uint32_t waiting_ = 0;  // tasks that wait for a descriptor
  uint32_t looks_skipped_ = 0;
  uint64_t posted_ = 0;
  uint64_t arrivals_ = 0;

  std::unique_ptr<Readiness> readiness_;
  std::vector<Ready> ready_fds_;
  sys::Fd wake_read_;   // the ring's number, for messages; and what wakes it from another thread
  sys::Fd wake_write_;  // the same where an eventfd is both
  int loop_fd_ = -1;
  bool loop_poll_fired_ = false;

  std::vector<std::unique_ptr<Task[]>> blocks_;
  std::vector<Task*> free_;
  Task* all_ = nullptr;
  std::vector<Task*> by_slot_;
  std::deque<Task*> ready_;
  std::vector<Task*> later_;  // of the next turn
  std::deque<Task*> held_;    // chains behind an IO_DRAIN, which is the first
  uint32_t held_tasks_ = 0;
  std::vector<Task*> done_;
  std::vector<std::shared_ptr<PipeOpen>> pipes_;
  std::vector<std::shared_ptr<FutexWait>> futexes_;
  TaskList children_;
  uv_signal_t* child_signal_ = nullptr;
  std::vector<Task*> counted_;  // timeouts that a number of completions ends
  Timers timers_;
  std::vector<std::unique_ptr<Descriptor>> descriptors_;
  uint32_t pooled_ = 0;
  std::vector<int> closed_late_;  // duplicates of what has been closed
  std::vector<int> kept_open_;    // by those who were woken, and are through
  std::vector<Ready> between_;
  bool looking_ = false;  // between two linked ops
  bool running_ = false;
  bool stopping_ = false;
  const bool others_close_;

  FileTable files_;
  FixedBuffers buffers_;
  BufferGroups groups_;
  std::mutex messages_mutex_;
  std::vector<Message> messages_;
  bool messages_closed_ = false;

  // Last: its threads work on all of the above.
  WorkPool pool_;
};

}  // namespace ouro
