/*
 * Rewrite mode's four places in the data path. Here the mode is off: each hook says that the packet is not its own.
 *
 * rewrite_send     from_instance, on a hit whose way out is a tunnel: the peer's route is fresh, rules, rates, state and
 *                  TTL have been judged, nothing has been changed in the packet yet. MTU has not been checked.
 * rewrite_receive  nic_ingress, a packet that is not VXLAN to this host, before anything is looked up for it. When it is
 *                  a peer's: restores its addresses, TTL and DSCP in place (Ethernet header at 0, IP at 14, no overhead), sets
 *                  `entry->host` to the peer, `entry->key.vni`, `entry->mark_class` to the tunnel's and `entry->restored`, and
 *                  returns REWRITE_RESTORED; the packet is then parsed and goes on as one out of a tunnel.
 * rewrite_slow     nic_ingress, a restored packet that must go the slow way (`entry->mark_class` and skb->mark say whose): it
 *                  can't be left to the stack, to which it came by the underlay.
 * rewrite_learn    nic_ingress, every well-formed VXLAN packet for this host: `entry` holds the inner tuple and vni, `reason`
 *                  is 0 or why the inner packet is left to the slow path. Also asked for VXLAN with reserved bits
 *                  (`OUTER_OTHER`), where a control message would be; then `entry` holds nothing.
 * rewrite_guard    nic_egress, what the fast path has not sent itself: the host's own packets and the slow path's.
 *
 * A hook returns REWRITE_NOT_FOR_ME, or an action of TC with the packet done with.
 */
#ifndef PEERLESS_REWRITE_H
#define PEERLESS_REWRITE_H

#include "connection.h"
#include "parse.h"
#include "peer.h"

#define REWRITE_NOT_FOR_ME (-2)
#define REWRITE_RESTORED (-3)

inline_always int rewrite_send(struct __sk_buff *skb, struct entry *entry, struct connection *connection, __u32 direction,
                               const struct exit *exit, struct peer *peer) {
  return REWRITE_NOT_FOR_ME;
}

inline_always int rewrite_receive(struct __sk_buff *skb, struct entry *entry) { return REWRITE_NOT_FOR_ME; }

inline_always int rewrite_slow(struct __sk_buff *skb, struct entry *entry) { return TC_ACT_SHOT; }

inline_always int rewrite_learn(struct __sk_buff *skb, struct entry *entry, int reason) { return REWRITE_NOT_FOR_ME; }

inline_always int rewrite_guard(struct __sk_buff *skb, struct config *config_now, struct statistics *statistics) {
  return REWRITE_NOT_FOR_ME;
}

#endif
