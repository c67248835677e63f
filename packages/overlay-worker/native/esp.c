/*
 * ESP (RFC 4303) with AES-256-GCM (RFC 4106) and extended sequence numbers, and ESP without encryption. The IV is the
 * 64-bit sequence number; it comes from a counter of the peer's entry that no change of key sets back.
 */
#include "worker.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/params.h>
#include <string.h>

static void put32(uint8_t* at, uint32_t value) {
  value = htonl(value);
  memcpy(at, &value, 4);
}

static uint32_t get32(const uint8_t* at) {
  uint32_t value;
  memcpy(&value, at, 4);
  return ntohl(value);
}

void security_clear(struct security* sa) {
  EVP_CIPHER_CTX_free(sa->context);
  OPENSSL_cleanse(sa, sizeof *sa);
}

bool security_set(struct security* sa, uint32_t spi, const uint8_t* key, bool encrypt) {
  uint8_t identity[32];
  unsigned length = 0;
  if (EVP_Digest(key, 36, identity, &length, EVP_sha256(), NULL) != 1) return false;
  if (sa->used && sa->spi == spi && CRYPTO_memcmp(identity, sa->identity, 32) == 0) return true;
  EVP_CIPHER_CTX* context = EVP_CIPHER_CTX_new();
  if (!context) return false;
  if (EVP_CipherInit_ex(context, EVP_aes_256_gcm(), NULL, key, NULL, encrypt) != 1) {
    EVP_CIPHER_CTX_free(context);
    return false;
  }
  security_clear(sa);
  sa->spi = spi;
  sa->used = true;
  sa->context = context;
  memcpy(sa->salt, key + 32, 4);
  memcpy(sa->identity, identity, 32);
  return true;
}

size_t esp_length(size_t payload, bool null) {
  size_t text = (payload + 2 + 3) & ~(size_t)3; /* RFC 4303 §2.4 */
  return null ? ESP_HEADER + text : ESP_HEADER + ESP_IV + text + ESP_ICV;
}

/* Padding, its length and the next header. Answers the length with them. */
static size_t close_text(uint8_t* text, size_t payload) {
  size_t padded = (payload + 2 + 3) & ~(size_t)3;
  size_t padding = padded - payload - 2;
  for (size_t i = 0; i < padding; i++) text[payload + i] = (uint8_t)(i + 1);
  text[padded - 2] = (uint8_t)padding;
  text[padded - 1] = IPPROTO_UDP;
  return padded;
}

void esp_wrap(uint32_t spi, uint64_t sequence, uint8_t* packet, size_t payload) {
  put32(packet, spi);
  put32(packet + 4, (uint32_t)sequence);
  close_text(packet + ESP_HEADER, payload);
}

/* Nonce and additional data (RFC 4106 §4, §5) from a packet's SPI and IV. */
static void inputs(const struct security* sa, const uint8_t* packet, uint8_t* nonce, uint8_t* aad) {
  memcpy(nonce, sa->salt, 4);
  memcpy(nonce + 4, packet + ESP_HEADER, ESP_IV);
  memcpy(aad, packet, 4);
  memcpy(aad + 4, packet + ESP_HEADER, ESP_IV);
}

bool esp_seal(struct security* sa, uint64_t sequence, uint8_t* packet, size_t payload) {
  uint8_t* text = packet + ESP_HEADER + ESP_IV;
  size_t padded = close_text(text, payload);
  put32(packet, sa->spi);
  put32(packet + 4, (uint32_t)sequence);
  put32(packet + 8, (uint32_t)(sequence >> 32));
  put32(packet + 12, (uint32_t)sequence);
  uint8_t nonce[12], aad[12];
  inputs(sa, packet, nonce, aad);
  int length;
  /* EVP_CIPHER_CTX_ctrl() makes the same of it, with a search. */
  OSSL_PARAM tag[2] = {
      OSSL_PARAM_construct_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, text + padded, ESP_ICV), OSSL_PARAM_construct_end()};
  return EVP_EncryptInit_ex(sa->context, NULL, NULL, NULL, nonce) == 1 &&
         EVP_EncryptUpdate(sa->context, NULL, &length, aad, sizeof aad) == 1 &&
         EVP_EncryptUpdate(sa->context, text, &length, text, (int)padded) == 1 &&
         EVP_EncryptFinal_ex(sa->context, text + padded, &length) == 1 &&
         EVP_CIPHER_CTX_get_params(sa->context, tag) == 1;
}

static bool replayed(const struct security* sa, uint64_t sequence) {
  if (sequence == 0) return true;
  if (sequence > sa->highest) return false;
  if (sa->highest - sequence >= REPLAY_BITS - 64) return true;
  return sa->window[sequence / 64 % (REPLAY_BITS / 64)] >> (sequence % 64) & 1;
}

/* A ring of words (RFC 6479). */
static void remember(struct security* sa, uint64_t sequence) {
  if (sequence > sa->highest) {
    uint64_t from = sa->highest / 64, to = sequence / 64;
    if (to - from >= REPLAY_BITS / 64) from = to - REPLAY_BITS / 64;
    while (from < to) sa->window[++from % (REPLAY_BITS / 64)] = 0;
    sa->highest = sequence;
  }
  sa->window[sequence / 64 % (REPLAY_BITS / 64)] |= UINT64_C(1) << (sequence % 64);
}

static enum opened trailer(uint8_t* text, size_t padded, uint8_t** payload, size_t* length) {
  if (padded < 2) return OPEN_SHORT;
  size_t padding = text[padded - 2];
  if (padding + 2 > padded || text[padded - 1] != IPPROTO_UDP) return OPEN_MALFORMED;
  *payload = text;
  *length = padded - 2 - padding;
  for (size_t i = 0; i < padding; i++)
    if (text[*length + i] != (uint8_t)(i + 1)) return OPEN_MALFORMED;
  return OPENED;
}

enum opened esp_unwrap(uint8_t* packet, size_t length, uint8_t** payload, size_t* payload_length) {
  if (length < ESP_HEADER + 2) return OPEN_SHORT;
  return trailer(packet + ESP_HEADER, length - ESP_HEADER, payload, payload_length);
}

enum opened esp_open(struct security* sa, uint8_t* packet, size_t length, uint8_t** payload, size_t* payload_length) {
  if (length < ESP_HEADER + ESP_IV + 2 + ESP_ICV) return OPEN_SHORT;
  if (memcmp(packet + 4, packet + 12, 4)) return OPEN_MALFORMED;
  uint64_t sequence = (uint64_t)get32(packet + 8) << 32 | get32(packet + 12);
  if (replayed(sa, sequence)) return OPEN_REPLAY;
  uint8_t nonce[12], aad[12];
  inputs(sa, packet, nonce, aad);
  uint8_t* text = packet + ESP_HEADER + ESP_IV;
  size_t padded = length - ESP_HEADER - ESP_IV - ESP_ICV;
  int done;
  if (EVP_DecryptInit_ex(sa->context, NULL, NULL, NULL, nonce) != 1 ||
      EVP_DecryptUpdate(sa->context, NULL, &done, aad, sizeof aad) != 1 ||
      EVP_DecryptUpdate(sa->context, text, &done, text, (int)padded) != 1 ||
      EVP_CIPHER_CTX_ctrl(sa->context, EVP_CTRL_AEAD_SET_TAG, ESP_ICV, text + padded) != 1 ||
      EVP_DecryptFinal_ex(sa->context, text + padded, &done) != 1)
    return OPEN_FORGED;
  remember(sa, sequence);
  return trailer(text, padded, payload, payload_length);
}
