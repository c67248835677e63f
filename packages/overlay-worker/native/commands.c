/* What the agent may ask. Every body has one fixed layout; a length that doesn't fit it is EINVAL. */
#define _GNU_SOURCE
#include "control.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

struct settings {
  uint32_t underlay_mtu, fdb_age_s, plain_allowed, plain_vxlan, hold_packets, hold_bytes, hold_ms;
};

struct network_set {
  uint32_t vni, mtu, routed;
  char name[16], bridge[16];
};

/* Every command for a peer begins so; the number guards against a place that has gone to another since. */
struct place {
  uint32_t index, number;
};

struct peer_add {
  struct place place;
  uint32_t address;
};

struct send_set {
  struct place place;
  uint32_t mode, spi, plain_word;
  uint8_t key[36];
};

struct receive_add {
  struct place place;
  uint32_t spi;
  uint8_t key[36];
};

struct with_value {
  struct place place;
  uint32_t value;
};

struct member_set_body {
  struct place place;
  uint32_t vni, in;
};

struct fdb_set {
  struct place place;
  uint32_t vni;
  uint8_t mac[6], set, zero;
};

static int settings(struct worker* w, const struct settings* body) {
  if (body->underlay_mtu < 576 || body->underlay_mtu > 65535) return -EINVAL;
  if (body->plain_vxlan && w->plain < 0) return -ENOTCONN;
  w->underlay_mtu = body->underlay_mtu;
  w->fdb_age_s = body->fdb_age_s;
  w->plain_allowed = body->plain_allowed;
  w->plain_vxlan = body->plain_vxlan;
  w->hold_packets = body->hold_packets;
  w->hold_bytes = body->hold_bytes;
  w->hold_ns = (uint64_t)body->hold_ms * 1000000;
  return 0;
}

static int tap_for(struct worker* w, struct network* network) {
  if (network->tap.fd >= 0) return 0;
  struct tap tap;
  int opened = tap_open(network->name, &tap);
  if (opened < 0) return opened;
  struct epoll_event event = {.events = EPOLLIN, .data.fd = tap.fd};
  if (epoll_ctl(w->epoll, EPOLL_CTL_ADD, tap.fd, &event) < 0) {
    int error = errno;
    close(tap.fd);
    return -error;
  }
  network->tap = tap;
  return 0;
}

static int network_set(struct worker* w, const struct network_set* body) {
  if (body->vni > 0xffffff || body->name[15] || body->bridge[15] || !body->name[0]) return -EINVAL;
  struct network* network = network_find(w, body->vni);
  bool fresh = !network;
  if (fresh) {
    if (!(network = network_make(w, body->vni))) return -ENOSPC;
    memcpy(network->name, body->name, 16);
  } else if (strcmp(network->name, body->name)) {
    return -EEXIST;
  }
  int error = tap_for(w, network);
  if (!error) error = tap_configure(network->name, body->mtu, body->bridge);
  if (error && fresh) network_remove(w, network);
  if (!error) network_route(w, network, body->routed != 0);
  return error;
}

static struct peer* at(struct worker* w, const struct place* place) {
  if (place->index >= PEERS_MAX) return NULL;
  struct peer* peer = &w->peers[place->index];
  return peer->used && peer->number == place->number ? peer : NULL;
}

static int peer_add(struct worker* w, const struct peer_add* body) {
  if (body->place.index >= PEERS_MAX || body->place.number == 0 || body->address == 0) return -EINVAL;
  if (w->peers[body->place.index].used || peer_find(w, body->address)) return -EEXIST;
  peer_make(w, body->place.index, body->place.number, body->address);
  return 0;
}

static int send_set(struct worker* w, const struct send_set* body) {
  struct peer* peer = at(w, &body->place);
  if (!peer) return -ENOENT;
  if (body->mode >= MODE_COUNT) return -EINVAL;
  if (body->mode == MODE_ENCRYPT) {
    if (!security_set(&peer->send, body->spi, body->key, true)) return -ENOMEM;
  } else {
    security_clear(&peer->send);
  }
  if (body->mode == MODE_PLAIN) {
    peer->plain_spi = body->spi;
    peer->plain_word = body->plain_word;
  }
  peer->mode = (uint8_t)body->mode;
  transmit_held(w, peer);
  return 0;
}

static struct security* slot_of(struct peer* peer, uint32_t spi) {
  for (int i = 0; i < RECEIVE_MAX; i++)
    if (peer->receive[i].used && peer->receive[i].spi == spi) return &peer->receive[i];
  return NULL;
}

static int receive_add(struct worker* w, const struct receive_add* body) {
  struct peer* peer = at(w, &body->place);
  if (!peer) return -ENOENT;
  struct security* slot = slot_of(peer, body->spi);
  for (int i = 0; i < RECEIVE_MAX && !slot; i++)
    if (!peer->receive[i].used) slot = &peer->receive[i];
  if (!slot) return -ENOSPC;
  if (!security_set(slot, body->spi, body->key, false)) return -ENOMEM;
  slot->armed = true;
  return 0;
}

