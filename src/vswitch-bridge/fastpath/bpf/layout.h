// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * What the programs and the agent share: the maps' keys and values, the mark, the statistics. User space reads these
 * structures as bytes, so every hole is a named field and every size is asserted below; a change here raises
 * LAYOUT_VERSION, and an agent adopts pinned maps of its own version only. Compiles in user space too.
 * Times are nanoseconds of CLOCK_MONOTONIC (its coarse reading); addresses and ports are in network order, all else in
 * the machine's.
 */
#ifndef PEERLESS_LAYOUT_H
#define PEERLESS_LAYOUT_H

#include <linux/types.h>

/* A size that user space counts on. */
#define LAYOUT_SIZE(type, size) _Static_assert(sizeof(struct type) == (size), #type)

#define LAYOUT_VERSION 2

/* skb->mark: tag | class | slot << 1 | direction. nft looks at MARK_TAG_MASK | MARK_CLASS_MASK only. */
#define MARK_TAG 0x70000000u
#define MARK_TAG_MASK 0xf0000000u
#define MARK_CLASS_MASK 0x0f000000u
#define MARK_CLASS_INSTANCE 0x01000000u
#define MARK_CLASS_TUNNEL 0x02000000u
#define MARK_CLASS_UNDERLAY 0x03000000u
/* Sent by the fast path itself: the programs at the exits let it pass unread. */
#define MARK_FAST 0x7f000000u
#define MARK_RECORD_MASK 0x00ffffffu
/* No record: slot 0 is never used. */
#define SLOT_NONE 0u

/* Sizes at which the objects are built; the agent may create the maps larger or smaller (powers of two for the first). */
#define CONNECTIONS_DEFAULT 131072u
#define CONNECTIONS_MAX (1u << 23)
#define PEERS 1024u
#define PORTS 65536u
#define RULE_SETS 2u
#define RULE_MASKS 64u
#define RULES_DEFAULT 65536u
/* Rule ids 1..RULE_IDS-1; 0 is the policy's default. */
#define RULE_IDS 16384u
#define RATES 4096u
#define INSTANCES_MAX 16384u
#define RECENT_FLOWS 4096u
#define RECENT_PORTS 256u

#define VXLAN_OVERHEAD 50u

/* Rewrite mode: keys that one peer can be told. The first is never used. */
#define KEYS_A_PEER 512u
#define KEYS_DSCP 64u
#define SENT_KEYS 65536u

enum mode { MODE_OFF, MODE_TUNNEL, MODE_REWRITE };
enum key_field { KEY_FIELD_IP_ID, KEY_FIELD_DSCP, KEY_FIELD_OPTION };

/* Of the seven-tuple, what tells connections apart; addresses, protocol and virtual network always do. */
#define FEATURE_PORTS 1u
#define FEATURE_INGRESS 2u
#define FEATURES_ALL 3u

enum protocol_class { CLASS_TCP, CLASS_UDP, CLASS_ICMP, CLASS_COUNT };

enum connection_state {
  STATE_FREE,
  /* One direction has been seen, or TCP's handshake is under way. */
  STATE_OPENING,
  STATE_ESTABLISHED,
  /* TCP: one side has sent its FIN; the other may go on for long. */
  STATE_CLOSING,
  /* TCP: both FINs or a RST. Slow path only. */
  STATE_CLOSED,
  STATE_COUNT
};

/* map `config`, array of 1. Written once before the programs are attached; later only to change a setting. */
struct config {
  __u32 layout;
  /* enum mode */
  __u32 mode;
  __u32 features;
  /* enum key_field */
  __u32 key_field;
  __be32 underlay_address;
  __u32 underlay_ifindex;
  /* UDP port of the kernel's VXLAN. */
  __be16 vxlan_port;
  __u16 reserved;
  /* Slots of `connections` less one. */
  __u32 connection_mask;
  __u64 timeout[CLASS_COUNT][STATE_COUNT];
  /* A direction that has been idle longer starts anew on the slow path. Send must be the shorter. */
  __u64 lifetime_send;
  __u64 lifetime_receive;
  /* One packet a direction goes the slow way when the last is older: between packets of a burst only after `slow_force`. */
  __u64 slow_interval;
  __u64 slow_idle;
  __u64 slow_force;
  /* The route to a peer is asked for again after this time, or when the peer's generation has changed. */
  __u64 route_interval;
  /* Our epoch (1..255), of the keys we tell, chosen with the maps; when that was, ns of CLOCK_MONOTONIC. */
  __u64 rewrite[8];
};

