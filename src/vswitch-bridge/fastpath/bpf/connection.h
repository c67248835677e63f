// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * States of a connection (R1.4), advanced at the entries for every packet, whichever path carries it then. TCP is
 * followed liberally, as conntrack is told to: sequence numbers are not looked at, and a stream that is joined in the
 * middle counts as established once both sides have spoken.
 */
#ifndef PEERLESS_CONNECTION_H
#define PEERLESS_CONNECTION_H

#include <linux/in.h>
#include "flow.h"

/* The end of a record is written only when it moves by more: both directions share its cache line. */
#define EXTEND_STEP (SECOND / 4)

#define ONE_WAY_PACKETS 8
#define ONE_WAY_AGE SECOND

inline_always __u32 class_of(__u8 protocol) {
  return protocol == IPPROTO_TCP ? CLASS_TCP : protocol == IPPROTO_UDP ? CLASS_UDP : CLASS_ICMP;
}

inline_always __u64 timeout_of(const struct config *config_now, __u8 protocol, __u8 state) {
  if (state >= STATE_COUNT) return 0;
  return config_now->timeout[class_of(protocol)][state];
}

inline_always void extend(const struct config *config_now, struct connection *connection, __u64 now) {
  __u64 expires = now + timeout_of(config_now, connection->protocol, connection->state);
  if (expires > connection->expires + EXTEND_STEP) connection->expires = expires;
}

inline_always void enter_state(const struct config *config_now, struct connection *connection, __u8 state, __u64 now) {
  connection->state = state;
  connection->expires = now + timeout_of(config_now, connection->protocol, state);
}

/* A new connection on the same tuple: it may be translated otherwise than the last. */
inline_always void reopen(const struct config *config_now, struct connection *connection, __u64 now) {
  connection->direction[0].exit.kind = EXIT_UNKNOWN;
  connection->direction[1].exit.kind = EXIT_UNKNOWN;
  connection->direction[1].seen = 0;
  connection->flags = CONNECTION_OPENER_KNOWN;
  connection->verdict = VERDICT_NONE;
  enter_state(config_now, connection, STATE_OPENING, now);
}

/* 1: conntrack must see this packet. */
inline_always int advance_tcp(const struct config *config_now, struct connection *connection, __u32 direction, __u8 flags, __u64 now) {
  if (unlikely(flags & (TCP_SYN | TCP_FIN | TCP_RST))) {
    if (flags & TCP_RST) {
      enter_state(config_now, connection, STATE_CLOSED, now);
    } else if (flags & TCP_SYN) {
      if (!(flags & TCP_ACK) && connection->state != STATE_OPENING) reopen(config_now, connection, now);
    } else {
      connection->flags |= 1u << (direction & 1);
      int both = (connection->flags & CONNECTION_FINS) == CONNECTION_FINS;
      enter_state(config_now, connection, both ? STATE_CLOSED : STATE_CLOSING, now);
    }
    return 1;
  }
  if (connection->state == STATE_OPENING && connection->direction[0].seen && connection->direction[1].seen) {
    /* The acknowledgement that ends the handshake is conntrack's too. */
    enter_state(config_now, connection, STATE_ESTABLISHED, now);
    return 1;
  }
  if (connection->state != STATE_CLOSED) extend(config_now, connection, now);
  return connection->state != STATE_ESTABLISHED && connection->state != STATE_CLOSING;
}

inline_always int advance_other(const struct config *config_now, struct connection *connection, __u64 now) {
  if (connection->state == STATE_OPENING && connection->direction[0].seen && connection->direction[1].seen)
    enter_state(config_now, connection, STATE_ESTABLISHED, now);
  else
    extend(config_now, connection, now);
  return connection->state != STATE_ESTABLISHED;
}

/*
 * A datagram stream that nobody answers: the slow path has let through so many of its packets, one after the other by the same
 * way, and for so long, that the rest may follow. A frame that is flooded leaves by several ways and is never steady.
 */
inline_always int one_way(const struct entry *entry, const struct connection *connection, __u32 direction) {
  const struct direction *side = &connection->direction[direction & 1];
  if (connection->protocol != IPPROTO_UDP || side->steady < ONE_WAY_PACKETS || connection->direction[!(direction & 1)].seen) return 0;
  /* The public address that conntrack lends to it is not safe while nobody answers: under pressure it is taken away. */
  if (side->exit.kind == EXIT_PUBLIC) return 0;
  return elapsed(entry->now, connection->created) > ONE_WAY_AGE && entry->config->features & FEATURE_PORTS;
}

/* 1: the slow path must carry this packet. */
inline_always int advance(struct entry *entry, struct connection *connection, __u32 direction) {
  if (connection->protocol == IPPROTO_TCP)
    return advance_tcp(entry->config, connection, direction, entry->tcp_flags, entry->now);
  return advance_other(entry->config, connection, entry->now) && !one_way(entry, connection, direction);
}

#endif
