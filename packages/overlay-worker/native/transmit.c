/* From a TAP to the underlay: who gets a frame, in which form, or that it waits. */
#define _GNU_SOURCE
#include "worker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* One turn takes at most this from a TAP before others have theirs. */
#define TURN_FRAMES 64
#define TURN_BYTES (512 * 1024)

static void put16(uint8_t* at, uint16_t value) {
  at[0] = (uint8_t)(value >> 8);
  at[1] = (uint8_t)value;
}

static void vxlan_header(uint8_t* at, uint32_t word, uint32_t vni, uint8_t last) {
  word = htonl(word);
  memcpy(at, &word, 4);
  vni = htonl(vni << 8 | last);
  memcpy(at + 4, &vni, 4);
}

enum shape { ENCRYPTED, WRAPPED, SKIPPED }; /* forms (a), (b), (c) */

static size_t most(const struct worker* w, enum shape shape) {
  size_t udp = w->underlay_mtu - 28;
  if (shape == SKIPPED) return udp - 8;
  size_t fixed = shape == ENCRYPTED ? ESP_HEADER + ESP_IV + ESP_ICV : ESP_HEADER;
  return ((udp - fixed) & ~(size_t)3) - 2 - INNER_HEADER;
}

static void send_to(struct worker* w, struct network* network, struct peer* peer, const struct virtio_net_hdr* hdr,
                    const uint8_t* frame, size_t length) {
  enum shape shape = peer->mode == MODE_ENCRYPT ? ENCRYPTED : w->plain_vxlan ? SKIPPED : WRAPPED;
  struct cut cut;
  if (shape != ENCRYPTED && !w->plain_allowed) {
    COUNT(w, peer, drop_plain_forbidden, 1);
    return;
  }
  if (!cut_begin(&cut, hdr, frame, length, most(w, shape))) {
    COUNT(w, peer, drop_frame_malformed, 1);
    return;
  }
  uint32_t hash = flow_hash(frame, length, cut.known ? &cut.headers : NULL);
  uint16_t port = (uint16_t)(0xc000 | (hash >> 16 & 0x3fff));
  struct way way = {.peer = peer, .plain = shape == SKIPPED, .tos = frame_tos(frame, length)};
  if (w->source_count) way.source = (uint8_t)((hash ^ hash >> 16) % w->source_count);
  uint64_t bytes = 0, packets = 0;
  for (size_t i = 0; i < cut.count; i++) {
    size_t size = cut_length(&cut, i), inside = INNER_HEADER + size;
    size_t total = shape == SKIPPED ? 8 + size : esp_length(inside, shape == WRAPPED);
    if (total > DATAGRAM_MAX) {
      COUNT(w, peer, drop_too_long, 1);
      continue;
    }
    uint8_t* at = outgoing_room(w, &way, total);
    uint64_t sequence = ++peer->sequence;
    bytes += size;
    packets++;
    if (shape == SKIPPED) {
      vxlan_header(at, peer->plain_word, network->vni, 0);
      cut_write(&cut, i, at + 8);
      continue;
    }
    uint8_t* inner = at + (shape == WRAPPED ? ESP_HEADER : ESP_HEADER + ESP_IV);
    put16(inner, port);
    put16(inner + 2, VXLAN_PORT);
    put16(inner + 4, (uint16_t)inside);
    put16(inner + 6, 0); /* RFC 7348 §5: should be zero */
    vxlan_header(inner + 8, 0x08000000, network->vni, 0);
    cut_write(&cut, i, inner + INNER_HEADER);
    if (shape == WRAPPED) {
      esp_wrap(peer->plain_spi, sequence, at, inside);
    } else if (!esp_seal(&peer->send, sequence, at, inside)) {
      memset(at, 0, total); /* nothing readable may leave */
      COUNT(w, peer, drop_cipher, 1);
      packets--;
      bytes -= size;
    }
  }
  peer->shared->sequence = peer->sequence;
  add_to(w, peer, shape == ENCRYPTED ? C_sent_encrypted : C_sent_plain, packets);
  COUNT(w, peer, sent_bytes, bytes);
  COUNT(w, peer, sent_frames, 1);
}

