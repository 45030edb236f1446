/*
 * A closed-loop HTTP/1.1 load on connections that are kept: every client asks for --path, verifies that the answer is 200, of --size bytes
 * and without a byte wrong, missing or surplus, and asks again. Options: see load.h. Answers in chunks are an error.
 *
 * Byte i of a body is 'a' + i % 26; peers/http-common.mjs knows that as well.
 */
#define _GNU_SOURCE
#include "closed_loop.h"

enum { MOST_HEAD = 4096, LETTERS = 26 };
static const char HEAD_END[] = "\r\n\r\n";

/* The head of an answer, as much of it as has come. */
struct head {
  size_t used;
  bool complete;
  size_t body; /* bytes of the body that have come */
  char text[MOST_HEAD + 1];
};

static struct head *heads;
static char request[1024];
static size_t request_length, size;
static char *letters;

static void next_request(struct client *c) {
  c->request = request;
  c->length = request_length;
  struct head *head = &heads[c->index];
  head->used = head->body = 0;
  head->complete = false;
}

/* How long a head is cannot be known, so that what is surplus is found at once. */
static size_t most_wanted(const struct client *c) {
  (void)c;
  return SCRATCH;
}

static void check_head(const struct client *c, const char *head) {
  const char status[] = "HTTP/1.1 200 ", field[] = "\r\ncontent-length:";
  if (strncmp(head, status, sizeof(status) - 1) != 0) die("client %u: not a 200:\n%s", c->index, head);
  if (strcasestr(head, "\r\ntransfer-encoding:")) die("client %u: a transfer encoding:\n%s", c->index, head);
  const char *length = strcasestr(head, field);
  if (!length) die("client %u: no Content-Length:\n%s", c->index, head);
  if (strtoull(length + sizeof(field) - 1, NULL, 10) != size) die("client %u: not of %zu bytes:\n%s", c->index, size, head);
}

/* Takes what belongs to the head; returns how much that is. */
static size_t take_head(struct client *c, struct head *head, const char *bytes, size_t count) {
  size_t before = head->used;
  size_t copied = count < MOST_HEAD - before ? count : MOST_HEAD - before;
  memcpy(head->text + before, bytes, copied);
  /* Its end may lie across two receives. */
  size_t from = before < 3 ? 0 : before - 3;
  char *end = memmem(head->text + from, before + copied - from, HEAD_END, sizeof(HEAD_END) - 1);
  head->used += copied;
  if (!end) {
    if (head->used == MOST_HEAD) die("client %u: a head of more than %d bytes", c->index, MOST_HEAD);
    return copied;
  }
  end += sizeof(HEAD_END) - 1;
  head->used = (size_t)(end - head->text);
  *end = 0;
  head->complete = true;
  check_head(c, head->text);
  return head->used - before;
}

static bool take_answer(struct client *c, const char *bytes, size_t count) {
  struct head *head = &heads[c->index];
  if (c->sent < c->length) die("client %u: an answer to half a request", c->index);
  size_t taken = head->complete ? 0 : take_head(c, head, bytes, count);
  size_t body = count - taken;
  if (!head->complete) return false;
  if (head->body + body > size) die("client %u: surplus bytes after answer %u", c->index, c->sequence);
  if (memcmp(bytes + taken, letters + head->body % LETTERS, body) != 0) {
    die("client %u: wrong bytes in answer %u, after byte %zu of %zu", c->index, c->sequence, head->body, size);
  }
  head->body += body;
  return head->body == size;
}

int main(int argc, char **argv) {
  const struct options options = parse_options(argc, argv);
  size = options.size;
  /* One period more, so that what begins anywhere can be compared at once. */
  letters = malloc(size + LETTERS);
  heads = calloc(options.clients, sizeof(*heads));
  if (!letters || !heads) die("out of memory");
  for (size_t i = 0; i < size + LETTERS; i++) letters[i] = (char)('a' + i % LETTERS);
  int length = snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: %s:%d\r\nConnection: keep-alive\r\n\r\n", options.path,
                        options.host, options.port);
  if (length < 0 || (size_t)length >= sizeof(request)) die("--path is too long");
  request_length = (size_t)length;
  run_closed_loop(&options);
  return 0;
}
