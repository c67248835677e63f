// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * Who opened a connection: conntrack knows, and what the slow path delivers to an instance still has its entry (what leaves
 * through a tunnel has lost it). Rules are about the packet that opened, and the first packet that these programs see may be
 * a reply: they were attached later, the record had ended, or the host itself had asked.
 */
#ifndef PEERLESS_OPENER_H
#define PEERLESS_OPENER_H

#include "entry.h"
#include "kernel.h"

/* enum ip_conntrack_info of the kernel. */
#define CTINFO_MASK 7ul
#define CTINFO_REPLY 3
#define CTINFO_UNTRACKED 7

/* Kernels before 6.2 don't say; then rules decide in the fast path only where they would say the same of both. */
inline_always void learn_opener(struct __sk_buff *skb, struct connection *connection, __u32 direction) {
  if (connection->flags & CONNECTION_OPENER_KNOWN) return;
  if (!bpf_cast_to_kern_ctx || !bpf_core_field_exists(((struct sk_buff *)0)->_nfct)) return;
  struct sk_buff *kernel = bpf_cast_to_kern_ctx(skb);
  unsigned long entry = kernel->_nfct, info = entry & CTINFO_MASK;
  if (entry == info || info == CTINFO_UNTRACKED) return;
  __u32 reply = info == CTINFO_REPLY || info == CTINFO_REPLY + 1;
  connection->flags |= CONNECTION_OPENER_KNOWN | (reply == (direction & 1) ? 0 : CONNECTION_OPENER_SECOND);
  connection->verdict = VERDICT_NONE;
}

#endif
