/*
 * The limit for TCP echo: what a C program gets out of io_uring with nothing above it.
 *
 * Multishot accept into direct descriptors, multishot receive out of a provided-buffer ring, every answer sent
 * straight from the buffer that was received into, one io_uring_enter (submit and wait for one) per turn.
 *
 *   uring_echo [--host 127.0.0.1] [--port 0] [--buffers 512] [--buffer-size 65536] [--spin 0]
 *
 * With --spin it looks at its completion queue for so many microseconds before it sleeps. Prints `listening on HOST:PORT` and serves until it is killed (SIGTERM's default action).
 */
#define _GNU_SOURCE
#include "ring.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

enum { MAX_CONNECTIONS = 16384, MAX_IOV = 16, GROUP = 0, NONE = -1 };
/* A peer that sends but does not read may hold this many buffers; then its receive pauses until half are gone. */
enum { QUEUE_HIGH = 32, QUEUE_LOW = 16 };
enum { ACCEPT, RECV, SEND, CANCEL, CLOSE };

/* Indexed by the direct descriptor, which is released only after the last CQE: no stale completion can find a new owner. */
struct connection {
  int first, last;   /* received buffers, oldest first, chained by buffers[].next */
  unsigned queued;   /* how many */
  unsigned sending;  /* how many of them are in the send in flight; 0 is none */
  size_t send_bytes; /* what that send was asked to move */
  bool receiving;    /* a multishot receive is armed */
  bool paused;       /* too much queued: do not arm it */
  bool starved;      /* stands in the list of those that met ENOBUFS */
  bool ended;        /* end of stream or an error: close when the last completion is in */
  bool open;
  struct msghdr message;
  struct iovec iov[MAX_IOV];
};

struct buffer {
  int next;
  uint32_t offset; /* how much of it an interrupted send has already moved */
  uint32_t length;
};

static struct ring ring;
static struct connection *connections;
static struct buffer *buffers;
static char *memory;
static size_t stride;
static unsigned buffer_count = 512, buffer_size = 65536;
static struct io_uring_buf_ring *buffer_ring;
static uint16_t buffer_tail;
static unsigned buffers_free;
static int *starved;
static unsigned starved_count;
static int listener;
static unsigned spin_us;

static uint64_t tag(unsigned kind, unsigned index) { return (uint64_t)kind << 32 | index; }

static char *address_of(int id) { return memory + (size_t)id * stride; }

static void give_back(int id) {
  /* The ring's tail lies over the first entry's `resv`, so the three fields are stored one by one. */
  struct io_uring_buf *slot = &buffer_ring->bufs[buffer_tail & (buffer_count - 1)];
  slot->addr = (uintptr_t)address_of(id);
  slot->len = buffer_size;
  slot->bid = (uint16_t)id;
  buffer_tail++;
  buffers_free++;
}

static void arm_accept(void) {
  struct io_uring_sqe *sqe = ring_sqe(&ring);
  sqe->opcode = IORING_OP_ACCEPT;
  sqe->fd = listener;
  sqe->ioprio = IORING_ACCEPT_MULTISHOT;
  sqe->file_index = IORING_FILE_INDEX_ALLOC;
  sqe->user_data = tag(ACCEPT, 0);
}

static void arm_receive(int index) {
  connections[index].receiving = true;
  struct io_uring_sqe *sqe = ring_sqe(&ring);
  sqe->opcode = IORING_OP_RECV;
  sqe->fd = index;
  sqe->flags = IOSQE_FIXED_FILE | IOSQE_BUFFER_SELECT;
  sqe->ioprio = IORING_RECV_MULTISHOT;
  sqe->buf_group = GROUP;
  sqe->user_data = tag(RECV, (unsigned)index);
}

static void cancel_receive(int index) {
  struct io_uring_sqe *sqe = ring_sqe(&ring);
  sqe->opcode = IORING_OP_ASYNC_CANCEL;
  sqe->addr = tag(RECV, (unsigned)index);
  sqe->user_data = tag(CANCEL, 0);
}

/* One send in flight per connection keeps the bytes in order; what came meanwhile goes out together in the next one. */
static void start_send(int index) {
  struct connection *c = &connections[index];
  struct io_uring_sqe *sqe = ring_sqe(&ring);
  sqe->fd = index;
  sqe->flags = IOSQE_FIXED_FILE;
  sqe->msg_flags = MSG_WAITALL | MSG_NOSIGNAL;
  sqe->user_data = tag(SEND, (unsigned)index);
  c->sending = 0;
  c->send_bytes = 0;
  for (int id = c->first; id != NONE && c->sending < MAX_IOV; id = buffers[id].next) {
    c->iov[c->sending].iov_base = address_of(id) + buffers[id].offset;
    c->iov[c->sending].iov_len = buffers[id].length;
    c->send_bytes += buffers[id].length;
    c->sending++;
  }
  if (c->sending == 1) {
    sqe->opcode = IORING_OP_SEND;
    sqe->addr = (uintptr_t)c->iov[0].iov_base;
    sqe->len = (unsigned)c->iov[0].iov_len;
  } else {
    c->message.msg_iov = c->iov;
    c->message.msg_iovlen = c->sending;
    sqe->opcode = IORING_OP_SENDMSG;
    sqe->addr = (uintptr_t)&c->message;
    sqe->len = 1;
  }
}

