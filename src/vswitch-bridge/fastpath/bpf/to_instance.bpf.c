// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/* Egress of an instance's device on the host: what the slow path delivers to it. Learns, and changes nothing. */
#include "learn.h"
#include "opener.h"
#include "rules.h"

SEC("tc")
int to_instance(struct __sk_buff *skb) {
  if (skb->mark == MARK_FAST) return PASS;
  __u32 port = skb->ifindex;
  struct entry entry = {.config = configuration(), .statistics = statistics_of(PROGRAM_TO_INSTANCE)};
  struct found found = {};
  if (!entry.config || !entry.statistics) return PASS;
  entry.now = bpf_ktime_get_coarse_ns();
  if (!marked(skb, &entry, &found)) return PASS;
  COUNT(&entry, STAT_PACKETS);
  /* The rules have changed while it was on its way. */
  if (verdict_of(&entry, found.connection) == VERDICT_DENY) return deny(skb, &entry, found.connection);
  struct instance *instance = bpf_map_lookup_elem(&instances, &port);
  if (!instance || skb->vlan_present) return slow(&entry, STAT_DOUBTED);
  linear(skb, ETHERNET + IPV4 + sizeof(struct tcphdr));
  struct departure departure = {};
  struct exit *exit = &departure.exit;
  if (parse_frame(skb, &entry, 0) || !copy_ethernet(skb, exit, 0)) return slow(&entry, STAT_DOUBTED);
  /* A copy of a frame that was flooded to every port. */
  if (instance->flags & INSTANCE_ADDRESS && instance->address != entry.key.daddr) return slow(&entry, STAT_DOUBTED);
  exit->kind = EXIT_DELIVER;
  exit->flags = instance->flags & INSTANCE_PEER ? EXIT_PEER : 0;
  exit->target = port;
  exit->generation = generation_of_port(port);
  exit->vni = instance->vni;
  departure.reply.ingress = port;
  departure.reply.vni = instance->vni;
  if (!learn(skb, &entry, &found, &departure)) return slow(&entry, STAT_DOUBTED);
  learn_opener(skb, found.connection, found.direction);
  return PASS;
}

char terms[] SEC("license") = "GPL";
