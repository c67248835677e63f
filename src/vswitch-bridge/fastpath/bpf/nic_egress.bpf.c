// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/* Egress of the underlay device: what the slow path sends to other hosts and to the public world. */
#include "learn.h"
#include "rewrite.h"
#include "rules.h"

/* The record of the host that a tunnel packet of ours goes to; PEERS: none. */
inline_always __u32 meet(struct __sk_buff *skb, __be32 saddr, __be32 daddr, __u64 now) {
  __u32 index = peer_index(daddr, 1);
  struct peer *peer = peer_at(index);
  struct iphdr *ip = (void *)(long)skb->data + ETHERNET;
  if (index >= PEERS || !peer || (void *)(ip + 1) > (void *)(long)skb->data_end) return PEERS;
  peer->local = saddr;
  peer->ttl = ip->ttl;
  peer->last_sent = now;
  return index;
}

/* A packet of no connection (ARP, a broadcast) also says whom the kernel's tunnel sends to: no stranger from now on. */
inline_always int meet_host(struct __sk_buff *skb, struct entry *entry) {
  __be32 saddr = 0, daddr = 0;
  __be16 sport = 0;
  /* What an instance sends to port 4789 of the public world leaves by SNAT with the same source, but it came in by a device. */
  if (skb->ingress_ifindex) return PASS;
  linear(skb, ETHERNET + VXLAN_HEADERS);
  if (parse_outer(skb, entry, &saddr, &daddr, &sport) == OUTER_VXLAN && saddr == entry->config->underlay_address) meet(skb, saddr, daddr, entry->now);
  return PASS;
}

inline_always int learn_tunnel(struct __sk_buff *skb, struct entry *entry, struct found *found, __be32 saddr, __be32 daddr, __be16 sport) {
  struct departure departure = {};
  struct exit *exit = &departure.exit;
  __be32 back = found->connection->direction[!(found->direction & 1)].host;
  linear(skb, INNER + IPV4 + sizeof(struct tcphdr));
  /* A copy that was flooded to another host than the one that answers. */
  if (back && back != daddr) return 0;
  if (parse_inner(skb, entry) || !copy_ethernet(skb, exit, VXLAN_OVERHEAD)) return 0;
  __u32 index = meet(skb, saddr, daddr, entry->now);
  if (index >= PEERS) return 0;
  exit->kind = EXIT_TUNNEL;
  exit->target = index;
  exit->generation = generation_of_peer(index);
  exit->vni = entry->key.vni;
  exit->outer_sport = sport;
  departure.reply.ingress = entry->config->underlay_ifindex;
  departure.reply.vni = exit->vni;
  return learn(skb, entry, found, &departure);
}

inline_always int learn_public(struct __sk_buff *skb, struct entry *entry, struct found *found) {
  struct departure departure = {};
  struct exit *exit = &departure.exit;
  linear(skb, ETHERNET + IPV4 + sizeof(struct tcphdr));
  if (parse_frame(skb, entry, 0) || !copy_ethernet(skb, exit, 0)) return 0;
  exit->kind = EXIT_PUBLIC;
  exit->target = skb->ifindex;
  exit->generation = generation_of_port(skb->ifindex);
  departure.reply.ingress = skb->ifindex;
  return learn(skb, entry, found, &departure);
}

SEC("tc")
int nic_egress(struct __sk_buff *skb) {
  /* Before anything else: most packets here are the fast path's own. */
  if (skb->mark == MARK_FAST) return PASS;
  struct entry entry = {.config = configuration(), .statistics = statistics_of(PROGRAM_NIC_EGRESS)};
  struct found found = {};
  __be32 saddr = 0, daddr = 0;
  __be16 sport = 0;
  if (!entry.config || !entry.statistics) return PASS;
  int guarded = rewrite_guard(skb, entry.config, entry.statistics);
  if (guarded != REWRITE_NOT_FOR_ME) return guarded;
  entry.now = bpf_ktime_get_coarse_ns();
  if (!marked(skb, &entry, &found)) return meet_host(skb, &entry);
  COUNT(&entry, STAT_PACKETS);
  if (verdict_of(&entry, found.connection) == VERDICT_DENY) return deny(skb, &entry, found.connection);
  /* Only what an instance sent is sent again from there; transit stays with the slow path. */
  __u8 origin = found.connection->direction[found.direction & 1].origin;
  if (origin != MARK_CLASS_INSTANCE >> 24 || skb->vlan_present) return slow(&entry, STAT_DOUBTED);
  linear(skb, ETHERNET + VXLAN_HEADERS);
  enum outer outer = parse_outer(skb, &entry, &saddr, &daddr, &sport);
  /* What a tunnel device has wrapped came in by no interface: of another kind or port, it is no way to the public side. */
  int learned = outer == OUTER_VXLAN && saddr == entry.config->underlay_address ? learn_tunnel(skb, &entry, &found, saddr, daddr, sport)
                : outer == OUTER_PLAIN && skb->ingress_ifindex                  ? learn_public(skb, &entry, &found)
                                                                                : 0;
  return learned ? PASS : slow(&entry, STAT_DOUBTED);
}

char terms[] SEC("license") = "GPL";
