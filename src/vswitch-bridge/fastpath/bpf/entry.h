// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/* What is known of a packet at the program that it entered by, and the counters of that program. */
#ifndef PEERLESS_ENTRY_H
#define PEERLESS_ENTRY_H

#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include "maps.h"

#define inline_always static __attribute__((always_inline)) inline
#define apart static __attribute__((noinline))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define READ(x) (*(volatile __typeof__(x) *)&(x))
#define WRITE(x, value) (*(volatile __typeof__(x) *)&(x) = (value))

#define ETHERNET 14u
#define IPV4 20u
#define VXLAN_HEADERS (IPV4 + 8u + 8u)
/* The inner IP header of a VXLAN packet over IPv4. */
#define INNER (ETHERNET + VXLAN_OVERHEAD)

/* Leaves the packet to whoever comes next on the hook, and then to the kernel: TCX_NEXT, or clsact's next filter. */
#define PASS TC_ACT_UNSPEC

#define SECOND 1000000000ull
/* A slot is not claimed again for so long after its end: a packet may still be on its slow way. */
#define LINGER (2 * SECOND)

#define TCP_FIN 1u
#define TCP_SYN 2u
#define TCP_RST 4u
#define TCP_ACK 16u

struct entry {
  struct config *config;
  struct statistics *statistics;
  __u64 now;
  /* As it came, before the feature set is applied. */
  struct flow_key key;
  __u32 mark_class;
  /* IP total length. */
  __u32 length;
  /* Of the IP header and what follows it up to the payload. */
  __u32 headers;
  __u8 ttl;
  __u8 tos;
  __u8 tcp_flags;
  /* Came in a tunnel: VXLAN_OVERHEAD bytes to be taken off. */
  __u8 encapsulated;
  __u8 outer_tos;
  /* Came rewritten, and is as it was sent again: the plain stack must never see it. */
  __u8 restored;
  __u8 zero[2];
  /* Index of the map `restored`, then. */
  __u32 restored_by;
  /* Outer source, or 0. */
  __be32 host;
};

inline_always struct statistics *statistics_of(__u32 program) { return bpf_map_lookup_elem(&statistics, &program); }

inline_always struct config *configuration(void) {
  __u32 zero = 0;
  struct config *config_now = bpf_map_lookup_elem(&config, &zero);
  return config_now && config_now->layout == LAYOUT_VERSION && config_now->mode != MODE_OFF ? config_now : NULL;
}

inline_always __u32 exits_generation(void) {
  __u32 zero = 0;
  struct generations *now = bpf_map_lookup_elem(&generations, &zero);
  return now ? READ(now->exits) : 0;
}

inline_always __u32 generation_of_port(__u32 ifindex) {
  __u32 index = ifindex & (PORTS - 1);
  __u32 *generation = bpf_map_lookup_elem(&port_generation, &index);
  return generation ? READ(*generation) : 0;
}

inline_always __u32 generation_of_peer(__u32 index) {
  __u32 *generation = bpf_map_lookup_elem(&peer_generation, &index);
  return generation ? READ(*generation) : 0;
}

/*
 * bpf_ktime_get_coarse_ns, which changes once a tick, and the tick can be read without a call. On another processor it may be a tick
 * behind for a moment: the exits ask the kernel, so that nothing is ever learned before it was sent.
 */
inline_always __u64 coarse_now(void) {
  __u32 zero = 0;
  struct recent_clock *clock = bpf_map_lookup_elem(&recent_clock, &zero);
  __u64 tick = bpf_jiffies64();
  if (likely(clock && clock->tick == tick)) return clock->now;
  __u64 now = bpf_ktime_get_coarse_ns();
  if (clock) {
    clock->tick = tick;
    clock->now = now;
  }
  return now;
}

/* Since a time that another processor may have read a tick later. */
inline_always __u64 elapsed(__u64 now, __u64 then) { return now > then ? now - then : 0; }

#define COUNT(entry, what) ((entry)->statistics->count[what]++)

/* Left to the slow path, for this reason. */
inline_always int slow(struct entry *entry, enum statistic reason) {
  COUNT(entry, reason);
  return PASS;
}

#endif
