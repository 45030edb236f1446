#include "engine.hpp"

#include <unistd.h>

#include <cerrno>

namespace ouro {

void Engine::account_close(uint32_t slot, uint32_t generation, int32_t result) {
  if (slot == kSlotTeardown || slot == kSlotLoop) return;
  if ((generation & kClosesFd) != 0) --*closing_;
  LinkedClose& close = linked_closes_[slot % kLinkedCloses];
  if (close.fd_and_one == 0 || close.slot != slot || close.generation != generation) return;
  if (result == -ECANCELED) fd_table_[close.fd_and_one - 1] = 1;
  close.fd_and_one = 0;
}

void Engine::discard(const Completion& completion) {
  if ((completion.generation & kResultIsFd) != 0 && completion.result >= 0) ::close(completion.result);
}

void Engine::discard_rest() {
  for (uint32_t i = control_->batch_position; i < control_->batch_length; ++i) discard(batch_[i]);
  control_->batch_length = control_->batch_position = 0;
}

}  // namespace ouro
