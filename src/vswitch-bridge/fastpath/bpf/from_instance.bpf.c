// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/* Ingress of an instance's device on the host: what the instance sends. */
#include "enter.h"

/* The virtual network behind a device, or 0. */
inline_always __u32 network_of(__u32 port) {
  __u32 index = port & (RECENT_PORTS - 1), generation = generation_of_port(port);
  struct recent_port *recent = bpf_map_lookup_elem(&recent_ports, &index);
  if (likely(recent && recent->ifindex == port && recent->generation == generation && recent->vni)) return recent->vni;
  struct instance *instance = bpf_map_lookup_elem(&instances, &port);
  if (!instance) return 0;
  if (recent) {
    recent->ifindex = port;
    recent->generation = generation;
    recent->vni = instance->vni;
  }
  return instance->vni;
}

SEC("tc")
int from_instance(struct __sk_buff *skb) {
  __u32 port = skb->ifindex;
  struct entry entry = {.config = configuration(), .statistics = statistics_of(PROGRAM_FROM_INSTANCE)};
  if (!entry.config || !entry.statistics) return PASS;
  COUNT(&entry, STAT_PACKETS);
  /* A mark of ours that we did not write. */
  if ((skb->mark & MARK_TAG_MASK) == MARK_TAG) skb->mark = 0;
  __u32 vni = network_of(port);
  if (!vni) return slow(&entry, SLOW_UNKNOWN_PORT);
  if (skb->vlan_present) return slow(&entry, SLOW_VLAN);
  linear(skb, ETHERNET + IPV4 + sizeof(struct tcphdr));
  int reason = parse_frame(skb, &entry, 0);
  if (reason) return slow(&entry, reason);
  /* A tunnel of the instance's own would look like the host's at the exit. */
  if (entry.key.protocol == IPPROTO_UDP && entry.key.dport == entry.config->vxlan_port) return slow(&entry, SLOW_OTHER_PROTOCOL);
  entry.key.ingress = port;
  entry.key.vni = vni;
  entry.mark_class = MARK_CLASS_INSTANCE;
  entry.now = coarse_now();
  return enter(skb, &entry, 1);
}

char terms[] SEC("license") = "GPL";
