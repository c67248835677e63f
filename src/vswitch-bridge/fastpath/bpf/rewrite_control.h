// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * What two hosts say of keys, in band (R3.2, R3.3): a VXLAN packet that came is turned round and says it in the header's
 * reserved bits. A kernel without these programs drops such a packet, so a stranger never sees more than plain VXLAN, and
 * nothing is sent rewritten to one.
 *
 *      0                   1                   2                   3
 *     |0 0 0 0 1 0 0 0| kind  |field|K|W|          key                |   kind 1..4, K known, W wants to hear again
 *     |                VNI                            |     epoch     |   24 + 8 bits
 *
 *   KEY      receiver to sender: what you send for the pair inside is known here by this key. K: and you are known to be in
 *            rewrite mode; without it the key must not be used yet, nor any that was told before.
 *   HELLO    sender to receiver, the KEY turned round: I am in rewrite mode with this field, and my host's own packets carry
 *            no keys. W: I have dropped what you told before, tell me the key again.
 *   UNKNOWN  receiver to sender: a key of yours means nothing here; all of them are void.
 *   BYE      I leave rewrite mode.
 *
 * A pair needs one round trip (VXLAN, KEY, HELLO, KEY) when the hosts meet, and VXLAN, KEY when they know each other. A
 * receiver that began lately (settled) lets a while pass between HELLO and KEY.
 */
#ifndef PEERLESS_REWRITE_CONTROL_H
#define PEERLESS_REWRITE_CONTROL_H

#include "rewrite_key.h"

#define CONTROL_KEY 1u
#define CONTROL_HELLO 2u
#define CONTROL_UNKNOWN 3u
#define CONTROL_BYE 4u

struct control {
  __u32 kind;
  __u32 field;
  __u32 known;
  __u32 wants;
  __u32 key;
  __u32 vni;
  __u32 epoch;
};

inline_always __be32 control_flags(const struct control *control) {
  return bpf_htonl(VXLAN_FLAGS | control->kind << 20 | control->field << 18 | control->known << 17 | control->wants << 16 | control->key);
}

inline_always void read_control(const struct vxlan *vxlan, struct control *control) {
  __u32 flags = bpf_ntohl(vxlan->flags), vni = bpf_ntohl(vxlan->vni);
  control->kind = flags >> 20 & 15;
  control->field = flags >> 18 & 3;
  control->known = flags >> 17 & 1;
  control->wants = flags >> 16 & 1;
  control->key = flags & 0xffff;
  control->vni = vni >> 8;
  control->epoch = vni & EPOCH_MASK;
}

/* Outer headers of a VXLAN packet with both ends changed over, and the header's words; 0: out of bounds. */
inline_always int turn_round(struct __sk_buff *skb, const struct config *config_now, __be32 flags, __be32 vni) {
  void *data = (void *)(long)skb->data;
  struct ethhdr *ethernet = data;
  struct iphdr *ip = data + ETHERNET;
  struct udphdr *udp = (void *)ip + IPV4;
  struct vxlan *vxlan = (void *)(udp + 1);
  if ((void *)(vxlan + 1) > (void *)(long)skb->data_end) return 0;
  __u8 mac[6];
  __builtin_memcpy(mac, ethernet->h_dest, 6);
  __builtin_memcpy(ethernet->h_dest, ethernet->h_source, 6);
  __builtin_memcpy(ethernet->h_source, mac, 6);
  __be32 address = ip->saddr;
  ip->saddr = ip->daddr;
  ip->daddr = address;
  vxlan->flags = flags;
  vxlan->vni = vni;
  return 1;
}

inline_always __sum16 *outer_sum(struct __sk_buff *skb) {
  struct udphdr *udp = (void *)(long)skb->data + ETHERNET + IPV4;
  return (void *)(udp + 1) > (void *)(long)skb->data_end ? NULL : &udp->check;
}

