// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * The fast path proper: a parsed packet finds its connection, advances it, is judged, and takes its known way out; or it
 * goes the slow way, with a mark by which the exits will know it again.
 */
#ifndef PEERLESS_ENTER_H
#define PEERLESS_ENTER_H

#include "rules.h"
#include "send.h"

inline_always void mark_slow(struct __sk_buff *skb, struct entry *entry, struct connection *connection, __u32 slot, __u32 direction) {
  struct direction *side = &connection->direction[direction & 1];
  side->ttl = entry->ttl;
  side->last_slow = entry->now;
  skb->mark = MARK_TAG | entry->mark_class | (slot << 1 | direction);
  if (entry->host) heard(entry->host, entry->now);
}

/* The exit as one reading; 0: it is being written. */
inline_always int read_exit(const struct exit *from, struct exit *to) {
  __u32 sequence = READ(from->sequence);
  __builtin_memcpy(to, from, sizeof(*to));
  return !(sequence & 1) && READ(from->sequence) == sequence;
}

/* Why the exit can't be used, or 0. */
inline_always int check_exit(struct __sk_buff *skb, struct entry *entry, const struct connection *connection, struct direction *side,
                             const struct exit *exit) {
  __u64 lifetime = entry->mark_class == MARK_CLASS_INSTANCE ? entry->config->lifetime_send : entry->config->lifetime_receive;
  __u64 idle = elapsed(entry->now, side->last_seen), since = elapsed(entry->now, side->last_slow);
  if (exit->kind == EXIT_UNKNOWN) return SLOW_NO_EXIT;
  if (exit->exits_generation != exits_generation()) return SLOW_AGED;
  if (idle > lifetime) return SLOW_AGED;
  /* Unanswered: conntrack keeps it for a shorter time. */
  __u32 sooner = connection->state == STATE_OPENING;
  __u64 interval = entry->config->slow_interval >> sooner, force = entry->config->slow_force >> sooner;
  /* The last packet that went the slow way has not come to an exit: it is not let through any more. */
  if (unlikely(exit->learned < side->last_slow) && (since > SECOND || since > interval)) return SLOW_AGED;
  if (!entry->restored && since > interval && (idle > entry->config->slow_idle || since > force)) return SLOW_KEEPALIVE;
  if (exit->kind == EXIT_TUNNEL ? exit->generation != generation_of_peer(exit->target) : exit->generation != generation_of_port(exit->target))
    return exit->kind == EXIT_TUNNEL ? SLOW_PEER_CHANGED : SLOW_PORT_CHANGED;
  if (entry->ttl <= exit->ttl_drop) return SLOW_TTL;
  if (entry->restored) return side->host == entry->host ? 0 : SLOW_HOST;
  if (!entry->encapsulated) return 0;
  if (ecn_after(entry->outer_tos, entry->tos) < 0) return SLOW_ECN;
  if (skb->gso_size && entry->key.protocol == IPPROTO_UDP) return SLOW_SEGMENTED_UDP;
  return side->host == entry->host ? 0 : SLOW_HOST;
}

/* What the way out stood on has gone: it is learned anew. */
inline_always void refuse(struct entry *entry, struct direction *side, int reason) {
  if (reason == SLOW_AGED || reason == SLOW_PORT_CHANGED || reason == SLOW_PEER_CHANGED) side->exit.kind = EXIT_UNKNOWN;
  slow(entry, reason);
}

inline_always int hit(struct __sk_buff *skb, struct entry *entry, struct connection *connection, __u32 direction, const struct exit *exit) {
  if (exit->kind == EXIT_DELIVER) return deliver(skb, entry, exit);
  /* What came by the underlay never leaves by it: not here. */
  if (entry->mark_class != MARK_CLASS_INSTANCE) return slow(entry, SLOW_NO_EXIT);
  if (exit->kind == EXIT_TUNNEL) return tunnel(skb, entry, connection, direction, exit);
  return publish(skb, entry, exit);
}

