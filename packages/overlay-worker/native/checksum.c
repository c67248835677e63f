/* The Internet checksum (RFC 1071): sums in the byte order of the memory, as it allows (§2 (B)). */
#include "worker.h"

#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define WIDE __attribute__((target_clones("avx2", "default"), optimize("O3")))
#else
#define WIDE
#endif

struct unaligned {
  uint32_t word;
} __attribute__((packed, may_alias));

WIDE static uint64_t sum_words(const uint8_t* at, size_t words) {
  const struct unaligned* from = (const struct unaligned*)at;
  uint64_t sum = 0;
  for (size_t i = 0; i < words; i++) sum += from[i].word;
  return sum;
}

#define WORTH_IT 24 /* words; below, calling the wide form takes longer than summing */

uint64_t sum_bytes(const uint8_t* at, size_t length, uint64_t sum) {
  size_t words = length / 4;
  const struct unaligned* from = (const struct unaligned*)at;
  if (words > WORTH_IT) sum += sum_words(at, words);
  else
    for (size_t i = 0; i < words; i++) sum += from[i].word;
  uint32_t rest = 0;
  if (length & 3) memcpy(&rest, at + words * 4, length & 3);
  return sum + rest;
}

/* One pass for two: what is summed is copied anyway, and the source is colder than the cache. */
WIDE static uint64_t copy_words(uint8_t* restrict to, const uint8_t* restrict from, size_t words) {
  struct unaligned* out = (struct unaligned*)to;
  const struct unaligned* in = (const struct unaligned*)from;
  uint64_t sum = 0;
  for (size_t i = 0; i < words; i++) {
    uint32_t word = in[i].word;
    out[i].word = word;
    sum += word;
  }
  return sum;
}

uint64_t sum_copy(uint8_t* to, const uint8_t* from, size_t length, uint64_t sum) {
  size_t words = length / 4;
  sum += copy_words(to, from, words);
  uint32_t rest = 0;
  if (length & 3) {
    memcpy(&rest, from + words * 4, length & 3);
    memcpy(to + words * 4, &rest, length & 3);
  }
  return sum + rest;
}

uint16_t fold(uint64_t sum) {
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return (uint16_t)sum;
}

uint64_t sum_pseudo(const uint8_t* l3, bool v6, uint8_t protocol, uint32_t length) {
  uint64_t sum = v6 ? sum_bytes(l3 + 8, 32, 0) : sum_bytes(l3 + 12, 8, 0);
  return sum + htonl(length) + htonl(protocol);
}
