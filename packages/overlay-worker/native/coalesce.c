/*
 * Coalescing of decrypted frames for a TAP with IFF_VNET_HDR: consecutive TCP segments, and UDP datagrams of one size, of
 * one flow leave as one GSO frame, under the conditions that the kernel's GRO has (so segmentation gives back what came).
 * A frame's own checksum is verified before it is merged: what an instance sent broken must arrive broken.
 *
 * Nothing is copied: a bundle is the first frame whole and the payloads of the others, for writev().
 */
#include "worker.h"

#include <string.h>

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_PSH 0x08
#define TCP_URG 0x20
#define TCP_ECE 0x40
#define TCP_CWR 0x80

static uint16_t get16(const uint8_t* at) { return (uint16_t)(at[0] << 8 | at[1]); }

static void put16(uint8_t* at, uint16_t value) {
  at[0] = (uint8_t)(value >> 8);
  at[1] = (uint8_t)value;
}

static uint32_t get32(const uint8_t* at) {
  uint32_t value;
  memcpy(&value, at, 4);
  return ntohl(value);
}

void coalesce_reset(struct coalescer* c) {
  c->count = 0;
  for (size_t i = 0; i < FLOWS; i++) c->flow[i] = BUNDLES;
}

static bool checksums_right(const uint8_t* frame, const struct headers* h) {
  const uint8_t* l3 = frame + h->l3;
  const uint8_t* l4 = frame + h->l4;
  uint32_t length = h->end - h->l4;
  if (!h->v6 && fold(sum_bytes(l3, 20, 0)) != 0xffff) return false;
  if (h->protocol == IPPROTO_UDP && (get16(l4 + 6) == 0 || get16(l4 + 4) != length)) return false;
  return fold(sum_bytes(l4, length, sum_pseudo(l3, h->v6, h->protocol, length))) == 0xffff;
}

/* What may be merged at all, as the first or a later part. */
static bool candidate(const struct tap* tap, const uint8_t* frame, size_t length, const struct headers* h) {
  if (h->protocol == IPPROTO_UDP && !tap->uso) return false;
  if (h->end != length || h->end == h->payload) return false;
  if (!h->v6 && h->l4 - h->l3 != 20) return false;
  if (h->protocol == IPPROTO_TCP) {
    uint8_t flags = frame[h->l4 + 13];
    if (flags & (TCP_SYN | TCP_RST | TCP_URG | TCP_CWR)) return false;
  }
  return true;
}

static bool ends(const uint8_t* frame, const struct headers* h) {
  return h->protocol == IPPROTO_TCP && (frame[h->l4 + 13] & (TCP_FIN | TCP_PSH));
}

static bool same_headers(const struct bundle* b, const uint8_t* frame, const struct headers* h) {
  const struct headers* g = &b->headers;
  const uint8_t* first = b->frame;
  if (g->l3 != h->l3 || g->l4 != h->l4 || g->payload != h->payload || g->protocol != h->protocol || g->v6 != h->v6)
    return false;
  if (memcmp(first, frame, h->l3)) return false;
  const uint8_t *p = first + h->l3, *q = frame + h->l3;
  if (h->v6 ? memcmp(p, q, 4) || memcmp(p + 6, q + 6, 34)
            : memcmp(p, q, 2) || memcmp(p + 6, q + 6, 4) || memcmp(p + 12, q + 12, 8))
    return false;
  p = first + h->l4;
  q = frame + h->l4;
  if (memcmp(p, q, 4)) return false;
  if (h->protocol == IPPROTO_UDP) return true;
  if (memcmp(p + 8, q + 8, 5) || memcmp(p + 14, q + 14, 2)) return false; /* acknowledgement, offset, window */
  if (p[13] != (q[13] & (uint8_t)~(TCP_FIN | TCP_PSH))) return false;
  if (memcmp(p + 18, q + 18, (size_t)(h->payload - h->l4 - 18))) return false;
  return get32(q + 4) == b->next_seq;
}

