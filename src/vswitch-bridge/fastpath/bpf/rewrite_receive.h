// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * Rewrite mode, receiving: a packet from a known host with a key that was told to it becomes the packet that the instance
 * sent, and goes on as if it had come by the tunnel. Where the slow path must see it, it gets the tunnel's headers as
 * well: whatever reason there is to leave the fast path, nothing is lost.
 */
#ifndef PEERLESS_REWRITE_RECEIVE_H
#define PEERLESS_REWRITE_RECEIVE_H

#include "enter.h"
#include "rewrite_control.h"

/* How often a host is told of keys that mean nothing. */
#define COMPLAINT_INTERVAL (SECOND / 100)
#define COMPLAINT_LENGTH 128u

/* The VXLAN header that the packet would have come with, in front of it; 0: no room. */
apart int wrap(struct __sk_buff *skb, struct entry *entry, struct restored *pair) {
  if (bpf_skb_adjust_room(skb, VXLAN_OVERHEAD, BPF_ADJ_ROOM_MAC, ENCAPSULATE)) return 0;
  void *data = (void *)(long)skb->data;
  struct iphdr *ip = data + ETHERNET;
  struct udphdr *udp = (void *)(ip + 1);
  struct vxlan *vxlan = (void *)(udp + 1);
  struct ethhdr *ethernet = (void *)(vxlan + 1);
  if ((void *)(ethernet + 1) > (void *)(long)skb->data_end) return 0;
  __u32 length = entry->length + VXLAN_OVERHEAD;
  *(__be32 *)ip = bpf_htonl(0x45000000 | (__u32)(entry->tos & ECN_MASK) << 16 | length);
  *((__be32 *)ip + 1) = bpf_htonl(0x4000);
  *((__be32 *)ip + 2) = bpf_htonl(64u << 24 | IPPROTO_UDP << 16);
  ip->saddr = entry->host;
  ip->daddr = entry->config->underlay_address;
  ip->check = header_sum(ip, 0);
  udp->source = bpf_htons(0xc000 | (bpf_ntohs(entry->key.sport) & 0x3fff));
  udp->dest = entry->config->vxlan_port;
  udp->len = bpf_htons(length - IPV4);
  udp->check = 0;
  vxlan->flags = bpf_htonl(VXLAN_FLAGS);
  vxlan->vni = bpf_htonl(pair->vni << 8);
  __builtin_memcpy(ethernet, pair->ethernet, 12);
  ethernet->h_proto = bpf_htons(ETH_P_IP);
  return 1;
}

/* The header as the instance sent it; ECN is what the way has made of it. 0: the packet is lost. */
inline_always int restore(struct __sk_buff *skb, struct entry *entry, const struct restored *pair, __u32 has_option) {
  if (has_option && bpf_skb_adjust_room(skb, -(__s32)OPTION_LENGTH, BPF_ADJ_ROOM_NET, BPF_F_ADJ_ROOM_FIXED_GSO)) return 0;
  struct iphdr *ip = (void *)(long)skb->data + ETHERNET;
  if ((void *)(ip + 1) > (void *)(long)skb->data_end) return 0;
  __u8 protocol = ip->protocol;
  __u32 difference = addresses_difference(ip->saddr, ip->daddr, pair->saddr, pair->daddr);
  if (has_option) {
    *(__u8 *)ip = 0x45;
    ip->tot_len = bpf_htons(bpf_ntohs(ip->tot_len) - OPTION_LENGTH);
  }
  ip->tos = pair->dscp | (ip->tos & ECN_MASK);
  if (entry->config->key_field == KEY_FIELD_IP_ID) ip->id = 0;
  ip->ttl = pair->ttl;
  ip->saddr = pair->saddr;
  ip->daddr = pair->daddr;
  ip->check = header_sum(ip, 0);
  return follow_addresses(skb, protocol, ETHERNET + IPV4, difference);
}

/* The packet itself goes back, as a control message without a frame. */
apart int complain(struct __sk_buff *skb, struct entry *entry, struct peer *peer) {
  COUNT(entry, REWRITE_UNKNOWN);
  if (elapsed(entry->now, peer->rewrite[PEER_COMPLAINED]) < COMPLAINT_INTERVAL) return TC_ACT_SHOT;
  peer->rewrite[PEER_COMPLAINED] = entry->now;
  struct restored nobody = {};
  /* Whatever is left of it is no frame; but a sum that hardware would complete stays in it. */
  if (skb->len > COMPLAINT_LENGTH && bpf_skb_change_tail(skb, COMPLAINT_LENGTH, 0)) return TC_ACT_SHOT;
  entry->host = peer->address;
  entry->length = skb->len - ETHERNET;
  entry->tos = 0;
  struct control control = {.kind = CONTROL_UNKNOWN, .field = entry->config->key_field, .epoch = own_epoch(entry->config)};
  if (!wrap(skb, entry, &nobody)) return TC_ACT_SHOT;
  return answer(skb, entry->config, &control);
}

/* nic_ingress, a restored packet that must go the slow way: the plain stack, to which it came, must not see it. */
apart int rewrite_slow(struct __sk_buff *skb, struct entry *entry) {
  struct restored *pair = bpf_map_lookup_elem(&restored, &entry->restored_by);
  COUNT(entry, REWRITE_RECEIVED_SLOW);
  return pair && wrap(skb, entry, pair) ? PASS : TC_ACT_SHOT;
}

