/*
 * The agent's door: a Unix socket. Commands change the table; each is answered by its id. Events go up without being
 * asked for, bounded. The newest connection is the agent; without one the worker goes on with what it was told last.
 * A key is taken into its cipher context at once, and the buffer that brought it is wiped.
 *
 * Frames in both directions, little-endian: u32 length of all, u16 type, u16 zero, u32 id, body.
 */
#define _GNU_SOURCE
#include "worker.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control.h"

#define HEADER 12
#define IN_ROOM (256 * 1024)
#define EVENT_ROOM (256 * 1024)
/* Control packets handed up, a second and at once, from one peer. */
#define CONTROL_RATE 200
#define CONTROL_BURST 40
#define CONTROL_MAX 1024
#define REPORT_AGAIN_NS 10000000
#define REPORT_LEAST_NS 1000000

static bool append(struct worker* w, const void* bytes, size_t length) {
  if (w->connection < 0) return false;
  uint8_t* out = realloc(w->out, w->out_length + length);
  if (!out) return false;
  memcpy(out + w->out_length, bytes, length);
  w->out = out;
  w->out_length += length;
  return true;
}

static void interest(struct worker* w) {
  struct epoll_event event = {.events = EPOLLIN | (w->out_length ? EPOLLOUT : 0u), .data.fd = w->connection};
  epoll_ctl(w->epoll, EPOLL_CTL_MOD, w->connection, &event);
}

void control_close(struct worker* w) {
  if (w->connection < 0) return;
  close(w->connection); /* epoll forgets it */
  w->connection = -1;
  if (w->in) OPENSSL_cleanse(w->in, w->in_length);
  free(w->out);
  w->out = NULL;
  w->in_length = w->out_length = w->out_sent = 0;
}

void control_writable(struct worker* w) {
  if (w->connection < 0) return;
  while (w->out_sent < w->out_length) {
    ssize_t result = send(w->connection, w->out + w->out_sent, w->out_length - w->out_sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (result < 0 && errno == EINTR) continue;
    if (result < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      memmove(w->out, w->out + w->out_sent, w->out_length - w->out_sent);
      w->out_length -= w->out_sent;
      w->out_sent = 0;
      interest(w);
      return;
    }
    if (result < 0) {
      control_close(w);
      return;
    }
    w->out_sent += (size_t)result;
  }
  free(w->out);
  w->out = NULL;
  w->out_length = w->out_sent = 0;
  interest(w);
}

void control_accept(struct worker* w) {
  int fd = accept4(w->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd < 0) return;
  struct ucred who;
  socklen_t size = sizeof who;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) < 0 || (who.uid != 0 && who.uid != geteuid())) {
    close(fd);
    return;
  }
  control_close(w);
  struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
  if ((!w->in && !(w->in = malloc(IN_ROOM))) || epoll_ctl(w->epoll, EPOLL_CTL_ADD, fd, &event) < 0) {
    close(fd);
    return;
  }
  w->connection = fd;
}

static bool send_frame(struct worker* w, uint16_t type, uint32_t id, const void* first, size_t first_length,
                       const void* second, size_t second_length) {
  uint32_t length = (uint32_t)(HEADER + first_length + second_length);
  uint8_t head[HEADER] = {0};
  memcpy(head, &length, 4);
  memcpy(head + 4, &type, 2);
  memcpy(head + 8, &id, 4);
  size_t before = w->out_length;
  if (append(w, head, HEADER) && append(w, first, first_length) && (!second_length || append(w, second, second_length)))
    return true;
  w->out_length = before;
  return false;
}

static void answer(struct worker* w, uint32_t id, int status, const char* text, size_t length) {
  int32_t result = status;
  if (!send_frame(w, MESSAGE_RESULT, id, &result, 4, text, length)) control_close(w);
}

void control_readable(struct worker* w) {
  ssize_t result = recv(w->connection, w->in + w->in_length, IN_ROOM - w->in_length, MSG_DONTWAIT);
  if (result < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (result <= 0) {
    control_close(w);
    return;
  }
  w->in_length += (size_t)result;
  size_t at = 0;
  while (w->in_length - at >= HEADER) {
    uint32_t length, id;
    uint16_t type;
    memcpy(&length, w->in + at, 4);
    memcpy(&type, w->in + at + 4, 2);
    memcpy(&id, w->in + at + 8, 4);
    if (length < HEADER || length > IN_ROOM) {
      control_close(w);
      return;
    }
    if (w->in_length - at < length) break;
    struct reply reply = {0};
    int status = command(w, type, w->in + at + HEADER, length - HEADER, &reply);
    OPENSSL_cleanse(w->in + at, length);
    answer(w, id, status, reply.text, reply.length);
    free(reply.text);
    if (w->connection < 0) return;
    at += length;
  }
  memmove(w->in, w->in + at, w->in_length - at);
  w->in_length -= at;
  control_writable(w);
}

static void event_send(struct worker* w, uint16_t type, const void* first, size_t first_length, const void* second,
                       size_t second_length) {
  if (w->connection < 0) return;
  if (w->out_length > EVENT_ROOM || !send_frame(w, type, 0, first, first_length, second, second_length)) {
    COUNT(w, NULL, events_lost, 1);
    return;
  }
  control_writable(w);
}

struct event_body {
  uint16_t kind, zero;
  uint32_t index, number, word;
};

static bool token(struct worker* w, struct peer* peer) {
  peer->control_tokens += (double)(w->now_ns - peer->control_ns) / 1e9 * CONTROL_RATE;
  if (peer->control_tokens > CONTROL_BURST) peer->control_tokens = CONTROL_BURST;
  peer->control_ns = w->now_ns;
  if (peer->control_tokens < 1) return false;
  peer->control_tokens -= 1;
  return true;
}

void event_peer(struct worker* w, struct peer* peer, enum event kind, uint32_t word) {
  /* A queue that began to fill is told always: it happens once until it is empty, and nothing else would tell. */
  for (int i = 0; i < REPORTS && kind != EVENT_HELD; i++) {
    const struct report* report = &peer->report[i];
    if (report->kind == kind && report->word == word && w->now_ns - report->at_ns < REPORT_AGAIN_NS) return;
  }
  /* What changes with every packet is an attacker's: as many as there is memory for, then none until it is old. */
  struct report* oldest = &peer->report[peer->next_report % REPORTS];
  if (kind != EVENT_HELD && oldest->kind && w->now_ns - oldest->at_ns < REPORT_LEAST_NS) {
    COUNT(w, peer, events_lost, 1);
    return;
  }
  if (kind != EVENT_HELD) {
    peer->next_report++;
    *oldest = (struct report){w->now_ns, (uint32_t)kind, word};
  }
  struct event_body body = {(uint16_t)kind, 0, peer->index, peer->number, word};
  event_send(w, MESSAGE_EVENT, &body, sizeof body, NULL, 0);
}

void event_network(struct worker* w, const struct network* network) {
  struct event_body body = {EVENT_NETWORK_LOST, 0, 0, 0, network->vni};
  event_send(w, MESSAGE_EVENT, &body, sizeof body, NULL, 0);
}

void event_packet(struct worker* w, struct peer* peer, const uint8_t* bytes, size_t length) {
  COUNT(w, peer, control_received, 1);
  if (length > CONTROL_MAX || w->connection < 0 || !token(w, peer)) {
    COUNT(w, peer, drop_control_overflow, 1);
    return;
  }
  uint32_t body[2] = {peer->index, peer->number};
  event_send(w, MESSAGE_PACKET, body, sizeof body, bytes, length);
}
