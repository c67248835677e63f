// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * What the slow path did to the first packet, done again: addresses, ports, TTL. Sums are changed by the difference; those
 * of TCP and UDP by the kernel's helpers, which alone know whether the sum is a pseudo header's that hardware completes.
 */
#ifndef PEERLESS_TRANSLATE_H
#define PEERLESS_TRANSLATE_H

#include "parse.h"

#define ECN_MASK 3u
#define ECN_CE 3u
#define ECN_ECT1 1u

inline_always void sum_replace(__sum16 *sum, __be16 from, __be16 to) {
  __u32 folded = (__u16)~*sum + (__u32)(__u16)~from + to;
  folded = (folded & 0xffff) + (folded >> 16);
  folded = (folded & 0xffff) + (folded >> 16);
  *sum = (__u16)~folded;
}

inline_always void sum_replace_address(__sum16 *sum, __be32 from, __be32 to) {
  sum_replace(sum, from & 0xffff, to & 0xffff);
  sum_replace(sum, from >> 16, to >> 16);
}

/* RFC 6040 §4.2: the inner codepoint after decapsulation, or -1 where the packet must be dropped (the kernel does). */
inline_always int ecn_after(__u8 outer, __u8 inner) {
  outer &= ECN_MASK;
  inner &= ECN_MASK;
  if (outer == ECN_CE) return inner == 0 ? -1 : (int)ECN_CE;
  if (outer == ECN_ECT1 && inner == 2) return ECN_ECT1;
  return inner;
}

/* The IP header at `offset`: TTL, ECN and addresses. 0: out of bounds, which a parsed packet is not. */
inline_always int translate_ip(struct __sk_buff *skb, const struct entry *entry, const struct exit *exit, __u32 offset) {
  struct iphdr *ip = (void *)(long)skb->data + offset;
  if ((void *)(ip + 1) > (void *)(long)skb->data_end) return 0;
  __u8 tos = entry->encapsulated ? (entry->tos & ~ECN_MASK) | (ecn_after(entry->outer_tos, entry->tos) & ECN_MASK) : entry->tos;
  if (tos != entry->tos) {
    sum_replace(&ip->check, bpf_htons(0x4500 | entry->tos), bpf_htons(0x4500 | tos));
    ip->tos = tos;
  }
  if (exit->ttl_drop) {
    __u16 protocol = ip->protocol;
    sum_replace(&ip->check, bpf_htons(entry->ttl << 8 | protocol), bpf_htons((__u8)(entry->ttl - exit->ttl_drop) << 8 | protocol));
    ip->ttl = entry->ttl - exit->ttl_drop;
  }
  if (exit->flags & EXIT_NAT_SADDR) {
    sum_replace_address(&ip->check, ip->saddr, exit->saddr);
    ip->saddr = exit->saddr;
  }
  if (exit->flags & EXIT_NAT_DADDR) {
    sum_replace_address(&ip->check, ip->daddr, exit->daddr);
    ip->daddr = exit->daddr;
  }
  return 1;
}

inline_always int replace_ports(struct __sk_buff *skb, const struct exit *exit, __u32 offset) {
  struct {
    __be16 sport, dport;
  } *ports = (void *)(long)skb->data + offset;
  if ((void *)(ports + 1) > (void *)(long)skb->data_end) return 0;
  ports->sport = exit->sport;
  ports->dport = exit->dport;
  return 1;
}

inline_always int replace_identifier(struct __sk_buff *skb, const struct exit *exit, __u32 offset) {
  struct echo *icmp = (void *)(long)skb->data + offset;
  if ((void *)(icmp + 1) > (void *)(long)skb->data_end) return 0;
  __be16 identifier = exit->sport | exit->dport;
  sum_replace(&icmp->checksum, icmp->id, identifier);
  icmp->id = identifier;
  return 1;
}

/* The header after the IP header at `offset`. Pointers into the packet are stale afterwards. */
apart int translate_ports(struct __sk_buff *skb, const struct entry *entry, const struct exit *exit, __u32 offset) {
  if (entry->key.protocol == IPPROTO_ICMP) return replace_identifier(skb, exit, offset + IPV4);
  __u32 tcp = entry->key.protocol == IPPROTO_TCP;
  __u32 sum = offset + IPV4 + (tcp ? 16 : 6);
  __u64 kind = tcp ? 0 : BPF_F_MARK_MANGLED_0;
  const struct flow_key *from = &entry->key;
  if (exit->flags & EXIT_NAT_SADDR && bpf_l4_csum_replace(skb, sum, from->saddr, exit->saddr, kind | BPF_F_PSEUDO_HDR | 4)) return 0;
  if (exit->flags & EXIT_NAT_DADDR && bpf_l4_csum_replace(skb, sum, from->daddr, exit->daddr, kind | BPF_F_PSEUDO_HDR | 4)) return 0;
  if (exit->flags & EXIT_NAT_SPORT && bpf_l4_csum_replace(skb, sum, from->sport, exit->sport, kind | 2)) return 0;
  if (exit->flags & EXIT_NAT_DPORT && bpf_l4_csum_replace(skb, sum, from->dport, exit->dport, kind | 2)) return 0;
  return replace_ports(skb, exit, offset + IPV4);
}

/* 0: refused; the packet may be half changed and must not go on. */
inline_always int translate(struct __sk_buff *skb, const struct entry *entry, const struct exit *exit, __u32 offset) {
  if (!translate_ip(skb, entry, exit, offset)) return 0;
  return !(exit->flags & EXIT_NAT) || translate_ports(skb, entry, exit, offset);
}

#endif
