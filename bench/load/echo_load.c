/*
 * A closed-loop TCP echo load: every client sends one message, waits for the whole echo, verifies every byte of it,
 * records how long it took, and goes on with the next. One thread, epoll, non-blocking.
 *
 *   echo_load --host H --port P --clients N --size BYTES --seconds S --warmup S [--server-pid PID]
 *
 * Prints {"event":"start"} when the warm-up is over and one line with the result at the end. With --server-pid the
 * result carries the CPU time which that process (all its threads, also those that ended) used in exactly the measured
 * window. Exits with 1 on any wrong, missing or surplus byte and on any connection error.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_EVENTS = 512, SCRATCH = 256 * 1024, SHIFTS = 65536 };
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
static unsigned client_count = 1, busy_count, open_count;
static size_t size = 64;
static char *pattern;
static char scratch[SCRATCH];
static uint64_t total, measured;

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *format, ...) {
  va_list args;
  va_start(args, format);
  fputs("echo_load: ", stderr);
  vfprintf(stderr, format, args);
  fputc('\n', stderr);
  printf("{\"event\":\"result\",\"errors\":1}\n");
  exit(1);
}

static uint64_t clock_ns(clockid_t clock) {
  struct timespec now;
  if (clock_gettime(clock, &now) < 0) return 0;
  return (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
}

static uint64_t now_ns(void) { return clock_ns(CLOCK_MONOTONIC); }

/* ---- histogram: log-linear, 128 steps per power of two, so no value is off by more than 0.8 % ---- */

enum { STEP_BITS = 7, STEPS = 1 << STEP_BITS, BUCKETS = (64 - STEP_BITS) * STEPS };
static uint64_t histogram[BUCKETS];

static void record(uint64_t ns) {
  unsigned shift = ns < STEPS ? 0 : (unsigned)(63 - __builtin_clzll(ns)) - STEP_BITS;
  unsigned bucket = ns < STEPS ? (unsigned)ns : (shift + 1) * STEPS + (unsigned)((ns >> shift) & (STEPS - 1));
  histogram[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
}

static double percentile_us(double fraction) {
  uint64_t rank = (uint64_t)(fraction * (double)measured), seen = 0;
  for (unsigned bucket = 0; bucket < BUCKETS; bucket++) {
    seen += histogram[bucket];
    if (histogram[bucket] == 0 || seen <= rank) continue;
    if (bucket < STEPS) return bucket / 1000.0;
    unsigned shift = bucket / STEPS - 1;
    double low = (double)((uint64_t)(STEPS + bucket % STEPS) << shift);
    return (low + (double)(1ULL << shift) / 2) / 1000.0;
  }
  return 0;
}

/* ---- messages ---- */

/* Random bytes, of which each message is a different window: any loss, duplication or reordering shows as a mismatch. */
static void make_pattern(void) {
  pattern = malloc(size + SHIFTS);
  if (!pattern) die("out of memory");
  uint64_t state = 0x9e3779b97f4a7c15ULL;
  for (size_t i = 0; i < size + SHIFTS; i++) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    pattern[i] = (char)(state >> 32);
  }
}

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
  uint32_t index = (uint32_t)(c - clients);
  c->message = pattern + (index * 31153u + c->sequence * 40503u) % SHIFTS;
  c->sequence++;
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
  if (phase == MEASURE) {
    measured++;
    record(now - c->begun_ns);
  }
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

static void connect_all(int epoll, const char *host, uint16_t port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
  if (inet_pton(AF_INET, host, &address.sin_addr) != 1) die("not an IPv4 address: %s", host);
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

/* User and system ticks of the server: too coarse to add up, good enough to tell how its time divides. */
static void read_ticks(int pid, unsigned long ticks[2]) {
  char path[64], text[1024];
  snprintf(path, sizeof(path), "/proc/%d/stat", pid);
  ticks[0] = ticks[1] = 0;
  FILE *file = fopen(path, "re");
  if (!file) return;
  text[fread(text, 1, sizeof(text) - 1, file)] = 0;
  fclose(file);
  char *after_name = strrchr(text, ')');
  if (after_name) sscanf(after_name + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &ticks[0], &ticks[1]);
}

struct sample {
  uint64_t wall_ns, own_ns, server_ns;
  unsigned long ticks[2];
};

static struct sample take_sample(int server_pid) {
  struct sample sample = {.own_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID)};
  clockid_t clock;
  if (server_pid > 0 && clock_getcpuclockid(server_pid, &clock) == 0) sample.server_ns = clock_ns(clock);
  if (server_pid > 0) read_ticks(server_pid, sample.ticks);
  sample.wall_ns = now_ns();
  return sample;
}

