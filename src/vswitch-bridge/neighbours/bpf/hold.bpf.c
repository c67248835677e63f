// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * Egress of a tunnel device (vxlan, and gre or geneve where the kernel has them): the frame has no outer header yet.
 *
 * Where will it go? The device's own forwarding database is consulted after this hook, and programs can't read it, so the
 * agent, which is told of each of its entries, keeps a copy (hold_fdb). What is not in it goes where the device sends
 * unknown addresses: to its one remote, or to all of them.
 *
 * Would the kernel know the MAC of the outer destination? bpf_fib_lookup asks its routes and its neighbour table, which
 * are the truth: no copy can be behind. If it would, the frame goes its way and nothing is held; if not, it goes through
 * the door to the agent with a header that says what it waits for.
 *
 * While frames of a slot are with the agent (held != released), those that come after wait behind them, also when the
 * neighbour is known by now: so the order is kept. Only the program writes hold_held, only the agent writes hold_released.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include "hold.h"

#define AF_INET 2
#define AF_INET6 10
#define LOOPBACK 1
#define ENOENT 2
/* Of bpf_tunnel_key.tunnel_flags, linux/if_tunnel.h. */
#define TUNNEL_CSUM 0x0001
#define TUNNEL_DONT_FRAGMENT 0x0100

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct hold_settings);
} hold_settings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, HOLD_DEVICES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct hold_device);
} hold_devices SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, HOLD_FDB);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct hold_fdb_key);
	__type(value, __u32);
} hold_fdb SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, HOLD_SLOTS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct hold_remote_key);
	__type(value, __u32);
} hold_remotes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, HOLD_SLOTS);
	__type(key, __u32);
	__type(value, struct hold_slot);
} hold_slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, HOLD_SLOTS);
	__type(key, __u32);
	__type(value, __u64);
} hold_held SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, HOLD_SLOTS);
	__type(key, __u32);
	__type(value, __u64);
} hold_released SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, HOLD_KEYS);
	__type(key, __u32);
	__type(value, struct hold_key);
} hold_keys SEC(".maps");

static __always_inline __u32 slot_of_packet(struct __sk_buff *skb, struct hold_header *header)
{
	struct bpf_tunnel_key key = {};
	struct hold_remote_key remote = {};
	__u32 *slot, option;
	__u16 flags;

	/* Options (GENEVE's, or a VXLAN group policy) could not be given back: such a packet is not held. */
	if (bpf_skb_get_tunnel_opt(skb, &option, sizeof(option)) != -ENOENT)
		return 0;

	/* The helper speaks of packets that came in: the destination of one that leaves is "local" to it. */
	if (bpf_skb_get_tunnel_key(skb, &key, sizeof(key), BPF_F_TUNINFO_IPV6 | BPF_F_TUNINFO_FLAGS) == 0) {
		remote.kind = HOLD_IPV6;
		__builtin_memcpy(remote.remote, key.local_ipv6, 16);
	} else if (bpf_skb_get_tunnel_key(skb, &key, sizeof(key), BPF_F_TUNINFO_FLAGS) == 0) {
		__u32 address = bpf_htonl(key.local_ipv4);

		remote.kind = HOLD_IPV4;
		__builtin_memcpy(remote.remote, &address, 4);
	} else {
		return 0;
	}
	header->tunnel = key.tunnel_id;
	header->ttl = key.tunnel_ttl;
	header->tos = key.tunnel_tos;
	flags = bpf_ntohs(key.tunnel_flags);
	header->flags = (flags & TUNNEL_CSUM ? HOLD_CHECKSUM : 0) | (flags & TUNNEL_DONT_FRAGMENT ? HOLD_WHOLE : 0);
	slot = bpf_map_lookup_elem(&hold_remotes, &remote);
	return slot ? *slot : 0;
}

static __always_inline __u32 slot_of(struct __sk_buff *skb, struct hold_header *header)
{
	struct hold_fdb_key key = {};
	struct hold_device *device;
	__u32 ifindex = skb->ifindex;
	__u32 *slot;

	device = bpf_map_lookup_elem(&hold_devices, &ifindex);
	if (!device)
		return 0;
	if (device->external)
		return slot_of_packet(skb, header);
	key.ifindex = ifindex;
	if (bpf_skb_load_bytes(skb, 0, key.mac, sizeof(key.mac)))
		return 0;
	slot = bpf_map_lookup_elem(&hold_fdb, &key);
	return slot ? *slot : device->slot;
}

