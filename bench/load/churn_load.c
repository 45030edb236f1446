/*
 * A load of short connections: every client connects, sends one message, waits for all of the echo, verifies it, ends its
 * side, waits for the server's end, closes, and begins again. One thread, epoll, non-blocking. Options: see load.h; what
 * is counted, and timed from connect to the server's end, are connections.
 *
 * The side that ends first keeps the pair of addresses for a minute (TIME_WAIT), and that is ours: so connections come from
 * many source addresses of the loopback network in turn.
 */
#define _GNU_SOURCE
#include "load.h"

#include <sys/epoll.h>

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

enum { MAX_EVENTS = 512, SCRATCH = 256 * 1024, SOURCES = 200 };
static const uint64_t GRACE_NS = 5000000000ULL;

struct client {
  int fd;
  const char *message;
  size_t sent, echoed;
  uint64_t begun_ns;
  bool open;
};

static enum { WARMUP, MEASURE, DRAIN } phase = WARMUP;
static struct client *clients;
static unsigned open_count;
static size_t size;
static struct sockaddr_in server;
static char scratch[SCRATCH];
static uint64_t total;
static int epoll;

static void pump_out(struct client *c) {
  while (c->sent < size) {
    ssize_t n = send(c->fd, c->message + c->sent, size - c->sent, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return; /* edge-triggered EPOLLOUT goes on from here, once it is connected as well */
    if (n < 0) die("send: %s", strerror(errno));
    c->sent += (size_t)n;
  }
}

static void begin(struct client *c) {
  static uint32_t sequence;
  sequence++;
  struct sockaddr_in source = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK + sequence % SOURCES)};
  int on = 1;
  c->begun_ns = now_ns();
  c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (c->fd < 0) die("socket: %s", strerror(errno));
  setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
  if (bind(c->fd, (struct sockaddr *)&source, sizeof(source)) < 0) die("bind: %s", strerror(errno));
  bool connected = connect(c->fd, (struct sockaddr *)&server, sizeof(server)) == 0;
  if (!connected && errno != EINPROGRESS) die("connect: %s", strerror(errno));
  uint32_t index = (uint32_t)(c - clients);
  struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.u32 = index};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event) < 0) die("epoll_ctl: %s", strerror(errno));
  c->message = message_of(index, sequence);
  c->sent = c->echoed = 0;
  c->open = true;
  open_count++;
  if (connected) pump_out(c);
}

static void finish(struct client *c) {
  close(c->fd);
  c->open = false;
  open_count--;
  total++;
  if (phase == MEASURE) record(now_ns() - c->begun_ns);
  if (phase != DRAIN) begin(c);
}

static void pump_in(struct client *c) {
  for (;;) {
    ssize_t n = recv(c->fd, scratch, SCRATCH, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    if (n < 0) die("recv: %s", strerror(errno));
    if (n == 0) {
      if (c->echoed < size) die("the server ended a connection after %zu bytes of %zu", c->echoed, size);
      return finish(c);
    }
    if (c->echoed + (size_t)n > c->sent) die("an echo of bytes that were not sent");
    if (memcmp(scratch, c->message + c->echoed, (size_t)n) != 0) die("wrong bytes after byte %zu", c->echoed);
    c->echoed += (size_t)n;
    if (c->echoed == size) {
      shutdown(c->fd, SHUT_WR);
      return; /* the server's end raises a new edge */
    }
  }
}

int main(int argc, char **argv) {
  const struct options options = parse_options(argc, argv);
  size = options.size;
  server = address_of(&options);
  raise_descriptor_limit();
  epoll = epoll_create1(EPOLL_CLOEXEC);
  make_pattern(size);
  clients = calloc(options.clients, sizeof(*clients));
  if (!clients) die("out of memory");

  for (unsigned i = 0; i < options.clients; i++) begin(&clients[i]);
  struct sample start = {0}, end = {0};
  uint64_t deadline = begin_warmup(&options);
  while (phase != DRAIN || open_count > 0) {
    struct epoll_event events[MAX_EVENTS];
    uint64_t now = now_ns();
    if (phase == WARMUP && now >= deadline && (deadline = still_cold(&options)) == 0) {
      phase = MEASURE;
      start = start_sample(options.server_pid);
      deadline = start.wall_ns + (uint64_t)(options.seconds * 1e9);
    } else if (phase == MEASURE && now >= deadline) {
      phase = DRAIN;
      end = take_sample(options.server_pid);
      deadline = now + GRACE_NS;
    } else if (phase == DRAIN && now >= deadline) {
      die("%u connections have not ended after 5 s", open_count);
    }
    int count = epoll_wait(epoll, events, MAX_EVENTS, wait_ms(deadline, now));
    if (count < 0 && errno != EINTR) die("epoll_wait: %s", strerror(errno));
    for (int i = 0; i < count; i++) {
      struct client *c = &clients[events[i].data.u32];
      if (c->sent < size) pump_out(c);
      if (events[i].events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) pump_in(c);
    }
  }
  report(&start, &end, total, 0);
  return 0;
}
