// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/* Ingress of the underlay device: tunnel packets of other hosts, replies from the public world, and the host's own. */
#include "rewrite_receive.h"

#define GO_ON (-4)

/* A VXLAN packet for this host: GO_ON, or an action. */
inline_always int from_tunnel(struct __sk_buff *skb, struct entry *entry) {
  COUNT(entry, STAT_PACKETS);
  linear(skb, INNER + IPV4 + sizeof(struct tcphdr));
  int reason = parse_inner(skb, entry);
  if (!reason && entry->key.protocol == IPPROTO_UDP && entry->key.dport == entry->config->vxlan_port) reason = SLOW_OTHER_PROTOCOL;
  entry->encapsulated = 1;
  entry->mark_class = MARK_CLASS_TUNNEL;
  int action = rewrite_learn(skb, entry, reason);
  if (action != REWRITE_NOT_FOR_ME) return action;
  return reason ? slow(entry, reason) : GO_ON;
}

/* Not a tunnel's: a peer's that was rewritten, or what a connection of an instance waits for, or the host's own. */
inline_always int from_public(struct __sk_buff *skb, struct entry *entry) {
  entry->key.vni = 0;
  entry->host = 0;
  entry->mark_class = MARK_CLASS_UNDERLAY;
  linear(skb, ETHERNET + IPV4 + sizeof(struct tcphdr));
  int action = rewrite_receive(skb, entry);
  if (action != REWRITE_NOT_FOR_ME && action != REWRITE_RESTORED) return action;
  int reason = parse_frame(skb, entry, 0);
  return reason ? slow(entry, reason) : GO_ON;
}

inline_always int receive(struct __sk_buff *skb, struct entry *entry) {
  __be32 daddr = 0;
  __be16 sport = 0;
  linear(skb, ETHERNET + VXLAN_HEADERS);
  enum outer outer = parse_outer(skb, entry, &entry->host, &daddr, &sport);
  if (outer == OUTER_VXLAN) return daddr == entry->config->underlay_address ? from_tunnel(skb, entry) : slow(entry, SLOW_HOST);
  if (outer == OUTER_PLAIN) return from_public(skb, entry);
  int action = rewrite_learn(skb, entry, SLOW_OTHER_PROTOCOL);
  return action != REWRITE_NOT_FOR_ME ? action : slow(entry, SLOW_OTHER_PROTOCOL);
}

/* Through the packet's scratch space and back: the verifier forgets which way the packet came, and goes on once in place of thrice. */
inline_always void forget_way(struct __sk_buff *skb, struct entry *entry) {
  skb->cb[0] = entry->mark_class | entry->encapsulated << 1 | entry->restored;
  __u32 way = READ(skb->cb[0]);
  entry->mark_class = way & MARK_CLASS_MASK;
  entry->encapsulated = way >> 1 & 1;
  entry->restored = way & 1;
}

SEC("tc")
int nic_ingress(struct __sk_buff *skb) {
  struct entry entry = {.config = configuration(), .statistics = statistics_of(PROGRAM_NIC_INGRESS)};
  if (!entry.config || !entry.statistics) return PASS;
  if ((skb->mark & MARK_TAG_MASK) == MARK_TAG) skb->mark = 0;
  if (skb->vlan_present) return slow(&entry, SLOW_VLAN);
  entry.now = coarse_now();
  entry.key.ingress = skb->ifindex;
  int action = receive(skb, &entry);
  /* Without a tunnel only a connection that waits for it makes a packet ours. */
  if (action == GO_ON) {
    forget_way(skb, &entry);
    action = enter(skb, &entry, entry.encapsulated);
  }
  return action == PASS && entry.restored ? rewrite_slow(skb, &entry) : action;
}

char terms[] SEC("license") = "GPL";
