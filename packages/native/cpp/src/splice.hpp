#pragma once

#include <napi.h>

namespace ouro {

// Bytes moved between sockets, pipes and cached files without waiting for anybody.
void export_splice_calls(Napi::Env env, Napi::Object exports);

}  // namespace ouro
