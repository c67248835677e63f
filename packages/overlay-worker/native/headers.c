/* Where the headers of a frame stand. */
#include "worker.h"

#include <string.h>

static uint16_t be16(const uint8_t* at) { return (uint16_t)(at[0] << 8 | at[1]); }

bool parse_headers(const uint8_t* frame, size_t length, struct headers* out) {
  size_t at = 12;
  uint16_t type = 0;
  for (int tags = 0; tags <= 2; tags++, at += 4) {
    if (at + 2 > length) return false;
    type = be16(frame + at);
    if (type != 0x8100 && type != 0x88a8) break;
  }
  at += 2;
  const uint8_t* l3 = frame + at;
  out->l3 = (uint16_t)at;
  if (type == 0x0800) {
    if (at + 20 > length || l3[0] >> 4 != 4) return false;
    size_t header = (size_t)(l3[0] & 15) * 4;
    size_t total = be16(l3 + 2);
    /* A GSO frame of 64 KB and more has no room for its length: 0. */
    if (total == 0) total = length - at;
    if (header < 20 || total < header || at + total > length || (be16(l3 + 6) & 0x3fff)) return false;
    out->protocol = l3[9];
    out->l4 = (uint16_t)(at + header);
    out->end = (uint32_t)(at + total);
    out->v6 = false;
  } else if (type == 0x86dd) {
    if (at + 40 > length || l3[0] >> 4 != 6) return false;
    size_t payload = be16(l3 + 4);
    if (payload == 0) payload = length - at - 40;
    if (at + 40 + payload > length) return false;
    out->protocol = l3[6];
    out->l4 = (uint16_t)(at + 40);
    out->end = (uint32_t)(at + 40 + payload);
    out->v6 = true;
  } else {
    return false;
  }
  const uint8_t* l4 = frame + out->l4;
  size_t room = out->end - out->l4;
  if (out->protocol == IPPROTO_TCP) {
    if (room < 20) return false;
    size_t header = (size_t)(l4[12] >> 4) * 4;
    if (header < 20 || header > room) return false;
    out->payload = (uint16_t)(out->l4 + header);
    return true;
  }
  if (out->protocol == IPPROTO_UDP) {
    if (room < 8) return false;
    out->payload = (uint16_t)(out->l4 + 8);
    return true;
  }
  return false;
}

static uint32_t mix(uint32_t hash, const uint8_t* at, size_t words) {
  for (size_t i = 0; i < words; i++) {
    uint32_t word;
    memcpy(&word, at + i * 4, 4);
    hash = (hash ^ word) * 0x9e3779b1u;
    hash ^= hash >> 15;
  }
  return hash;
}

uint32_t flow_hash(const uint8_t* frame, size_t length, const struct headers* headers) {
  if (!headers) return length >= 12 ? mix(0x811c9dc5u, frame, 3) : 0;
  const uint8_t* l3 = frame + headers->l3;
  uint32_t hash = headers->v6 ? mix(headers->protocol, l3 + 8, 8) : mix(headers->protocol, l3 + 12, 2);
  return mix(hash, frame + headers->l4, 1);
}
