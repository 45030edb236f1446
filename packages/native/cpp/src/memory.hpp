#pragma once

#include <napi.h>

namespace ouro {

// What is asked of ArrayBuffers: where they are, and that they stay.
void export_memory_calls(Napi::Env env, Napi::Object exports);

// What this thread's environment holds is never freed from here on: the network still sends from it.
void keep_memory();

}  // namespace ouro
