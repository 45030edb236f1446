/*
 * The limit for files: what C gets out of io_uring, and, with --plain, out of ordinary system calls.
 *
 *   uring_files read DIR COUNT SIZE            read f0 … f{COUNT-1} into memory that is used again
 *   uring_files readfresh DIR COUNT SIZE       the same into memory that is new every time
 *   uring_files write DIR COUNT SIZE           write over the existing files: no O_TRUNC, the rest cut off afterwards
 *   uring_files random FILE SECONDS DEPTH      4 KiB reads of a cached file at random places, DEPTH in flight
 *
 * Options: --iterations N (default 200, of all files each), --plain. Prints one JSON line; exits with 1 on a wrong byte.
 * On the ring a file is one linked chain over a direct descriptor (open, read or write, ftruncate, close), and the
 * chains of all files go in with one system call. Rounds (all opens, all reads, all closes) measured the same.
 */
#define _GNU_SOURCE
#include "ring.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>

enum { MAX_FILES = 1000, MAX_DEPTH = 256, BLOCK = 4096, RANDOM_SLOT = MAX_FILES };
enum { OPEN, DATA, TRUNCATE, CLOSE, STEPS };

static struct ring ring;
static bool plain, truncate_op;
static unsigned count;
static size_t size;
static char paths[MAX_FILES][4096];
static char *memory;

static uint64_t clock_ns(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
}

/* Byte `offset` of file `file`; bench/harness/pattern.ts says the same. */
static char expected(size_t file, size_t offset) { return (char)(file * 31 + offset * 7 + (offset >> 8) * 13); }

static char *map(size_t bytes, int flags) {
  char *address = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
  if (address == MAP_FAILED) die("mmap: %s", strerror(errno));
  return address;
}

static bool supports(unsigned opcode) {
  struct {
    struct io_uring_probe head;
    struct io_uring_probe_op ops[256];
  } probe;
  memset(&probe, 0, sizeof(probe));
  if (ring_register(&ring, IORING_REGISTER_PROBE, &probe, 256) < 0) return false;
  return opcode <= probe.head.last_op && (probe.ops[opcode].flags & IO_URING_OP_SUPPORTED);
}

/* ---- batches of whole files ---- */

static void ring_batch(bool writing) {
  for (unsigned i = 0; i < count; i++) {
    struct io_uring_sqe *sqe = ring_sqe(&ring);
    sqe->opcode = IORING_OP_OPENAT;
    sqe->fd = AT_FDCWD;
    sqe->addr = (uintptr_t)paths[i];
    sqe->open_flags = writing ? O_WRONLY : O_RDONLY; /* O_CREAT would send the open to a worker thread */
    sqe->file_index = i + 1;
    sqe->flags = IOSQE_IO_LINK;
    sqe->user_data = OPEN;

    sqe = ring_sqe(&ring);
    sqe->opcode = writing ? IORING_OP_WRITE : IORING_OP_READ;
    sqe->fd = (int)i;
    sqe->addr = (uintptr_t)(memory + i * size);
    sqe->len = (unsigned)size;
    sqe->flags = IOSQE_FIXED_FILE | IOSQE_IO_LINK;
    sqe->user_data = DATA;

    if (writing && truncate_op) {
      sqe = ring_sqe(&ring);
      sqe->opcode = OP_FTRUNCATE;
      sqe->fd = (int)i;
      sqe->off = size;
      sqe->flags = IOSQE_FIXED_FILE | IOSQE_IO_LINK;
      sqe->user_data = TRUNCATE;
    }
    sqe = ring_sqe(&ring);
    sqe->opcode = IORING_OP_CLOSE;
    sqe->file_index = i + 1;
    sqe->user_data = CLOSE;
  }
  unsigned left = count * (writing && truncate_op ? STEPS : STEPS - 1);
  while (left > 0) {
    ring_enter(&ring, left);
    unsigned ready = ring_ready(&ring);
    for (unsigned i = 0; i < ready; i++) {
      const struct io_uring_cqe *cqe = ring_cqe(&ring, i);
      int wanted = cqe->user_data == DATA ? (int)size : 0;
      if (cqe->res != wanted) die("step %u gave %d instead of %d", (unsigned)cqe->user_data, cqe->res, wanted);
    }
    ring_advance(&ring, ready);
    left -= ready;
  }
  for (unsigned i = 0; writing && !truncate_op && i < count; i++) {
    if (truncate(paths[i], (off_t)size) < 0) die("truncate: %s", strerror(errno));
  }
}