/* map `generations`, array of 1: raising `exits` makes every connection learn its way anew. */
struct generations {
  __u32 exits;
  __u32 reserved;
};

/* `port_generation`: array of PORTS __u32, index ifindex & (PORTS - 1). `peer_generation`: array of PEERS __u32. */

#define INSTANCE_ADDRESS 1u
#define INSTANCE_MAC 2u
/* A veth whose other end stands in another namespace: what comes for it skips the host's half. */
#define INSTANCE_PEER 4u

/* map `instances` (R3.5's local containers), hash: __u32 ifindex of the host's side. */
struct instance {
  __u32 vni;
  __be32 address;
  __u8 mac[6];
  __u16 flags;
};

/* map `flows`, LRU hash: the seven-tuple as the packet came to this host. */
struct flow_key {
  __be32 saddr;
  __be32 daddr;
  /* ICMP echo: the request has its identifier in sport, the reply in dport. */
  __be16 sport;
  __be16 dport;
  /* ifindex of the instance's host side, or of the underlay device. */
  __u32 ingress;
  /* 0: plain, from the underlay. */
  __u32 vni;
  __u8 protocol;
  __u8 zero[3];
};

struct flow_value {
  /* slot << 1 | direction */
  __u32 record;
  /* Of the connection when the key was installed; another one: the key is stale. */
  __u32 generation;
};

/* map `recent_clock`, per-CPU array of 1: the coarse time, read once a tick. */
struct recent_clock {
  /* 0: not yet read. */
  __u64 tick;
  __u64 now;
};

/*
 * What each processor has looked up lately. Map `recent_flows`, per-CPU array of RECENT_FLOWS flow_value, by a hash of the key;
 * map `recent_ports`, per-CPU array of RECENT_PORTS, by the device's number.
 */
struct recent_port {
  __u32 ifindex;
  /* Of the port, when it was looked up; every change of `instances` raises it. */
  __u32 generation;
  /* 0: nothing. */
  __u32 vni;
  __u32 zero;
};

enum exit_kind { EXIT_UNKNOWN, EXIT_DELIVER, EXIT_TUNNEL, EXIT_PUBLIC };

#define EXIT_NAT_SADDR 1u
#define EXIT_NAT_DADDR 2u
#define EXIT_NAT_SPORT 4u
#define EXIT_NAT_DPORT 8u
#define EXIT_NAT 15u
/* Deliver with bpf_redirect_peer. */
#define EXIT_PEER 16u

/* How the packets of one direction leave this host: seen on a packet that the slow path sent. */
struct exit {
  /* enum exit_kind */
  __u8 kind;
  /* What the slow path took off the TTL. */
  __u8 ttl_drop;
  __u16 flags;
  /* Odd while it is being written. */
  __u32 sequence;
  /* deliver: ifindex; tunnel: index of the peer; public: ifindex. */
  __u32 target;
  /* The port's or peer's generation, and the one of all exits, when this was learned. */
  __u32 generation;
  __u32 exits_generation;
  __u32 vni;
  /* As it leaves. */
  __be32 saddr;
  __be32 daddr;
  __be16 sport;
  __be16 dport;
  /* Longest IP packet that leaves this way whole. */
  __u32 mtu;
  __u8 ethernet[14];
  /* Of the outer UDP header, as the kernel chose it. */
  __be16 outer_sport;
  __u64 learned;
};

struct direction {
  struct flow_key key;
  /* Outer source of the last tunnel packet; 0: an instance or the plain underlay. */
  __be32 host;
  /* TTL of the last packet that went the slow way. */
  __u8 ttl;
  __u8 seen;
  /* Class bits of the mark: where it enters (MARK_CLASS_INSTANCE >> 24 ...). */
  __u8 origin;
  /* How often in a row the slow path has sent a packet by this very exit; no more than 255. */
  __u8 steady;
  __u64 last_seen;
  __u64 last_slow;
  __u64 packets;
  __u64 bytes;
  struct exit exit;
};

enum verdict {
  VERDICT_NONE,
  VERDICT_ALLOW,
  VERDICT_DENY,
  /* The slow path decides every packet: TCP flags, or a default that denies. */
  VERDICT_SLOW
};

/* A FIN of direction 0, of direction 1. */
#define CONNECTION_FINS 3u
/* Which direction opened it is known (else 0 is taken for it, with care); it was direction 1. */
#define CONNECTION_OPENER_KNOWN 4u
#define CONNECTION_OPENER_SECOND 8u