static __always_inline int missing(struct __sk_buff *skb, struct hold_slot *slot)
{
	struct bpf_fib_lookup fib = {};

	if (slot->kind == HOLD_FLOOD)
		return slot->wait;
	fib.ifindex = LOOPBACK;
	fib.l4_protocol = 17;
	if (slot->kind == HOLD_IPV4) {
		fib.family = AF_INET;
		__builtin_memcpy(&fib.ipv4_dst, slot->remote, 4);
		__builtin_memcpy(&fib.ipv4_src, slot->local, 4);
	} else if (slot->kind == HOLD_IPV6) {
		fib.family = AF_INET6;
		__builtin_memcpy(fib.ipv6_dst, slot->remote, 16);
		__builtin_memcpy(fib.ipv6_src, slot->local, 16);
	} else {
		return 0;
	}
	return bpf_fib_lookup(skb, &fib, sizeof(fib), 0) == BPF_FIB_LKUP_RET_NO_NEIGH;
}

/* A frame that the agent sends carries no tunnel's parameters any more. */
static __always_inline int released_frame(struct __sk_buff *skb)
{
	__u32 ifindex = skb->ifindex, index = skb->mark;
	struct bpf_tunnel_key tunnel = {};
	struct hold_device *device;
	struct hold_key *key;
	__u64 flags;

	device = bpf_map_lookup_elem(&hold_devices, &ifindex);
	if (!device || !device->external)
		return TC_ACT_UNSPEC;
	key = bpf_map_lookup_elem(&hold_keys, &index);
	if (!key)
		return TC_ACT_SHOT;
	tunnel.tunnel_id = key->tunnel;
	tunnel.tunnel_ttl = key->ttl;
	tunnel.tunnel_tos = key->tos;
	flags = (key->flags & HOLD_CHECKSUM ? 0 : BPF_F_ZERO_CSUM_TX) |
		(key->flags & HOLD_WHOLE ? BPF_F_DONT_FRAGMENT : 0);
	if (key->kind == HOLD_IPV6) {
		__builtin_memcpy(tunnel.remote_ipv6, key->remote, 16);
		flags |= BPF_F_TUNINFO_IPV6;
	} else {
		__u32 address;

		__builtin_memcpy(&address, key->remote, 4);
		tunnel.remote_ipv4 = bpf_ntohl(address);
	}
	skb->mark = key->mark;
	if (bpf_skb_set_tunnel_key(skb, &tunnel, sizeof(tunnel), flags))
		return TC_ACT_SHOT;
	return TC_ACT_UNSPEC;
}

SEC("tc")
int peerless_hold(struct __sk_buff *skb)
{
	struct hold_header header = {};
	struct hold_settings *settings;
	struct hold_slot *slot;
	__u64 *held, *released;
	__u32 index, zero = 0;

	if (skb->priority == HOLD_RELEASED) {
		skb->priority = 0;
		return released_frame(skb);
	}
	if (skb->vlan_present)
		return TC_ACT_UNSPEC;
	index = slot_of(skb, &header);
	if (!index)
		return TC_ACT_UNSPEC;
	slot = bpf_map_lookup_elem(&hold_slots, &index);
	held = bpf_map_lookup_elem(&hold_held, &index);
	released = bpf_map_lookup_elem(&hold_released, &index);
	if (!slot || !held || !released)
		return TC_ACT_UNSPEC;
	if (*(volatile __u64 *)held == *(volatile __u64 *)released && !missing(skb, slot))
		return TC_ACT_UNSPEC;
	settings = bpf_map_lookup_elem(&hold_settings, &zero);
	if (!settings || !settings->door || bpf_ktime_get_ns() - settings->alive > HOLD_ALIVE)
		return TC_ACT_UNSPEC;

	header.to[0] = 0x02;
	header.from[0] = 0x02;
	header.from[5] = 0x01;
	header.ethertype = bpf_htons(HOLD_ETHERTYPE);
	header.slot = index;
	header.ifindex = skb->ifindex;
	header.mark = skb->mark;
	if (bpf_skb_change_head(skb, sizeof(header), 0))
		return TC_ACT_UNSPEC;
	header.sequence = (__u32)__sync_fetch_and_add(held, 1);
	if (bpf_skb_store_bytes(skb, 0, &header, sizeof(header), 0))
		return TC_ACT_SHOT;
	return bpf_redirect(settings->door, 0);
}

char _license[] SEC("license") = "GPL";
