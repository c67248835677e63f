// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/* The maps of rewrite mode; part of layout.h. */
#ifndef PEERLESS_LAYOUT_REWRITE_H
#define PEERLESS_LAYOUT_REWRITE_H

#include "layout.h"

/* What a rewritten packet has lost, besides ports. On the stack alone. */
struct pair {
  __u32 vni;
  __be32 saddr;
  __be32 daddr;
  __u8 dscp;
  __u8 ttl;
  /* Destination and source, of the frame in the tunnel. */
  __u8 ethernet[12];
};

/* map `restored`, array of PEERS * KEYS_A_PEER, index peer * KEYS_A_PEER + key: what a key of ours means (receiver). */
struct restored {
  /* The only sender; 0: free. */
  __be32 host;
  __u32 vni;
  __be32 saddr;
  __be32 daddr;
  __u8 dscp;
  __u8 ttl;
  __u8 ethernet[12];
  __u8 zero[2];
  /* When it was last told. */
  __u64 told;
};

/* map `sent_keys`, LRU hash: keys that were told to us (sender). */
struct sent_pair {
  /* Index of `peers`. */
  __u32 peer;
  __u32 vni;
  __be32 saddr;
  __be32 daddr;
  __u8 dscp;
  __u8 ttl;
  __u16 zero;
};

struct sent_key {
  __u32 key;
  /* The peer's, and ours shifted by 8. */
  __u32 epochs;
  __u64 heard;
  __u64 until;
  /* From then on one packet goes by the tunnel, so that the key is told again. */
  __u64 renew;
};

LAYOUT_SIZE(restored, 40);
LAYOUT_SIZE(sent_pair, 20);
LAYOUT_SIZE(sent_key, 32);

#endif
