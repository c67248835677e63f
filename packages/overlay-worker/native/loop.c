/* One thread, one epoll: TAPs, the underlay's sockets, the agent. */
#define _GNU_SOURCE
#include "control.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/udp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#ifndef UDP_GRO
#define UDP_GRO 104
#endif
#ifndef IP_PMTUDISC_OMIT
#define IP_PMTUDISC_OMIT 5
#endif

#define BUFFERED (8 << 20)

static uint64_t nanoseconds(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static bool receives(int fd) {
  int one = 1, size = BUFFERED;
  if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) < 0)
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  return setsockopt(fd, SOL_UDP, UDP_GRO, &one, sizeof one) == 0 &&
         setsockopt(fd, IPPROTO_IP, IP_RECVTOS, &one, sizeof one) == 0 &&
         setsockopt(fd, SOL_SOCKET, SO_RXQ_OVFL, &one, sizeof one) == 0;
}

static bool only_sends(int fd) {
  struct sock_filter none = BPF_STMT(BPF_RET | BPF_K, 0);
  struct sock_fprog nothing = {1, &none};
  return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &nothing, sizeof nothing) == 0;
}

static int udp_open(uint32_t address, uint16_t port, bool (*prepare)(int fd)) {
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -errno;
  int size = BUFFERED, discover = IP_PMTUDISC_OMIT;
  if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) < 0)
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
  struct sockaddr_in local = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = address};
  if (setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &discover, sizeof discover) == 0 && prepare(fd) &&
      bind(fd, (struct sockaddr*)&local, sizeof local) == 0)
    return fd;
  int error = errno;
  close(fd);
  return -error;
}

/* A port that is another's is left out: fewer are less entropy and nothing else. */
static int sources_open(struct worker* w) {
  for (uint32_t i = 0; i < w->source_wanted; i++) {
    int fd = udp_open(w->address, (uint16_t)(w->source_first + i), only_sends);
    if (fd >= 0) w->source[w->source_count++] = fd;
    else if (fd != -EADDRINUSE) return fd;
  }
  return 0;
}

static int listener_open(const char* path) {
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -errno;
  struct sockaddr_un local = {.sun_family = AF_UNIX};
  memcpy(local.sun_path, path, strlen(path)); /* shorter than sun_path: module.c */
  unlink(path);
  mode_t mask = umask(0177);
  int result = bind(fd, (struct sockaddr*)&local, sizeof local);
  int error = errno;
  umask(mask);
  if (result == 0 && listen(fd, 16) == 0) return fd;
  if (result == 0) error = errno;
  close(fd);
  return -error;
}

