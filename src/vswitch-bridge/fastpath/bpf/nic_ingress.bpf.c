/* Ingress of the underlay device: tunnel packets of other hosts, replies from the public world, and the host's own. */
#include "enter.h"

/* A VXLAN packet for this host. */
inline_always int from_tunnel(struct __sk_buff *skb, struct entry *entry, __be32 host) {
  COUNT(entry, STAT_PACKETS);
  linear(skb, INNER + IPV4 + sizeof(struct tcphdr));
  int reason = parse_inner(skb, entry);
  if (!reason && entry->key.protocol == IPPROTO_UDP && entry->key.dport == entry->config->vxlan_port) reason = SLOW_OTHER_PROTOCOL;
  entry->host = host;
  entry->encapsulated = 1;
  entry->mark_class = MARK_CLASS_TUNNEL;
  int action = rewrite_learn(skb, entry, reason);
  if (action != REWRITE_NOT_FOR_ME) return action;
  return reason ? slow(entry, reason) : enter(skb, entry, 1);
}

/* Not a tunnel's: only what a connection of an instance waits for. */
inline_always int from_public(struct __sk_buff *skb, struct entry *entry) {
  entry->key.vni = 0;
  entry->mark_class = MARK_CLASS_UNDERLAY;
  linear(skb, ETHERNET + IPV4 + sizeof(struct tcphdr));
  int action = rewrite_receive(skb, entry);
  if (action != REWRITE_NOT_FOR_ME) return action;
  int reason = parse_frame(skb, entry, 0);
  return reason ? slow(entry, reason) : enter(skb, entry, 0);
}

SEC("tc")
int nic_ingress(struct __sk_buff *skb) {
  struct entry entry = {.config = configuration(), .statistics = statistics_of(PROGRAM_NIC_INGRESS)};
  __be32 saddr = 0, daddr = 0;
  __be16 sport = 0;
  if (!entry.config || !entry.statistics) return PASS;
  if ((skb->mark & MARK_TAG_MASK) == MARK_TAG) skb->mark = 0;
  if (skb->vlan_present) return slow(&entry, SLOW_VLAN);
  entry.now = bpf_ktime_get_coarse_ns();
  entry.key.ingress = skb->ifindex;
  linear(skb, ETHERNET + VXLAN_HEADERS);
  switch (parse_outer(skb, &entry, &saddr, &daddr, &sport)) {
    case OUTER_VXLAN:
      return daddr == entry.config->underlay_address ? from_tunnel(skb, &entry, saddr) : slow(&entry, SLOW_HOST);
    case OUTER_PLAIN:
      return from_public(skb, &entry);
    default: {
      int action = rewrite_learn(skb, &entry, SLOW_OTHER_PROTOCOL);
      return action != REWRITE_NOT_FOR_ME ? action : slow(&entry, SLOW_OTHER_PROTOCOL);
    }
  }
}

char terms[] SEC("license") = "GPL";
