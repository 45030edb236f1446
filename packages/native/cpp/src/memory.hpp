#pragma once

#include <napi.h>

#include <memory>

namespace v8 {
class BackingStore;
}  // namespace v8

namespace ouro {

// What is asked of ArrayBuffers: where they are, and that they stay.
void export_memory_calls(Napi::Env env, Napi::Object exports);

// What this thread's environment holds is never freed from here on: the network still sends from it.
void keep_memory();
bool memory_is_kept();

// The memory below an ArrayBuffer; null where this Node does not let us have it.
std::shared_ptr<v8::BackingStore> backing_store(napi_value array_buffer);

}  // namespace ouro