/* Counters that the agent maps: a file beside the socket, on the same tmpfs, readable by its owner alone. */
static int shared_open(struct worker* w, const char* path) {
  unlink(path);
  int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return -errno;
  void* at = ftruncate(fd, sizeof *w->shared) < 0
                 ? MAP_FAILED
                 : mmap(NULL, sizeof *w->shared, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  int error = errno;
  close(fd);
  if (at == MAP_FAILED) return -error;
  w->shared = at;
  w->shared->layout = LAYOUT_VERSION;
  w->shared->counters_each = COUNTER_COUNT;
  return 0;
}

static int watch(struct worker* w, int fd) {
  struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
  return epoll_ctl(w->epoll, EPOLL_CTL_ADD, fd, &event);
}

static bool buffers(struct worker* w) {
  w->peers = calloc(PEERS_MAX, sizeof *w->peers);
  w->frame = malloc(FRAME_ROOM);
  w->coalescer = malloc(sizeof *w->coalescer);
  bool all = w->peers && w->frame && w->coalescer;
  for (int i = 0; i < RECEIVES; i++) all = (w->receive[i] = malloc(DATAGRAM_MAX)) && all;
  for (int i = 0; i < MESSAGES; i++) all = (w->message[i].bytes = malloc(DATAGRAM_MAX)) && all;
  return all;
}

static void ready(struct worker* w, int fd, uint32_t events) {
  if (fd == w->udp || fd == w->plain) {
    receive_socket(w, fd, fd == w->plain);
  } else if (fd == w->listener) {
    control_accept(w);
  } else if (fd == w->connection) {
    if (events & EPOLLOUT) control_writable(w);
    if (fd == w->connection && events & ~(uint32_t)EPOLLOUT) control_readable(w);
  } else {
    for (uint32_t i = 0; i < w->network_count; i++)
      if (w->networks[i]->tap.fd == fd) {
        transmit_tap(w, w->networks[i]);
        return;
      }
  }
}

static int fail(const char** what, const char* call, int error) {
  *what = call;
  return error;
}

int worker_run(const struct options* options, const char** what) {
  struct worker* w = calloc(1, sizeof *w);
  if (!w || !buffers(w)) return fail(what, "calloc", -ENOMEM);
  /* Keys are in this memory: no core dump, no tracing by others. */
  prctl(PR_SET_DUMPABLE, 0);
  /* An agent with real-time priority starts us; a busy data path with it would leave no processor to the agent. */
  struct sched_param ordinary = {0};
  sched_setscheduler(0, SCHED_OTHER, &ordinary);
  w->address = options->address;
  w->port = options->port;
  w->plain_port = options->plain_port;
  w->underlay_mtu = options->underlay_mtu;
  w->source_first = options->source_first;
  w->source_wanted = options->source_count;
  w->fdb_age_s = 300;
  w->hold_packets = 256;
  w->hold_bytes = 512 * 1024;
  w->hold_ns = 1000000000;
  w->connection = w->plain = -1;
  w->now_ns = w->started_ns = nanoseconds(CLOCK_MONOTONIC);
  coalesce_reset(w->coalescer);
  if ((w->epoll = epoll_create1(EPOLL_CLOEXEC)) < 0) return fail(what, "epoll_create1", -errno);
  if ((w->udp = udp_open(w->address, w->port, receives)) < 0) return fail(what, "the ESP port", w->udp);
  if (w->plain_port && (w->plain = udp_open(w->address, w->plain_port, receives)) < 0) {
    /* A kernel tunnel has it. Without this port everything but form (c) works, and the agent is told. */
    if (w->plain != -EADDRINUSE) return fail(what, "the plain VXLAN port", w->plain);
    w->plain = -1;
  }
  int sources = sources_open(w);
  if (sources < 0) return fail(what, "the source ports", sources);
  snprintf(w->shared_path, sizeof w->shared_path, "%s.counters", options->socket);
  int mapped = shared_open(w, w->shared_path);
  if (mapped < 0) return fail(what, "the file of counters", mapped);
  if ((w->listener = listener_open(options->socket)) < 0) return fail(what, "the control socket", w->listener);
  if (watch(w, w->udp) < 0 || (w->plain >= 0 && watch(w, w->plain) < 0) || watch(w, w->listener) < 0)
    return fail(what, "epoll_ctl", -errno);
  uint64_t aged = w->now_ns;
  while (!w->stop) {
    struct epoll_event events[64];
    int count = epoll_wait(w->epoll, events, 64, w->held ? 20 : 10000);
    if (count < 0 && errno != EINTR) return fail(what, "epoll_wait", -errno);
    w->now_ns = nanoseconds(CLOCK_MONOTONIC);
    for (int i = 0; i < count && !w->stop; i++) ready(w, events[i].data.fd, events[i].events);
    if (w->held) held_expire(w);
    if (w->now_ns - aged > UINT64_C(10000000000)) {
      aged = w->now_ns;
      for (uint32_t i = 0; i < w->network_count; i++) fdb_age(w, w->networks[i]);
    }
  }
  unlink(options->socket);
  unlink(w->shared_path);
  for (uint32_t i = 0; i < PEERS_MAX; i++)
    if (w->peers[i].used) peer_remove(w, &w->peers[i]);
  while (w->network_count) network_remove(w, w->networks[0]);
  close(w->udp);
  if (w->plain >= 0) close(w->plain);
  for (int i = 0; i < w->source_count; i++) close(w->source[i]);
  close(w->listener);
  control_close(w); /* last: then ports and devices are free, and the agent knows it */
  return 0; /* the process ends now; the rest of the memory ends with it */
}