/* map `connections`, array; slot 0 stays empty. Directions: 0 as the first packet seen, 1 its replies. */
struct connection {
  __u64 expires;
  __u64 created;
  __u32 generation;
  /* enum connection_state */
  __u8 state;
  /* IP protocol */
  __u8 protocol;
  /* enum verdict */
  __u8 verdict;
  /* CONNECTION_... */
  __u8 flags;
  __u32 rule_generation;
  /* What decided. */
  __u32 rule;
  /* Indices of `rates`, 0 none: of direction 0 by what rules say of the sender, of the receiver; then of direction 1. */
  __u16 rate[4];
  __u32 rewrite[6];
  struct direction direction[2];
};

/*
 * map `peers`, array: one record a remote host, found by probing from a hash of its address. In place of that: free again, but
 * others may stand behind it; about to be so, and not to be taken yet. Both are the agent's to write (ageing/peers.ts).
 */
#define PEER_LEFT 0xfffffffeu
#define PEER_LEAVING 0xffffffffu

struct peer {
  /* 0: free, and nobody stands behind it. */
  __be32 address;
  __be32 local;
  __be32 next_hop;
  __u32 ifindex;
  __u32 mtu;
  /* Of `peer_generation`, when the route was asked for. */
  __u32 generation;
  /* 0: ask now. */
  __u64 route_checked;
  __u64 last_sent;
  __u64 last_heard;
  __u8 ttl;
  __u8 zero[7];
  __u64 rewrite[8];
};

enum program { PROGRAM_FROM_INSTANCE, PROGRAM_TO_INSTANCE, PROGRAM_NIC_INGRESS, PROGRAM_NIC_EGRESS, PROGRAM_COUNT };

enum statistic {
  STAT_PACKETS,
  STAT_HIT,
  STAT_HIT_BYTES,
  STAT_MISS,
  /* Connections made; two found to be one; none was free; states' ends seen on the way. */
  STAT_MADE,
  STAT_MERGED,
  STAT_FULL,
  STAT_EXPIRED,
  /* At the exits: a way learned, or found changed; seen but not believed. */
  STAT_LEARNED,
  STAT_CHANGED,
  STAT_DOUBTED,
  STAT_DENIED,
  STAT_LIMITED,
  /* From here on: went the slow way, by reason. */
  SLOW_OTHER_PROTOCOL,
  SLOW_FRAGMENT,
  SLOW_OPTIONS,
  SLOW_TRUNCATED,
  SLOW_VLAN,
  SLOW_UNKNOWN_PORT,
  /* The host's own, or of a connection whose packets came from another host until now. */
  SLOW_HOST,
  SLOW_STATE,
  SLOW_NO_EXIT,
  SLOW_AGED,
  SLOW_PORT_CHANGED,
  SLOW_PEER_CHANGED,
  SLOW_NO_ROUTE,
  SLOW_MTU,
  SLOW_TTL,
  SLOW_ECN,
  SLOW_SEGMENTED_UDP,
  SLOW_KEEPALIVE,
  SLOW_RULE,
  SLOW_REFUSED,
  /* From a host that this one has never sent to. */
  SLOW_STRANGER,
  /* Rewrite mode. */
  REWRITE_SENT,
  REWRITE_RECEIVED,
  /* Received rewritten, and needed by the slow path. */
  REWRITE_RECEIVED_SLOW,
  REWRITE_KEY_TOLD,
  REWRITE_KEY_HEARD,
  REWRITE_HELLO_HEARD,
  /* All keys of a peer, because it said so. */
  REWRITE_VOIDED,
  /* The pair stays with the tunnel: no key is left. */
  REWRITE_KEYS_OUT,
  /* Dropped: a key that means nothing here; a fragment, which can't be restored. */
  REWRITE_UNKNOWN,
  REWRITE_FRAGMENT,
  /* The other end has another field, or is not in this mode. */
  REWRITE_MODE_DIFFERS,
  /* The host's own packets that looked like keys. */
  REWRITE_GUARDED,
  STAT_COUNT
};

/* map `statistics`, per-CPU array of PROGRAM_COUNT. */
struct statistics {
  __u64 count[STAT_COUNT];
};

LAYOUT_SIZE(config, 264);
LAYOUT_SIZE(generations, 8);
LAYOUT_SIZE(instance, 16);
LAYOUT_SIZE(flow_key, 24);
LAYOUT_SIZE(flow_value, 8);
LAYOUT_SIZE(recent_clock, 16);
LAYOUT_SIZE(recent_port, 16);
LAYOUT_SIZE(exit, 64);
LAYOUT_SIZE(direction, 128);
LAYOUT_SIZE(connection, 320);
LAYOUT_SIZE(peer, 120);

#include "layout_rewrite.h"
#include "layout_rules.h"

#endif
