/*
 * A closed-loop TCP echo load: every client sends one message, waits for the whole echo, verifies every byte of it, and goes on with
 * the next. Options: see load.h.
 */
#define _GNU_SOURCE
#include "closed_loop.h"

static size_t size;

static void next_request(struct client *c) {
  c->request = message_of(c->index, c->sequence);
  c->length = size;
}

/* Never more than the rest of the message: what is surplus then meets the next message's check. */
static size_t most_wanted(const struct client *c) { return size - c->received; }

static bool take_answer(struct client *c, const char *bytes, size_t count) {
  if (c->received + count > c->sent) die("client %u: an echo of bytes that were not sent yet", c->index);
  if (memcmp(bytes, c->request + c->received, count) != 0) {
    die("client %u: wrong bytes in message %u, after byte %zu of %zu", c->index, c->sequence, c->received, size);
  }
  return c->received + count == size;
}

int main(int argc, char **argv) {
  const struct options options = parse_options(argc, argv);
  size = options.size;
  make_pattern(size);
  run_closed_loop(&options);
  return 0;
}
