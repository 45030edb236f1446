// The module: what TypeScript can ask for. Arguments are checked in src/*.ts, the only caller.
#include <napi.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "environment.hpp"
#include "file.hpp"
#include "memory.hpp"
#include "recycler.hpp"
#include "socket.hpp"
#include "unix_socket.hpp"
#include "splice.hpp"

namespace ouro {
namespace {

// The caller's environment with an open ring, or null: then the answer is -EBADF.
Environment* counted(const Napi::CallbackInfo& info) {
  Environment* environment = Environment::of(info.Env());
  if (environment == nullptr || !environment->is_open()) return nullptr;
  environment->control()->api_calls += 1;
  return environment;
}

Napi::Value no_ring(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), -EBADF); }

Napi::Value external(Napi::Env env, void* data, size_t size) {
  napi_value buffer;
  if (napi_create_external_arraybuffer(env, data, size, nullptr, nullptr, &buffer) != napi_ok) {
    Napi::Error::New(env, "This JavaScript engine does not allow external ArrayBuffers").ThrowAsJavaScriptException();
    return env.Undefined();
  }
  return Napi::Value(env, buffer);
}

uint32_t word(const Napi::Object& object, const char* name, uint32_t otherwise) {
  const Napi::Value value = object.Get(name);
  return value.IsNumber() ? value.As<Napi::Number>().Uint32Value() : otherwise;
}

double number(const Napi::Object& object, const char* name, double otherwise) {
  const Napi::Value value = object.Get(name);
  return value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : otherwise;
}

// What src/loader.ts calls RingOptions.
UringOptions ring_options(const Napi::Object& wanted) {
  UringOptions options;
  options.sq_entries = word(wanted, "sqEntries", options.sq_entries);
  options.cq_entries = word(wanted, "cqEntries", options.cq_entries);
  options.flag_mask = word(wanted, "flagMask", options.flag_mask);
  options.mode = word(wanted, "modeFlags", options.mode);
  options.sq_idle_ms = word(wanted, "sqIdle", options.sq_idle_ms);
  options.sq_cpu = word(wanted, "sqCpu", options.sq_cpu);
  options.spin_max_ns = static_cast<int64_t>(number(wanted, "spinMax", 0) * 1000);
  options.spin_share = number(wanted, "spinShare", options.spin_share);
  options.min_wait_completions = word(wanted, "minWaitCompletions", options.min_wait_completions);
  options.min_wait_us = word(wanted, "minWaitUs", options.min_wait_us);
  return options;
}

// trySetup(setup flags, cpu) -> 0 if the kernel gives a ring with exactly these flags, or -errno. For explanations.
Napi::Value TrySetup(const Napi::CallbackInfo& info) {
  const uint32_t flags = info[0].As<Napi::Number>().Uint32Value();
  return Napi::Number::New(info.Env(), try_ring(flags, info[1].As<Napi::Number>().Uint32Value()));
}

// switchedOff() -> whether the process was told to do without io_uring. Its own environment, not the copy of one that a
// worker may have instead.
Napi::Value SwitchedOff(const Napi::CallbackInfo& info) {
  const char* driver = std::getenv("OURO_DRIVER");
  return Napi::Boolean::New(info.Env(), driver != nullptr && std::strcmp(driver, "poll") == 0);
}

// open(ring options, dispatch) -> the ring's description, or -errno
Napi::Value Open(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Environment* environment = Environment::of(env);
  if (environment == nullptr) return Napi::Number::New(env, -ENOMEM);
  if (environment->is_open()) return Napi::Number::New(env, -EBUSY);
  const auto wanted = info[0].As<Napi::Object>();
  const Napi::Value driver = wanted.Get("driver");
  // Empty where the worker is being terminated: then nobody knows that io_uring may be touched.
  if (driver.IsEmpty()) return env.Undefined();
  const bool poll = driver.IsString() && driver.As<Napi::String>().Utf8Value() == "poll";
  const UringOptions options = ring_options(wanted);
  if (const int error = environment->open(poll, options, info[1].As<Napi::Function>()); error != 0) {
    return Napi::Number::New(env, error);
  }

  const RingDescription ring = environment->engine().describe();
  Napi::Object result = Napi::Object::New(env);
  result.Set("shared", external(env, environment->shared().data(), environment->shared().size()));
  if (env.IsExceptionPending()) return env.Undefined();
  result.Set("sqes", external(env, ring.sqes.data(), ring.sqes.size()));
  result.Set("fds", external(env, environment->fd_table().data(), environment->fd_table().size()));
  result.Set("driver", ring.driver);
  result.Set("fd", ring.fd);
  result.Set("sqEntries", ring.sq_entries);
  result.Set("cqEntries", ring.cq_entries);
  result.Set("setupFlags", ring.setup_flags);
  result.Set("features", ring.features);
  result.Set("opcodes", Napi::Buffer<uint8_t>::Copy(env, ring.opcodes.data(), ring.opcodes.size()));
  return result;
}