static void drop_first(struct connection *c) {
  int id = c->first;
  c->first = buffers[id].next;
  if (c->first == NONE) c->last = NONE;
  c->queued--;
  give_back(id);
}

static void close_when_done(int index) {
  struct connection *c = &connections[index];
  if (!c->open || !c->ended || c->receiving || c->sending > 0 || c->queued > 0 || c->starved) return;
  c->open = false;
  struct io_uring_sqe *sqe = ring_sqe(&ring);
  sqe->opcode = IORING_OP_CLOSE;
  sqe->file_index = (unsigned)index + 1;
  sqe->user_data = tag(CLOSE, 0);
}

static void fail(int index) {
  struct connection *c = &connections[index];
  if (c->receiving && !c->ended) cancel_receive(index);
  c->ended = true;
  while (c->sending == 0 && c->queued > 0) drop_first(c);
}

static void accepted(int result, unsigned flags) {
  if (!(flags & IORING_CQE_F_MORE)) arm_accept();
  if (result < 0) return;
  memset(&connections[result], 0, sizeof(connections[result]));
  connections[result].first = connections[result].last = NONE;
  connections[result].open = true;
  arm_receive(result);
}

static void received(int index, int result, unsigned flags) {
  struct connection *c = &connections[index];
  if (!(flags & IORING_CQE_F_MORE)) c->receiving = false;
  if (flags & IORING_CQE_F_BUFFER) {
    int id = (int)(flags >> IORING_CQE_BUFFER_SHIFT);
    buffers_free--;
    if (result <= 0 || c->ended) {
      give_back(id);
    } else {
      buffers[id] = (struct buffer){.next = NONE, .offset = 0, .length = (uint32_t)result};
      if (c->last == NONE) c->first = id;
      else buffers[c->last].next = id;
      c->last = id;
      c->queued++;
      if (c->sending == 0) start_send(index);
    }
  }
  if (result == -ENOBUFS) {
    /* Armed again by main() once a buffer has come back; now it would only fail again. */
    if (!c->starved) starved[starved_count++] = index;
    c->starved = true;
  } else if (result == 0) {
    c->ended = true;
  } else if (result < 0 && result != -ECANCELED) {
    fail(index);
  }
  if (c->queued >= QUEUE_HIGH && !c->paused) {
    c->paused = true;
    if (c->receiving) cancel_receive(index);
  }
  if (!c->receiving && !c->paused && !c->starved && !c->ended) arm_receive(index);
  close_when_done(index);
}

static void sent(int index, int result) {
  struct connection *c = &connections[index];
  c->sending = 0;
  if (result <= 0) {
    fail(index);
  } else if ((size_t)result == c->send_bytes && c->message.msg_iovlen == 0) {
    drop_first(c); /* the one buffer of a plain send: nearly every turn of nearly every workload */
  } else {
    uint32_t left = (uint32_t)result;
    while (left > 0 && left >= buffers[c->first].length) {
      left -= buffers[c->first].length;
      drop_first(c);
    }
    if (left > 0) {
      buffers[c->first].offset += left;
      buffers[c->first].length -= left;
    }
  }
  c->message.msg_iovlen = 0;
  if (c->queued > 0) start_send(index);
  if (c->paused && c->queued <= QUEUE_LOW) {
    c->paused = false;
    if (!c->receiving && !c->starved && !c->ended) arm_receive(index);
  }
  close_when_done(index);
}

/* Oldest first, and no more than there are buffers: the others would only meet ENOBUFS again. */
static void feed_starved(void) {
  unsigned feed = starved_count < buffers_free ? starved_count : buffers_free;
  for (unsigned i = 0; i < feed; i++) {
    struct connection *c = &connections[starved[i]];
    c->starved = false;
    if (!c->paused && !c->ended) arm_receive(starved[i]);
    close_when_done(starved[i]);
  }
  starved_count -= feed;
  memmove(starved, starved + feed, starved_count * sizeof(*starved));
}

