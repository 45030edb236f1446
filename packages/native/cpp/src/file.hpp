#pragma once

#include <napi.h>

namespace ouro {

// The synchronous file calls, which never wait for a device or a server.
void export_file_calls(Napi::Env env, Napi::Object exports);

}  // namespace ouro
