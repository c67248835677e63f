/* From the underlay to the TAPs: datagrams in batches (UDP_GRO), opened in place, judged, coalesced, written. */
#define _GNU_SOURCE
#include "worker.h"

#include <errno.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/socket.h>

#ifndef UDP_GRO
#define UDP_GRO 104
#endif

static void deliver(struct worker* w) {
  struct coalescer* c = w->coalescer;
  for (size_t i = 0; i < c->count; i++) {
    struct bundle* b = &c->bundle[i];
    bundle_finish(b);
    struct iovec parts[BUNDLE_PARTS + 1];
    parts[0] = (struct iovec){&b->hdr, sizeof b->hdr};
    memcpy(parts + 1, b->part, b->parts * sizeof *parts);
    if (writev(b->tap, parts, (int)b->parts + 1) < 0) COUNT(w, NULL, drop_tap, b->parts);
    else COUNT(w, NULL, received_frames, 1);
  }
  coalesce_reset(c);
}

static void frame_in(struct worker* w, struct peer* peer, const uint8_t* vxlan, uint8_t* frame, size_t length) {
  uint32_t vni = (uint32_t)vxlan[4] << 16 | (uint32_t)vxlan[5] << 8 | vxlan[6];
  struct network* network = network_find(w, vni);
  if (!network || network->tap.fd < 0) {
    COUNT(w, peer, drop_network_unknown, 1);
    return;
  }
  if (!sender_is(network, peer)) {
    COUNT(w, peer, drop_wrong_network, 1);
    return;
  }
  if (length < 14 || frame[6] & 1) {
    COUNT(w, peer, drop_frame_malformed, 1);
    return;
  }
  if (!ecn_decapsulate(frame, length, w->tos)) {
    COUNT(w, peer, drop_ecn, 1);
    return;
  }
  fdb_learn(w, network, frame + 6, peer, false);
  if (coalesce_add(w->coalescer, &network->tap, vni, frame, length)) return;
  deliver(w);
  coalesce_add(w->coalescer, &network->tap, vni, frame, length);
}

/* UDP and VXLAN headers inside ESP. */
static bool inner_right(const uint8_t* inner, size_t length) {
  return length >= INNER_HEADER && (inner[2] << 8 | inner[3]) == VXLAN_PORT &&
         (size_t)(inner[4] << 8 | inner[5]) == length && (inner[8] & 8);
}

static void received(struct worker* w, struct peer* peer, bool encrypted, const uint8_t* vxlan, uint8_t* frame,
                     size_t length) {
  add_to(w, peer, encrypted ? C_received_encrypted : C_received_plain, 1);
  COUNT(w, peer, received_bytes, length);
  frame_in(w, peer, vxlan, frame, length);
}

static struct security* slot_of(struct peer* peer, uint32_t spi) {
  struct security* last = &peer->receive[peer->receive_last];
  if (last->used && last->spi == spi) return last;
  for (uint8_t i = 0; i < RECEIVE_MAX; i++) {
    if (!peer->receive[i].used || peer->receive[i].spi != spi) continue;
    peer->receive_last = i;
    return &peer->receive[i];
  }
  return NULL;
}

static void encrypted_in(struct worker* w, struct peer* peer, uint32_t spi, uint8_t* packet, size_t length) {
  struct security* sa = slot_of(peer, spi);
  if (length < ESP_HEADER + ESP_IV + 2 + ESP_ICV) {
    COUNT(w, peer, drop_truncated, 1);
    return;
  }
  if (!sa) {
    COUNT(w, peer, drop_no_key, 1);
    event_peer(w, peer, EVENT_UNREADABLE, spi);
    return;
  }
  uint8_t* inner;
  size_t inner_length;
  switch (esp_open(sa, packet, length, &inner, &inner_length)) {
    case OPENED: break;
    case OPEN_SHORT: COUNT(w, peer, drop_truncated, 1); return;
    case OPEN_REPLAY: COUNT(w, peer, drop_replayed, 1); return;
    case OPEN_MALFORMED: COUNT(w, peer, drop_malformed, 1); return;
    case OPEN_FORGED:
      COUNT(w, peer, drop_forged, 1);
      event_peer(w, peer, EVENT_FORGED, spi);
      return;
  }
  if (sa->armed) {
    sa->armed = false;
    event_peer(w, peer, EVENT_READABLE, spi);
  }
  if (!inner_right(inner, inner_length)) {
    COUNT(w, peer, drop_not_vxlan, 1);
    return;
  }
  uint8_t* frame = inner + INNER_HEADER;
  size_t frame_length = inner_length - INNER_HEADER;
  bool tcp = frame_length > 34 && (frame[12] << 8 | frame[13]) == 0x0800   ? frame[23] == IPPROTO_TCP
             : frame_length > 54 && (frame[12] << 8 | frame[13]) == 0x86dd ? frame[20] == IPPROTO_TCP
                                                                           : false;
  *(tcp ? &peer->shared->last_tcp : &peer->shared->last_other) = w->now_ns;
  received(w, peer, true, inner + 8, frame, frame_length);
}

