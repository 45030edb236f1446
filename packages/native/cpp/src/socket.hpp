#pragma once

#include <napi.h>

namespace ouro {

// The synchronous socket calls, which never block: thin, and without any policy.
void export_socket_calls(Napi::Env env, Napi::Object exports);

}  // namespace ouro
