/*
 * Rewrite mode's four places in the data path. Here the mode is off: each hook says that the packet is not its own.
 *
 * rewrite_send     from_instance, on a hit whose way out is a tunnel: the peer's route is fresh, rules, rates, state and
 *                  TTL have been judged, nothing has been changed in the packet yet. MTU has not been checked.
 * rewrite_receive  nic_ingress, an IPv4 packet that is not VXLAN, before anything is looked up for it.
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

inline_always int rewrite_send(struct __sk_buff *skb, struct entry *entry, struct connection *connection, __u32 direction,
                               const struct exit *exit, struct peer *peer) {
  return REWRITE_NOT_FOR_ME;
}

inline_always int rewrite_receive(struct __sk_buff *skb, struct entry *entry) { return REWRITE_NOT_FOR_ME; }

inline_always int rewrite_learn(struct __sk_buff *skb, struct entry *entry, int reason) { return REWRITE_NOT_FOR_ME; }

inline_always int rewrite_guard(struct __sk_buff *skb, struct config *config_now, struct statistics *statistics) {
  return REWRITE_NOT_FOR_ME;
}

#endif
