#pragma once

#include <napi.h>

namespace ouro {

// Synchronous calls that only Unix sockets need, and what passing descriptors needs: thin, never blocking.
void export_unix_calls(Napi::Env env, Napi::Object exports);

}  // namespace ouro
