// The limit of the sendFile and proxy benches: epoll, sendfile(2) and splice(2).
//   send_server --file PATH --size BYTES    sends the first BYTES of the file for each byte that it receives
//   send_server --target PORT               joins each connection with one of its own to 127.0.0.1:PORT, through two pipes
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PIECE = 262144, EVENTS = 64 };

struct end {
  int fd;
  int pipe[2];        // what is on its way from here to the peer
  size_t held;
  struct end *peer;   // null when a file is sent
  off_t sent;
  long asked;
  int ended;
};

static int epoll_fd;
static int file = -1;
static long size;
static int target;

static void die(const char *what) {
  perror(what);
  exit(1);
}

static struct end *add(int fd) {
  struct end *end = calloc(1, sizeof(*end));
  const int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
  fcntl(fd, F_SETFL, O_NONBLOCK);
  end->fd = fd;
  struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = end};
  if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) die("epoll_ctl");
  return end;
}

static void send_files(struct end *end) {
  char asked[64];
  ssize_t count;
  while ((count = read(end->fd, asked, sizeof(asked))) > 0) end->asked += count;
  if (count == 0) {
    close(end->fd);
    return;
  }
  while (end->asked > 0) {
    const ssize_t sent = sendfile(end->fd, file, &end->sent, (size_t)(size - end->sent));
    if (sent <= 0) return;
    if (end->sent < size) continue;
    end->sent = 0;
    end->asked -= 1;
  }
}

static void move(struct end *from) {
  struct end *to = from->peer;
  while (!from->ended) {
    if (from->held == 0) {
      const ssize_t count = splice(from->fd, NULL, from->pipe[1], NULL, PIECE, SPLICE_F_NONBLOCK);
      if (count < 0) return;
      if (count == 0) {
        from->ended = 1;
        shutdown(to->fd, SHUT_WR);
        if (!to->ended) return;
        close(from->fd);
        close(to->fd);
        return;
      }
      from->held = (size_t)count;
    }
    const ssize_t count = splice(from->pipe[0], NULL, to->fd, NULL, from->held, SPLICE_F_NONBLOCK);
    if (count <= 0) return;
    from->held -= (size_t)count;
  }
}

static void make_pipe(struct end *end) {
  if (pipe2(end->pipe, O_NONBLOCK) != 0) die("pipe2");
  fcntl(end->pipe[1], F_SETPIPE_SZ, PIECE);
}

static void join_with_target(struct end *end) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)target)};
  if (connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0) die("connect");
  end->peer = add(fd);
  end->peer->peer = end;
  make_pipe(end);
  make_pipe(end->peer);
}

int main(int argc, char **argv) {
  for (int i = 1; i + 1 < argc; i += 2) {
    if (strcmp(argv[i], "--file") == 0) file = open(argv[i + 1], O_RDONLY);
    else if (strcmp(argv[i], "--size") == 0) size = atol(argv[i + 1]);
    else if (strcmp(argv[i], "--target") == 0) target = atoi(argv[i + 1]);
  }
  signal(SIGPIPE, SIG_IGN);
  epoll_fd = epoll_create1(0);
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof(at);
  if (bind(listener, (struct sockaddr *)&at, length) != 0 || listen(listener, 511) != 0) die("listen");
  getsockname(listener, (struct sockaddr *)&at, &length);
  fcntl(listener, F_SETFL, O_NONBLOCK);
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
  epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event);
  printf("listening on 127.0.0.1:%d\n", ntohs(at.sin_port));
  fflush(stdout);
  for (;;) {
    struct epoll_event events[EVENTS];
    const int count = epoll_wait(epoll_fd, events, EVENTS, -1);
    for (int i = 0; i < count; ++i) {
      struct end *end = events[i].data.ptr;
      if (end == NULL) {
        int fd;
        while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
          struct end *made = add(fd);
          if (target != 0) join_with_target(made);
        }
      } else if (end->peer == NULL) {
        send_files(end);
      } else {
        move(end);
        move(end->peer);
      }
    }
  }
}
