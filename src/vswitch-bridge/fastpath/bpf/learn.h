// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * The exits watch what the slow path sends: a packet that carries a connection's mark shows how that direction leaves, and
 * by which key its replies will come. What can't be that packet any more (an ICMP error about it, a copy of a flooded
 * frame, a fragment) is doubted, and nothing is learned.
 */
#ifndef PEERLESS_LEARN_H
#define PEERLESS_LEARN_H

#include "connection.h"
#include "parse.h"
#include "peer.h"

/* A few bridges and routers on the way; more is another packet. */
#define MAX_TTL_DROP 4

struct departure {
  struct exit exit;
  struct flow_key reply;
};

/* Whose packet it is, by its mark. */
inline_always struct connection *marked(struct __sk_buff *skb, struct entry *entry, struct found *found) {
  __u32 mark = skb->mark;
  __u32 class = mark & MARK_CLASS_MASK;
  if ((mark & MARK_TAG_MASK) != MARK_TAG || class < MARK_CLASS_INSTANCE || class > MARK_CLASS_UNDERLAY) return NULL;
  found->slot = (mark & MARK_RECORD_MASK) >> 1;
  found->direction = mark & 1;
  if (found->slot == SLOT_NONE) return NULL;
  found->connection = connection_at(found->slot);
  if (!found->connection || found->connection->state == STATE_FREE || entry->now > found->connection->expires) return NULL;
  return found->connection;
}

/* Compares what left with what came: flags of translation, TTL; 0: not to be believed. */
inline_always int compare(struct entry *entry, const struct connection *connection, const struct direction *side, struct exit *exit) {
  const struct flow_key *came = &side->key;
  if (entry->key.protocol != connection->protocol) return 0;
  __u8 ttl_drop = side->ttl - entry->ttl;
  if (ttl_drop > MAX_TTL_DROP) return 0;
  exit->ttl_drop = ttl_drop;
  exit->saddr = entry->key.saddr;
  exit->daddr = entry->key.daddr;
  exit->flags |= (came->saddr != exit->saddr ? EXIT_NAT_SADDR : 0) | (came->daddr != exit->daddr ? EXIT_NAT_DADDR : 0);
  if (!(entry->config->features & FEATURE_PORTS)) return !(exit->flags & EXIT_NAT);
  exit->sport = entry->key.sport;
  exit->dport = entry->key.dport;
  exit->flags |= (came->sport != exit->sport ? EXIT_NAT_SPORT : 0) | (came->dport != exit->dport ? EXIT_NAT_DPORT : 0);
  return 1;
}

/* The replies' key is known already as the opening of another record: ours is its other half, and goes into it. */
inline_always int merge(struct entry *entry, struct found *ours, struct departure *departure, struct found *other) {
  struct connection *connection = ours->connection, *into = other->connection;
  __u32 mine = ours->direction & 1, half = !(other->direction & 1);
  if (connection->direction[!mine].seen || into->direction[half].seen) return 0;
  struct flow_key old = into->direction[half].key, key = connection->direction[mine].key;
  struct direction *to = &into->direction[half], *from = &connection->direction[mine];
  if (old.protocol && !same_key(&old, &key)) disown(&old, other->slot);
  to->key = key;
  to->host = from->host;
  to->ttl = from->ttl;
  to->last_seen = from->last_seen;
  to->last_slow = from->last_slow;
  to->packets = from->packets;
  to->bytes = from->bytes;
  if (!install(&key, into, other->slot, half)) return 0;
  to->seen = 1;
  connection->state = STATE_FREE;
  __sync_fetch_and_add(&connection->generation, 1);
  COUNT(entry, STAT_MERGED);
  *ours = *other;
  ours->direction = half;
  return 1;
}

/* Makes the replies find this connection; 0: they belong to another. */
apart int expect(struct entry *entry, struct found *found, struct departure *departure) {
  struct flow_key *reply = &departure->reply;
  struct connection *connection = found->connection;
  __u32 direction = found->direction & 1;
  struct direction *other = &connection->direction[!direction];
  struct found holder = {};
  feature_key(entry->config, reply);
  if (find(reply, entry->now, &holder)) {
    if (holder.slot == found->slot) return holder.direction != direction;
    return merge(entry, found, departure, &holder);
  }
  if (other->seen) return 1;
  if (other->key.protocol && !same_key(&other->key, reply)) disown(&other->key, found->slot);
  other->key = *reply;
  return install(reply, connection, found->slot, !direction);
}

inline_always int same_ethernet(const __u8 *a, const __u8 *b) {
  __u8 different = 0;
  for (__u32 i = 0; i < ETHERNET; i++) different |= a[i] ^ b[i];
  return !different;
}

inline_always int same_exit(const struct exit *a, const struct exit *b) {
  return a->kind == b->kind && a->ttl_drop == b->ttl_drop && a->flags == b->flags && a->target == b->target &&
         a->generation == b->generation && a->exits_generation == b->exits_generation && a->vni == b->vni && a->saddr == b->saddr &&
         a->daddr == b->daddr && a->sport == b->sport && a->dport == b->dport && a->mtu == b->mtu && a->outer_sport == b->outer_sport &&
         same_ethernet(a->ethernet, b->ethernet);
}

inline_always int write_exit(struct entry *entry, struct connection *connection, struct direction *side, struct exit *exit) {
  struct exit *to = &side->exit;
  if (same_exit(to, exit)) {
    to->learned = entry->now;
    if (side->steady < 255) side->steady++;
    return 0;
  }
  side->steady = 0;
  COUNT(entry, to->kind == EXIT_UNKNOWN ? STAT_LEARNED : STAT_CHANGED);
  __u32 sequence = __sync_fetch_and_add(&to->sequence, 1);
  if (sequence & 1) return 0;
  exit->sequence = sequence + 1;
  exit->learned = entry->now;
  __builtin_memcpy(to, exit, sizeof(*to));
  __sync_fetch_and_add(&to->sequence, 1);
  /* Which rules apply depends on the way out. */
  connection->verdict = VERDICT_NONE;
  return 0;
}

/* The packet of `entry` leaves with `departure` filled in for its kind; tells the record. */
inline_always int learn(struct __sk_buff *skb, struct entry *entry, struct found *found, struct departure *departure) {
  struct direction *side = &found->connection->direction[found->direction & 1];
  struct exit *exit = &departure->exit;
  exit->mtu = 0;
  if (bpf_check_mtu(skb, 0, &exit->mtu, 0, 0) < 0) return 0;
  exit->exits_generation = exits_generation();
  if (!compare(entry, found->connection, side, exit)) return 0;
  departure->reply.saddr = exit->daddr;
  departure->reply.daddr = exit->saddr;
  departure->reply.sport = exit->dport;
  departure->reply.dport = exit->sport;
  departure->reply.protocol = entry->key.protocol;
  if (!expect(entry, found, departure)) return 0;
  side = &found->connection->direction[found->direction & 1];
  return write_exit(entry, found->connection, side, exit), 1;
}

/* The Ethernet header at `offset` into the exit; 0: to a group. */
inline_always int copy_ethernet(struct __sk_buff *skb, struct exit *exit, __u32 offset) {
  void *data = (void *)(long)skb->data + offset;
  if (data + ETHERNET > (void *)(long)skb->data_end) return 0;
  __builtin_memcpy(exit->ethernet, data, ETHERNET);
  return !(exit->ethernet[0] & 1);
}

#endif