static int receive_remove(struct worker* w, const struct with_value* body) {
  struct peer* peer = at(w, &body->place);
  struct security* slot = peer ? slot_of(peer, body->value) : NULL;
  if (!slot) return -ENOENT;
  security_clear(slot);
  return 0;
}

static int receive_arm(struct worker* w, const struct with_value* body) {
  struct peer* peer = at(w, &body->place);
  struct security* slot = peer ? slot_of(peer, body->value) : NULL;
  if (!slot) return -ENOENT;
  slot->armed = true;
  return 0;
}

static int accept_plain(struct worker* w, const struct with_value* body) {
  struct peer* peer = at(w, &body->place);
  if (!peer) return -ENOENT;
  peer->accept_plain = body->value != 0;
  return 0;
}

static int peer_drop(struct worker* w, const struct place* body) {
  struct peer* peer = at(w, body);
  if (!peer) return -ENOENT;
  peer_remove(w, peer);
  return 0;
}

static int memo(struct peer* peer, const uint8_t* bytes, size_t length) {
  if (length > MEMO_MAX) return -EINVAL;
  memcpy(peer->memo, bytes, length);
  peer->memo_length = (uint8_t)length;
  return 0;
}

static int fdb_set(struct worker* w, const struct fdb_set* body) {
  struct network* network = network_find(w, body->vni);
  struct peer* peer = at(w, &body->place);
  if (!network || (body->set && !peer)) return -ENOENT;
  if (body->set) fdb_learn(w, network, body->mac, peer, true);
  else fdb_forget(network, body->mac);
  return 0;
}

static int member(struct worker* w, const struct member_set_body* body) {
  struct network* network = network_find(w, body->vni);
  struct peer* peer = at(w, &body->place);
  if (!network || !peer) return -ENOENT;
  return member_set(network, peer, body->in != 0) < 0 ? -ENOMEM : 0;
}

static int with_number(struct worker* w, uint16_t type, uint32_t number, struct reply* reply) {
  if (type == COMMAND_HELLO) {
    describe_worker(w, reply);
    return number == LAYOUT_VERSION ? 0 : -EPROTO;
  }
  struct network* network = network_find(w, number);
  if (!network) return -ENOENT;
  if (type == COMMAND_NETWORK_DELETE) network_remove(w, network);
  else describe_fdb(w, network, reply);
  return 0;
}

int command(struct worker* w, uint16_t type, const uint8_t* body, size_t length, struct reply* reply) {
#define TAKE(structure, function)                                                                                      \
  {                                                                                                                    \
    struct structure taken;                                                                                            \
    if (length != sizeof taken) return -EINVAL;                                                                        \
    memcpy(&taken, body, sizeof taken);                                                                                \
    int result = function(w, &taken);                                                                                  \
    OPENSSL_cleanse(&taken, sizeof taken);                                                                             \
    return result;                                                                                                     \
  }
  switch (type) {
    case COMMAND_SETTINGS: TAKE(settings, settings)
    case COMMAND_NETWORK_SET: TAKE(network_set, network_set)
    case COMMAND_PEER_ADD: TAKE(peer_add, peer_add)
    case COMMAND_PEER_REMOVE: TAKE(place, peer_drop)
    case COMMAND_SEND_SET: TAKE(send_set, send_set)
    case COMMAND_RECEIVE_ADD: TAKE(receive_add, receive_add)
    case COMMAND_RECEIVE_REMOVE: TAKE(with_value, receive_remove)
    case COMMAND_RECEIVE_ARM: TAKE(with_value, receive_arm)
    case COMMAND_ACCEPT_PLAIN: TAKE(with_value, accept_plain)
    case COMMAND_MEMBER_SET: TAKE(member_set_body, member)
    case COMMAND_FDB_SET: TAKE(fdb_set, fdb_set)
    case COMMAND_PEERS: describe_peers(w, reply); return 0;
    case COMMAND_STOP: w->stop = true; return 0;
    default: break;
  }
#undef TAKE
  if (type == COMMAND_MEMO || type == COMMAND_CONTROL) {
    struct place place;
    if (length < sizeof place) return -EINVAL;
    memcpy(&place, body, sizeof place);
    struct peer* peer = at(w, &place);
    if (!peer) return -ENOENT;
    body += sizeof place;
    length -= sizeof place;
    return type == COMMAND_MEMO ? memo(peer, body, length) : transmit_control(w, peer, body, length);
  }
  if (type != COMMAND_HELLO && type != COMMAND_NETWORK_DELETE && type != COMMAND_FDB_LIST) return -ENOSYS;
  uint32_t number;
  if (length != sizeof number) return -EINVAL;
  memcpy(&number, body, sizeof number);
  return with_number(w, type, number, reply);
}
