/*
 * The limit for files: what C gets out of io_uring, and, with --plain, out of ordinary system calls.
 *
 *   uring_files read DIR COUNT SIZE            read f0 … f{COUNT-1} into memory that is used again
 *   uring_files readfresh DIR COUNT SIZE       the same into memory that is new every time
 *   uring_files write DIR COUNT SIZE           write over the existing files: no O_TRUNC, the rest cut off afterwards
 *   uring_files random FILE SECONDS DEPTH      4 KiB reads of a cached file at random places, DEPTH in flight
 *   uring_files sequential FILE SECONDS DEPTH  the file from end to end, again and again, 1 MiB at a time; an "op" is 1 MiB
 *   uring_files copy FROM TO SECONDS           the file copied over another, 1 MiB at a time; an "op" is 1 MiB
 *   uring_files stats DIR SECONDS DEPTH        all in a tree looked at, again and again, DEPTH at a time; an "op" is one of them
 *
 * Options: --iterations N (default 200, of all files each), --plain, --direct (random: O_DIRECT). Prints one JSON line; exits with 1 on a wrong byte.
 * On the ring a file is one linked chain over a direct descriptor (open, read or write, ftruncate, close), and the
 * chains of all files go in with one system call. Rounds (all opens, all reads, all closes) measured the same.
 */
#define _GNU_SOURCE
#include "ring.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>

enum { MAX_FILES = 16384, AT_ONCE = 1000, MAX_DEPTH = 256, BLOCK = 4096, RANDOM_SLOT = AT_ONCE, PIECE = 1 << 20 };
enum { OPEN, DATA, TRUNCATE, CLOSE, STEPS };

static struct ring ring;
static bool plain, truncate_op, direct;
static unsigned count;
static size_t size;
static char paths[MAX_FILES][256];
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

static void ring_part(bool writing, unsigned from, unsigned to) {
  for (unsigned i = from; i < to; i++) {
    struct io_uring_sqe *sqe = ring_sqe(&ring);
    sqe->opcode = IORING_OP_OPENAT;
    sqe->fd = AT_FDCWD;
    sqe->addr = (uintptr_t)paths[i];
    sqe->open_flags = writing ? O_WRONLY : O_RDONLY; /* O_CREAT would send the open to a worker thread */
    sqe->file_index = i - from + 1;
    sqe->flags = IOSQE_IO_LINK;
    sqe->user_data = OPEN;

    sqe = ring_sqe(&ring);
    sqe->opcode = writing ? IORING_OP_WRITE : IORING_OP_READ;
    sqe->fd = (int)(i - from);
    sqe->addr = (uintptr_t)(memory + i * size);
    sqe->len = (unsigned)size;
    sqe->flags = IOSQE_FIXED_FILE | IOSQE_IO_LINK;
    sqe->user_data = DATA;

    if (writing && truncate_op) {
      sqe = ring_sqe(&ring);
      sqe->opcode = OP_FTRUNCATE;
      sqe->fd = (int)(i - from);
      sqe->off = size;
      sqe->flags = IOSQE_FIXED_FILE | IOSQE_IO_LINK;
      sqe->user_data = TRUNCATE;
    }
    sqe = ring_sqe(&ring);
    sqe->opcode = IORING_OP_CLOSE;
    sqe->file_index = i - from + 1;
    sqe->user_data = CLOSE;
  }
  unsigned left = (to - from) * (writing && truncate_op ? STEPS : STEPS - 1);
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
  for (unsigned i = from; writing && !truncate_op && i < to; i++) {
    if (truncate(paths[i], (off_t)size) < 0) die("truncate: %s", strerror(errno));
  }
}

