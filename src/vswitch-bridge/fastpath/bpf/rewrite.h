// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * Rewrite mode, sending (R3.2b): the packet leaves with the hosts' addresses and nothing added (or one IP option), its pair
 * told by a key in a field that forwarding ignores. Receiving stands in rewrite_receive.h, keys in rewrite_key.h, what
 * the hosts say of them in rewrite_control.h.
 *
 * The host's own packets must never be taken for rewritten ones, whatever their fields say. So a host in rewrite mode takes
 * the sign of a key out of everything else that it sends to another host of the overlay (rewrite_guard), says so, and only
 * what comes from a host that has said so lately is looked at for keys.
 */
#ifndef PEERLESS_REWRITE_H
#define PEERLESS_REWRITE_H

/* A hook's answers besides an action of TC with the packet done with. */
#define REWRITE_NOT_FOR_ME (-2)
#define REWRITE_RESTORED (-3)

#include "rewrite_key.h"

/* Words of `connection.rewrite`, three a direction: key, DSCP and TTL; valid until (ticks); the peer's epoch and ours. */
#define CACHE_WORDS 3

inline_always __u32 cached_form(__u32 key, __u8 dscp, __u8 ttl) { return key | (__u32)dscp << 16 | (__u32)ttl << 24; }

/* Another one: what was read before means nothing. Ours changes with our key field; another peer's keys are others too. */
inline_always __u32 epoch_word(const struct config *config_now, const struct peer *peer) {
  return (__u32)READ(peer->rewrite[PEER_EPOCH]) ^ own_epoch(config_now) << 24 ^ peer->address * 0x9e3779b1u;
}

/* Asks the table of told keys, at most once a tick; the key, or 0: by the tunnel, which makes the other end tell again. */
apart __u32 look_up_key(struct entry *entry, struct sent_pair *of, struct peer *peer, struct connection *connection, __u32 direction) {
  __u32 *cache = &connection->rewrite[direction & 1 ? CACHE_WORDS : 0];
  __u64 now = entry->now;
  __u32 epochs = (READ(peer->rewrite[PEER_EPOCH]) & EPOCH_MASK) | own_epoch(entry->config) << 8;
  __u32 word = epoch_word(entry->config, peer);
  struct sent_key *sent = bpf_map_lookup_elem(&sent_keys, of);
  __u32 key = 0;
  __u64 until = now + SECOND / 4;
  if (sent && sent->epochs == epochs && now < sent->until && sent->heard > peer->rewrite[PEER_VOID_BEFORE] && known(peer, now)) {
    key = sent->key;
    if (sent->until < now + SECOND) until = sent->until;
    else until = now + SECOND;
  }
  cache[0] = cached_form(key, of->dscp, of->ttl);
  cache[1] = ticks(until);
  cache[2] = word;
  if (key && now > sent->renew) {
    WRITE(sent->renew, now + SECOND);
    return 0;
  }
  return key;
}

inline_always __u32 key_to_send(struct entry *entry, struct connection *connection, __u32 direction, const struct exit *exit, struct peer *peer) {
  __u32 *cache = &connection->rewrite[direction & 1 ? CACHE_WORDS : 0];
  __u8 dscp = entry->tos & DSCP_MASK, ttl = entry->ttl - exit->ttl_drop;
  __u32 word = READ(cache[0]);
  if (likely(READ(cache[1]) > ticks(entry->now) && word >> 16 == cached_form(0, dscp, ttl) >> 16 && READ(cache[2]) == epoch_word(entry->config, peer)))
    return word & 0xffff;
  struct sent_pair of = {.peer = exit->target, .vni = exit->vni, .saddr = exit->saddr, .daddr = exit->daddr, .dscp = dscp, .ttl = ttl};
  return look_up_key(entry, &of, peer, connection, direction);
}

/* Segments count the ID up from the key's own: so many have room. */
inline_always int too_many_segments(struct __sk_buff *skb, const struct entry *entry) {
  if (!skb->gso_size || entry->config->key_field != KEY_FIELD_IP_ID) return 0;
  return entry->length > entry->headers + skb->gso_size * (ID_SEGMENTS - 1);
}

/* The IP header for the way: hosts' addresses, a fresh TTL, the key in its field. `option` in network order, or 0. */
inline_always int write_rewritten(struct __sk_buff *skb, struct entry *entry, const struct peer *peer, __u32 key) {
  struct iphdr *ip = (void *)(long)skb->data + ETHERNET;
  __be32 option = 0;
  if ((void *)(ip + 1) > (void *)(long)skb->data_end) return 0;
  switch (entry->config->key_field) {
    case KEY_FIELD_IP_ID:
      ip->id = bpf_htons(ID_SIGN | key * ID_SEGMENTS);
      break;
    case KEY_FIELD_DSCP:
      ip->tos = key << 2 | (ip->tos & ECN_MASK);
      break;
    default:
      if ((void *)(ip + 1) + OPTION_LENGTH > (void *)(long)skb->data_end) return 0;
      option = bpf_htonl(OPTION_TYPE << 24 | OPTION_LENGTH << 16 | key);
      *(__be32 *)(ip + 1) = option;
      *(__u8 *)ip = 0x46;
      ip->tot_len = bpf_htons(entry->length + OPTION_LENGTH);
  }
  ip->ttl = peer->ttl;
  ip->saddr = peer->local;
  ip->daddr = peer->address;
  ip->check = header_sum(ip, option);
  return 1;
}

