/*
 * A closed loop of requests and answers over TCP: every client sends one request, waits for the whole answer, has all of it
 * verified, records how long it took, and goes on with the next. One thread, epoll, non-blocking.
 *
 * A load defines `next_request`, `most_wanted` and `take_answer` before it includes this, and calls `run_closed_loop`.
 */
#ifndef OURO_BENCH_CLOSED_LOOP_H
#define OURO_BENCH_CLOSED_LOOP_H

#include "load.h"

#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>

enum { MAX_EVENTS = 512, SCRATCH = 256 * 1024 };
/* How long answers in flight and closes may take once the window is over. */
static const uint64_t GRACE_NS = 5000000000ULL;

struct client {
  int fd;
  uint32_t index, sequence;
  const char *request;
  size_t length, sent;  /* of the request */
  size_t received;      /* of the answer */
  uint64_t begun_ns;
  bool busy; /* a request is on its way, or its answer */
  bool done; /* the stream has ended as it should */
};

/* Sets `request` and `length`. */
static void next_request(struct client *c);
/* How many bytes may be received now; no more than the answer has, where that is known. */
static size_t most_wanted(const struct client *c);
/* Verifies bytes of the answer, of which `c->received` have been taken before, or dies. Returns whether they are the last. */
static bool take_answer(struct client *c, const char *bytes, size_t count);

static enum { FIRST, WARMUP, MEASURE, DRAIN, CLOSE } phase = FIRST;
static struct client *clients;
static unsigned client_count, busy_count, open_count;
static char scratch[SCRATCH];
static uint64_t total;

static void pump_out(struct client *c) {
  while (c->sent < c->length) {
    ssize_t n = send(c->fd, c->request + c->sent, c->length - c->sent, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return; /* edge-triggered EPOLLOUT goes on from here */
    if (n < 0) die("send: %s", strerror(errno));
    c->sent += (size_t)n;
  }
}

static void begin(struct client *c, uint64_t now) {
  next_request(c);
  c->sequence++;
  c->sent = c->received = 0;
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
    size_t want = c->busy ? most_wanted(c) : 1;
    if (want > SCRATCH) want = SCRATCH;
    ssize_t n = recv(c->fd, scratch, want, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    if (n < 0) die("recv: %s", strerror(errno));
    if (n == 0) {
      if (phase != CLOSE || c->busy) die("client %u: the server closed the connection", c->index);
      c->done = true;
      open_count--;
      return;
    }
    if (!c->busy) die("client %u: surplus bytes after message %u", c->index, c->sequence);
    bool complete = take_answer(c, scratch, (size_t)n);
    c->received += (size_t)n;
    if (complete) {
      finish(c);
      return; /* the stream was empty but for a broken server, and the next answer raises a new edge */
    }
    if ((size_t)n < want) return; /* a short read has emptied the stream */
  }
}

static inline void connect_all(int epoll, const struct options *options) {
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
    clients[i].index = i;
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.u32 = i};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0) die("epoll_ctl: %s", strerror(errno));
  }
  open_count = client_count;
}

/* Connects, runs, ends and reports. */
static inline void run_closed_loop(const struct options *options) {
  client_count = options->clients;
  raise_descriptor_limit();
  int epoll = epoll_create1(EPOLL_CLOEXEC);
  connect_all(epoll, options);
  for (unsigned i = 0; i < client_count; i++) begin(&clients[i], now_ns());

  struct sample start = {0}, end = {0};
  uint64_t deadline = now_ns() + GRACE_NS;
  while (open_count > 0) {
    struct epoll_event events[MAX_EVENTS];
    uint64_t now = now_ns();
    if (phase == FIRST && busy_count == 0) {
      /*
       * Nobody goes on before everybody has had one answer: libuv accepts one connection a turn, so under full load the
       * last of a thousand clients would wait for seconds and that would be measured instead of the steady state.
       */
      phase = WARMUP;
      deadline = begin_warmup(options);
      for (unsigned i = 0; i < client_count; i++) begin(&clients[i], now);
    } else if (phase == WARMUP && now >= deadline && (deadline = still_cold(options)) == 0) {
      phase = MEASURE;
      start = start_sample(options->server_pid);
      deadline = start.wall_ns + (uint64_t)(options->seconds * 1e9);
    } else if (phase == MEASURE && now >= deadline) {
      phase = DRAIN;
      end = take_sample(options->server_pid);
      deadline = now + GRACE_NS;
    } else if (phase == DRAIN && busy_count == 0) {
      /* A half-close, not a close: the server must answer with its own end of stream, after no byte more. */
      phase = CLOSE;
      for (unsigned i = 0; i < client_count; i++) shutdown(clients[i].fd, SHUT_WR);
      deadline = now + GRACE_NS;
    } else if ((phase == FIRST || phase >= DRAIN) && now >= deadline) {
      die("%u answers and %u closes are still missing after 5 s", busy_count, open_count);
    }
    int count = epoll_wait(epoll, events, MAX_EVENTS, wait_ms(deadline, now));
    if (count < 0 && errno != EINTR) die("epoll_wait: %s", strerror(errno));
    for (int i = 0; i < count; i++) {
      struct client *c = &clients[events[i].data.u32];
      if (c->busy && c->sent < c->length) pump_out(c);
      if (events[i].events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) pump_in(c);
    }
  }
  report(&start, &end, total, 0);
}

#endif