static void plain_batch(bool writing) {
  for (unsigned i = 0; i < count; i++) {
    char *data = memory + i * size;
    int fd = open(paths[i], (writing ? O_WRONLY : O_RDONLY) | O_CLOEXEC);
    if (fd < 0) die("open %s: %s", paths[i], strerror(errno));
    ssize_t moved = writing ? pwrite(fd, data, size, 0) : pread(fd, data, size, 0);
    if (moved != (ssize_t)size) die("%zd bytes instead of %zu", moved, size);
    struct stat stat;
    /* A needless ftruncate is not free: on ext4 it starts a transaction, some 3 µs. */
    if (writing && fstat(fd, &stat) == 0 && stat.st_size != (off_t)size && ftruncate(fd, (off_t)size) < 0) {
      die("ftruncate: %s", strerror(errno));
    }
    close(fd);
  }
}

static int by_value(const void *a, const void *b) {
  uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
  return left < right ? -1 : left > right;
}

static void run_batches(bool writing, bool fresh, unsigned iterations) {
  uint64_t *times = calloc(iterations, sizeof(*times)), cpu = 0;
  if (!times) die("out of memory");
  if (!fresh) memory = map(count * size, MAP_POPULATE);
  if (writing) {
    for (size_t i = 0; i < count * size; i++) memory[i] = expected(i / size, i % size);
  }
  int warmup = (int)iterations / 5 + 1;
  for (int turn = -warmup; turn < (int)iterations; turn++) {
    if (turn == 0) cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    if (fresh && turn > -warmup) munmap(memory, count * size);
    uint64_t begun = clock_ns(CLOCK_MONOTONIC);
    if (fresh) memory = map(count * size, 0);
    if (plain) plain_batch(writing);
    else ring_batch(writing);
    if (turn >= 0) times[turn] = clock_ns(CLOCK_MONOTONIC) - begun;
  }
  cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;
  for (size_t i = 0; i < count * size; i++) {
    if (memory[i] != expected(i / size, i % size)) die("wrong byte %zu in file %zu", i % size, i / size);
  }
  qsort(times, iterations, sizeof(*times), by_value);
  double median = (double)times[iterations / 2];
  printf("{\"event\":\"result\",\"iterations\":%u,\"medianNs\":%.0f,\"opsPerSecond\":%.1f,\"cpuNsPerOp\":%.1f}\n",
         iterations, median, count / median * 1e9, (double)cpu / iterations / count);
  free(times);
}

/* ---- random reads ---- */

static uint32_t blocks, random_state = 2463534242U;

static uint32_t next_block(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 17;
  random_state ^= random_state << 5;
  return random_state % blocks;
}

/* Every block of the file begins with its own number. */
static void check_block(const char *data, uint32_t block) {
  uint32_t found;
  memcpy(&found, data, sizeof(found));
  if (found != block) die("block %u came for block %u", found, block);
}

static void read_block(unsigned slot, uint32_t block) {
  struct io_uring_sqe *sqe = ring_sqe(&ring);
  sqe->opcode = IORING_OP_READ;
  sqe->fd = RANDOM_SLOT;
  sqe->addr = (uintptr_t)(memory + (size_t)slot * BLOCK);
  sqe->len = BLOCK;
  sqe->off = (uint64_t)block * BLOCK;
  sqe->flags = IOSQE_FIXED_FILE;
  sqe->user_data = (uint64_t)slot << 32 | block;
}