static void hold(struct worker* w, struct network* network, struct peer* peer, const struct virtio_net_hdr* hdr,
                 const uint8_t* frame, size_t length) {
  while (peer->held_first && (peer->held_count >= w->hold_packets || peer->held_size + length > w->hold_bytes))
    held_drop_first(w, peer, C_drop_hold_full);
  struct held* held = length <= w->hold_bytes && w->hold_packets ? malloc(sizeof *held + length) : NULL;
  if (!held) {
    COUNT(w, peer, drop_hold_full, 1);
    return;
  }
  bool first = !peer->held_first;
  *held = (struct held){.network = network, .since_ns = w->now_ns, .length = length, .hdr = *hdr};
  memcpy(held->frame, frame, length);
  *peer->held_last = held;
  peer->held_last = &held->next;
  peer->shared->held = ++peer->held_count;
  peer->held_size += (uint32_t)length;
  w->held++;
  COUNT(w, peer, held, 1);
  if (first) event_peer(w, peer, EVENT_HELD, 0);
}

static void one(struct worker* w, struct network* network, struct peer* peer, const struct virtio_net_hdr* hdr,
                const uint8_t* frame, size_t length) {
  peer->shared->last_sent = w->now_ns;
  if (peer->mode > MODE_HOLD) send_to(w, network, peer, hdr, frame, length);
  else if (peer->mode == MODE_HOLD) hold(w, network, peer, hdr, frame, length);
  else COUNT(w, peer, drop_by_mode, 1);
}

void transmit_frame(struct worker* w, struct network* network, const struct virtio_net_hdr* hdr, const uint8_t* frame,
                    size_t length) {
  if (length < 14) {
    COUNT(w, NULL, drop_frame_malformed, 1);
    return;
  }
  if (!(frame[0] & 1)) {
    const struct fdb_entry* entry = fdb_find(network, frame);
    if (entry && entry->peer != FDB_NOBODY) {
      one(w, network, &w->peers[entry->peer], hdr, frame, length);
      return;
    }
  }
  if (network->member_count == 0) COUNT(w, NULL, drop_no_member, 1);
  for (uint32_t i = 0; i < network->member_count; i++)
    one(w, network, &w->peers[network->members[i]], hdr, frame, length);
}

void transmit_held(struct worker* w, struct peer* peer) {
  if (peer->mode == MODE_DROP) held_discard(w, peer);
  if (peer->mode <= MODE_HOLD) return;
  while (peer->held_first) {
    const struct held* held = peer->held_first;
    send_to(w, held->network, peer, &held->hdr, held->frame, held->length);
    held_drop_first(w, peer, C_held_released);
  }
  outgoing_flush(w);
}

void transmit_tap(struct worker* w, struct network* network) {
  size_t bytes = 0;
  for (int frames = 0; frames < TURN_FRAMES && bytes < TURN_BYTES; frames++) {
    struct virtio_net_hdr hdr;
    struct iovec parts[2] = {{&hdr, sizeof hdr}, {w->frame, FRAME_ROOM}};
    ssize_t length = readv(network->tap.fd, parts, 2);
    if (length < 0) {
      if (errno == EAGAIN || errno == EINTR) break;
      outgoing_flush(w);
      network_lost(w, network); /* EBADFD: somebody has deleted the device */
      return;
    }
    if ((size_t)length < sizeof hdr) continue;
    bytes += (size_t)length;
    transmit_frame(w, network, &hdr, w->frame, (size_t)length - sizeof hdr);
  }
  outgoing_flush(w);
}

int transmit_control(struct worker* w, struct peer* peer, const uint8_t* bytes, size_t length) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(w->port), .sin_addr.s_addr = peer->address};
  if (sendto(w->udp, bytes, length, 0, (struct sockaddr*)&to, sizeof to) < 0) {
    COUNT(w, peer, drop_sending, 1);
    return -errno;
  }
  COUNT(w, peer, control_sent, 1);
  return 0;
}