static void report(const struct sample *start, const struct sample *end) {
  double seconds = (double)(end->wall_ns - start->wall_ns) / 1e9;
  double cpu = (double)(end->own_ns - start->own_ns) / 1e9 / seconds;
  unsigned long user = end->ticks[0] - start->ticks[0], system = end->ticks[1] - start->ticks[1];
  printf("{\"event\":\"result\",\"messages\":%llu,\"seconds\":%.6f,\"messagesPerSecond\":%.1f,"
         "\"p50us\":%.2f,\"p99us\":%.2f,\"p999us\":%.2f,\"errors\":0,\"cpu\":%.3f,\"limited\":%s,"
         "\"serverCpuNs\":%llu,\"serverUserShare\":%.3f,\"totalMessages\":%llu}\n",
         (unsigned long long)measured, seconds, (double)measured / seconds, percentile_us(0.50), percentile_us(0.99),
         percentile_us(0.999), cpu, cpu > 0.95 ? "true" : "false",
         (unsigned long long)(end->server_ns - start->server_ns),
         user + system > 0 ? (double)user / (double)(user + system) : 0.0, (unsigned long long)total);
}

int main(int argc, char **argv) {
  const char *host = "127.0.0.1";
  int port = 0, server_pid = 0;
  double seconds = 2, warmup = 1;
  for (int i = 1; i < argc; i += 2) {
    if (i + 1 == argc) die("%s needs a value", argv[i]);
    const char *value = argv[i + 1];
    if (!strcmp(argv[i], "--host")) host = value;
    else if (!strcmp(argv[i], "--port")) port = atoi(value);
    else if (!strcmp(argv[i], "--clients")) client_count = (unsigned)atoi(value);
    else if (!strcmp(argv[i], "--size")) size = (size_t)atol(value);
    else if (!strcmp(argv[i], "--seconds")) seconds = atof(value);
    else if (!strcmp(argv[i], "--warmup")) warmup = atof(value);
    else if (!strcmp(argv[i], "--server-pid")) server_pid = atoi(value);
    else die("unknown option: %s", argv[i]);
  }
  if (port <= 0 || client_count == 0 || size == 0 || seconds <= 0) die("--port, --clients, --size, --seconds: required");

  int epoll = epoll_create1(EPOLL_CLOEXEC);
  make_pattern();
  connect_all(epoll, host, (uint16_t)port);
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
      deadline = now + (uint64_t)(warmup * 1e9);
      for (unsigned i = 0; i < client_count; i++) begin(&clients[i], now);
    } else if (phase == WARMUP && now >= deadline) {
      phase = MEASURE;
      printf("{\"event\":\"start\"}\n");
      fflush(stdout);
      start = take_sample(server_pid);
      deadline = start.wall_ns + (uint64_t)(seconds * 1e9);
    } else if (phase == MEASURE && now >= deadline) {
      phase = DRAIN;
      end = take_sample(server_pid);
      deadline = now + GRACE_NS;
    } else if (phase == DRAIN && busy_count == 0) {
      /* A half-close, not a close: the server must answer with its own end of stream, after no byte more. */
      phase = CLOSE;
      for (unsigned i = 0; i < client_count; i++) shutdown(clients[i].fd, SHUT_WR);
      deadline = now + GRACE_NS;
    } else if ((phase == FIRST || phase >= DRAIN) && now >= deadline) {
      die("%u echoes and %u closes are still missing after 5 s", busy_count, open_count);
    }
    int wait_ms = deadline > now ? (int)((deadline - now) / 1000000) + 1 : 0;
    int count = epoll_wait(epoll, events, MAX_EVENTS, wait_ms);
    if (count < 0 && errno != EINTR) die("epoll_wait: %s", strerror(errno));
    for (int i = 0; i < count; i++) {
      struct client *c = &clients[events[i].data.u32];
      if (c->busy && c->sent < size) pump_out(c);
      if (events[i].events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) pump_in(c);
    }
  }
  report(&start, &end);
  return 0;
}