/* from_instance, on a hit whose way out is a tunnel to a peer whose route is fresh; nothing has been changed yet. */
inline_always int rewrite_send(struct __sk_buff *skb, struct entry *entry, struct connection *connection, __u32 direction,
                               const struct exit *exit, struct peer *peer) {
  if (entry->config->mode != MODE_REWRITE) return REWRITE_NOT_FOR_ME;
  __u32 added = entry->config->key_field == KEY_FIELD_OPTION ? OPTION_LENGTH : 0;
  __u32 longest = skb->gso_size ? skb->gso_size + entry->headers : entry->length;
  if (longest + added > peer->mtu || entry->length + added > 65535u || too_many_segments(skb, entry)) return REWRITE_NOT_FOR_ME;
  __u32 key = key_to_send(entry, connection, direction, exit, peer);
  if (!key) return REWRITE_NOT_FOR_ME;
  __u32 difference = addresses_difference(exit->saddr, exit->daddr, peer->local, peer->address);
  if (!translate(skb, entry, exit, ETHERNET)) return TC_ACT_SHOT;
  if (added && bpf_skb_adjust_room(skb, OPTION_LENGTH, BPF_ADJ_ROOM_NET, BPF_F_ADJ_ROOM_FIXED_GSO)) return TC_ACT_SHOT;
  if (!write_rewritten(skb, entry, peer, key)) return TC_ACT_SHOT;
  if (!follow_addresses(skb, entry->key.protocol, ETHERNET + IPV4 + added, difference)) return TC_ACT_SHOT;
  COUNT(entry, STAT_HIT);
  COUNT(entry, REWRITE_SENT);
  entry->statistics->count[STAT_HIT_BYTES] += entry->length;
  skb->mark = MARK_FAST;
  struct bpf_redir_neigh next = {.nh_family = AF_INET, .ipv4_nh = peer->next_hop};
  return bpf_redirect_neigh(peer->ifindex, &next, sizeof(next), 0);
}

inline_always int guard_option(struct iphdr *ip, void *end) {
  __u8 *option = (void *)(ip + 1);
  if (ip->ihl != 6 || (void *)(option + OPTION_LENGTH) > end || option[0] != OPTION_TYPE) return 0;
  __be32 before = *(__be32 *)option, after = bpf_htonl(0x01010101);
  sum_replace_address(&ip->check, before, after);
  *(__be32 *)option = after;
  return 1;
}

inline_always int guard_id(struct __sk_buff *skb, struct iphdr *ip) {
  __be16 before = ip->id;
  __u32 id = bpf_ntohs(before) & ~ID_SIGN;
  __u32 last = skb->gso_size ? id + skb->len / skb->gso_size + 1 : id;
  if (last >= ID_SIGN) id = 0;
  if (bpf_htons(id) == before) return 0;
  ip->id = bpf_htons(id);
  sum_replace(&ip->check, before, ip->id);
  return 1;
}

/* nic_egress, what the fast path has not sent itself: no packet of another's looks like a key's. */
inline_always int rewrite_guard(struct __sk_buff *skb, struct config *config_now, struct statistics *statistics) {
  if (config_now->mode != MODE_REWRITE || skb->protocol != bpf_htons(ETH_P_IP)) return REWRITE_NOT_FOR_ME;
  linear(skb, ETHERNET + IPV4 + OPTION_LENGTH);
  struct iphdr *ip = (void *)(long)skb->data + ETHERNET;
  void *end = (void *)(long)skb->data_end;
  if ((void *)(ip + 1) > end || ip->version != 4 || peer_index(ip->daddr, 0) >= PEERS) return REWRITE_NOT_FOR_ME;
  int changed = 0;
  ip = (void *)(long)skb->data + ETHERNET;
  end = (void *)(long)skb->data_end;
  if ((void *)(ip + 1) > end) return REWRITE_NOT_FOR_ME;
  switch (config_now->key_field) {
    case KEY_FIELD_IP_ID:
      changed = guard_id(skb, ip);
      break;
    case KEY_FIELD_DSCP:
      changed = ip->tos & DSCP_MASK;
      if (changed) {
        __u8 tos = ip->tos & ECN_MASK;
        sum_replace(&ip->check, *(__be16 *)ip, bpf_htons(bpf_ntohs(*(__be16 *)ip) & 0xff00) | bpf_htons(tos));
        ip->tos = tos;
      }
      break;
    default:
      changed = guard_option(ip, end);
  }
  if (changed) statistics->count[REWRITE_GUARDED]++;
  return REWRITE_NOT_FOR_ME;
}

#endif