static void listen_on(const char *host, uint16_t port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
  socklen_t length = sizeof(address);
  int on = 1;
  if (inet_pton(AF_INET, host, &address.sin_addr) != 1) die("not an IPv4 address: %s", host);
  listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  /* Accepted sockets inherit it, which saves a system call for each. */
  setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  if (bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0) die("bind: %s", strerror(errno));
  if (listen(listener, 4096) < 0) die("listen: %s", strerror(errno));
  getsockname(listener, (struct sockaddr *)&address, &length);
  printf("listening on %s:%u\n", host, ntohs(address.sin_port));
  fflush(stdout);
}

static void register_memory(void) {
  /* Buffers a power of two apart all fall on the same cache sets; one more line between them spreads them out. */
  stride = buffer_size + 64;
  size_t bytes = stride * buffer_count, ring_bytes = sizeof(struct io_uring_buf) * buffer_count;
  int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE;
  memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
  buffer_ring = mmap(NULL, ring_bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
  buffers = calloc(buffer_count, sizeof(*buffers));
  connections = calloc(MAX_CONNECTIONS, sizeof(*connections));
  starved = calloc(MAX_CONNECTIONS, sizeof(*starved));
  if (memory == MAP_FAILED || buffer_ring == MAP_FAILED || !buffers || !connections || !starved) die("out of memory");

  struct io_uring_buf_reg group = {.ring_addr = (uintptr_t)buffer_ring, .ring_entries = buffer_count, .bgid = GROUP};
  if (ring_register(&ring, IORING_REGISTER_PBUF_RING, &group, 1) < 0) die("PBUF_RING: %s", strerror(errno));
  for (unsigned id = 0; id < buffer_count; id++) give_back((int)id);
  __atomic_store_n(&buffer_ring->tail, buffer_tail, __ATOMIC_RELEASE);

  /* The kernel lets nobody register a larger table than RLIMIT_NOFILE. */
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  unsigned slots = limit.rlim_cur < MAX_CONNECTIONS ? (unsigned)limit.rlim_cur : MAX_CONNECTIONS;
  struct io_uring_rsrc_register files = {.nr = slots, .flags = IORING_RSRC_REGISTER_SPARSE};
  if (ring_register(&ring, IORING_REGISTER_FILES2, &files, sizeof(files)) < 0) die("FILES2: %s", strerror(errno));
}

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
}

/*
 * Waits as ring_enter does, but awake at first. Completions come only out of an enter (DEFER_TASKRUN), and the kernel says
 * in the ring's flags that there are some: looking there costs no system call.
 */
static void enter_spinning(void) {
  ring_enter(&ring, 0);
  uint64_t deadline = now_ns() + spin_us * 1000ULL;
  while (ring_ready(&ring) == 0) {
    if (__atomic_load_n(ring.sq_flags, __ATOMIC_RELAXED) & IORING_SQ_TASKRUN) ring_enter(&ring, 0);
    else if (now_ns() >= deadline) ring_enter(&ring, 1);
  }
}

int main(int argc, char **argv) {
  const char *host = "127.0.0.1";
  uint16_t port = 0;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (!strcmp(argv[i], "--host")) host = argv[i + 1];
    else if (!strcmp(argv[i], "--port")) port = (uint16_t)atoi(argv[i + 1]);
    else if (!strcmp(argv[i], "--buffers")) buffer_count = (unsigned)atoi(argv[i + 1]);
    else if (!strcmp(argv[i], "--buffer-size")) buffer_size = (unsigned)atoi(argv[i + 1]);
    else if (!strcmp(argv[i], "--spin")) spin_us = (unsigned)atoi(argv[i + 1]);
    else die("unknown option: %s", argv[i]);
  }
  if (buffer_count == 0 || buffer_count > 32768 || (buffer_count & (buffer_count - 1))) {
    die("--buffers must be a power of two of at most 32768");
  }
  ring_init(&ring, 4096, 32768, spin_us > 0 ? IORING_SETUP_TASKRUN_FLAG : 0);
  register_memory();
  listen_on(host, port);
  arm_accept();

  for (;;) {
    if (spin_us > 0) enter_spinning();
    else ring_enter(&ring, 1);
    unsigned ready = ring_ready(&ring);
    for (unsigned i = 0; i < ready; i++) {
      const struct io_uring_cqe *cqe = ring_cqe(&ring, i);
      int index = (int)(uint32_t)cqe->user_data;
      switch (cqe->user_data >> 32) {
        case ACCEPT: accepted(cqe->res, cqe->flags); break;
        case RECV: received(index, cqe->res, cqe->flags); break;
        case SEND: sent(index, cqe->res); break;
        default: break; /* a cancel or a close: what matters comes with the op it ends */
      }
    }
    ring_advance(&ring, ready);
    if (starved_count > 0) feed_starved();
    __atomic_store_n(&buffer_ring->tail, buffer_tail, __ATOMIC_RELEASE);
  }
}