static void ring_batch(bool writing) {
  for (unsigned from = 0; from < count; from += AT_ONCE) {
    ring_part(writing, from, from + AT_ONCE < count ? from + AT_ONCE : count);
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
  int fd = open(path, O_RDONLY | O_CLOEXEC | (direct ? O_DIRECT : 0));
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

/* ---- long files ---- */

/* Reads FILE in pieces, `depth` in flight, each into memory of its own; returns pieces read. */
static uint64_t read_through(int fd, uint64_t pieces, unsigned depth) {
  if (plain) {
    for (uint64_t i = 0; i < pieces; i++) {
      if (pread(fd, memory, PIECE, (off_t)(i * PIECE)) != PIECE) die("short read");
    }
    return pieces;
  }
  uint64_t begun = 0, done = 0;
  while (done < pieces) {
    for (; begun < pieces && begun - done < depth; begun++) {
      struct io_uring_sqe *sqe = ring_sqe(&ring);
      sqe->opcode = IORING_OP_READ;
      sqe->fd = RANDOM_SLOT;
      sqe->addr = (uintptr_t)(memory + (begun % depth) * PIECE);
      sqe->len = PIECE;
      sqe->off = begun * PIECE;
      sqe->flags = IOSQE_FIXED_FILE;
    }
    ring_enter(&ring, (unsigned)(begun - done));
    unsigned ready = ring_ready(&ring);
    for (unsigned i = 0; i < ready; i++) {
      if (ring_cqe(&ring, i)->res != PIECE) die("a read gave %d", ring_cqe(&ring, i)->res);
    }
    ring_advance(&ring, ready);
    done += ready;
  }
  return done;
}

static uint64_t copy_through(int from, int to, uint64_t pieces) {
  for (uint64_t i = 0; i < pieces; i++) {
    if (pread(from, memory, PIECE, (off_t)(i * PIECE)) != PIECE) die("short read");
    if (pwrite(to, memory, PIECE, (off_t)(i * PIECE)) != PIECE) die("short write");
  }
  return pieces;
}

static void run_long(const char *path, const char *to, double seconds, unsigned depth) {
  struct stat stat;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  int out = to ? open(to, O_WRONLY | O_CREAT | O_CLOEXEC, 0666) : -1;
  if (fd < 0 || fstat(fd, &stat) < 0 || (to && out < 0)) die("%s: %s", path, strerror(errno));
  uint64_t pieces = (uint64_t)stat.st_size / PIECE;
  memory = map((size_t)depth * PIECE, MAP_POPULATE);
  if (!plain && !to) {
    struct io_uring_rsrc_update update = {.offset = RANDOM_SLOT, .data = (uintptr_t)&fd};
    if (ring_register(&ring, IORING_REGISTER_FILES_UPDATE, &update, 1) != 1) die("FILES_UPDATE: %s", strerror(errno));
  }
  uint64_t done = 0, cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID), begun = clock_ns(CLOCK_MONOTONIC);
  do done += to ? copy_through(fd, out, pieces) : read_through(fd, pieces, depth);
  while (clock_ns(CLOCK_MONOTONIC) < begun + (uint64_t)(seconds * 1e9));
  double elapsed = (double)(clock_ns(CLOCK_MONOTONIC) - begun);
  cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;
  printf("{\"event\":\"result\",\"iterations\":%llu,\"medianNs\":%.1f,\"opsPerSecond\":%.1f,\"cpuNsPerOp\":%.1f}\n",
         (unsigned long long)done, elapsed / (double)done, (double)done / elapsed * 1e9, (double)cpu / (double)done);
}

/* ---- trees ---- */

static struct statx looked[MAX_DEPTH];

/* Looks at `names` of a directory, all at once. */
static void look(int dir, char names[][256], unsigned many) {
  if (plain) {
    for (unsigned i = 0; i < many; i++) {
      if (statx(dir, names[i], AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &looked[i]) < 0) die("%s: %s", names[i], strerror(errno));
    }
    return;
  }
  for (unsigned i = 0; i < many; i++) {
    struct io_uring_sqe *sqe = ring_sqe(&ring);
    sqe->opcode = IORING_OP_STATX;
    sqe->fd = dir;
    sqe->addr = (uintptr_t)names[i];
    sqe->len = STATX_BASIC_STATS;
    sqe->off = (uintptr_t)&looked[i];
    sqe->statx_flags = AT_SYMLINK_NOFOLLOW;
  }
  for (unsigned done = 0; done < many;) {
    ring_enter(&ring, many - done);
    unsigned ready = ring_ready(&ring);
    for (unsigned i = 0; i < ready; i++) {
      if (ring_cqe(&ring, i)->res < 0) die("statx: %s", strerror(-ring_cqe(&ring, i)->res));
    }
    ring_advance(&ring, ready);
    done += ready;
  }
}

/* Looks at all that is below a directory, which it closes; returns how much that is. */
static uint64_t look_through(int at, unsigned depth) {
  char names[MAX_DEPTH][256];
  uint64_t done = 0;
  unsigned many = 0;
  DIR *dir = fdopendir(at);
  if (!dir) die("fdopendir: %s", strerror(errno));
  for (;;) {
    struct dirent *entry = readdir(dir);
    if (entry && (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))) continue;
    if (entry) strcpy(names[many++], entry->d_name);
    if (entry && many < depth) continue;
    look(at, names, many);
    done += many;
    unsigned directories[MAX_DEPTH], found = 0;
    for (unsigned i = 0; i < many; i++) {
      if (S_ISDIR(looked[i].stx_mode)) directories[found++] = i;
    }
    for (unsigned i = 0; i < found; i++) {
      int below = openat(at, names[directories[i]], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
      if (below < 0) die("%s: %s", names[directories[i]], strerror(errno));
      done += look_through(below, depth);
    }
    many = 0;
    if (!entry) break;
  }
  closedir(dir);
  return done;
}

static void run_stats(const char *path, double seconds, unsigned depth) {
  uint64_t done = 0, cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID), begun = clock_ns(CLOCK_MONOTONIC);
  do {
    int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0) die("%s: %s", path, strerror(errno));
    done += look_through(dir, depth);
  } while (clock_ns(CLOCK_MONOTONIC) < begun + (uint64_t)(seconds * 1e9));
  double elapsed = (double)(clock_ns(CLOCK_MONOTONIC) - begun);
  cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;
  printf("{\"event\":\"result\",\"iterations\":%llu,\"medianNs\":%.1f,\"opsPerSecond\":%.1f,\"cpuNsPerOp\":%.1f}\n",
         (unsigned long long)done, elapsed / (double)done, (double)done / elapsed * 1e9, (double)cpu / (double)done);
}