/* Reads until `deadline`, returns how many. */
static uint64_t random_reads(int fd, unsigned depth, uint64_t deadline) {
  uint64_t done = 0;
  if (plain) {
    while ((done & 63) != 0 || clock_ns(CLOCK_MONOTONIC) < deadline) {
      uint32_t block = next_block();
      if (pread(fd, memory, BLOCK, (off_t)block * BLOCK) != BLOCK) die("short read");
      check_block(memory, block);
      done++;
    }
    return done;
  }
  for (unsigned slot = 0; slot < depth; slot++) read_block(slot, next_block());
  unsigned flying = depth;
  bool ending = false;
  for (unsigned turn = 1; flying > 0; turn++) {
    if (turn % 16 == 0 && !ending) ending = clock_ns(CLOCK_MONOTONIC) >= deadline;
    ring_enter(&ring, 1);
    unsigned ready = ring_ready(&ring);
    for (unsigned i = 0; i < ready; i++) {
      const struct io_uring_cqe *cqe = ring_cqe(&ring, i);
      unsigned slot = (unsigned)(cqe->user_data >> 32);
      if (cqe->res != BLOCK) die("a read gave %d", cqe->res);
      check_block(memory + (size_t)slot * BLOCK, (uint32_t)cqe->user_data);
      if (ending) flying--;
      else read_block(slot, next_block());
    }
    ring_advance(&ring, ready);
    done += ready;
  }
  return done;
}

static void run_random(const char *path, double seconds, unsigned depth) {
  struct stat stat;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0 || fstat(fd, &stat) < 0) die("%s: %s", path, strerror(errno));
  blocks = (uint32_t)(stat.st_size / BLOCK);
  memory = map((size_t)depth * BLOCK, MAP_POPULATE);
  if (!plain) {
    struct io_uring_rsrc_update update = {.offset = RANDOM_SLOT, .data = (uintptr_t)&fd};
    if (ring_register(&ring, IORING_REGISTER_FILES_UPDATE, &update, 1) != 1) die("FILES_UPDATE: %s", strerror(errno));
  }
  random_reads(fd, depth, clock_ns(CLOCK_MONOTONIC) + 100000000ULL);
  uint64_t cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID), begun = clock_ns(CLOCK_MONOTONIC);
  uint64_t done = random_reads(fd, depth, begun + (uint64_t)(seconds * 1e9));
  double elapsed = (double)(clock_ns(CLOCK_MONOTONIC) - begun);
  cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;
  printf("{\"event\":\"result\",\"iterations\":%llu,\"medianNs\":%.1f,\"opsPerSecond\":%.1f,\"cpuNsPerOp\":%.1f}\n",
         (unsigned long long)done, elapsed / (double)done, (double)done / elapsed * 1e9, (double)cpu / (double)done);
}

int main(int argc, char **argv) {
  unsigned iterations = 200;
  if (argc < 5) die("usage: uring_files read|readfresh|write DIR COUNT SIZE | random FILE SECONDS DEPTH");
  for (int i = 5; i < argc; i++) {
    if (!strcmp(argv[i], "--plain")) plain = true;
    else if (!strcmp(argv[i], "--iterations") && i + 1 < argc) iterations = (unsigned)atoi(argv[++i]);
    else die("unknown option: %s", argv[i]);
  }
  if (iterations == 0) die("--iterations must be positive");
  if (!plain) {
    ring_init(&ring, STEPS * MAX_FILES, 2 * STEPS * MAX_FILES);
    struct io_uring_rsrc_register files = {.nr = MAX_FILES + 1, .flags = IORING_RSRC_REGISTER_SPARSE};
    if (ring_register(&ring, IORING_REGISTER_FILES2, &files, sizeof(files)) < 0) die("FILES2: %s", strerror(errno));
    truncate_op = supports(OP_FTRUNCATE);
  }
  if (!strcmp(argv[1], "random")) {
    unsigned depth = (unsigned)atoi(argv[4]);
    if (depth == 0 || depth > MAX_DEPTH) die("DEPTH must be 1 to %d", MAX_DEPTH);
    run_random(argv[2], atof(argv[3]), depth);
    return 0;
  }
  count = (unsigned)atoi(argv[3]);
  size = (size_t)atol(argv[4]);
  if (count == 0 || count > MAX_FILES || size == 0) die("COUNT must be 1 to %d and SIZE positive", MAX_FILES);
  for (unsigned i = 0; i < count; i++) snprintf(paths[i], sizeof(paths[i]), "%s/f%u", argv[2], i);
  bool writing = !strcmp(argv[1], "write"), fresh = !strcmp(argv[1], "readfresh");
  if (!writing && !fresh && strcmp(argv[1], "read")) die("unknown command: %s", argv[1]);
  run_batches(writing, fresh, iterations);
  return 0;
}
