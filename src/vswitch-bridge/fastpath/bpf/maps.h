// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/* The maps, by name: every object has them, the loader makes each once and hands the same to all four. */
#ifndef PEERLESS_MAPS_H
#define PEERLESS_MAPS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "layout.h"

#define MAP(name, map_type, key_type, value_type, entries) \
  struct {                                                 \
    __uint(type, map_type);                                \
    __type(key, key_type);                                 \
    __type(value, value_type);                             \
    __uint(max_entries, entries);                          \
    __uint(pinning, LIBBPF_PIN_BY_NAME);                   \
  } name SEC(".maps")

MAP(config, BPF_MAP_TYPE_ARRAY, __u32, struct config, 1);
MAP(generations, BPF_MAP_TYPE_ARRAY, __u32, struct generations, 1);
MAP(port_generation, BPF_MAP_TYPE_ARRAY, __u32, __u32, PORTS);
MAP(peer_generation, BPF_MAP_TYPE_ARRAY, __u32, __u32, PEERS);
MAP(instances, BPF_MAP_TYPE_HASH, __u32, struct instance, INSTANCES_MAX);
MAP(flows, BPF_MAP_TYPE_LRU_HASH, struct flow_key, struct flow_value, CONNECTIONS_DEFAULT * 5 / 2);
MAP(recent_clock, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, struct recent_clock, 1);
MAP(recent_flows, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, struct flow_value, RECENT_FLOWS);
MAP(recent_ports, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, struct recent_port, RECENT_PORTS);
MAP(connections, BPF_MAP_TYPE_ARRAY, __u32, struct connection, CONNECTIONS_DEFAULT);
MAP(peers, BPF_MAP_TYPE_ARRAY, __u32, struct peer, PEERS);
MAP(restored, BPF_MAP_TYPE_ARRAY, __u32, struct restored, PEERS *KEYS_A_PEER);
MAP(sent_keys, BPF_MAP_TYPE_LRU_HASH, struct sent_pair, struct sent_key, SENT_KEYS);
MAP(rule_state, BPF_MAP_TYPE_ARRAY, __u32, struct rule_state, 1);
MAP(rule_masks, BPF_MAP_TYPE_ARRAY, __u32, struct rule_mask, RULE_SETS *RULE_MASKS);
MAP(rules, BPF_MAP_TYPE_HASH, struct rule_key, struct rule, RULES_DEFAULT);
MAP(rates, BPF_MAP_TYPE_ARRAY, __u32, struct rate, RATES);
MAP(rate_clock, BPF_MAP_TYPE_ARRAY, __u32, __u64, RATES);
MAP(rule_counts, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, struct rule_count, RULE_IDS);
MAP(statistics, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, struct statistics, PROGRAM_COUNT);

#endif
