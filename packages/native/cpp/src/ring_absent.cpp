// Where there is no io_uring.
#include <cerrno>

#include "ring.hpp"

namespace ouro {

std::unique_ptr<Engine> open_ring(const UringOptions&, const SharedMemory&, int& error) {
  error = -ENOSYS;
  return nullptr;
}

int try_ring(uint32_t, uint32_t) { return -ENOSYS; }

}  // namespace ouro
