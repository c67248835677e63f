// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * The keys of rewrite mode. The receiver of a pair of addresses makes its key and tells it (rewrite_control.h); a pair is
 * what a packet says besides its ports: virtual network, addresses, DSCP and TTL as they leave the sender's tunnel.
 *
 * A sender uses a key for half the send lifetime after it has heard it. A receiver gives it to another pair only when the
 * receive lifetime has passed since it last told it: longer, so no packet is ever restored to a pair it was not sent for.
 * A table of a fixed size a peer: a pair whose places are all held stays with the tunnel.
 *
 * A receiver that has begun with nothing does not know what it told before, and whoever has not heard of that still uses it.
 * So for the receive lifetime it restores a host's packets only when that host has said that it has dropped all of it, and
 * what was on the way then has arrived (settled).
 */
#ifndef PEERLESS_REWRITE_KEY_H
#define PEERLESS_REWRITE_KEY_H

#include "connection.h"
#include "kernel.h"
#include "parse.h"
#include "peer.h"
#include "translate.h"

#define KEY_PROBES 8
#define DSCP_MASK 0xfcu
/* IP ID: the sign of a key, nine bits of key, and six that segmentation counts up. */
#define ID_SIGN 0x8000u
#define ID_SEGMENTS 64u
/* IP option of RFC 4727 (experimental, copied on fragmentation): type, length, key. */
#define OPTION_TYPE 0x9eu
#define OPTION_LENGTH 4u

/* Words of `peer.rewrite`. */
#define PEER_KNOWN_UNTIL 0
#define PEER_EPOCH 1
#define PEER_VOID_BEFORE 2
#define PEER_GREETED 3
#define PEER_COMPLAINED 4
/* From when on nothing comes from that host any more by what we told in a life before; older than our beginning: not known. */
#define PEER_SETTLED 5

/* Longer than any packet is on its way, there and back. */
#define SETTLE (SECOND / 4)

#define EPOCH_MASK 0xffu
/* Of `config.rewrite[0]`: ours, chosen with the maps, never 0. */
inline_always __u32 own_epoch(const struct config *config_now) {
  __u32 epoch = config_now->rewrite[0] & EPOCH_MASK;
  return epoch ? epoch : 1;
}

/* Of `config.rewrite[1]`: when we began with nothing told, and chose the epoch. */
inline_always __u64 since_birth(const struct config *config_now, __u64 now) { return elapsed(now, config_now->rewrite[1]); }

/* Something that was said before our beginning may still be on its way. */
inline_always int newborn(const struct config *config_now, __u64 now) { return since_birth(config_now, now) <= SETTLE; }

/* Units of 2^27 ns, about 134 ms. */
inline_always __u32 ticks(__u64 time) { return time >> 27; }

inline_always __u64 key_validity(const struct config *config_now) { return config_now->lifetime_send / 2; }

inline_always __u32 keys_of(const struct config *config_now) {
  return config_now->key_field == KEY_FIELD_DSCP ? KEYS_DSCP : KEYS_A_PEER;
}

/* Whether that host is in rewrite mode, and keeps its own packets from looking like keys: it has said so lately. */
inline_always int known(const struct peer *peer, __u64 now) { return READ(peer->rewrite[PEER_KNOWN_UNTIL]) > now; }

/* Whether a key in that host's packets can only mean what it means now. */
inline_always int settled(const struct config *config_now, const struct peer *peer, __u64 now) {
  __u64 since = READ(peer->rewrite[PEER_SETTLED]);
  return (since > config_now->rewrite[1] && since <= now) || since_birth(config_now, now) > config_now->lifetime_receive;
}

inline_always struct restored *restored_at(__u32 peer, __u32 key) {
  __u32 index = peer * KEYS_A_PEER + (key & (KEYS_A_PEER - 1));
  return bpf_map_lookup_elem(&restored, &index);
}

inline_always int live(const struct restored *entry, const struct config *config_now, __u64 now) {
  return entry->host && now < entry->told + config_now->lifetime_receive;
}

inline_always int restores(const struct restored *entry, const struct pair *pair, __be32 host) {
  return entry->host == host && entry->vni == pair->vni && entry->saddr == pair->saddr && entry->daddr == pair->daddr &&
         entry->dscp == pair->dscp && entry->ttl == pair->ttl;
}

inline_always __u32 pair_hash(const struct pair *pair) {
  __u32 hash = pair->vni ^ pair->saddr * 0x9e3779b1u ^ (pair->daddr * 0x85ebca6bu) ^ (__u32)pair->dscp << 7 ^ pair->ttl;
  hash ^= hash >> 15;
  hash *= 0xc2b2ae35u;
  return hash ^ hash >> 13;
}

