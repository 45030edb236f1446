/*
 * Many connections that do nothing: each sends one message, gets it back, and stays. Options: see load.h; --clients is how
 * many, --size of how many bytes the one message is.
 *
 * Prints {"event":"ready"} when all have had their echo. At SIGTERM it ends them all, waits for the server's end of each,
 * and prints its result. Exits by itself when `--seconds` are over.
 */
#define _GNU_SOURCE
#include "load.h"

#include <netinet/tcp.h>
#include <signal.h>

/* One source address has some 28,000 ports. */
enum { PER_SOURCE = 20000 };

static void talk(int fd, const char *message, size_t size, char *scratch) {
  for (size_t sent = 0; sent < size;) {
    ssize_t n = send(fd, message + sent, size - sent, MSG_NOSIGNAL);
    if (n <= 0) die("send: %s", strerror(errno));
    sent += (size_t)n;
  }
  for (size_t echoed = 0; echoed < size;) {
    ssize_t n = recv(fd, scratch + echoed, size - echoed, 0);
    if (n == 0) die("the server closed a connection");
    if (n < 0) die("recv: %s", strerror(errno));
    echoed += (size_t)n;
  }
  if (memcmp(scratch, message, size) != 0) die("wrong bytes");
}

int main(int argc, char **argv) {
  const struct options options = parse_options(argc, argv);
  const struct sockaddr_in server = address_of(&options);
  const struct timeval patience = {.tv_sec = 10};
  raise_descriptor_limit();
  make_pattern(options.size);
  int *sockets = calloc(options.clients, sizeof(*sockets));
  char *scratch = malloc(options.size);
  if (!sockets || !scratch) die("out of memory");
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigprocmask(SIG_BLOCK, &signals, NULL);

  for (unsigned i = 0; i < options.clients; i++) {
    struct sockaddr_in source = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK + i / PER_SOURCE)};
    int fd = sockets[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) die("socket: %s", strerror(errno));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    if (i >= PER_SOURCE && bind(fd, (struct sockaddr *)&source, sizeof(source)) < 0) die("bind: %s", strerror(errno));
    if (connect(fd, (const struct sockaddr *)&server, sizeof(server)) < 0) die("connect: %s", strerror(errno));
    talk(fd, message_of(i, 0), options.size, scratch);
  }
  printf("{\"event\":\"ready\"}\n");
  fflush(stdout);

  struct timespec patient = {.tv_sec = (time_t)options.seconds};
  while (sigtimedwait(&signals, NULL, &patient) < 0 && errno == EINTR) continue;
  for (unsigned i = 0; i < options.clients; i++) shutdown(sockets[i], SHUT_WR);
  for (unsigned i = 0; i < options.clients; i++) {
    if (recv(sockets[i], scratch, 1, 0) != 0) die("connection %u was not ended by the server", i);
    close(sockets[i]);
  }
  printf("{\"event\":\"result\",\"connections\":%u,\"errors\":0}\n", options.clients);
  return 0;
}
