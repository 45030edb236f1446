#include "recycler.hpp"

#include <dlfcn.h>

#include <atomic>
#include <new>
#include <utility>

#include "environment.hpp"
#include "memory.hpp"

namespace v8 {
class Isolate;
}  // namespace v8

namespace ouro {
namespace {

// What a thread keeps: V8 collects before so much garbage has come together.
constexpr size_t kMostBytes = size_t{64} << 20;
// How many that are still in use are passed over: those who keep one for long must not be in the way of the others.
constexpr int kMostLooks = 8;

using Isolate = v8::Isolate*;
using CurrentIsolate = Isolate (*)();
// Answers a v8::Local, which is what a napi_value is.
using NewArrayBuffer = napi_value (*)(Isolate, std::shared_ptr<v8::BackingStore>);

struct Calls {
  CurrentIsolate current;
  NewArrayBuffer make;
};

// v8::ArrayBuffer::New over memory that there is. Looked up by name, as in memory.cpp: only where Node was built with our C++ library.
const Calls* calls() {
  static const Calls found = {
      reinterpret_cast<CurrentIsolate>(::dlsym(RTLD_DEFAULT, "_ZN2v87Isolate10GetCurrentEv")),
      reinterpret_cast<NewArrayBuffer>(
          ::dlsym(RTLD_DEFAULT, "_ZN2v811ArrayBuffer3NewEPNS_7IsolateESt10shared_ptrINS_12BackingStoreEE")),
  };
  return found.current != nullptr && found.make != nullptr ? &found : nullptr;
}

}  // namespace

Recycler::~Recycler() {
  if (!memory_is_kept()) return;
  // The network still sends from it.
  for (auto& [size, pieces] : pieces_) new std::deque<Piece>(std::move(pieces));
}

napi_value Recycler::take(size_t size) {
  const Calls* v8 = calls();
  const auto found = pieces_.find(size);
  if (v8 == nullptr || found == pieces_.end()) return nullptr;
  auto& pieces = found->second;
  for (int looks = 0; looks < kMostLooks && !pieces.empty(); ++looks) {
    Piece piece = std::move(pieces.front());
    pieces.pop_front();
    const bool free = piece.memory.use_count() == 1;
    piece.used = piece.used || free;
    pieces.push_back(std::move(piece));
    if (!free) continue;
    // Whoever was the last one to use it may have been another thread of V8's.
    std::atomic_thread_fence(std::memory_order_acquire);
    return v8->make(v8->current(), pieces.back().memory);
  }
  return nullptr;
}

bool Recycler::add(napi_value buffer, size_t size) {
  if (calls() == nullptr) return false;
  auto memory = backing_store(buffer);
  if (memory == nullptr) return false;
  while (bytes_ + size > kMostBytes) {
    // Of the same size first: what is in demand is least likely to be missed elsewhere.
    auto at = pieces_.find(size);
    if (at == pieces_.end() || at->second.empty()) at = pieces_.begin();
    while (at != pieces_.end() && at->second.empty()) ++at;
    if (at == pieces_.end()) return true;
    at->second.pop_front();
    bytes_ -= at->first;
  }
  pieces_[size].push_back({std::move(memory)});
  bytes_ += size;
  return true;
}

size_t Recycler::trim() {
  for (auto at = pieces_.begin(); at != pieces_.end();) {
    auto& pieces = at->second;
    for (size_t left = pieces.size(); left > 0; --left) {
      Piece piece = std::move(pieces.front());
      pieces.pop_front();
      if (piece.used) {
        piece.used = false;
        pieces.push_back(std::move(piece));
      } else {
        bytes_ -= at->first;
      }
    }
    at = pieces.empty() ? pieces_.erase(at) : std::next(at);
  }
  return bytes_;
}

namespace {

// takeRecycled(size) -> an ArrayBuffer that was somebody else's, undefined if there is none.
Napi::Value TakeRecycled(const Napi::CallbackInfo& info) {
  Environment* environment = Environment::of(info.Env());
  if (environment == nullptr) return info.Env().Undefined();
  const auto size = static_cast<size_t>(info[0].As<Napi::Number>().Int64Value());
  napi_value buffer = environment->recycler().take(size);
  return buffer == nullptr ? info.Env().Undefined() : Napi::Value(info.Env(), buffer);
}

// addRecycled(ArrayBuffer) -> whether takeRecycled will find its memory when nobody has it any more.
Napi::Value AddRecycled(const Napi::CallbackInfo& info) {
  Environment* environment = Environment::of(info.Env());
  void* data = nullptr;
  size_t size = 0;
  const bool added = environment != nullptr && napi_get_arraybuffer_info(info.Env(), info[0], &data, &size) == napi_ok &&
                     size > 0 && environment->recycler().add(info[0], size);
  return Napi::Boolean::New(info.Env(), added);
}

// trimRecycled() -> bytes that are still watched over.
Napi::Value TrimRecycled(const Napi::CallbackInfo& info) {
  Environment* environment = Environment::of(info.Env());
  const size_t left = environment == nullptr ? 0 : environment->recycler().trim();
  return Napi::Number::New(info.Env(), static_cast<double>(left));
}

}  // namespace

void export_recycler_calls(Napi::Env env, Napi::Object exports) {
  exports.Set("takeRecycled", Napi::Function::New<TakeRecycled>(env, "takeRecycled"));
  exports.Set("addRecycled", Napi::Function::New<AddRecycled>(env, "addRecycled"));
  exports.Set("trimRecycled", Napi::Function::New<TrimRecycled>(env, "trimRecycled"));
}

}  // namespace ouro
