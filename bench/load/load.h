/*
 * What the load generators share: options, clocks, a histogram, the server's CPU time, the line with the result.
 *
 *   PROGRAM --host H --port P --clients N --size BYTES --seconds S --warmup S [--server-pid PID] [--path /]
 *
 * Each prints {"event":"start"} when the warm-up is over and one line with the result at the end. With --server-pid the
 * result carries the CPU time which that process (all its threads, also those that ended) used in exactly the measured
 * window. Each exits with 1 on any wrong, missing or surplus byte and on any error of a socket.
 */
#ifndef OURO_BENCH_LOAD_H
#define OURO_BENCH_LOAD_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

__attribute__((noreturn, format(printf, 1, 2))) static inline void die(const char *format, ...) {
  va_list args;
  va_start(args, format);
  vfprintf(stderr, format, args);
  va_end(args);
  fputc('\n', stderr);
  printf("{\"event\":\"result\",\"errors\":1}\n");
  exit(1);
}

/* ---- options ---- */

struct options {
  const char *host, *path;
  int port, server_pid;
  unsigned clients;
  size_t size;
  double seconds, warmup;
};

static inline struct options parse_options(int argc, char **argv) {
  struct options options = {.host = "127.0.0.1", .path = "/", .clients = 1, .size = 64, .seconds = 2, .warmup = 1};
  for (int i = 1; i < argc; i += 2) {
    if (i + 1 == argc) die("%s needs a value", argv[i]);
    const char *value = argv[i + 1];
    if (!strcmp(argv[i], "--host")) options.host = value;
    else if (!strcmp(argv[i], "--path")) options.path = value;
    else if (!strcmp(argv[i], "--port")) options.port = atoi(value);
    else if (!strcmp(argv[i], "--clients")) options.clients = (unsigned)atoi(value);
    else if (!strcmp(argv[i], "--size")) options.size = (size_t)atol(value);
    else if (!strcmp(argv[i], "--seconds")) options.seconds = atof(value);
    else if (!strcmp(argv[i], "--warmup")) options.warmup = atof(value);
    else if (!strcmp(argv[i], "--server-pid")) options.server_pid = atoi(value);
    else die("unknown option: %s", argv[i]);
  }
  if (options.port <= 0 || options.clients == 0 || options.size == 0 || options.seconds <= 0) {
    die("--port, --clients, --size, --seconds: required");
  }
  return options;
}

static inline struct sockaddr_in address_of(const struct options *options) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)options->port)};
  if (inet_pton(AF_INET, options->host, &address.sin_addr) != 1) die("not an IPv4 address: %s", options->host);
  return address;
}

/* As many descriptors as we may have. */
static inline void raise_descriptor_limit(void) {
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

/* ---- clocks ---- */

static inline uint64_t clock_ns(clockid_t clock) {
  struct timespec now;
  if (clock_gettime(clock, &now) < 0) return 0;
  return (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
}

static inline uint64_t now_ns(void) { return clock_ns(CLOCK_MONOTONIC); }

/* What to give epoll_wait to return at `deadline`. */
static inline int wait_ms(uint64_t deadline, uint64_t now) {
  return deadline > now ? (int)((deadline - now) / 1000000) + 1 : 0;
}

/* ---- histogram: log-linear, 128 steps per power of two, so no value is off by more than 0.8 % ---- */

enum { STEP_BITS = 7, STEPS = 1 << STEP_BITS, BUCKETS = (64 - STEP_BITS) * STEPS };
static uint64_t histogram[BUCKETS];
static uint64_t measured;

static inline void record(uint64_t ns) {
  unsigned shift = ns < STEPS ? 0 : (unsigned)(63 - __builtin_clzll(ns)) - STEP_BITS;
  unsigned bucket = ns < STEPS ? (unsigned)ns : (shift + 1) * STEPS + (unsigned)((ns >> shift) & (STEPS - 1));
  histogram[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
  measured++;
}

static inline double percentile_us(double fraction) {
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

enum { SHIFTS = 65536 };
static char *pattern;

/* Random bytes, of which each message is a different window: any loss, duplication or reordering shows as a mismatch. */
static inline void make_pattern(size_t size) {
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

static inline const char *message_of(uint32_t client, uint32_t sequence) {
  return pattern + (client * 31153u + sequence * 40503u) % SHIFTS;
}

/* ---- the server's CPU time, our own, and the result ---- */

/* User and system ticks of the server: too coarse to add up, good enough to tell how its time divides. */
static inline void read_ticks(int pid, unsigned long ticks[2]) {
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

static inline struct sample take_sample(int server_pid) {
  struct sample sample = {.own_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID)};
  clockid_t clock;
  if (server_pid > 0 && clock_getcpuclockid(server_pid, &clock) == 0) sample.server_ns = clock_ns(clock);
  if (server_pid > 0) read_ticks(server_pid, sample.ticks);
  sample.wall_ns = now_ns();
  return sample;
}

/*
 * A server whose code is compiled while it runs needs CPU time to get warm, and on a machine in use that is not the same as
 * time. So the warm-up goes on until the server has used half of it, but for no more than four times as long.
 */
static uint64_t warmup_ns, warmup_end_ns, cold_server_ns;

/* Begins the warm-up; returns when to ask whether it is over. */
static inline uint64_t begin_warmup(const struct options *options) {
  struct sample sample = take_sample(options->server_pid);
  warmup_ns = (uint64_t)(options->warmup * 1e9);
  warmup_end_ns = sample.wall_ns + 4 * warmup_ns;
  cold_server_ns = sample.server_ns;
  return sample.wall_ns + warmup_ns;
}

/* When to ask again; 0 if the warm-up is over. */
static inline uint64_t still_cold(const struct options *options) {
  struct sample sample = take_sample(options->server_pid);
  bool warm = options->server_pid == 0 || sample.server_ns - cold_server_ns >= warmup_ns / 2;
  return warm || sample.wall_ns >= warmup_end_ns ? 0 : sample.wall_ns + warmup_ns / 8;
}

static inline struct sample start_sample(int server_pid) {
  printf("{\"event\":\"start\"}\n");
  fflush(stdout);
  return take_sample(server_pid);
}

/* `total` counts what was done outside the measured window as well; `lost` what had to be sent again. */
static inline void report(const struct sample *start, const struct sample *end, uint64_t total, uint64_t lost) {
  double seconds = (double)(end->wall_ns - start->wall_ns) / 1e9;
  double cpu = (double)(end->own_ns - start->own_ns) / 1e9 / seconds;
  unsigned long user = end->ticks[0] - start->ticks[0], system = end->ticks[1] - start->ticks[1];
  printf("{\"event\":\"result\",\"messages\":%llu,\"seconds\":%.6f,\"messagesPerSecond\":%.1f,"
         "\"p50us\":%.2f,\"p99us\":%.2f,\"p999us\":%.2f,\"errors\":0,\"cpu\":%.3f,\"limited\":%s,"
         "\"serverCpuNs\":%llu,\"serverUserShare\":%.3f,\"totalMessages\":%llu,\"lost\":%llu}\n",
         (unsigned long long)measured, seconds, (double)measured / seconds, percentile_us(0.50), percentile_us(0.99),
         percentile_us(0.999), cpu, cpu > 0.95 ? "true" : "false",
         (unsigned long long)(end->server_ns - start->server_ns),
         user + system > 0 ? (double)user / (double)(user + system) : 0.0, (unsigned long long)total,
         (unsigned long long)lost);
}

#endif
