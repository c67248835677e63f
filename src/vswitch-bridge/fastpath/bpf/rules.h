// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * Rules with wildcards (R3.7) by tuple-space search: one look-up for every distinct mask, the lowest priority wins. The
 * result is kept in the record with the generation of the rules, so that the next packet costs a comparison.
 *
 * As the slow path has it, there are two judgements, and both must allow: `out` of what an instance of this host opened,
 * `in` of what was opened towards one. Both are about the tuple of the packet that opened the connection, as it came. A rate
 * is about a packet's own direction, in the terms of whoever opened: `out` for what an instance sends, `in` for what is for one.
 */
#ifndef PEERLESS_RULES_H
#define PEERLESS_RULES_H

#include "connection.h"
#include "rate.h"

#define NO_PRIORITY 0xffffffffu

/* A question to the rules, and what they say. */
struct judgement {
  struct flow_key tuple;
  __u32 set;
  /* RULE_OUT or RULE_IN. */
  __u32 directions;
  __u32 priority;
  __u32 rate_priority;
  __u32 verdict;
  __u32 rule;
  __u32 rate;
  /* Of the first rule on TCP flags that might match some packet of this connection. */
  __u32 by_packet;
};

inline_always struct rule_state current_rules(void) {
  __u32 zero = 0;
  struct rule_state *state = bpf_map_lookup_elem(&rule_state, &zero), copy = {};
  if (state) *(__u64 *)&copy = READ(*(__u64 *)state);
  return copy;
}

/* Looks up under one mask; 1: there is none. */
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
  }
  return 0;
}

/* One judgement of `judgement->tuple`; the verdict. */
apart __u32 ask(struct judgement *judgement, const struct rule_state *state, __u32 directions, __u32 vni) {
  judgement->tuple.vni = vni;
  judgement->set = state->set;
  judgement->directions = directions;
  judgement->priority = judgement->rate_priority = judgement->by_packet = NO_PRIORITY;
  judgement->verdict = state->default_verdict;
  judgement->rule = judgement->rate = 0;
  if (state->masks) bpf_loop(state->masks, judge_mask, judgement, 0);
  /* The default that denies is the slow path's to say: it knows what is for the host itself. */
  if (judgement->rule == 0 && judgement->verdict != VERDICT_ALLOW) judgement->verdict = VERDICT_SLOW;
  if (judgement->by_packet < judgement->priority) judgement->verdict = VERDICT_SLOW;
  return judgement->verdict;
}

inline_always void reverse(struct flow_key *tuple) {
  __be32 address = tuple->saddr;
  __be16 port = tuple->sport;
  tuple->saddr = tuple->daddr;
  tuple->sport = tuple->dport;
  tuple->daddr = address;
  tuple->dport = port;
}

inline_always int from_port(const struct direction *side) { return side->origin == MARK_CLASS_INSTANCE >> 24; }

inline_always int to_port(const struct direction *side) { return side->exit.kind == EXIT_DELIVER; }

/* The network that `in` rules are asked with: the receiver's. */
inline_always __u32 receiving_vni(const struct direction *side) { return to_port(side) ? side->exit.vni : side->key.vni; }

/* Deny outweighs the slow path, which outweighs allow. */
inline_always void take(struct connection *connection, struct judgement *judgement, __u32 *verdict) {
  if (*verdict == VERDICT_DENY || judgement->verdict == VERDICT_ALLOW) return;
  *verdict = judgement->verdict;
  connection->rule = judgement->rule;
}