/* A copy of the packet, turned round, says `control`; the packet itself is as it was afterwards. */
inline_always void tell(struct __sk_buff *skb, const struct config *config_now, const struct control *control) {
  if (!turn_round(skb, config_now, control_flags(control), bpf_htonl(control->vni << 8 | control->epoch))) return;
  __sum16 *sum = outer_sum(skb), before = 0;
  if (sum) {
    before = *sum;
    *sum = 0;
  }
  __u32 mark = skb->mark;
  skb->mark = MARK_FAST;
  bpf_clone_redirect(skb, skb->ifindex, 0);
  skb->mark = mark;
  turn_round(skb, config_now, bpf_htonl(VXLAN_FLAGS), bpf_htonl(control->vni << 8));
  sum = outer_sum(skb);
  if (sum) *sum = before;
}

/* The packet itself goes back with `control`. */
inline_always int answer(struct __sk_buff *skb, const struct config *config_now, const struct control *control) {
  if (!turn_round(skb, config_now, control_flags(control), bpf_htonl(control->vni << 8 | control->epoch))) return TC_ACT_SHOT;
  skb->mark = MARK_FAST;
  return bpf_redirect(skb->ifindex, 0);
}

/* The frame inside, as the other end of the tunnel sent it; 0: it is not whole. */
inline_always int read_pair(struct __sk_buff *skb, struct pair *pair) {
  struct ethhdr *ethernet = (void *)(long)skb->data + VXLAN_OVERHEAD;
  struct iphdr *ip = (void *)(ethernet + 1);
  if ((void *)(ip + 1) > (void *)(long)skb->data_end || ip->version != 4 || ip->ihl != 5) return 0;
  pair->saddr = ip->saddr;
  pair->daddr = ip->daddr;
  pair->dscp = ip->tos & DSCP_MASK;
  pair->ttl = ip->ttl;
  __builtin_memcpy(pair->ethernet, ethernet, 12);
  return 1;
}

/* What that host told until then is not used any more. */
inline_always void drop_told(struct peer *peer, __u64 until) {
  if (READ(peer->rewrite[PEER_VOID_BEFORE]) < until) WRITE(peer->rewrite[PEER_VOID_BEFORE], until);
  __sync_fetch_and_add(&peer->rewrite[PEER_EPOCH], EPOCH_MASK + 1);
}

/* Of HELLO with W: that host has heard a KEY without K, of this life if nothing from before is on its way. */
inline_always void settle(struct peer *peer, const struct config *config_now, __u64 now) {
  if (READ(peer->rewrite[PEER_SETTLED]) > config_now->rewrite[1] || newborn(config_now, now)) return;
  WRITE(peer->rewrite[PEER_SETTLED], now + SETTLE);
}

inline_always void greet(struct peer *peer, const struct config *config_now, __u32 epoch, __u64 now) {
  if ((peer->rewrite[PEER_EPOCH] & EPOCH_MASK) != epoch) {
    /*
     * That host has begun anew: what it told before means nothing, even if that epoch should come again. The rest of the word
     * tells the readings apart. Less one: what it tells within this tick is of its new life.
     */
    drop_told(peer, now - 1);
    peer->rewrite[PEER_EPOCH] = ((peer->rewrite[PEER_EPOCH] | EPOCH_MASK) + 1) | epoch;
  }
  WRITE(peer->rewrite[PEER_KNOWN_UNTIL], now + config_now->lifetime_send);
}

/* A KEY for what we send to that peer. */
inline_always int hear_key(struct __sk_buff *skb, struct entry *entry, struct peer *peer, __u32 index, struct control *heard) {
  struct control reply = *heard;
  COUNT(entry, REWRITE_KEY_HEARD);
  __u64 now = entry->now;
  greet(peer, entry->config, heard->epoch, now);
  /* It does not know us: what we know of it is from a life before, though the epoch may by chance be the same. */
  if (!heard->known) drop_told(peer, now - 1);
  if (heard->known && heard->key) {
    struct pair pair = {};
    struct sent_key sent = {.key = heard->key, .epochs = heard->epoch | own_epoch(entry->config) << 8, .heard = now, .until = now + key_validity(entry->config)};
    if (!read_pair(skb, &pair)) return TC_ACT_SHOT;
    struct sent_pair of = {.peer = index, .vni = heard->vni, .saddr = pair.saddr, .daddr = pair.daddr, .dscp = pair.dscp, .ttl = pair.ttl};
    sent.renew = now + key_validity(entry->config) / 2;
    bpf_map_update_elem(&sent_keys, &of, &sent, BPF_ANY);
    if (elapsed(now, peer->rewrite[PEER_GREETED]) < SECOND) return TC_ACT_SHOT;
  }
  peer->rewrite[PEER_GREETED] = now;
  reply.kind = CONTROL_HELLO;
  reply.wants = !heard->known;
  reply.known = 0;
  reply.epoch = own_epoch(entry->config);
  return answer(skb, entry->config, &reply);
}

