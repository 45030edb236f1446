#include "memory.hpp"

#include <dlfcn.h>

#include <memory>

#include "environment.hpp"

namespace v8 {
class ArrayBuffer;
class BackingStore;
}  // namespace v8

namespace ouro {
namespace {

// Of one thread, as an environment and its finalizers are.
thread_local bool kept = false;

using BackingStore = std::shared_ptr<v8::BackingStore>;
using GetBackingStore = BackingStore (*)(v8::ArrayBuffer*);

// v8::ArrayBuffer::GetBackingStore(), the one thing that Node-API does not offer and that memory safety needs. Looked
// up by name instead of linked, so that a Node without it still loads us, and called as the member function that it
// is: the result by hidden reference, then the handle's slot, which is what a napi_value is.
GetBackingStore find_get_backing_store() {
  // A name with std::shared_ptr in it tells the C++ library that V8 was built with. Only with our own one (libstdc++,
  // not libc++) do the two mean the same by a shared_ptr.
  if (::dlsym(RTLD_DEFAULT, "_ZN2v811ArrayBuffer3NewEPNS_7IsolateESt10shared_ptrINS_12BackingStoreEE") == nullptr) {
    return nullptr;
  }
  return reinterpret_cast<GetBackingStore>(::dlsym(RTLD_DEFAULT, "_ZN2v811ArrayBuffer15GetBackingStoreEv"));
}

// hold(typed array over a whole ArrayBuffer) -> an object that keeps the memory below it alive, whoever detaches or
// collects the ArrayBuffer; undefined where this Node cannot do that. Detaching only moves the ownership: with one
// owner more the memory outlives it.
Napi::Value Hold(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  napi_value buffer;
  bool plain = false;
  if (napi_get_typedarray_info(env, info[0], nullptr, nullptr, nullptr, &buffer, nullptr) != napi_ok ||
      napi_is_arraybuffer(env, buffer, &plain) != napi_ok || !plain) {
    return env.Undefined();
  }
  auto store = std::make_unique<BackingStore>(backing_store(buffer));
  if (*store == nullptr) return env.Undefined();
  napi_value holder;
  const auto release = [](napi_env, void* data, void*) {
    if (!kept) std::unique_ptr<BackingStore> released(static_cast<BackingStore*>(data));
  };
  if (napi_create_external(env, store.get(), release, nullptr, &holder) != napi_ok) return env.Undefined();
  store.release();
  return Napi::Value(env, holder);
}

// addressOf(typed array) -> address of its first byte. A number: addresses have 47 bits (57 with 5-level paging,
// which Linux gives only to those who ask for it), a double holds 53.
Napi::Value AddressOf(const Napi::CallbackInfo& info) {
  void* data = nullptr;
  if (napi_get_typedarray_info(info.Env(), info[0], nullptr, nullptr, &data, nullptr, nullptr) != napi_ok) {
    return Napi::Number::New(info.Env(), 0);
  }
  if (Environment* environment = Environment::of(info.Env()); environment != nullptr) {
    environment->control()->api_calls += 1;
  }
  return Napi::Number::New(info.Env(), static_cast<double>(reinterpret_cast<uintptr_t>(data)));
}

}  // namespace

void keep_memory() { kept = true; }
bool memory_is_kept() { return kept; }

BackingStore backing_store(napi_value array_buffer) {
  static const GetBackingStore get_backing_store = find_get_backing_store();
  if (get_backing_store == nullptr) return nullptr;
  return get_backing_store(reinterpret_cast<v8::ArrayBuffer*>(array_buffer));
}

void export_memory_calls(Napi::Env env, Napi::Object exports) {
  exports.Set("addressOf", Napi::Function::New<AddressOf>(env, "addressOf"));
  exports.Set("hold", Napi::Function::New<Hold>(env, "hold"));
}

}  // namespace ouro
