/*
 * Rules with wildcards (R3.7) by tuple-space search: one look-up for every distinct mask, the lowest priority wins. The
 * result is kept in the record with the generation of the rules, so that the next packet costs a comparison.
 */
#ifndef PEERLESS_RULES_H
#define PEERLESS_RULES_H

#include "entry.h"
#include "rate.h"

#define NO_PRIORITY 0xffffffffu

struct judgement {
  struct flow_key tuple;
  __u32 set;
  __u32 directions;
  __u32 priority;
  __u32 rate_priority;
  __u32 verdict;
  __u32 rule;
  __u32 rate;
  __u32 rate_rule;
  /* Of the first rule on TCP flags that might match some packet of this connection. */
  __u32 by_packet;
};

inline_always struct rule_state current_rules(void) {
  __u32 zero = 0;
  struct rule_state *state = bpf_map_lookup_elem(&rule_state, &zero), copy = {};
  if (state) *(__u64 *)&copy = READ(*(__u64 *)state);
  return copy;
}

/* Looks up under one mask; 1: that was the last. */
static long judge_mask(__u32 i, struct judgement *judgement) {
  __u32 index = (judgement->set & 1) * RULE_MASKS + i;
  const struct flow_key *tuple = &judgement->tuple;
  struct rule_mask *mask = bpf_map_lookup_elem(&rule_masks, &index);
  if (!mask) return 1;
  if (!(mask->directions & judgement->directions)) return 0;
  struct rule_key key = {
      .saddr = tuple->saddr & mask->saddr,
      .daddr = tuple->daddr & mask->daddr,
      .sport = tuple->sport & mask->sport,
      .dport = tuple->dport & mask->dport,
      .vni = tuple->vni & mask->vni,
      .protocol = tuple->protocol & mask->protocol,
      .set = judgement->set,
      .mask = i,
  };
  struct rule *rule = bpf_map_lookup_elem(&rules, &key);
  if (!rule) return 0;
  if (mask->flags_of) {
    if (rule->verdict && rule->priority < judgement->by_packet) judgement->by_packet = rule->priority;
    return 0;
  }
  if (rule->verdict && rule->priority < judgement->priority) {
    judgement->priority = rule->priority;
    judgement->verdict = rule->verdict;
    judgement->rule = rule->id;
  }
  if (rule->rate && rule->rate_priority < judgement->rate_priority) {
    judgement->rate_priority = rule->rate_priority;
    judgement->rate = rule->rate;
    judgement->rate_rule = rule->rate_id;
  }
  return 0;
}

/* Judges a connection by its opening tuple; `directions`: which rules apply. Kept in the record. */
apart int judge(struct connection *connection, const struct rule_state *state, __u32 directions, __u32 features) {
  struct judgement judgement = {
      .tuple = connection->direction[0].key,
      .set = state->set,
      .directions = directions,
      .priority = NO_PRIORITY,
      .rate_priority = NO_PRIORITY,
      .by_packet = NO_PRIORITY,
      .verdict = state->default_verdict,
  };
  if (state->masks) bpf_loop(state->masks, judge_mask, &judgement, 0);
  /* The default that denies is the slow path's to say: it knows what is for the host itself. */
  if (judgement.rule == 0 && judgement.verdict != VERDICT_ALLOW) judgement.verdict = VERDICT_SLOW;
  if (judgement.by_packet < judgement.priority) judgement.verdict = VERDICT_SLOW;
  if (!(features & FEATURE_PORTS) && state->masks) judgement.verdict = VERDICT_SLOW;
  connection->rule = judgement.rule;
  connection->rate = judgement.rate;
  connection->rate_rule = judgement.rate_rule;
  connection->verdict = judgement.verdict;
  connection->rule_generation = state->generation;
  return 0;
}

inline_always void count_denied(__u32 id, __u32 bytes) {
  struct rule_count *count = bpf_map_lookup_elem(&rule_counts, &id);
  if (!count) return;
  count->denied_packets++;
  count->denied_bytes += bytes;
}

inline_always void count_limited(__u32 id, __u32 bytes) {
  struct rule_count *count = bpf_map_lookup_elem(&rule_counts, &id);
  if (!count) return;
  count->limited_packets++;
  count->limited_bytes += bytes;
}

#endif