/* True when it may be delivered. `told`: version, fp12 and off as in the SPI of form (b). */
static bool plain_heard(struct worker* w, struct peer* peer, uint32_t told) {
  event_peer(w, peer, EVENT_PLAIN, told & 0x0fffff01);
  if (peer->accept_plain && w->plain_allowed) return true;
  COUNT(w, peer, drop_plain_refused, 1);
  return false;
}

static void wrapped_in(struct worker* w, struct peer* peer, uint32_t spi, uint8_t* packet, size_t length) {
  uint8_t* inner;
  size_t inner_length;
  switch (esp_unwrap(packet, length, &inner, &inner_length)) {
    case OPENED: break;
    case OPEN_SHORT: COUNT(w, peer, drop_truncated, 1); return;
    default: COUNT(w, peer, drop_malformed, 1); return;
  }
  if (!inner_right(inner, inner_length)) {
    COUNT(w, peer, drop_not_vxlan, 1);
    return;
  }
  if (plain_heard(w, peer, spi))
    received(w, peer, false, inner + 8, inner + INNER_HEADER, inner_length - INNER_HEADER);
}

static void skipped_in(struct worker* w, struct peer* peer, uint8_t* packet, size_t length) {
  if (length < 8) {
    COUNT(w, peer, drop_truncated, 1);
    return;
  }
  uint32_t word;
  memcpy(&word, packet, 4);
  word = ntohl(word);
  bool told = word & 8;
  if (word >> 24 != 8 || (!told && (word & 0xffffff))) {
    COUNT(w, peer, drop_unknown_form, 1);
    return;
  }
  if (!told) COUNT(w, peer, plain_unmarked, 1);
  if (plain_heard(w, peer, (word & 0xff0000) << 4 | (word & 0xfff0) << 4 | (word & 1)))
    received(w, peer, false, packet, packet + 8, length - 8);
}

static void packet_in(struct worker* w, struct peer* peer, bool skipped, uint8_t* packet, size_t length) {
  if (!peer) {
    COUNT(w, NULL, drop_unknown_peer, 1);
    return;
  }
  if (skipped) {
    skipped_in(w, peer, packet, length);
    return;
  }
  if (length == 1 && packet[0] == 0xff) return; /* RFC 3948 §2.3: NAT-keepalive */
  if (length < ESP_HEADER) {
    COUNT(w, peer, drop_truncated, 1);
    return;
  }
  uint32_t spi;
  memcpy(&spi, packet, 4);
  spi = ntohl(spi);
  switch (spi >> 28) {
    case RANGE_ENCRYPTED: encrypted_in(w, peer, spi, packet, length); break;
    case RANGE_PLAIN: wrapped_in(w, peer, spi, packet, length); break;
    case RANGE_CONTROL: event_packet(w, peer, packet, length); break;
    default: COUNT(w, peer, drop_unknown_form, 1);
  }
}

void receive_socket(struct worker* w, int socket, bool plain) {
  struct mmsghdr in[RECEIVES];
  struct iovec part[RECEIVES];
  struct sockaddr_in from[RECEIVES];
  _Alignas(struct cmsghdr) uint8_t control[RECEIVES][CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(uint32_t)) + CMSG_SPACE(1)];
  for (int i = 0; i < RECEIVES; i++) {
    part[i] = (struct iovec){w->receive[i], DATAGRAM_MAX};
    in[i].msg_hdr = (struct msghdr){.msg_name = &from[i],
                                    .msg_namelen = sizeof from[i],
                                    .msg_iov = &part[i],
                                    .msg_iovlen = 1,
                                    .msg_control = control[i],
                                    .msg_controllen = sizeof control[i]};
  }
  int count = recvmmsg(socket, in, RECEIVES, MSG_DONTWAIT, NULL);
  for (int i = 0; i < count; i++) {
    size_t length = in[i].msg_len, segment = length;
    w->tos = 0;
    for (struct cmsghdr* cmsg = CMSG_FIRSTHDR(&in[i].msg_hdr); cmsg; cmsg = CMSG_NXTHDR(&in[i].msg_hdr, cmsg)) {
      if (cmsg->cmsg_level == SOL_SOCKET && cmsg->cmsg_type == SO_RXQ_OVFL) {
        uint32_t overflow;
        memcpy(&overflow, CMSG_DATA(cmsg), sizeof overflow);
        COUNT(w, NULL, drop_socket_full, overflow - w->overflow[plain]);
        w->overflow[plain] = overflow;
      }
      if (cmsg->cmsg_level == IPPROTO_IP && cmsg->cmsg_type == IP_TOS) w->tos = *CMSG_DATA(cmsg);
      if (cmsg->cmsg_level != SOL_UDP || cmsg->cmsg_type != UDP_GRO) continue;
      int size;
      memcpy(&size, CMSG_DATA(cmsg), sizeof size);
      if (size > 0) segment = (size_t)size;
    }
    struct peer* peer = peer_find(w, from[i].sin_addr.s_addr);
    if (length == 0) continue;
    for (size_t at = 0; at < length; at += segment) {
      size_t size = length - at < segment ? length - at : segment;
      packet_in(w, peer, plain, w->receive[i] + at, size);
    }
  }
  deliver(w);
}
