// The load of the sendFile bench: each of N clients asks for the file with one byte, receives all of it, and asks again. Prints one
// line of JSON.
//   send_load --port P --clients N --size BYTES --seconds S --warmup S --server-pid PID
// The file is what send_file.mjs writes: byte i is (i * 31 + i / 4096) & 255. All of it is verified.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CHUNK = 262144, PERIOD = 1048576 };

static void die(const char *what) {
  perror(what);
  exit(1);
}

static double seconds_of(clockid_t clock) {
  struct timespec now;
  if (clock_gettime(clock, &now) != 0) die("clock_gettime");
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static const char *option(int argc, char **argv, const char *name) {
  for (int i = 1; i + 1 < argc; i += 2) {
    if (strcmp(argv[i], name) == 0) return argv[i + 1];
  }
  fprintf(stderr, "missing %s\n", name);
  exit(2);
}

// Two periods of the pattern, so that any stretch of one lies in it at once.
static unsigned char pattern[2 * PERIOD];
static unsigned char chunk[CHUNK];

static void verify(long at, long count) {
  if (memcmp(chunk, pattern + at % PERIOD, (size_t)count) == 0) return;
  fprintf(stderr, "wrong bytes from %ld on\n", at);
  exit(1);
}

int main(int argc, char **argv) {
  const int clients = atoi(option(argc, argv, "--clients"));
  const long size = atol(option(argc, argv, "--size"));
  const double warmup = atof(option(argc, argv, "--warmup"));
  const double length = atof(option(argc, argv, "--seconds"));
  clockid_t server;
  if (clock_getcpuclockid(atoi(option(argc, argv, "--server-pid")), &server) != 0) die("clock_getcpuclockid");
  for (long i = 0; i < 2 * PERIOD; ++i) {
    const long in = i % PERIOD;
    pattern[i] = (unsigned char)(in * 31 + in / 4096);
  }
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  to.sin_port = htons((uint16_t)atoi(option(argc, argv, "--port")));
  struct pollfd *sockets = calloc((size_t)clients, sizeof(*sockets));
  long *received = calloc((size_t)clients, sizeof(*received));
  for (int i = 0; i < clients; ++i) {
    sockets[i].fd = socket(AF_INET, SOCK_STREAM, 0);
    sockets[i].events = POLLIN;
    if (connect(sockets[i].fd, (struct sockaddr *)&to, sizeof(to)) != 0) die("connect");
    if (write(sockets[i].fd, "G", 1) != 1) die("write");
  }
  long bytes = 0;
  long files = 0;
  double from = 0;
  double server_from = 0;
  double own_from = 0;
  const double begun = seconds_of(CLOCK_MONOTONIC);
  for (;;) {
    const double now = seconds_of(CLOCK_MONOTONIC);
    if (from == 0 && now >= begun + warmup) {
      bytes = files = 0;
      from = now;
      server_from = seconds_of(server);
      own_from = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
    }
    if (from != 0 && now >= from + length && bytes >= size) break;
    if (now > begun + warmup + length + 30) {
      fprintf(stderr, "the server sends nothing\n");
      return 1;
    }
    if (poll(sockets, (nfds_t)clients, 1000) < 0) die("poll");
    for (int i = 0; i < clients; ++i) {
      if (sockets[i].revents == 0) continue;
      long most = size - received[i];
      if (most > CHUNK) most = CHUNK;
      const ssize_t count = recv(sockets[i].fd, chunk, (size_t)most, 0);
      if (count <= 0) die("recv");
      verify(received[i], count);
      received[i] += count;
      bytes += count;
      if (received[i] < size) continue;
      received[i] = 0;
      files += 1;
      if (write(sockets[i].fd, "G", 1) != 1) die("write");
    }
  }
  const double took = seconds_of(CLOCK_MONOTONIC) - from;
  const double cpu = seconds_of(server) - server_from;
  const double own = (seconds_of(CLOCK_PROCESS_CPUTIME_ID) - own_from) / took;
  printf("{\"files\":%ld,\"bytes\":%ld,\"seconds\":%.6f,\"serverCpuNs\":%.0f,\"cpu\":%.3f,\"limited\":%s}\n", files, bytes, took,
         cpu * 1e9, own, own > 0.95 ? "true" : "false");
  return 0;
}
