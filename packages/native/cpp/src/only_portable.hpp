// Included before everything in the portable build (`ouro_portable`): takes away what Linux has and other systems lack, so
// that a use of it without a guard does not compile.
#pragma once

#include <dlfcn.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <node_api.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

// All of the standard library that the addon uses: some of its members have the names of system calls.
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#undef AT_EMPTY_PATH
#undef F_DUPFD_QUERY
#undef MAP_POPULATE
#undef MSG_CMSG_CLOEXEC
#undef MSG_ERRQUEUE
#undef MSG_MORE
#undef MSG_NOSIGNAL
#undef MSG_ZEROCOPY
#undef O_DIRECT
#undef O_NOATIME
#undef O_PATH
#undef O_TMPFILE
#undef POLLRDHUP
#undef SIOCOUTQ
#undef SOCK_CLOEXEC
#undef SOCK_NONBLOCK

#pragma GCC poison accept4 copy_file_range dup3 epoll_create1 epoll_ctl epoll_wait eventfd fallocate getdents64 gettid
#pragma GCC poison inotify_init1 linkat2 openat2 pidfd_open pipe2 posix_fadvise preadv2 ppoll pwritev2 recvmmsg renameat2
#pragma GCC poison sendmmsg splice statx sync_file_range syscall tee vmsplice
