// What the kernel finds wrong with an SQE when it takes it, before it runs anything of its chain.
#pragma once

#include "sqe.hpp"

namespace ouro {

// 0, or -errno. `linked` says that the op before it takes a LINK_TIMEOUT.
int prepare(const abi::Sqe& sqe, bool linked);

// Whether this engine executes the op at all.
bool is_known(const abi::Sqe& sqe);

// Whether a failure of the op itself breaks a soft link. That of most ops on paths, and of some on files, does not: the
// kernel reports it and goes on.
bool breaks_link(abi::Opcode opcode);

}  // namespace ouro
