// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * The ways out of a hit: to an instance of this host, through a tunnel, to the public world. Until a helper has changed
 * the packet a refusal leaves it to the slow path; afterwards it is dropped, since the slow path would translate it twice.
 */
#ifndef PEERLESS_SEND_H
#define PEERLESS_SEND_H

#include "connection.h"
#include "peer.h"
#include "rewrite.h"
#include "translate.h"

#define ENCAPSULATE                                                                                 \
  (BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 | BPF_F_ADJ_ROOM_ENCAP_L4_UDP | BPF_F_ADJ_ROOM_ENCAP_L2_ETH | \
   BPF_F_ADJ_ROOM_ENCAP_L2(ETHERNET))
#define MAX_LENGTH 65535u

inline_always int drop(struct entry *entry) {
  COUNT(entry, SLOW_REFUSED);
  return TC_ACT_SHOT;
}

inline_always void count_hit(struct entry *entry) {
  COUNT(entry, STAT_HIT);
  entry->statistics->count[STAT_HIT_BYTES] += entry->length;
}

/* What the longest packet on the wire will be: segments are cut later. */
inline_always __u32 wire_length(struct __sk_buff *skb, const struct entry *entry) {
  return skb->gso_size ? skb->gso_size + entry->headers : entry->length;
}

inline_always int write_ethernet(struct __sk_buff *skb, const struct exit *exit, __u32 offset) {
  void *data = (void *)(long)skb->data + offset;
  if (data + ETHERNET > (void *)(long)skb->data_end) return 0;
  __builtin_memcpy(data, exit->ethernet, ETHERNET);
  return 1;
}

/* To the instance behind `target`. */
inline_always int deliver(struct __sk_buff *skb, struct entry *entry, const struct exit *exit) {
  if (wire_length(skb, entry) > exit->mtu) return slow(entry, SLOW_MTU);
  if (entry->encapsulated && bpf_skb_adjust_room(skb, -(__s32)VXLAN_OVERHEAD, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO))
    return slow(entry, SLOW_REFUSED);
  if (!write_ethernet(skb, exit, 0) || !translate(skb, entry, exit, ETHERNET)) return drop(entry);
  count_hit(entry);
  if (!(exit->flags & EXIT_PEER)) {
    skb->mark = MARK_FAST;
    return bpf_redirect(exit->target, 0);
  }
  skb->mark = 0;
  /* The receiver's stack takes frames for others off; this one was addressed to a router or through a tunnel. */
  if (skb->pkt_type) bpf_skb_change_type(skb, 0);
  return bpf_redirect_peer(exit->target, 0);
}

inline_always int write_outer(struct __sk_buff *skb, const struct entry *entry, const struct exit *exit, const struct peer *peer) {
  void *data = (void *)(long)skb->data;
  struct iphdr *ip = data + ETHERNET;
  struct udphdr *udp = (void *)(ip + 1);
  struct vxlan *vxlan = (void *)(udp + 1);
  if ((void *)(vxlan + 1) > (void *)(long)skb->data_end) return 0;
  __u32 length = entry->length + VXLAN_OVERHEAD;
  __u8 ecn = entry->tos & ECN_MASK;
  /* Never fragmented, so it needs no identification (RFC 6864 §4). ECN as it is inside (RFC 6040 §4.1). */
  *(__be32 *)ip = bpf_htonl(0x45000000 | (__u32)ecn << 16 | length);
  *((__be32 *)ip + 1) = bpf_htonl(0x4000);
  *((__be32 *)ip + 2) = bpf_htonl((__u32)peer->ttl << 24 | IPPROTO_UDP << 16);
  ip->saddr = peer->local;
  ip->daddr = peer->address;
  __u32 sum = (0x4500 | ecn) + length + 0x4000 + ((__u32)peer->ttl << 8 | IPPROTO_UDP);
  __u32 saddr = bpf_ntohl(peer->local), daddr = bpf_ntohl(peer->address);
  sum += (saddr >> 16) + (saddr & 0xffff) + (daddr >> 16) + (daddr & 0xffff);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  ip->check = bpf_htons(~sum);
  udp->source = exit->outer_sport;
  udp->dest = entry->config->vxlan_port;
  udp->len = bpf_htons(length - IPV4);
  udp->check = 0;
  vxlan->flags = bpf_htonl(VXLAN_FLAGS);
  vxlan->vni = bpf_htonl(exit->vni << 8);
  return 1;
}

inline_always int encapsulate(struct __sk_buff *skb, struct entry *entry, const struct exit *exit, struct peer *peer) {
  if (bpf_skb_adjust_room(skb, VXLAN_OVERHEAD, BPF_ADJ_ROOM_MAC, ENCAPSULATE)) return slow(entry, SLOW_REFUSED);
  if (!write_ethernet(skb, exit, VXLAN_OVERHEAD) || !translate(skb, entry, exit, INNER)) return drop(entry);
  if (!write_outer(skb, entry, exit, peer)) return drop(entry);
  count_hit(entry);
  skb->mark = MARK_FAST;
  struct bpf_redir_neigh next = {.nh_family = AF_INET, .ipv4_nh = peer->next_hop};
  return bpf_redirect_neigh(peer->ifindex, &next, sizeof(next), 0);
}

inline_always int tunnel(struct __sk_buff *skb, struct entry *entry, struct connection *connection, __u32 direction, const struct exit *exit) {
  struct peer *peer = peer_at(exit->target);
  const struct direction *back = &connection->direction[!direction];
  /* The way back must be the same host: a flooded frame has several ways out, of which one is right. */
  if (!peer || (back->seen && peer->address != back->host)) return slow(entry, SLOW_PEER_CHANGED);
  if (!refresh_route(skb, entry->config, peer, exit->target, entry->now)) return slow(entry, SLOW_NO_ROUTE);
  peer->last_sent = entry->now;
  int action = rewrite_send(skb, entry, connection, direction, exit, peer);
  if (action != REWRITE_NOT_FOR_ME) return action;
  if (wire_length(skb, entry) + VXLAN_OVERHEAD > peer->mtu || entry->length + VXLAN_OVERHEAD > MAX_LENGTH) return slow(entry, SLOW_MTU);
  return encapsulate(skb, entry, exit, peer);
}

inline_always int publish(struct __sk_buff *skb, struct entry *entry, const struct exit *exit) {
  if (wire_length(skb, entry) > exit->mtu) return slow(entry, SLOW_MTU);
  if (!translate(skb, entry, exit, ETHERNET)) return drop(entry);
  count_hit(entry);
  /* Who is there may be a host of the overlay, which must not take it for a rewritten one: nic_egress guards what has no mark. */
  skb->mark = entry->config->mode == MODE_REWRITE ? 0 : MARK_FAST;
  return bpf_redirect_neigh(exit->target, NULL, 0, 0);
}

#endif