/* A connection has been found, or made just now. */
inline_always int follow(struct __sk_buff *skb, struct entry *entry, struct found *found) {
  struct connection *connection = found->connection;
  __u32 direction = found->direction & 1;
  struct direction *side = &connection->direction[direction];
  side->origin = entry->mark_class >> 24;
  __u32 verdict = verdict_of(entry, connection);
  if (unlikely(verdict == VERDICT_DENY)) return deny(skb, entry, connection);
  if (unlikely(limited(connection, direction, skb->len))) {
    COUNT(entry, STAT_LIMITED);
    return TC_ACT_SHOT;
  }
  __u32 generation = READ(connection->generation);
  int must_be_slow = advance(entry, connection, direction);
  struct exit exit;
  int action = PASS;
  if (must_be_slow)
    COUNT(entry, SLOW_STATE);
  else if (verdict == VERDICT_SLOW)
    COUNT(entry, SLOW_RULE);
  else if (!read_exit(&side->exit, &exit) || READ(connection->generation) != generation)
    COUNT(entry, SLOW_NO_EXIT);
  else {
    int reason = check_exit(skb, entry, connection, side, &exit);
    if (unlikely(reason))
      refuse(entry, side, reason);
    else
      action = hit(skb, entry, connection, direction, &exit);
  }
  /* It may have moved. */
  if (unlikely(side->host != entry->host)) side->host = entry->host;
  side->seen = 1;
  side->last_seen = entry->now;
  side->packets++;
  side->bytes += entry->length;
  if (action == PASS) mark_slow(skb, entry, connection, found->slot, direction);
  return action;
}

/* From a host that this one doesn't send to: no word of it changes what is known here, and nothing is begun for it. */
inline_always int stranger(const struct entry *entry, const struct found *found) {
  if (!entry->host || (found->connection && found->connection->direction[found->direction & 1].host == entry->host)) return 0;
  return peer_index(entry->host, 0) >= PEERS;
}

/* 1: the packet belongs to the connection that its key led to. */
inline_always int belongs(struct entry *entry, struct found *found) {
  if (!found->connection) return 0;
  /* Opened the other way round on the same ports: a connection of its own. */
  int opening = (entry->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
  if (likely(!opening) || found->direction == 0 || found->connection->state == STATE_OPENING) return 1;
  release(found->connection, found->slot);
  return 0;
}

/* Only the side that opens sends such a packet. Of UDP the exits will tell. */
inline_always int opens(const struct entry *entry) {
  if (entry->key.protocol == IPPROTO_TCP) return (entry->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
  return entry->key.protocol == IPPROTO_ICMP && entry->key.dport == 0;
}

inline_always int begin(struct entry *entry, struct flow_key *key, struct found *found) {
  found->slot = make(entry, key, timeout_of(entry->config, key->protocol, STATE_OPENING));
  found->direction = 0;
  found->connection = found->slot == SLOT_NONE ? NULL : connection_at(found->slot);
  COUNT(entry, found->connection ? STAT_MADE : STAT_FULL);
  if (!found->connection) return 0;
  if (opens(entry)) found->connection->flags = CONNECTION_OPENER_KNOWN;
  return 1;
}

/* The packet of `entry`, whose key is complete. `may_make`: a packet that nothing knows begins a connection. */
inline_always int enter(struct __sk_buff *skb, struct entry *entry, int may_make) {
  struct flow_key key __attribute__((aligned(8))) = entry->key;
  struct found found = {};
  feature_key(entry->config, &key);
  find_again(&key, entry->now, &found);
  if (unlikely(stranger(entry, &found))) return slow(entry, SLOW_STRANGER);
  if (!belongs(entry, &found)) {
    if (!may_make) return slow(entry, SLOW_HOST);
    COUNT(entry, STAT_MISS);
    if (!begin(entry, &key, &found)) return PASS;
  } else if (!may_make) {
    COUNT(entry, STAT_PACKETS);
  }
  return follow(skb, entry, &found);
}

#endif
