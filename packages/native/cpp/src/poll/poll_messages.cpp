// Messages from ring to ring, of this process.
#include <unistd.h>

#include <map>

#include "poll_engine.hpp"

namespace ouro {
namespace {

// Rings of the process by the descriptor that names them.
std::map<int, PollEngine*>& rings() {
  // Never destroyed: threads may outlive the end of the program's own code.
  static auto* all = new std::map<int, PollEngine*>();
  return *all;
}

}  // namespace

std::mutex& PollEngine::rings_mutex() {
  static std::mutex mutex;
  return mutex;
}

void PollEngine::join_rings() {
  const std::lock_guard lock(rings_mutex());
  rings()[wake_read_.get()] = this;
}

void PollEngine::leave_rings() {
  const std::lock_guard lock(rings_mutex());
  if (wake_read_) rings().erase(wake_read_.get());
}

PollEngine* PollEngine::ring_of(int fd) {
  const auto found = rings().find(fd);
  return found == rings().end() ? nullptr : found->second;
}

void PollEngine::deliver_message(const Message& message) {
  {
    const std::lock_guard lock(messages_mutex_);
    messages_.push_back(message);
  }
  wake();
}

void PollEngine::take_messages() {
  uint64_t buffer[8];
  while (::read(wake_read_.get(), buffer, sizeof(buffer)) == static_cast<ssize_t>(sizeof(buffer))) {
  }
  std::vector<Message> messages;
  {
    const std::lock_guard lock(messages_mutex_);
    messages.swap(messages_);
  }
  for (const Message& message : messages) {
    if (message.replaced >= 0) drop(message.replaced);
    if (message.told) post(message.user_data, message.result, message.flags);
  }
  run_ready();
}

void PollEngine::wake() {
  const uint64_t one = 1;
  const int fd = wake_write_ ? wake_write_.get() : wake_read_.get();
  // Full means that it is awake already.
  [[maybe_unused]] const ssize_t written = ::write(fd, &one, sizeof(one));
}

}  // namespace ouro