static bool merge(struct bundle* b, uint8_t* frame, const struct headers* h) {
  size_t payload = h->end - h->payload;
  if (payload > b->size || b->parts == BUNDLE_PARTS || b->length + payload - b->headers.l3 > 65535) return false;
  if (!same_headers(b, frame, h)) return false;
  if (!h->v6) {
    /* RFC 6864: the identification of what must not be fragmented means nothing, but it should not be seen to jump. */
    uint16_t id = get16(frame + h->l3 + 4);
    bool fixed = id == get16(b->frame + h->l3 + 4) && (frame[h->l3 + 6] & 0x40);
    if (b->parts == 1) {
      if (!fixed && id != b->next_id) return false;
      b->fixed_id = fixed;
    } else if (b->fixed_id ? !fixed : id != b->next_id) {
      return false;
    }
  }
  if (!checksums_right(frame, h)) return false;
  b->part[b->parts++] = (struct iovec){frame + h->payload, payload};
  b->length += payload;
  b->next_seq += (uint32_t)payload;
  b->next_id++;
  if (h->protocol == IPPROTO_TCP) b->frame[h->l4 + 13] |= frame[h->l4 + 13] & (TCP_FIN | TCP_PSH);
  if (payload < b->size || ends(frame, h)) b->open = false;
  return true;
}

bool coalesce_add(struct coalescer* c, const struct tap* tap, uint32_t vni, uint8_t* frame, size_t length) {
  struct headers h;
  bool known = parse_headers(frame, length, &h);
  uint32_t hash = known ? flow_hash(frame, length, &h) ^ vni * 0x85ebca6bu : 0;
  size_t* slot = &c->flow[(hash ^ hash >> 16) % FLOWS];
  bool may = known && candidate(tap, frame, length, &h);
  if (may && *slot < c->count) {
    struct bundle* b = &c->bundle[*slot];
    if (b->open && b->hash == hash && b->tap == tap->fd && b->vni == vni && merge(b, frame, &h)) return true;
  }
  if (c->count == BUNDLES) return false;
  if (known) *slot = BUNDLES; /* what comes later of this flow must not overtake this frame */
  struct bundle* b = &c->bundle[c->count];
  b->tap = tap->fd;
  b->vni = vni;
  b->frame = frame;
  b->length = length;
  b->parts = 1;
  b->part[0] = (struct iovec){frame, length};
  b->open = false;
  if (may) {
    b->headers = h;
    b->size = h.end - h.payload;
    b->hash = hash;
    b->open = !ends(frame, &h) && checksums_right(frame, &h);
    b->next_seq = h.protocol == IPPROTO_TCP ? get32(frame + h.l4 + 4) + (uint32_t)b->size : 0;
    b->next_id = h.v6 ? 0 : (uint16_t)(get16(frame + h.l3 + 4) + 1);
    if (b->open) *slot = c->count;
  }
  c->count++;
  return true;
}

void bundle_finish(struct bundle* b) {
  memset(&b->hdr, 0, sizeof b->hdr);
  if (b->parts == 1) return;
  const struct headers* h = &b->headers;
  uint8_t* l3 = b->frame + h->l3;
  uint8_t* l4 = b->frame + h->l4;
  uint32_t l4_length = (uint32_t)(b->length - h->l4);
  if (h->v6) {
    put16(l3 + 4, (uint16_t)l4_length);
  } else {
    put16(l3 + 2, (uint16_t)(b->length - h->l3));
    put16(l3 + 10, 0);
    uint16_t sum = (uint16_t)~fold(sum_bytes(l3, 20, 0));
    memcpy(l3 + 10, &sum, 2);
  }
  bool tcp = h->protocol == IPPROTO_TCP;
  if (!tcp) put16(l4 + 4, (uint16_t)l4_length);
  uint16_t sum = fold(sum_pseudo(l3, h->v6, h->protocol, l4_length));
  memcpy(l4 + (tcp ? 16 : 6), &sum, 2);
  b->hdr.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
  b->hdr.gso_type = tcp ? (h->v6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4) : VIRTIO_NET_HDR_GSO_UDP_L4;
  b->hdr.hdr_len = h->payload;
  b->hdr.gso_size = (uint16_t)b->size;
  b->hdr.csum_start = h->l4;
  b->hdr.csum_offset = tcp ? 16 : 6;
}