int main(int argc, char **argv) {
  unsigned iterations = 200;
  if (argc < 5) die("usage: uring_files read|readfresh|write DIR COUNT SIZE | random|sequential FILE SECONDS DEPTH | copy FROM TO SECONDS | stats DIR SECONDS DEPTH");
  for (int i = 5; i < argc; i++) {
    if (!strcmp(argv[i], "--plain")) plain = true;
    else if (!strcmp(argv[i], "--direct")) direct = true;
    else if (!strcmp(argv[i], "--iterations") && i + 1 < argc) iterations = (unsigned)atoi(argv[++i]);
    else die("unknown option: %s", argv[i]);
  }
  if (iterations == 0) die("--iterations must be positive");
  if (!plain) {
    ring_init(&ring, STEPS * AT_ONCE, 2 * STEPS * AT_ONCE, 0);
    struct io_uring_rsrc_register files = {.nr = AT_ONCE + 1, .flags = IORING_RSRC_REGISTER_SPARSE};
    if (ring_register(&ring, IORING_REGISTER_FILES2, &files, sizeof(files)) < 0) die("FILES2: %s", strerror(errno));
    truncate_op = supports(OP_FTRUNCATE);
  }
  if (!strcmp(argv[1], "random")) {
    unsigned depth = (unsigned)atoi(argv[4]);
    if (depth == 0 || depth > MAX_DEPTH) die("DEPTH must be 1 to %d", MAX_DEPTH);
    run_random(argv[2], atof(argv[3]), depth);
    return 0;
  }
  if (!strcmp(argv[1], "stats")) {
    unsigned depth = (unsigned)atoi(argv[4]);
    if (depth == 0 || depth > MAX_DEPTH) die("DEPTH must be 1 to %d", MAX_DEPTH);
    run_stats(argv[2], atof(argv[3]), depth);
    return 0;
  }
  bool copying = !strcmp(argv[1], "copy");
  if (copying || !strcmp(argv[1], "sequential")) {
    unsigned depth = copying ? 1 : (unsigned)atoi(argv[4]);
    if (depth == 0 || depth > MAX_DEPTH) die("DEPTH must be 1 to %d", MAX_DEPTH);
    run_long(argv[2], copying ? argv[3] : NULL, atof(argv[copying ? 4 : 3]), depth);
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
