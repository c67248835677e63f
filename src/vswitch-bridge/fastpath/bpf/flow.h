// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/* Keys and the slots that they lead to. A slot is claimed by compare-and-swap on its end; its generation disowns old keys. */
#ifndef PEERLESS_FLOW_H
#define PEERLESS_FLOW_H

#include "entry.h"

#define PROBES 16

struct found {
  struct connection *connection;
  __u32 slot;
  __u32 direction;
};

/* The configured feature set. */
inline_always void feature_key(const struct config *config_now, struct flow_key *key) {
  if (!(config_now->features & FEATURE_PORTS)) key->sport = key->dport = 0;
  if (!(config_now->features & FEATURE_INGRESS)) key->ingress = 0;
}

inline_always struct connection *connection_at(__u32 slot) { return bpf_map_lookup_elem(&connections, &slot); }

inline_always int same_key(const struct flow_key *a, const struct flow_key *b) {
  const __u64 *x = (const void *)a, *y = (const void *)b;
  return x[0] == y[0] && x[1] == y[1] && x[2] == y[2];
}

/* The live record that a key leads to. */
inline_always struct connection *find(const struct flow_key *key, __u64 now, struct found *found) {
  struct flow_value *value = bpf_map_lookup_elem(&flows, key);
  if (!value) return NULL;
  __u32 record = READ(value->record);
  __u32 generation = READ(value->generation);
  struct connection *connection = connection_at(record >> 1);
  if (!connection || READ(connection->generation) != generation || connection->state == STATE_FREE) return NULL;
  if (now > connection->expires) return NULL;
  found->connection = connection;
  found->slot = record >> 1;
  found->direction = record & 1;
  return connection;
}

/* A hash that is cheap: what it confuses is looked up. */
inline_always __u32 recent_index(const struct flow_key *key) {
  const __u64 *word = (const void *)key;
  __u64 mixed = word[0] * 0x9e3779b97f4a7c15ull ^ word[1] * 0xc2b2ae3d27d4eb4full ^ word[2];
  return (mixed ^ mixed >> 29) * 0xbf58476d1ce4e5b9ull >> 52;
}

/*
 * As `find`. Within one tick of the clock what led to a record leads there again without a look-up: so a burst costs one look-up a
 * tick, and the map of keys still sees which of them are in use.
 */
inline_always struct connection *find_again(const struct flow_key *key, __u64 now, struct found *found) {
  __u32 index = recent_index(key);
  struct flow_value *recent = bpf_map_lookup_elem(&recent_flows, &index);
  if (!recent) return NULL;
  __u32 record = recent->record;
  struct connection *connection = connection_at(record >> 1);
  if (likely(connection && READ(connection->generation) == recent->generation && connection->state != STATE_FREE)) {
    const struct direction *side = &connection->direction[record & 1];
    if (likely(side->last_seen == now && now <= connection->expires && same_key(&side->key, key))) {
      found->connection = connection;
      found->slot = record >> 1;
      found->direction = record & 1;
      return connection;
    }
  }
  connection = find(key, now, found);
  if (connection) {
    recent->record = found->slot << 1 | found->direction;
    recent->generation = connection->generation;
  }
  return connection;
}

/* Takes the key out if it still leads to that slot. */
apart int disown(struct flow_key *key, __u32 slot) {
  struct flow_value *value = bpf_map_lookup_elem(&flows, key);
  if (value && value->record >> 1 == slot) bpf_map_delete_elem(&flows, key);
  return 0;
}

inline_always int install(const struct flow_key *key, struct connection *connection, __u32 slot, __u32 direction) {
  struct flow_value value = {.record = slot << 1 | direction, .generation = connection->generation};
  return bpf_map_update_elem(&flows, key, &value, BPF_ANY) == 0;
}

/* Whether a slot may be taken: free, long past its end, or (when pressed) never answered or closed. */
inline_always int claimable(const struct connection *connection, __u64 now, int pressed) {
  if (connection->state == STATE_FREE || now > connection->expires + LINGER) return 1;
  if (!pressed || now < connection->created + LINGER) return 0;
  return connection->state == STATE_OPENING || connection->state == STATE_CLOSED;
}

/* An empty record for a packet that nothing knows; its slot, or SLOT_NONE. */
apart __u32 make(struct entry *entry, struct flow_key *key, __u64 lifetime) {
  __u32 mask = entry->config->connection_mask;
  for (__u32 probe = 0; probe < PROBES; probe++) {
    __u32 slot = bpf_get_prandom_u32() & mask;
    struct connection *connection = connection_at(slot);
    if (slot == SLOT_NONE || !connection || !claimable(connection, entry->now, probe >= PROBES / 2)) continue;
    __u64 old = connection->expires;
    if (!__sync_bool_compare_and_swap(&connection->expires, old, entry->now + lifetime)) continue;
    __u8 held = connection->state != STATE_FREE;
    connection->state = STATE_FREE;
    __sync_fetch_and_add(&connection->generation, 1);
    if (held) {
      COUNT(entry, STAT_EXPIRED);
      disown(&connection->direction[0].key, slot);
      disown(&connection->direction[1].key, slot);
    }
    connection->created = entry->now;
    connection->protocol = key->protocol;
    connection->verdict = VERDICT_NONE;
    connection->flags = 0;
    __builtin_memset(connection->rate, 0, sizeof(connection->rate));
    __builtin_memset(connection->rewrite, 0, sizeof(connection->rewrite));
    __builtin_memset(&connection->direction, 0, sizeof(connection->direction));
    connection->direction[0].key = *key;
    WRITE(connection->state, STATE_OPENING);
    if (!install(key, connection, slot, 0)) {
      connection->state = STATE_FREE;
      return SLOT_NONE;
    }
    return slot;
  }
  return SLOT_NONE;
}

/* Ends a record at once. */
inline_always void release(struct connection *connection, __u32 slot) {
  connection->state = STATE_FREE;
  __sync_fetch_and_add(&connection->generation, 1);
  disown(&connection->direction[0].key, slot);
  disown(&connection->direction[1].key, slot);
}

#endif
