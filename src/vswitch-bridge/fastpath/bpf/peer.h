// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * Remote hosts: one record each, made when the kernel's own tunnel first sends there. The record holds the next hop, not
 * its MAC: the kernel's neighbour is asked for every packet, so a ToR that changes needs no write here.
 */
#ifndef PEERLESS_PEER_H
#define PEERLESS_PEER_H

#include <linux/if_ether.h>
#include "entry.h"

#define PEER_PROBES 16
#define AF_INET 2

inline_always struct peer *peer_at(__u32 index) { return bpf_map_lookup_elem(&peers, &index); }

inline_always __u32 peer_start(__be32 address) { return (__u32)(address * 0x9e3779b1u) >> 22; }

/* No host has it: what stands in a record that nobody has. */
inline_always int nobody(__be32 address) { return address == 0 || address >= PEER_LEFT; }

apart __u32 probe_peers(__be32 address, __u32 may_make) {
  __u32 start = peer_start(address), spare = PEERS;
  for (__u32 probe = 0; probe < PEER_PROBES; probe++) {
    __u32 index = (start + probe) & (PEERS - 1);
    struct peer *peer = peer_at(index);
    if (!peer) break;
    __be32 holder = READ(peer->address);
    if (holder == address) return index;
    if (holder != 0 && holder != PEER_LEFT) continue;
    if (spare == PEERS) spare = index;
    if (holder == 0) break;
  }
  struct peer *peer = peer_at(spare);
  if (!may_make || !peer) return PEERS;
  __be32 holder = READ(peer->address);
  if ((holder == 0 || holder == PEER_LEFT) && __sync_bool_compare_and_swap(&peer->address, holder, address)) return spare;
  /* Another processor was quicker: for the same host, or the next packet will find a place. */
  return READ(peer->address) == address ? spare : PEERS;
}

/* The index of a host's record, made if there is room; PEERS: none. Nearly always it stands where it is looked for first. */
inline_always __u32 peer_index(__be32 address, __u32 may_make) {
  if (unlikely(nobody(address))) return PEERS;
  __u32 index = peer_start(address) & (PEERS - 1);
  struct peer *peer = peer_at(index);
  if (likely(peer && READ(peer->address) == address)) return index;
  return probe_peers(address, may_make);
}

inline_always void heard(__be32 address, __u64 now) {
  struct peer *peer = peer_at(peer_index(address, 0));
  if (peer) peer->last_heard = now;
}

/* `length` and the answer's MTU are one field: it holds the length still where the kernel had no MTU to say. */
inline_always long look_up(struct __sk_buff *skb, struct config *config_now, struct peer *peer, struct bpf_fib_lookup *route, __u16 length) {
  *route = (struct bpf_fib_lookup){.family = AF_INET, .ipv4_src = peer->local, .ipv4_dst = peer->address, .tot_len = length};
  route->ifindex = config_now->underlay_ifindex;
  return bpf_fib_lookup(skb, route, sizeof(*route), BPF_FIB_LOOKUP_OUTPUT);
}

apart int ask_route(struct __sk_buff *skb, struct config *config_now, struct peer *peer, __u32 generation, __u64 now) {
  struct bpf_fib_lookup route;
  long result = look_up(skb, config_now, peer, &route, 1);
  if (result == BPF_FIB_LKUP_RET_SUCCESS || result == BPF_FIB_LKUP_RET_NO_NEIGH) {
    peer->ifindex = route.ifindex;
    peer->next_hop = route.ipv4_dst;
    /* Of a next hop whose MAC is not known the MTU is only said where a packet is too long for it. */
    if (result == BPF_FIB_LKUP_RET_NO_NEIGH) look_up(skb, config_now, peer, &route, 0xffff);
    peer->mtu = route.mtu_result;
  } else {
    peer->next_hop = 0;
  }
  peer->generation = generation;
  peer->route_checked = now;
  return peer->next_hop != 0;
}

/* Asks for the route to the peer when the last answer is old; 0: there is none. */
inline_always int refresh_route(struct __sk_buff *skb, struct config *config_now, struct peer *peer, __u32 index, __u64 now) {
  __u32 generation = generation_of_peer(index);
  if (likely(peer->route_checked && peer->generation == generation && elapsed(now, peer->route_checked) < config_now->route_interval))
    return peer->next_hop != 0;
  return ask_route(skb, config_now, peer, generation, now);
}

#endif
