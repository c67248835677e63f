/*
 * Segmentation of what a TAP gives with IFF_VNET_HDR: TCP (TSO) and UDP (USO, UDP_SEGMENT) frames of up to 64 KB become
 * frames that fit, with lengths, identifications, sequence numbers, flags and checksums as the kernel's own GSO makes
 * them. A TCP segment may be made shorter than the sender asked (the tunnel's overhead is not the sender's concern);
 * a UDP datagram may not.
 */
#include "worker.h"

#include <string.h>

#define TCP_FIN 0x01
#define TCP_PSH 0x08
#define TCP_CWR 0x80

static void put16(uint8_t* at, uint16_t value) {
  at[0] = (uint8_t)(value >> 8);
  at[1] = (uint8_t)value;
}

static uint16_t get16(const uint8_t* at) { return (uint16_t)(at[0] << 8 | at[1]); }

bool cut_begin(struct cut* cut, const struct virtio_net_hdr* hdr, const uint8_t* frame, size_t length, size_t max_frame) {
  cut->frame = frame;
  cut->length = length;
  cut->count = 1;
  cut->gso = false;
  cut->csum_start = 0;
  cut->csum_offset = 0;
  if (length < 14) return false;
  cut->known = parse_headers(frame, length, &cut->headers);
  if (hdr->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
    cut->csum_start = hdr->csum_start;
    cut->csum_offset = hdr->csum_offset;
    if (cut->csum_start < 14 || cut->csum_start + cut->csum_offset + 2 > length) return false;
  }
  uint8_t type = hdr->gso_type & (uint8_t)~VIRTIO_NET_HDR_GSO_ECN;
  if (type == VIRTIO_NET_HDR_GSO_NONE) return true;
  const struct headers* h = &cut->headers;
  if (!cut->known || hdr->gso_size == 0) return false;
  bool tcp = h->protocol == IPPROTO_TCP;
  if (type == VIRTIO_NET_HDR_GSO_TCPV4 ? !tcp || h->v6
      : type == VIRTIO_NET_HDR_GSO_TCPV6 ? !tcp || !h->v6
      : type == VIRTIO_NET_HDR_GSO_UDP_L4 ? tcp
                                          : true)
    return false;
  size_t payload = h->end - h->payload;
  size_t size = hdr->gso_size;
  if (tcp) {
    if (max_frame <= h->payload) return false;
    if (size > max_frame - h->payload) size = max_frame - h->payload;
  }
  cut->gso = true;
  cut->size = size;
  cut->count = payload ? (payload + size - 1) / size : 1;
  return true;
}

static size_t part_of(const struct cut* cut, size_t index) {
  size_t payload = cut->headers.end - cut->headers.payload;
  size_t from = index * cut->size;
  return payload - from < cut->size ? payload - from : cut->size;
}

size_t cut_length(const struct cut* cut, size_t index) {
  return cut->gso ? cut->headers.payload + part_of(cut, index) : cut->length;
}

static void whole(const struct cut* cut, uint8_t* out) {
  size_t start = cut->csum_start ? cut->csum_start : cut->length;
  memcpy(out, cut->frame, start);
  if (start == cut->length) return;
  /* The field holds the pseudo header's sum already. */
  uint16_t sum = (uint16_t)~fold(sum_copy(out + start, cut->frame + start, cut->length - start, 0));
  /* 0 means "none" in UDP (RFC 768); for TCP 0xffff is the same number. */
  if (sum == 0) sum = 0xffff;
  memcpy(out + cut->csum_start + cut->csum_offset, &sum, 2);
}

void cut_write(const struct cut* cut, size_t index, uint8_t* out) {
  if (!cut->gso) {
    whole(cut, out);
    return;
  }
  const struct headers* h = &cut->headers;
  size_t part = part_of(cut, index);
  memcpy(out, cut->frame, h->payload);
  uint8_t* l3 = out + h->l3;
  uint8_t* l4 = out + h->l4;
  uint32_t l4_length = (uint32_t)(h->payload - h->l4 + part);
  if (h->v6) {
    put16(l3 + 4, (uint16_t)l4_length);
  } else {
    put16(l3 + 2, (uint16_t)(h->payload - h->l3 + part));
    put16(l3 + 4, (uint16_t)(get16(l3 + 4) + index));
    put16(l3 + 10, 0);
    uint16_t sum = (uint16_t)~fold(sum_bytes(l3, (size_t)(h->l4 - h->l3), 0));
    memcpy(l3 + 10, &sum, 2);
  }
  size_t field;
  if (h->protocol == IPPROTO_TCP) {
    uint32_t sequence;
    memcpy(&sequence, l4 + 4, 4);
    sequence = htonl(ntohl(sequence) + (uint32_t)(index * cut->size));
    memcpy(l4 + 4, &sequence, 4);
    if (index + 1 < cut->count) l4[13] &= (uint8_t)~(TCP_FIN | TCP_PSH);
    if (index > 0) l4[13] &= (uint8_t)~TCP_CWR; /* RFC 3168 §6.1.2: once */
    field = 16;
  } else {
    put16(l4 + 4, (uint16_t)l4_length);
    field = 6;
  }
  memset(l4 + field, 0, 2);
  /* TCP's header and UDP's have an even length, so the payload's sum needs no turning round (RFC 1071 §2). */
  uint64_t sum = sum_bytes(l4, h->payload - h->l4, sum_pseudo(l3, h->v6, h->protocol, l4_length));
  sum = sum_copy(out + h->payload, cut->frame + h->payload + index * cut->size, part, sum);
  uint16_t check = (uint16_t)~fold(sum);
  if (check == 0 && h->protocol == IPPROTO_UDP) check = 0xffff;
  memcpy(l4 + field, &check, 2);
}
