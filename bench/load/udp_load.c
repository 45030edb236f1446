/*
 * A closed-loop UDP echo load: every client is a connected socket that sends one datagram, waits for it to come back whole,
 * verifies every byte, and sends the next. One thread, epoll, non-blocking. Options: see load.h; --size is at least 4.
 *
 * A datagram may be lost (a receive queue that is full drops it): after 100 ms it is sent again and counted as lost, and its
 * round trip counts from the first time.
 */
#define _GNU_SOURCE
#include "load.h"

#include <sys/epoll.h>

enum { MAX_EVENTS = 512, SCRATCH = 65536 };
static const uint64_t PATIENCE_NS = 100000000ULL, GRACE_NS = 5000000000ULL;

struct client {
  int fd;
  uint32_t sequence; /* stands at the front of the datagram */
  const char *message;
  uint64_t begun_ns, sent_ns;
  bool busy;
};

static enum { WARMUP, MEASURE, DRAIN } phase = WARMUP;
static struct client *clients;
static unsigned busy_count;
static size_t size;
static char scratch[SCRATCH];
static uint64_t total, lost;

static void send_message(struct client *c, uint64_t now) {
  c->sent_ns = now;
  memcpy(scratch, &c->sequence, sizeof(c->sequence));
  memcpy(scratch + sizeof(c->sequence), c->message, size - sizeof(c->sequence));
  /* What does not fit anywhere is lost, as it would be further on; an ICMP error (the server is gone) is not. */
  if (send(c->fd, scratch, size, 0) < 0 && errno != EAGAIN && errno != ENOBUFS) die("send: %s", strerror(errno));
}

static void begin(struct client *c, uint64_t now) {
  c->message = message_of((uint32_t)(c - clients), ++c->sequence);
  c->begun_ns = now;
  c->busy = true;
  busy_count++;
  send_message(c, now);
}

static void pump_in(struct client *c) {
  ssize_t n = recv(c->fd, scratch, SCRATCH, 0);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n < 0) die("recv: %s", strerror(errno));
  if ((size_t)n != size) die("%zd bytes instead of %zu", n, size);
  uint32_t sequence;
  memcpy(&sequence, scratch, sizeof(sequence));
  /* The echo of one that was given up too early, and is here twice now. */
  if (sequence < c->sequence || (sequence == c->sequence && !c->busy)) return;
  if (sequence > c->sequence || memcmp(scratch + sizeof(sequence), c->message, size - sizeof(sequence)) != 0) {
    die("wrong bytes in datagram %u", c->sequence);
  }
  uint64_t now = now_ns();
  c->busy = false;
  busy_count--;
  total++;
  if (phase == MEASURE) record(now - c->begun_ns);
  if (phase != DRAIN) begin(c, now);
}

int main(int argc, char **argv) {
  const struct options options = parse_options(argc, argv);
  const struct sockaddr_in server = address_of(&options);
  size = options.size;
  if (size < sizeof(uint32_t) || size > 65507) die("--size: 4 to 65507");
  raise_descriptor_limit();
  make_pattern(size);
  clients = calloc(options.clients, sizeof(*clients));
  if (!clients) die("out of memory");
  int epoll = epoll_create1(EPOLL_CLOEXEC);
  for (uint32_t i = 0; i < options.clients; i++) {
    int fd = clients[i].fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) die("socket: %s", strerror(errno));
    if (connect(fd, (const struct sockaddr *)&server, sizeof(server)) < 0) die("connect: %s", strerror(errno));
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0) die("epoll_ctl: %s", strerror(errno));
    begin(&clients[i], now_ns());
  }

  struct sample start = {0}, end = {0};
  uint64_t now = now_ns(), deadline = begin_warmup(&options), look = now + PATIENCE_NS;
  while (phase != DRAIN || busy_count > 0) {
    struct epoll_event events[MAX_EVENTS];
    now = now_ns();
    if (phase == WARMUP && now >= deadline && (deadline = still_cold(&options)) == 0) {
      phase = MEASURE;
      lost = 0;
      start = start_sample(options.server_pid);
      deadline = start.wall_ns + (uint64_t)(options.seconds * 1e9);
    } else if (phase == MEASURE && now >= deadline) {
      phase = DRAIN;
      end = take_sample(options.server_pid);
      deadline = now + GRACE_NS;
    } else if (phase == DRAIN && now >= deadline) {
      die("%u echoes are still missing after 5 s", busy_count);
    }
    if (now >= look) {
      look = now + PATIENCE_NS / 2;
      for (unsigned i = 0; i < options.clients; i++) {
        if (!clients[i].busy || now - clients[i].sent_ns < PATIENCE_NS) continue;
        lost++;
        send_message(&clients[i], now);
      }
    }
    int count = epoll_wait(epoll, events, MAX_EVENTS, wait_ms(deadline < look ? deadline : look, now));
    if (count < 0 && errno != EINTR) die("epoll_wait: %s", strerror(errno));
    for (int i = 0; i < count; i++) pump_in(&clients[events[i].data.u32]);
  }
  report(&start, &end, total, lost);
  return 0;
}