/* The key under which `host` sends us this pair, made if need be and place; 0: none is left. */
apart __u32 key_for(struct config *config_now, struct pair *pair, __u32 index, __u64 now) {
  struct peer *peer = peer_at(index);
  if (!peer) return 0;
  __be32 host = peer->address;
  __u32 keys = keys_of(config_now), start = pair_hash(pair), spare = 0;
  for (__u32 probe = 0; probe < KEY_PROBES; probe++) {
    __u32 key = (start + probe) & (keys - 1);
    struct restored *entry = restored_at(index, key);
    if (!entry || key == 0) continue;
    if (live(entry, config_now, now)) {
      if (!restores(entry, pair, host)) continue;
      WRITE(entry->told, now);
      return key;
    }
    if (!spare) spare = key;
  }
  struct restored *entry = spare ? restored_at(index, spare) : NULL;
  if (!entry) return 0;
  __u64 before = entry->told;
  if (before + config_now->lifetime_receive > now && entry->host) return 0;
  if (!__sync_bool_compare_and_swap(&entry->told, before, now)) return 0;
  /* Nobody holds the old pair's key any more: the fields may change one after the other. */
  entry->host = 0;
  entry->vni = pair->vni;
  entry->saddr = pair->saddr;
  entry->daddr = pair->daddr;
  entry->dscp = pair->dscp;
  entry->ttl = pair->ttl;
  __builtin_memcpy(entry->ethernet, pair->ethernet, sizeof(entry->ethernet));
  WRITE(entry->host, host);
  return spare;
}

/* The key that a packet carries, 0 none. `id` and `tos` as they stand in the header; `option` as it follows it. */
inline_always __u32 carried(const struct config *config_now, const struct iphdr *ip, __u32 option) {
  if (config_now->key_field == KEY_FIELD_OPTION)
    return option >> 16 == (OPTION_TYPE << 8 | OPTION_LENGTH) ? option & 0xffff : 0;
  if (ip->ihl != 5) return 0;
  if (config_now->key_field == KEY_FIELD_DSCP) return ip->tos >> 2;
  __u32 id = bpf_ntohs(ip->id);
  return id & ID_SIGN ? (id & ~ID_SIGN) / ID_SEGMENTS : 0;
}

/* The sum of a whole header of 20 or 24 octets, whose own sum is taken for zero. */
inline_always __sum16 header_sum(const struct iphdr *ip, __u32 option) {
  const __u16 *word = (const __u16 *)ip;
  __u32 sum = 0;
  for (int i = 0; i < 10; i++)
    if (i != 5) sum += word[i];
  sum += (option & 0xffff) + (option >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return (__u16)~sum;
}

/* How the sum over a pseudo header changes, as the kernel's helper takes a difference. */
inline_always __u32 addresses_difference(__be32 from_s, __be32 from_d, __be32 to_s, __be32 to_d) {
  __u64 sum = (__u64)(__u32)~from_s + (__u32)~from_d + to_s + to_d;
  sum = (sum & 0xffffffff) + (sum >> 32);
  return (__u32)(sum & 0xffffffff) + (__u32)(sum >> 32);
}

/* As the kernel's helper does it, at a third of the price: 0 where only the helper can, which knows of a device's own sum. */
inline_always int follow_in_place(struct __sk_buff *skb, __u8 protocol, __u32 offset, __u32 difference) {
  __u32 kind = summed(skb);
  __sum16 *sum = (void *)(long)skb->data + offset + (protocol == IPPROTO_TCP ? 16 : 6);
  if (kind == SUM_COMPLETE || kind == SUM_UNKNOWN || (void *)(sum + 1) > (void *)(long)skb->data_end) return 0;
  /* UDP without a sum. */
  if (protocol == IPPROTO_UDP && *sum == 0) return 1;
  /* A pseudo header's stands as it is, a whole one inverted. */
  __u16 before = kind == SUM_PARTIAL ? *sum : ~*sum;
  __u64 wide = (__u64)difference + before;
  wide = (wide & 0xffff) + (wide >> 16 & 0xffff) + (wide >> 32);
  wide = (wide & 0xffff) + (wide >> 16);
  wide = (wide & 0xffff) + (wide >> 16);
  __u16 after = kind == SUM_PARTIAL ? wide : ~wide;
  *sum = protocol == IPPROTO_UDP && after == 0 ? 0xffff : after;
  return 1;
}

/* The sum of TCP or UDP after a change of addresses; `offset` is the IP payload's. Pointers are stale afterwards. */
inline_always int follow_addresses(struct __sk_buff *skb, __u8 protocol, __u32 offset, __u32 difference) {
  if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP) return 1;
  if (likely(follow_in_place(skb, protocol, offset, difference))) return 1;
  if (protocol == IPPROTO_TCP) return !bpf_l4_csum_replace(skb, offset + 16, 0, difference, BPF_F_PSEUDO_HDR);
  if (protocol == IPPROTO_UDP) return !bpf_l4_csum_replace(skb, offset + 6, 0, difference, BPF_F_PSEUDO_HDR | BPF_F_MARK_MANGLED_0);
  return 1;
}

#endif