// beside() -> the queue of the poll engine that is put beside the ring, or -errno
Napi::Value Beside(const Napi::CallbackInfo& info) {
  Environment* environment = counted(info);
  if (environment == nullptr) return no_ring(info);
  Napi::Env env = info.Env();
  int error = 0;
  Fusion* fusion = environment->beside(error);
  if (fusion == nullptr) return Napi::Number::New(env, error);
  const RingDescription description = fusion->describe_beside();
  Napi::Object result = Napi::Object::New(env);
  result.Set("shared", external(env, fusion->control().data(), fusion->control().size()));
  if (env.IsExceptionPending()) return env.Undefined();
  result.Set("sqes", external(env, description.sqes.data(), description.sqes.size()));
  result.Set("sqEntries", description.sq_entries);
  result.Set("opcodes", Napi::Buffer<uint8_t>::Copy(env, description.opcodes.data(), description.opcodes.size()));
  return result;
}

// submit(settle?) -> 0 when the kernel has taken the whole queue, or -errno. Tries for a while when the kernel is short of
// memory: a full queue is nobody's fault. With `settle` what the kernel puts off until we wait is done as well, without waiting.
Napi::Value Submit(const Napi::CallbackInfo& info) {
  Environment* environment = counted(info);
  if (environment == nullptr) return no_ring(info);
  Engine& engine = environment->engine();
  constexpr int kTries = 1000;
  int result = engine.flush();
  for (int i = 0; i < kTries && result != 0; ++i) {
    timespec pause{0, 1'000'000};
    nanosleep(&pause, nullptr);
    result = engine.flush();
  }
  if (result == 0 && info[0].IsBoolean() && info[0].As<Napi::Boolean>()) engine.submit_and_wait(0);
  return Napi::Number::New(info.Env(), result);
}

Napi::Value Arm(const Napi::CallbackInfo& info) {
  Environment* environment = counted(info);
  if (environment == nullptr) return no_ring(info);
  environment->hook().arm();
  return info.Env().Undefined();
}

// register(opcode, address of the argument, its count) -> the kernel's result
Napi::Value Register(const Napi::CallbackInfo& info) {
  Environment* environment = counted(info);
  if (environment == nullptr) return no_ring(info);
  const auto address = static_cast<uintptr_t>(info[1].As<Napi::Number>().Int64Value());
  const int result = environment->engine().register_resource(info[0].As<Napi::Number>().Uint32Value(),
                                                               reinterpret_cast<const void*>(address),
                                                               info[2].As<Napi::Number>().Uint32Value());
  return Napi::Number::New(info.Env(), result);
}

// allocate(bytes) -> ArrayBuffer over zeroed, page-aligned memory that lives as long as this environment
Napi::Value Allocate(const Napi::CallbackInfo& info) {
  const auto size = static_cast<size_t>(info[0].As<Napi::Number>().Int64Value());
  Environment* environment = counted(info);
  if (environment == nullptr) return no_ring(info);
  uint8_t* data = environment->allocate(size);
  if (data == nullptr) return Napi::Number::New(info.Env(), -ENOMEM);
  return external(info.Env(), data, size);
}

// allocateForFds(bytes): the same, for descriptors that the kernel writes there; at teardown those not 0 are closed
Napi::Value AllocateForFds(const Napi::CallbackInfo& info) {
  const auto size = static_cast<size_t>(info[0].As<Napi::Number>().Int64Value());
  Environment* environment = counted(info);
  if (environment == nullptr) return no_ring(info);
  uint8_t* data = environment->allocate_for_fds(size);
  if (data == nullptr) return Napi::Number::New(info.Env(), -ENOMEM);
  return external(info.Env(), data, size);
}

// allocateForControl(cells, bytes of each): the same, for control messages that the kernel writes to the beginning of cells;
// descriptors in them are closed at teardown, unless they have been overwritten by -1
Napi::Value AllocateForControl(const Napi::CallbackInfo& info) {
  const auto cells = static_cast<size_t>(info[0].As<Napi::Number>().Int64Value());
  const auto cell = static_cast<size_t>(info[1].As<Napi::Number>().Int64Value());
  Environment* environment = counted(info);
  if (environment == nullptr) return no_ring(info);
  uint8_t* data = environment->allocate_for_control(cells, cell);
  if (data == nullptr) return Napi::Number::New(info.Env(), -ENOMEM);
  return external(info.Env(), data, cells * cell);
}

