// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/* Ingress of an instance's device on the host: what the instance sends. */
#include "enter.h"

SEC("tc")
int from_instance(struct __sk_buff *skb) {
  __u32 port = skb->ifindex;
  struct entry entry = {.config = configuration(), .statistics = statistics_of(PROGRAM_FROM_INSTANCE)};
  if (!entry.config || !entry.statistics) return PASS;
  COUNT(&entry, STAT_PACKETS);
  /* A mark of ours that we did not write. */
  if ((skb->mark & MARK_TAG_MASK) == MARK_TAG) skb->mark = 0;
  struct instance *instance = bpf_map_lookup_elem(&instances, &port);
  if (!instance) return slow(&entry, SLOW_UNKNOWN_PORT);
  if (skb->vlan_present) return slow(&entry, SLOW_VLAN);
  linear(skb, ETHERNET + IPV4 + sizeof(struct tcphdr));
  int reason = parse_frame(skb, &entry, 0);
  if (reason) return slow(&entry, reason);
  /* A tunnel of the instance's own would look like the host's at the exit. */
  if (entry.key.protocol == IPPROTO_UDP && entry.key.dport == entry.config->vxlan_port) return slow(&entry, SLOW_OTHER_PROTOCOL);
  entry.key.ingress = port;
  entry.key.vni = instance->vni;
  entry.mark_class = MARK_CLASS_INSTANCE;
  entry.now = bpf_ktime_get_coarse_ns();
  return enter(skb, &entry, 1);
}

char terms[] SEC("license") = "GPL";
