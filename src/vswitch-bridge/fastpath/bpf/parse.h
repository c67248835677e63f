// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * Headers to tuples. What is not plain IPv4 with whole TCP, UDP or ICMP echo is named by a reason and left alone. Offsets
 * are constants at every call, so that the verifier sees fixed bounds.
 */
#ifndef PEERLESS_PARSE_H
#define PEERLESS_PARSE_H

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include "entry.h"

#define FRAGMENT_MASK 0x3fff
#define VXLAN_FLAGS 0x08000000u

#define ICMP_ECHO_REPLY 0
#define ICMP_ECHO_REQUEST 8

/* linux/icmp.h draws in the C library, which has no headers for this target. */
struct echo {
  __u8 type;
  __u8 code;
  __sum16 checksum;
  __be16 id;
  __be16 sequence;
};

struct vxlan {
  __be32 flags;
  /* 24 bits, then 8 reserved. */
  __be32 vni;
};

/* Makes `bytes` linear where the packet has them; what is there can then be read directly. */
inline_always void linear(struct __sk_buff *skb, __u32 bytes) {
  if (unlikely((void *)(long)skb->data + bytes > (void *)(long)skb->data_end))
    bpf_skb_pull_data(skb, bytes < skb->len ? bytes : skb->len);
}

inline_always int parse_ports(struct __sk_buff *skb, struct entry *entry, __u32 offset) {
  void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
  __u32 l4 = entry->length - IPV4;
  if (entry->key.protocol == IPPROTO_TCP) {
    struct tcphdr *tcp = data + offset;
    if ((void *)(tcp + 1) > end || tcp->doff < 5 || tcp->doff * 4u > l4) return SLOW_TRUNCATED;
    entry->key.sport = tcp->source;
    entry->key.dport = tcp->dest;
    entry->tcp_flags = ((__u8 *)tcp)[13];
    entry->headers = IPV4 + tcp->doff * 4u;
    return 0;
  }
  if (entry->key.protocol == IPPROTO_UDP) {
    struct udphdr *udp = data + offset;
    if ((void *)(udp + 1) > end || bpf_ntohs(udp->len) < sizeof(*udp) || bpf_ntohs(udp->len) > l4) return SLOW_TRUNCATED;
    entry->key.sport = udp->source;
    entry->key.dport = udp->dest;
    entry->headers = IPV4 + sizeof(*udp);
    return 0;
  }
  if (entry->key.protocol == IPPROTO_ICMP) {
    struct echo *icmp = data + offset;
    if ((void *)(icmp + 1) > end || l4 < sizeof(*icmp)) return SLOW_TRUNCATED;
    entry->headers = IPV4 + sizeof(*icmp);
    if (icmp->type == ICMP_ECHO_REQUEST && icmp->code == 0) {
      entry->key.sport = icmp->id;
      entry->key.dport = 0;
      return 0;
    }
    if (icmp->type == ICMP_ECHO_REPLY && icmp->code == 0) {
      entry->key.sport = 0;
      entry->key.dport = icmp->id;
      return 0;
    }
  }
  return SLOW_OTHER_PROTOCOL;
}

/* The IP header at `offset`: fills the tuple, `length`, `headers`, TTL, TOS and flags; a reason, or 0. */
inline_always int parse_ip(struct __sk_buff *skb, struct entry *entry, __u32 offset) {
  struct iphdr *ip = (void *)(long)skb->data + offset;
  if ((void *)(ip + 1) > (void *)(long)skb->data_end) return SLOW_TRUNCATED;
  if (ip->version != 4) return SLOW_OTHER_PROTOCOL;
  if (ip->ihl != 5) return SLOW_OPTIONS;
  if (ip->frag_off & bpf_htons(FRAGMENT_MASK)) return SLOW_FRAGMENT;
  entry->length = bpf_ntohs(ip->tot_len);
  if (entry->length < IPV4 || entry->length + offset > skb->len) return SLOW_TRUNCATED;
  entry->key.saddr = ip->saddr;
  entry->key.daddr = ip->daddr;
  entry->key.protocol = ip->protocol;
  entry->ttl = ip->ttl;
  entry->tos = ip->tos;
  entry->tcp_flags = 0;
  return parse_ports(skb, entry, offset + IPV4);
}

/* An Ethernet frame at `offset` that holds IPv4. */
inline_always int parse_frame(struct __sk_buff *skb, struct entry *entry, __u32 offset) {
  struct ethhdr *ethernet = (void *)(long)skb->data + offset;
  if ((void *)(ethernet + 1) > (void *)(long)skb->data_end) return SLOW_TRUNCATED;
  if (ethernet->h_proto != bpf_htons(ETH_P_IP)) return SLOW_OTHER_PROTOCOL;
  return parse_ip(skb, entry, offset + ETHERNET);
}

enum outer { OUTER_PLAIN, OUTER_VXLAN, OUTER_OTHER };

/*
 * Whether the frame is VXLAN between hosts as the kernel sends it: no options, no fragment, no reserved bits. The outer sum
 * is not looked at: it says nothing that the inner one does not, but for the network's number, which must have a connection.
 */
inline_always enum outer parse_outer(struct __sk_buff *skb, struct entry *entry, __be32 *saddr, __be32 *daddr, __be16 *sport) {
  void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
  struct ethhdr *ethernet = data;
  struct iphdr *ip = data + ETHERNET;
  struct udphdr *udp = (void *)ip + IPV4;
  struct vxlan *vxlan = (void *)(udp + 1);
  if ((void *)(udp + 1) > end || ethernet->h_proto != bpf_htons(ETH_P_IP) || ip->version != 4) return OUTER_OTHER;
  if (ip->protocol != IPPROTO_UDP || ip->ihl != 5 || ip->frag_off & bpf_htons(FRAGMENT_MASK)) return OUTER_PLAIN;
  if (udp->dest != entry->config->vxlan_port) return OUTER_PLAIN;
  if ((void *)(vxlan + 1) > end || vxlan->flags != bpf_htonl(VXLAN_FLAGS)) return OUTER_OTHER;
  __u32 length = bpf_ntohs(ip->tot_len);
  /* To the entry, host 0 is no tunnel at all. */
  if (!ip->saddr) return OUTER_OTHER;
  if (vxlan->vni & bpf_htonl(0xff) || length + ETHERNET > skb->len || bpf_ntohs(udp->len) + IPV4 != length) return OUTER_OTHER;
  *saddr = ip->saddr;
  *daddr = ip->daddr;
  *sport = udp->source;
  entry->outer_tos = ip->tos;
  entry->key.vni = bpf_ntohl(vxlan->vni) >> 8;
  /* Until the inner header has been read: how much of it the outer one vouches for. */
  entry->length = length - VXLAN_HEADERS;
  return OUTER_VXLAN;
}

/* The frame inside: must end within what the outer header vouches for. */
inline_always int parse_inner(struct __sk_buff *skb, struct entry *entry) {
  __u32 vouched = entry->length;
  int reason = parse_frame(skb, entry, VXLAN_OVERHEAD);
  return reason ? reason : entry->length + ETHERNET > vouched ? SLOW_TRUNCATED : 0;
}

#endif
