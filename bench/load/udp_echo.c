/*
 * The limit for UDP echo: recvmmsg for all that is there, up to 64 datagrams, and sendmmsg for all of those. One thread that
 * sleeps in recvmmsg.
 *
 *   udp_echo [--host 127.0.0.1] [--port 0]
 *
 * Prints `listening on HOST:PORT` and serves until it is killed (SIGTERM's default action).
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum { BATCH = 64, LONGEST = 65536 };

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *format, ...) {
  va_list args;
  va_start(args, format);
  vfprintf(stderr, format, args);
  va_end(args);
  fputc('\n', stderr);
  exit(1);
}

int main(int argc, char **argv) {
  struct sockaddr_in address = {.sin_family = AF_INET};
  const char *host = "127.0.0.1";
  for (int i = 1; i + 1 < argc; i += 2) {
    if (!strcmp(argv[i], "--host")) host = argv[i + 1];
    else if (!strcmp(argv[i], "--port")) address.sin_port = htons((uint16_t)atoi(argv[i + 1]));
    else die("unknown option: %s", argv[i]);
  }
  if (inet_pton(AF_INET, host, &address.sin_addr) != 1) die("not an IPv4 address: %s", host);
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  socklen_t length = sizeof(address);
  if (bind(fd, (struct sockaddr *)&address, length) < 0) die("bind: %s", strerror(errno));
  getsockname(fd, (struct sockaddr *)&address, &length);
  printf("listening on %s:%u\n", host, ntohs(address.sin_port));
  fflush(stdout);

  static char memory[BATCH][LONGEST];
  static struct sockaddr_in peers[BATCH];
  static struct iovec iov[BATCH];
  static struct mmsghdr messages[BATCH];
  for (int i = 0; i < BATCH; i++) {
    messages[i].msg_hdr = (struct msghdr){.msg_name = &peers[i], .msg_iov = &iov[i], .msg_iovlen = 1};
    iov[i].iov_base = memory[i];
  }
  for (;;) {
    for (int i = 0; i < BATCH; i++) {
      iov[i].iov_len = LONGEST;
      messages[i].msg_hdr.msg_namelen = sizeof(peers[i]);
    }
    int count = recvmmsg(fd, messages, BATCH, MSG_WAITFORONE, NULL);
    if (count < 0 && errno != EINTR) die("recvmmsg: %s", strerror(errno));
    for (int i = 0; i < count; i++) iov[i].iov_len = messages[i].msg_len;
    for (int sent = 0; sent < count;) {
      int n = sendmmsg(fd, messages + sent, (unsigned)(count - sent), 0);
      if (n < 0 && errno != EINTR) n = 1; /* the first of them cannot be sent: lost, as datagrams may be */
      if (n > 0) sent += n;
    }
  }
}
