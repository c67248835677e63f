/*
 * DSCP and ECN between the inner and the outer header (RFC 2983 §3, RFC 6040). Going out, both are copied: the "normal
 * mode" of RFC 6040 §4.1. Coming in, the inner DSCP stays and the ECN field follows the table of §4.2.
 */
#include "worker.h"

#include <string.h>

#define NOT_ECT 0
#define ECT1 1
#define ECT0 2
#define CE 3

/* Offset of the IP header, up to two VLAN tags deep; 0: none. */
static size_t ip_header(const uint8_t* frame, size_t length, bool* v6) {
  size_t at = 12;
  for (int tags = 0; tags <= 2 && at + 2 <= length; tags++, at += 4) {
    uint16_t type = (uint16_t)(frame[at] << 8 | frame[at + 1]);
    if (type == 0x8100 || type == 0x88a8) continue;
    *v6 = type == 0x86dd;
    size_t room = type == 0x0800 ? 20 : type == 0x86dd ? 40 : SIZE_MAX;
    at += 2;
    if (room > length || at + room > length || frame[at] >> 4 != (*v6 ? 6 : 4)) return 0;
    return at;
  }
  return 0;
}

uint8_t frame_tos(const uint8_t* frame, size_t length) {
  bool v6;
  size_t at = ip_header(frame, length, &v6);
  if (!at) return 0;
  return v6 ? (uint8_t)(frame[at] << 4 | frame[at + 1] >> 4) : frame[at + 1];
}

static void mark(uint8_t* l3, bool v6, uint8_t ecn) {
  if (v6) {
    l3[1] = (uint8_t)((l3[1] & 0xcf) | ecn << 4);
    return;
  }
  uint16_t before, after, check;
  memcpy(&before, l3, 2);
  l3[1] = (uint8_t)((l3[1] & 0xfc) | ecn);
  memcpy(&after, l3, 2);
  memcpy(&check, l3 + 10, 2);
  /* RFC 1624 §3, [Eqn. 3]: a wrong sum stays wrong. */
  check = (uint16_t)~fold((uint64_t)(uint16_t)~check + (uint16_t)~before + after);
  memcpy(l3 + 10, &check, 2);
}

bool ecn_decapsulate(uint8_t* frame, size_t length, uint8_t outer) {
  outer &= 3;
  if (outer != CE && outer != ECT1) return true; /* the inner field stays, whatever it is */
  bool v6;
  size_t at = ip_header(frame, length, &v6);
  if (!at) return true;
  uint8_t inner = (uint8_t)(v6 ? frame[at + 1] >> 4 & 3 : frame[at + 1] & 3);
  if (inner == NOT_ECT) return outer != CE;
  if (inner != CE && inner != outer) mark(frame + at, v6, outer);
  return true;
}
