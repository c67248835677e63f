// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * What the hold program and the agent share (src/vswitch-bridge/neighbours/hold/layout.ts says the same in TypeScript).
 */
#ifndef PEERLESS_HOLD_H
#define PEERLESS_HOLD_H

#include <linux/types.h>

#define HOLD_SLOTS 4096
#define HOLD_DEVICES 4096
#define HOLD_FDB 65536
#define HOLD_KEYS 4096

/* Of the frames that the agent sends back into the tunnel: skb->priority, "PLNH". */
#define HOLD_RELEASED 0x504c4e48

/* Local experimental EtherType (IEEE 802), on a pair of interfaces that nobody else uses. */
#define HOLD_ETHERTYPE 0x88b5

/* An agent that has not said for so long that it lives holds nothing. ns */
#define HOLD_ALIVE 3000000000ULL

#define HOLD_NONE 0
#define HOLD_IPV4 2
#define HOLD_IPV6 10
/* Frames for all remotes of a device: they wait while the agent says so. */
#define HOLD_FLOOD 255

struct hold_settings {
	__u64 alive;		/* CLOCK_MONOTONIC, ns */
	__u32 door;		/* ifindex */
	__u32 unused;
};

/* One tunnel device; `slot` is for frames whose destination MAC is not in hold_fdb. */
struct hold_device {
	__u32 slot;
	__u32 external;		/* the remote comes with the packet */
};

struct hold_fdb_key {
	__u32 ifindex;
	__u8 mac[6];
	__u8 unused[2];
};

struct hold_slot {
	__u32 kind;
	__u32 wait;		/* HOLD_FLOOD */
	__u8 remote[16];
	__u8 local[16];
};

struct hold_remote_key {
	__u32 kind;
	__u8 remote[16];
};

/* Stands before the frame on its way to the agent. */
struct hold_header {
	__u8 to[6];
	__u8 from[6];
	__be16 ethertype;
	__u16 unused;
	__u32 slot;
	__u32 ifindex;
	__u32 mark;
	__u32 sequence;		/* of the slot, low 32 bits */
	__u32 tunnel;		/* of a device that is external: what came with the packet */
	__u8 ttl;
	__u8 tos;
	__u16 flags;		/* HOLD_CHECKSUM, HOLD_WHOLE */
} __attribute__((packed));

/* Of an outer header: its UDP checksum is made, it is not fragmented. */
#define HOLD_CHECKSUM 1
#define HOLD_WHOLE 2

/* What is given back to a frame that is sent back into an external device; its mark is the index. */
struct hold_key {
	__u32 kind;
	__u32 tunnel;
	__u8 remote[16];
	__u32 mark;
	__u8 ttl;
	__u8 tos;
	__u16 flags;
};

#endif