/* nic_ingress, an IPv4 packet that is not VXLAN, before anything is looked up for it. */
apart int receive_rewritten(struct __sk_buff *skb, struct entry *entry) {
  struct iphdr *ip = (void *)(long)skb->data + ETHERNET;
  void *end = (void *)(long)skb->data_end;
  __u32 option = 0;
  if ((void *)(ip + 1) > end || ip->version != 4 || ip->ihl > 6 || ip->daddr != entry->config->underlay_address) return REWRITE_NOT_FOR_ME;
  if (ip->ihl == 6) {
    if ((void *)(ip + 1) + OPTION_LENGTH > end) return REWRITE_NOT_FOR_ME;
    option = bpf_ntohl(*(__be32 *)(ip + 1));
  }
  __u32 key = carried(entry->config, ip, option);
  if (!key) return REWRITE_NOT_FOR_ME;
  __be32 host = ip->saddr;
  __u32 fragment = ip->frag_off & bpf_htons(FRAGMENT_MASK), protocol = ip->protocol;
  __u32 index = peer_index(host, 0);
  struct peer *peer = peer_at(index);
  if (index >= PEERS || !peer || !known(peer, entry->now)) return REWRITE_NOT_FOR_ME;
  if (fragment) {
    COUNT(entry, REWRITE_FRAGMENT);
    return TC_ACT_SHOT;
  }
  struct restored *pair = restored_at(index, key);
  if (!settled(entry->config, peer, entry->now)) return complain(skb, entry, peer);
  if (key >= keys_of(entry->config) || !pair || pair->host != host || !live(pair, entry->config, entry->now)) return complain(skb, entry, peer);
  if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP && protocol != IPPROTO_ICMP) return complain(skb, entry, peer);
  if (!restore(skb, entry, pair, option != 0)) return TC_ACT_SHOT;
  COUNT(entry, REWRITE_RECEIVED);
  entry->host = host;
  entry->key.vni = pair->vni;
  entry->mark_class = MARK_CLASS_TUNNEL;
  entry->restored = 1;
  entry->restored_by = index * KEYS_A_PEER + key;
  linear(skb, ETHERNET + IPV4 + sizeof(struct tcphdr));
  return REWRITE_RESTORED;
}

inline_always int rewrite_receive(struct __sk_buff *skb, struct entry *entry) {
  if (entry->config->mode != MODE_REWRITE || skb->protocol != bpf_htons(ETH_P_IP)) return REWRITE_NOT_FOR_ME;
  return receive_rewritten(skb, entry);
}

/* A connection of ours that this packet belongs to, which the fast path carries by now: its pair is worth a key. */
apart int worth_a_key(struct entry *entry) {
  struct flow_key key = entry->key;
  struct found found = {};
  feature_key(entry->config, &key);
  struct connection *connection = find(&key, entry->now, &found);
  __u32 direction = found.direction & 1;
  if (!connection || (connection->state != STATE_ESTABLISHED && !one_way(entry, connection, direction))) return 0;
  if (connection->direction[direction].exit.kind != EXIT_DELIVER) return 0;
  __u32 *next = &connection->rewrite[direction ? CACHE_WORDS + 1 : 1];
  if (READ(*next) > ticks(entry->now)) return 0;
  WRITE(*next, ticks(entry->now) + 1);
  return 1;
}

/* nic_ingress: every VXLAN packet for this host with its inner tuple in `entry` (`reason` 0), or one with reserved bits. */
apart int learn_key(struct __sk_buff *skb, struct entry *entry, int reason) {
  if (!entry->encapsulated) return hear_control(skb, entry);
  if (reason || newborn(entry->config, entry->now) || !worth_a_key(entry)) return REWRITE_NOT_FOR_ME;
  __u32 index = peer_index(entry->host, 0);
  struct peer *peer = peer_at(index);
  struct pair pair = {.vni = entry->key.vni};
  if (index >= PEERS || !peer || !read_pair(skb, &pair)) return REWRITE_NOT_FOR_ME;
  __u32 key = key_for(entry->config, &pair, index, entry->now);
  if (!key) {
    COUNT(entry, REWRITE_KEYS_OUT);
    return REWRITE_NOT_FOR_ME;
  }
  __u64 validity = key_validity(entry->config);
  struct control control = {.kind = CONTROL_KEY, .field = entry->config->key_field, .key = key, .vni = pair.vni};
  control.known = READ(peer->rewrite[PEER_KNOWN_UNTIL]) >= entry->now + validity && settled(entry->config, peer, entry->now);
  control.epoch = own_epoch(entry->config);
  COUNT(entry, REWRITE_KEY_TOLD);
  tell(skb, entry->config, &control);
  return REWRITE_NOT_FOR_ME;
}

inline_always int rewrite_learn(struct __sk_buff *skb, struct entry *entry, int reason) {
  return entry->config->mode == MODE_REWRITE ? learn_key(skb, entry, reason) : REWRITE_NOT_FOR_ME;
}

#endif