/* The verdict on the connection; keeps what limits its opener's direction. */
apart __u32 judge_opener(struct connection *connection, const struct rule_state *state, __u32 opener) {
  struct direction *side = &connection->direction[opener & 1];
  struct judgement judgement = {.tuple = side->key};
  __u32 verdict = VERDICT_ALLOW, first = opener & 1 ? 2 : 0;
  connection->rule = 0;
  connection->rate[first & 3] = connection->rate[(first + 1) & 3] = 0;
  if (from_port(side)) {
    ask(&judgement, state, RULE_OUT, side->key.vni);
    connection->rule = judgement.rule;
    connection->rate[first & 3] = judgement.rate;
    take(connection, &judgement, &verdict);
  }
  /* A service's address is nobody's that `in` rules protect. */
  if (to_port(side) ? !(side->exit.flags & EXIT_NAT_DADDR) : !from_port(side)) {
    ask(&judgement, state, RULE_IN, receiving_vni(side));
    if (!connection->rule) connection->rule = judgement.rule;
    connection->rate[(first + 1) & 3] = judgement.rate == connection->rate[first & 3] ? 0 : judgement.rate;
    take(connection, &judgement, &verdict);
  }
  return verdict;
}

/* What limits the replies: asked with their own addresses, in the opener's terms. */
apart int judge_replies(struct connection *connection, const struct rule_state *state, __u32 opener) {
  struct direction *side = &connection->direction[!(opener & 1)];
  struct judgement judgement = {.tuple = connection->direction[opener & 1].key};
  __u32 first = opener & 1 ? 0 : 2;
  reverse(&judgement.tuple);
  connection->rate[first & 3] = connection->rate[(first + 1) & 3] = 0;
  if (from_port(side)) {
    ask(&judgement, state, RULE_OUT, side->key.vni);
    connection->rate[first & 3] = judgement.rate;
  }
  if (to_port(side)) {
    ask(&judgement, state, RULE_IN, receiving_vni(side));
    connection->rate[(first + 1) & 3] = judgement.rate == connection->rate[first & 3] ? 0 : judgement.rate;
  }
  return 0;
}

/* Who opened it is not known: whether it would be allowed, had the other side done so. */
apart int allowed_reversed(struct connection *connection, const struct rule_state *state) {
  struct direction *side = &connection->direction[0];
  struct judgement judgement = {.tuple = side->key};
  reverse(&judgement.tuple);
  return ask(&judgement, state, from_port(side) ? RULE_IN : RULE_OUT, side->key.vni) == VERDICT_ALLOW;
}

/* Judges a connection, and keeps the result in the record. */
apart int judge(struct connection *connection, const struct rule_state *state, __u32 features) {
  __u32 opener = connection->flags & CONNECTION_OPENER_SECOND ? 1 : 0;
  __u32 verdict = judge_opener(connection, state, opener);
  if (state->masks) judge_replies(connection, state, opener);
  /* Not on a guess: the slow path knows. */
  if (!(connection->flags & CONNECTION_OPENER_KNOWN) && state->masks)
    verdict = verdict == VERDICT_ALLOW && allowed_reversed(connection, state) ? VERDICT_ALLOW : VERDICT_SLOW;
  if (!(features & FEATURE_PORTS) && state->masks) verdict = VERDICT_SLOW;
  connection->rule_generation = state->generation;
  WRITE(connection->verdict, verdict);
  return 0;
}

inline_always void count_denied(__u32 id, __u32 bytes) {
  struct rule_count *count = bpf_map_lookup_elem(&rule_counts, &id);
  if (!count) return;
  count->denied_packets++;
  count->denied_bytes += bytes;
}

/* Judged again when the rules have changed or a way out has become known; the verdict. */
inline_always __u32 verdict_of(struct entry *entry, struct connection *connection) {
  struct rule_state state = current_rules();
  if (unlikely(connection->verdict == VERDICT_NONE || connection->rule_generation != state.generation))
    judge(connection, &state, entry->config->features);
  return connection->verdict;
}

inline_always int deny(struct __sk_buff *skb, struct entry *entry, const struct connection *connection) {
  COUNT(entry, STAT_DENIED);
  count_denied(connection->rule, skb->len);
  return TC_ACT_SHOT;
}

/* 1: one of the rates that apply to this direction allows no more. */
inline_always int limited(const struct connection *connection, __u32 direction, __u32 bytes) {
  __u32 first = direction & 1 ? 2 : 0;
  __u32 one = connection->rate[first], two = connection->rate[first + 1];
  if (likely(!(one | two))) return 0;
  return (one && over_rate(one, bytes)) || (two && over_rate(two, bytes));
}

#endif