inline_always int hear_hello(struct __sk_buff *skb, struct entry *entry, struct peer *peer, __u32 index, struct control *heard) {
  COUNT(entry, REWRITE_HELLO_HEARD);
  greet(peer, entry->config, heard->epoch, entry->now);
  if (heard->wants) settle(peer, entry->config, entry->now);
  struct restored *restored_entry = restored_at(index, heard->key);
  struct pair pair = {.vni = heard->vni};
  if (!heard->wants || !restored_entry || !settled(entry->config, peer, entry->now) || !read_pair(skb, &pair)) return TC_ACT_SHOT;
  /* Told again only if it is what was told. */
  if (!live(restored_entry, entry->config, entry->now) || !restores(restored_entry, &pair, peer->address)) return TC_ACT_SHOT;
  WRITE(restored_entry->told, entry->now);
  COUNT(entry, REWRITE_KEY_TOLD);
  struct control reply = *heard;
  reply.kind = CONTROL_KEY;
  reply.known = 1;
  reply.wants = 0;
  reply.epoch = own_epoch(entry->config);
  return answer(skb, entry->config, &reply);
}

inline_always int hear(struct __sk_buff *skb, struct entry *entry, struct peer *peer, __u32 index, struct control *heard) {
  if (heard->field != entry->config->key_field && heard->kind != CONTROL_BYE) {
    COUNT(entry, REWRITE_MODE_DIFFERS);
    return TC_ACT_SHOT;
  }
  switch (heard->kind) {
    case CONTROL_KEY:
      return hear_key(skb, entry, peer, index, heard);
    case CONTROL_HELLO:
      return hear_hello(skb, entry, peer, index, heard);
    case CONTROL_BYE:
      WRITE(peer->rewrite[PEER_KNOWN_UNTIL], 0);
      /* fall through */
    case CONTROL_UNKNOWN:
      COUNT(entry, REWRITE_VOIDED);
      drop_told(peer, entry->now);
      return TC_ACT_SHOT;
    default:
      return TC_ACT_SHOT;
  }
}

/* VXLAN with reserved bits, for this host and from one that it sends to: a control message. */
apart int hear_control(struct __sk_buff *skb, struct entry *entry) {
  void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
  struct ethhdr *ethernet = data;
  struct iphdr *ip = data + ETHERNET;
  struct udphdr *udp = (void *)ip + IPV4;
  struct vxlan *vxlan = (void *)(udp + 1);
  struct control heard;
  if ((void *)(vxlan + 1) > end || ethernet->h_proto != bpf_htons(ETH_P_IP) || ip->version != 4 || ip->ihl != 5) return REWRITE_NOT_FOR_ME;
  if (ip->protocol != IPPROTO_UDP || ip->frag_off & bpf_htons(FRAGMENT_MASK) || udp->dest != entry->config->vxlan_port) return REWRITE_NOT_FOR_ME;
  if (ip->daddr != entry->config->underlay_address || bpf_ntohl(vxlan->flags) >> 24 != VXLAN_FLAGS >> 24) return REWRITE_NOT_FOR_ME;
  read_control(vxlan, &heard);
  if (heard.kind == 0 || heard.epoch == 0) return REWRITE_NOT_FOR_ME;
  __be32 host = ip->saddr;
  __u32 index = peer_index(host, 0);
  struct peer *peer = peer_at(index);
  if (index >= PEERS || !peer) return TC_ACT_SHOT;
  linear(skb, INNER + IPV4 + 8);
  return hear(skb, entry, peer, index, &heard);
}

#endif
