// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/* The maps of the rules and of their rates; part of layout.h. */
#ifndef PEERLESS_LAYOUT_RULES_H
#define PEERLESS_LAYOUT_RULES_H

#include "layout.h"

/* map `rule_state`, array of 1; eight bytes, so that one write changes it as a whole. */
struct rule_state {
  /* Any change: verdicts of older ones are judged again. */
  __u32 generation;
  /* Which half of `rule_masks`, and `set` of the keys. */
  __u8 set;
  __u8 masks;
  /* enum verdict where no rule matches. */
  __u8 default_verdict;
  __u8 zero;
};

#define RULE_OUT 1u
#define RULE_IN 2u

/* map `rule_masks`, array of RULE_SETS * RULE_MASKS, index set * RULE_MASKS + i. All ones: the field is compared. */
struct rule_mask {
  __be32 saddr;
  __be32 daddr;
  __be16 sport;
  __be16 dport;
  __u32 vni;
  __u8 protocol;
  /* RULE_OUT | RULE_IN: which packets it judges. */
  __u8 directions;
  /* Of the flags in `flags_of` exactly those in `flags_set`; 0: any. Bits as in the TCP header. */
  __u8 flags_of;
  __u8 flags_set;
};

/* map `rules`, hash: the tuple of the packet that opened the connection, masked. */
struct rule_key {
  __be32 saddr;
  __be32 daddr;
  __be16 sport;
  __be16 dport;
  __u32 vni;
  __u8 protocol;
  __u8 set;
  __u8 mask;
  __u8 zero;
};

/* Lower priority decides; 0 in `verdict` or `rate`: it says nothing on that. */
struct rule {
  __u32 priority;
  __u32 id;
  /* enum verdict */
  __u32 verdict;
  __u32 rate_priority;
  __u32 rate_id;
  /* Index of `rates`, from 1. */
  __u32 rate;
};

/* map `rates`, array of RATES: index from 1; written by the agent. */
struct rate {
  /* Nanoseconds a byte, times 2^20. */
  __u64 cost;
  /* Nanoseconds that may be sent ahead. */
  __u64 burst;
  /* Whose it is: index of `rule_counts`. */
  __u32 rule;
  __u32 zero;
};

/* `rate_clock`, array of RATES __u64: when what has been sent will have been paid (GCRA). Written by the programs. */

/* map `rule_counts`, per-CPU array of RULE_IDS. */
struct rule_count {
  __u64 denied_packets;
  __u64 denied_bytes;
  __u64 limited_packets;
  __u64 limited_bytes;
};

LAYOUT_SIZE(rule_state, 8);
LAYOUT_SIZE(rule_mask, 20);
LAYOUT_SIZE(rule_key, 20);
LAYOUT_SIZE(rule, 24);
LAYOUT_SIZE(rate, 24);
LAYOUT_SIZE(rule_count, 32);

#endif
