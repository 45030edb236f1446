/*
 * The smallest io_uring driver that does the limit programs justice: raw system calls, one issuer, no liburing.
 * Shared by uring_echo.c and uring_files.c. Constants that Debian 12's 6.1 header lacks are defined here.
 */
#ifndef OURO_BENCH_RING_H
#define OURO_BENCH_RING_H

#include <errno.h>
#include <linux/io_uring.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef IORING_SETUP_NO_SQARRAY
#define IORING_SETUP_NO_SQARRAY (1U << 16) /* 6.6 */
#endif
#define OP_FTRUNCATE 55 /* IORING_OP_FTRUNCATE, 6.9 */

__attribute__((noreturn, format(printf, 1, 2))) static inline void die(const char *format, ...) {
  va_list args;
  va_start(args, format);
  vfprintf(stderr, format, args);
  va_end(args);
  fputc('\n', stderr);
  exit(1);
}

struct ring {
  int fd;
  int enter_fd; /* registered index when IORING_REGISTER_RING_FDS worked: saves the fget/fput of every enter */
  unsigned enter_flags;

  unsigned *sq_head;
  unsigned *sq_tail;
  unsigned *sq_flags;
  unsigned sq_mask;
  unsigned sq_entries;
  unsigned tail; /* our private tail: SQEs handed out */
  struct io_uring_sqe *sqes;

  unsigned *cq_head;
  unsigned *cq_tail;
  unsigned cq_mask;
  struct io_uring_cqe *cqes;
};

static inline int ring_register(struct ring *ring, unsigned opcode, void *arg, unsigned count) {
  return (int)syscall(__NR_io_uring_register, ring->fd, opcode, arg, count);
}

/* `setup_flags` on top of what is always asked for. */
static inline void ring_init(struct ring *ring, unsigned sq_entries, unsigned cq_entries, unsigned setup_flags) {
  /* From the fullest set down: a kernel that does not know a flag refuses the whole setup with EINVAL. */
  static const unsigned ladder[] = {
      IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_NO_SQARRAY,
      IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
      IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN,
      IORING_SETUP_COOP_TASKRUN,
      0,
  };
  struct io_uring_params params;
  memset(ring, 0, sizeof(*ring));
  ring->fd = -1;
  for (unsigned i = 0; i < sizeof(ladder) / sizeof(ladder[0]) && ring->fd < 0; i++) {
    memset(&params, 0, sizeof(params));
    params.flags = ladder[i] | setup_flags | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
    if (ladder[i] != 0) params.flags |= IORING_SETUP_SUBMIT_ALL;
    params.cq_entries = cq_entries;
    ring->fd = (int)syscall(__NR_io_uring_setup, sq_entries, &params);
    if (ring->fd < 0 && errno != EINVAL) break;
  }
  if (ring->fd < 0) die("io_uring_setup: %s", strerror(errno));
  if (!(params.features & IORING_FEAT_SINGLE_MMAP)) die("this kernel is too old: no IORING_FEAT_SINGLE_MMAP");

  size_t sq_bytes = params.sq_off.array + params.sq_entries * sizeof(unsigned);
  size_t cq_bytes = params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe);
  size_t bytes = sq_bytes > cq_bytes ? sq_bytes : cq_bytes;
  int flags = MAP_SHARED | MAP_POPULATE;
  char *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, ring->fd, IORING_OFF_SQ_RING);
  ring->sqes = mmap(NULL, params.sq_entries * sizeof(struct io_uring_sqe), PROT_READ | PROT_WRITE, flags, ring->fd,
                    IORING_OFF_SQES);
  if (base == MAP_FAILED || ring->sqes == MAP_FAILED) die("mmap of the ring: %s", strerror(errno));

  ring->sq_head = (unsigned *)(base + params.sq_off.head);
  ring->sq_tail = (unsigned *)(base + params.sq_off.tail);
  ring->sq_flags = (unsigned *)(base + params.sq_off.flags);
  ring->sq_mask = *(unsigned *)(base + params.sq_off.ring_mask);
  ring->sq_entries = params.sq_entries;
  ring->cq_head = (unsigned *)(base + params.cq_off.head);
  ring->cq_tail = (unsigned *)(base + params.cq_off.tail);
  ring->cq_mask = *(unsigned *)(base + params.cq_off.ring_mask);
  ring->cqes = (struct io_uring_cqe *)(base + params.cq_off.cqes);
  if (!(params.flags & IORING_SETUP_NO_SQARRAY)) {
    unsigned *array = (unsigned *)(base + params.sq_off.array);
    for (unsigned i = 0; i < params.sq_entries; i++) array[i] = i;
  }

  struct io_uring_rsrc_update update = {.offset = -1U, .data = (unsigned)ring->fd};
  ring->enter_fd = ring->fd;
  if (ring_register(ring, IORING_REGISTER_RING_FDS, &update, 1) == 1) {
    ring->enter_fd = (int)update.offset;
    ring->enter_flags = IORING_ENTER_REGISTERED_RING;
  }
}

/* Submits everything prepared and waits for `wait` completions: the one system call of a turn. */
static inline void ring_enter(struct ring *ring, unsigned wait) {
  __atomic_store_n(ring->sq_tail, ring->tail, __ATOMIC_RELEASE);
  unsigned count = ring->tail - __atomic_load_n(ring->sq_head, __ATOMIC_ACQUIRE);
  long got = syscall(__NR_io_uring_enter, ring->enter_fd, count, wait, ring->enter_flags | IORING_ENTER_GETEVENTS,
                     NULL, 0);
  /* EBUSY and EAGAIN: the completion queue must be reaped first; what was not taken stays queued for the next turn. */
  if (got < 0 && errno != EINTR && errno != EBUSY && errno != EAGAIN) die("io_uring_enter: %s", strerror(errno));
}

/* A zeroed SQE. A full queue is flushed first, so a chain must fit: size the ring for it. */
static inline struct io_uring_sqe *ring_sqe(struct ring *ring) {
  while (ring->tail - __atomic_load_n(ring->sq_head, __ATOMIC_ACQUIRE) == ring->sq_entries) ring_enter(ring, 0);
  struct io_uring_sqe *sqe = &ring->sqes[ring->tail++ & ring->sq_mask];
  memset(sqe, 0, sizeof(*sqe));
  return sqe;
}

static inline unsigned ring_ready(const struct ring *ring) {
  return __atomic_load_n(ring->cq_tail, __ATOMIC_ACQUIRE) - *ring->cq_head;
}

static inline void ring_advance(struct ring *ring, unsigned count) {
  __atomic_store_n(ring->cq_head, *ring->cq_head + count, __ATOMIC_RELEASE);
}

static inline const struct io_uring_cqe *ring_cqe(const struct ring *ring, unsigned index) {
  return &ring->cqes[(*ring->cq_head + index) & ring->cq_mask];
}

#endif
