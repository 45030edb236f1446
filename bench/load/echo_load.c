/*
 * A closed-loop TCP echo load: every client sends one message, waits for the whole echo, verifies every byte of it,
 * records how long it took, and goes on with the next. One thread, epoll, non-blocking. Options: see load.h.
 */
#define _GNU_SOURCE
#include "load.h"

#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>

enum { MAX_EVENTS = 512, SCRATCH = 256 * 1024 };
/* How long echoes in flight and closes may take once the window is over. */
static const uint64_t GRACE_NS = 5000000000ULL;

struct client {
  int fd;
  uint32_t sequence;
  const char *message; /* what is being sent and must come back */
  size_t sent, echoed;
  uint64_t begun_ns;
  bool busy; /* a message is on its way */
  bool done; /* the stream has ended as it should */
};

static enum { FIRST, WARMUP, MEASURE, DRAIN, CLOSE } phase = FIRST;
static struct client *clients;
static unsigned client_count, busy_count, open_count;
static size_t size;
static char scratch[SCRATCH];
static uint64_t total;

static void pump_out(struct client *c) {
  while (c->sent < size) {
    ssize_t n = send(c->fd, c->message + c->sent, size - c->sent, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return; /* edge-triggered EPOLLOUT goes on from here */
    if (n < 0) die("send: %s", strerror(errno));
    c->sent += (size_t)n;
  }
}

static void begin(struct client *c, uint64_t now) {
  c->message = message_of((uint32_t)(c - clients), c->sequence++);
  c->sent = c->echoed = 0;
  c->begun_ns = now;
  c->busy = true;
  busy_count++;
  pump_out(c);
}

static void finish(struct client *c) {
  uint64_t now = now_ns();
  c->busy = false;
  busy_count--;
  total++;
  if (phase == MEASURE) record(now - c->begun_ns);
  if (phase == WARMUP || phase == MEASURE) begin(c, now);
}

static void pump_in(struct client *c) {
  while (!c->done) {
    /* Never asks for more than the rest of the message: what is surplus then meets the next message's check. */
    size_t want = c->busy ? size - c->echoed : 1;
    if (want > SCRATCH) want = SCRATCH;
    ssize_t n = recv(c->fd, scratch, want, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    if (n < 0) die("recv: %s", strerror(errno));
    unsigned index = (unsigned)(c - clients);
    if (n == 0) {
      if (phase != CLOSE || c->busy) die("client %u: the server closed the connection", index);
      c->done = true;
      open_count--;
      return;
    }
    if (!c->busy) die("client %u: surplus bytes after message %u", index, c->sequence);
    if (c->echoed + (size_t)n > c->sent) die("client %u: an echo of bytes that were not sent yet", index);
    if (memcmp(scratch, c->message + c->echoed, (size_t)n) != 0) {
      die("client %u: wrong bytes in message %u, after byte %zu of %zu", index, c->sequence, c->echoed, size);
    }
    c->echoed += (size_t)n;
    if (c->echoed == size) {
      finish(c);
      return; /* the stream was empty but for a broken server, and the next message's echo raises a new edge */
    }
    if ((size_t)n < want) return; /* a short read has emptied the stream */
  }
}

/* ---- set-up ---- */

static void connect_all(int epoll, const struct options *options) {
  struct sockaddr_in address = address_of(options);
  clients = calloc(client_count, sizeof(*clients));
  if (!clients) die("out of memory");
  for (unsigned i = 0; i < client_count; i++) {
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) die("socket: %s", strerror(errno));
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) die("connect: %s", strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    fcntl(fd, F_SETFL, O_NONBLOCK);
    clients[i].fd = fd;
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.u32 = i};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0) die("epoll_ctl: %s", strerror(errno));
  }
  open_count = client_count;
}

int main(int argc, char **argv) {
  const struct options options = parse_options(argc, argv);
  client_count = options.clients;
  size = options.size;
  raise_descriptor_limit();
  int epoll = epoll_create1(EPOLL_CLOEXEC);
  make_pattern(size);
  connect_all(epoll, &options);
  for (unsigned i = 0; i < client_count; i++) begin(&clients[i], now_ns());

  struct sample start = {0}, end = {0};
  uint64_t deadline = now_ns() + GRACE_NS;
  while (open_count > 0) {
    struct epoll_event events[MAX_EVENTS];
    uint64_t now = now_ns();
    if (phase == FIRST && busy_count == 0) {
      /*
       * Nobody goes on before everybody has had one echo: libuv accepts one connection a turn, so under full load the
       * last of a thousand clients would wait for seconds and that would be measured instead of the steady state.
       */
      phase = WARMUP;
      deadline = begin_warmup(&options);
      for (unsigned i = 0; i < client_count; i++) begin(&clients[i], now);
    } else if (phase == WARMUP && now >= deadline && (deadline = still_cold(&options)) == 0) {
      phase = MEASURE;
      start = start_sample(options.server_pid);
      deadline = start.wall_ns + (uint64_t)(options.seconds * 1e9);
    } else if (phase == MEASURE && now >= deadline) {
      phase = DRAIN;
      end = take_sample(options.server_pid);
      deadline = now + GRACE_NS;
    } else if (phase == DRAIN && busy_count == 0) {
      /* A half-close, not a close: the server must answer with its own end of stream, after no byte more. */
      phase = CLOSE;
      for (unsigned i = 0; i < client_count; i++) shutdown(clients[i].fd, SHUT_WR);
      deadline = now + GRACE_NS;
    } else if ((phase == FIRST || phase >= DRAIN) && now >= deadline) {
      die("%u echoes and %u closes are still missing after 5 s", busy_count, open_count);
    }
    int count = epoll_wait(epoll, events, MAX_EVENTS, wait_ms(deadline, now));
    if (count < 0 && errno != EINTR) die("epoll_wait: %s", strerror(errno));
    for (int i = 0; i < count; i++) {
      struct client *c = &clients[events[i].data.u32];
      if (c->busy && c->sent < size) pump_out(c);
      if (events[i].events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) pump_in(c);
    }
  }
  report(&start, &end, total, 0);
  return 0;
}
