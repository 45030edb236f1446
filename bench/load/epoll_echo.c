/*
 * The limit for TCP echo without io_uring: what a C program gets out of epoll with nothing above it. One thread,
 * edge-triggered; what has been received is sent back at once, and copied aside only if the socket will not take it.
 *
 *   epoll_echo [--host 127.0.0.1] [--port 0]
 *
 * Prints `listening on HOST:PORT` and serves until it is killed (SIGTERM's default action).
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_EVENTS = 512, SCRATCH = 64 * 1024, MAX_DESCRIPTORS = 65536 };

/* What one connection could not send yet; nothing more is received from it before that is out. Indexed by descriptor. */
struct rest {
  char *bytes;
  size_t length, sent;
};

static struct rest *rests;
static char scratch[SCRATCH];
static int epoll, listener;

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *format, ...) {
  va_list args;
  va_start(args, format);
  vfprintf(stderr, format, args);
  va_end(args);
  fputc('\n', stderr);
  exit(1);
}

static void drop(int fd) {
  free(rests[fd].bytes);
  rests[fd] = (struct rest){0};
  close(fd); /* takes it out of epoll as well */
}

/* How many bytes the socket has taken; -1 if it is gone. */
static ssize_t send_some(int fd, const char *bytes, size_t length) {
  size_t sent = 0;
  while (sent < length) {
    ssize_t n = send(fd, bytes + sent, length - sent, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno == EAGAIN ? (ssize_t)sent : -1;
    sent += (size_t)n;
  }
  return (ssize_t)sent;
}

/* Whether nothing is left to send. */
static int send_rest(int fd) {
  struct rest *rest = &rests[fd];
  if (rest->bytes == NULL) return 1;
  ssize_t n = send_some(fd, rest->bytes + rest->sent, rest->length - rest->sent);
  if (n < 0) return drop(fd), 0;
  rest->sent += (size_t)n;
  if (rest->sent < rest->length) return 0;
  free(rest->bytes);
  *rest = (struct rest){0};
  return 1;
}

static void echo(int fd, uint32_t events) {
  if (!send_rest(fd)) return;
  for (;;) {
    ssize_t got = recv(fd, scratch, SCRATCH, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) return drop(fd);
    ssize_t sent = send_some(fd, scratch, (size_t)got);
    if (sent < 0) return drop(fd);
    if (sent < got) {
      struct rest rest = {.bytes = malloc((size_t)(got - sent)), .length = (size_t)(got - sent)};
      if (!rest.bytes) die("out of memory");
      memcpy(rest.bytes, scratch + sent, rest.length);
      rests[fd] = rest;
      return; /* EPOLLOUT goes on from here */
    }
    /* A short read has emptied the socket, but for the end of the stream; what comes later raises a new edge. */
    if (got < SCRATCH && !(events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))) return;
  }
}

static void accept_all(void) {
  for (;;) {
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0 && (errno == EINTR || errno == ECONNABORTED)) continue;
    if (fd < 0) return;
    if (fd >= MAX_DESCRIPTORS) die("too many connections");
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.fd = fd};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0) die("epoll_ctl: %s", strerror(errno));
  }
}

static void listen_on(const char *host, uint16_t port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
  socklen_t length = sizeof(address);
  int on = 1;
  if (inet_pton(AF_INET, host, &address.sin_addr) != 1) die("not an IPv4 address: %s", host);
  listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  /* Accepted sockets inherit it, which saves a system call for each. */
  setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  if (bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0) die("bind: %s", strerror(errno));
  if (listen(listener, 4096) < 0) die("listen: %s", strerror(errno));
  getsockname(listener, (struct sockaddr *)&address, &length);
  printf("listening on %s:%u\n", host, ntohs(address.sin_port));
  fflush(stdout);
}

int main(int argc, char **argv) {
  const char *host = "127.0.0.1";
  uint16_t port = 0;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (!strcmp(argv[i], "--host")) host = argv[i + 1];
    else if (!strcmp(argv[i], "--port")) port = (uint16_t)atoi(argv[i + 1]);
    else die("unknown option: %s", argv[i]);
  }
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  rests = calloc(MAX_DESCRIPTORS, sizeof(*rests));
  if (!rests) die("out of memory");
  epoll = epoll_create1(EPOLL_CLOEXEC);
  listen_on(host, port);
  /* Level-triggered: where descriptors run out, the rest of the backlog must not be forgotten. */
  struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) < 0) die("epoll_ctl: %s", strerror(errno));

  for (;;) {
    struct epoll_event events[MAX_EVENTS];
    int count = epoll_wait(epoll, events, MAX_EVENTS, -1);
    if (count < 0 && errno != EINTR) die("epoll_wait: %s", strerror(errno));
    for (int i = 0; i < count; i++) {
      if (events[i].data.fd == listener) accept_all();
      else echo(events[i].data.fd, events[i].events);
    }
  }
}