// own(fd): this environment closes it at teardown
Napi::Value Own(const Napi::CallbackInfo& info) {
  Environment* environment = counted(info);
  if (environment == nullptr) return no_ring(info);
  environment->own(info[0].As<Napi::Number>().Int32Value());
  return info.Env().Undefined();
}

// The layout of shared.hpp as this build has it, for the test that holds src/layout.ts against it.
Napi::Object Layout(Napi::Env env) {
  Napi::Object layout = Napi::Object::New(env);
#define OURO_WORD(name, field) layout.Set(name, offsetof(Control, field) / sizeof(uint32_t))
#define OURO_COUNTER(name, field) layout.Set(name, offsetof(Control, field) / sizeof(double))
  OURO_WORD("SQ_TAIL", sq_tail);
  OURO_WORD("SQ_HEAD", sq_head);
  OURO_WORD("REFS", refs);
  OURO_WORD("ARMED", armed);
  OURO_WORD("BATCH_LENGTH", batch_length);
  OURO_WORD("BATCH_POSITION", batch_position);
  OURO_WORD("FD_HIGH", fd_high);
  OURO_WORD("IN_FLIGHT", in_flight);
  OURO_WORD("CLOSING", closing);
  OURO_WORD("SPIN_BUDGET_NS", spin_budget_ns);
  OURO_COUNTER("ENTERS", enters);
  OURO_COUNTER("SQES", sqes);
  OURO_COUNTER("CQES", cqes);
  OURO_COUNTER("BATCHES", batches);
  OURO_COUNTER("OVERFLOWS", overflows);
  OURO_COUNTER("LOOP_VISITS", loop_visits);
  OURO_COUNTER("API_CALLS", api_calls);
  OURO_COUNTER("WAITS", waits);
  OURO_COUNTER("SPINS", spins);
  OURO_COUNTER("SPIN_HITS", spin_hits);
  OURO_COUNTER("SPIN_NS", spin_ns);
  OURO_COUNTER("IDLE_NS", idle_ns);
  OURO_COUNTER("WAKEUPS", wakeups);
#undef OURO_WORD
#undef OURO_COUNTER
  layout.Set("BATCH_OFFSET", kBatchOffset);
  layout.Set("BATCH_CAPACITY", kBatchCapacity);
  layout.Set("LINKED_CLOSES_OFFSET", kLinkedClosesOffset);
  layout.Set("LINKED_CLOSES", kLinkedCloses);
  layout.Set("COMPLETION_WORDS", sizeof(Completion) / sizeof(uint32_t));
  layout.Set("SQE_WORDS", sizeof(abi::Sqe) / sizeof(uint32_t));
  layout.Set("RESULT_IS_FD", kResultIsFd);
  layout.Set("CLOSES_FD", kClosesFd);
  layout.Set("LENDS_MEMORY", kLendsMemory);
  layout.Set("SLOT_IGNORED", kSlotIgnored);
  return layout;
}

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  exports.Set("open", Napi::Function::New<Open>(env, "open"));
  exports.Set("switchedOff", Napi::Function::New<SwitchedOff>(env, "switchedOff"));
  exports.Set("trySetup", Napi::Function::New<TrySetup>(env, "trySetup"));
  exports.Set("beside", Napi::Function::New<Beside>(env, "beside"));
  exports.Set("submit", Napi::Function::New<Submit>(env, "submit"));
  exports.Set("arm", Napi::Function::New<Arm>(env, "arm"));
  exports.Set("register", Napi::Function::New<Register>(env, "register"));
  exports.Set("allocate", Napi::Function::New<Allocate>(env, "allocate"));
  exports.Set("allocateForFds", Napi::Function::New<AllocateForFds>(env, "allocateForFds"));
  exports.Set("allocateForControl", Napi::Function::New<AllocateForControl>(env, "allocateForControl"));
  exports.Set("layout", Layout(env));
  exports.Set("own", Napi::Function::New<Own>(env, "own"));
  export_file_calls(env, exports);
  export_memory_calls(env, exports);
  export_recycler_calls(env, exports);
  export_socket_calls(env, exports);
  export_unix_calls(env, exports);
  export_splice_calls(env, exports);
  return exports;
}

}  // namespace
}  // namespace ouro

static Napi::Object InitAll(Napi::Env env, Napi::Object exports) { return ouro::Init(env, exports); }
NODE_API_MODULE(ouro, InitAll)
