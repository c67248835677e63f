// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/* Rates by rule: the generic cell rate algorithm, one word a bucket, so that processors share it without a lock. */
#ifndef PEERLESS_RATE_H
#define PEERLESS_RATE_H

#include "entry.h"

#define COST_SHIFT 20

inline_always int count_limited(__u32 id, __u32 bytes) {
  struct rule_count *count = bpf_map_lookup_elem(&rule_counts, &id);
  if (count) {
    count->limited_packets++;
    count->limited_bytes += bytes;
  }
  return 1;
}

/* 1: more than the rate allows. A bucket that another processor changes twice meanwhile lets the packet pass. */
apart int over_rate(__u32 index, __u32 bytes) {
  struct rate *rate = bpf_map_lookup_elem(&rates, &index);
  __u64 *clock = bpf_map_lookup_elem(&rate_clock, &index);
  if (!rate || !clock || !rate->cost) return 0;
  __u64 now = bpf_ktime_get_ns(), cost = bytes * rate->cost >> COST_SHIFT;
  for (int attempt = 0; attempt < 2; attempt++) {
    __u64 paid = READ(*clock), from = paid > now ? paid : now;
    if (from > now + rate->burst) return count_limited(rate->rule, bytes);
    if (__sync_bool_compare_and_swap(clock, paid, from + cost)) return 0;
  }
  return 0;
}

#endif
