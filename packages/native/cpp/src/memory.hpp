#pragma once

#include <napi.h>

namespace ouro {

// What is asked of ArrayBuffers: where they are, and that they stay.
void export_memory_calls(Napi::Env env, Napi::Object exports);

}  // namespace ouro
