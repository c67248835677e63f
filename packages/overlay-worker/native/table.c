/* Peers, networks and the MAC addresses behind them. Indices of peers stay theirs until they are removed. */
#include "worker.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char* const counter_names[COUNTER_COUNT] = {
#define X(name) #name,
    COUNTERS(X)
#undef X
};

static uint32_t slot_of(uint32_t address) { return (address * 0x9e3779b1u >> 7) % (PEERS_MAX * 2); }

struct peer* peer_find(struct worker* w, uint32_t address) {
  for (uint32_t slot = slot_of(address); w->peer_index[slot]; slot = (slot + 1) % (PEERS_MAX * 2)) {
    struct peer* peer = &w->peers[w->peer_index[slot] - 1];
    if (peer->address == address) return peer;
  }
  return NULL;
}

static void index_peer(struct worker* w, const struct peer* peer) {
  uint32_t slot = slot_of(peer->address);
  while (w->peer_index[slot]) slot = (slot + 1) % (PEERS_MAX * 2);
  w->peer_index[slot] = peer->index + 1;
}

struct peer* peer_make(struct worker* w, uint32_t index, uint32_t number, uint32_t address) {
  struct peer* peer = &w->peers[index];
  memset(peer, 0, sizeof *peer);
  peer->used = true;
  peer->address = address;
  peer->index = index;
  peer->number = number;
  if (number > w->last_number) w->last_number = number;
  peer->mode = MODE_HOLD;
  peer->held_last = &peer->held_first;
  peer->control_tokens = 20;
  peer->shared = &w->shared->peer[index];
  memset(peer->shared, 0, sizeof *peer->shared);
  peer->shared->number = number;
  index_peer(w, peer);
  return peer;
}

void held_drop_first(struct worker* w, struct peer* peer, enum counter why) {
  struct held* held = peer->held_first;
  peer->held_first = held->next;
  if (!held->next) peer->held_last = &peer->held_first;
  peer->held_size -= (uint32_t)held->length;
  peer->shared->held = --peer->held_count;
  w->held--;
  add_to(w, peer, why, 1);
  free(held);
}

void held_discard(struct worker* w, struct peer* peer) {
  while (peer->held_first) held_drop_first(w, peer, C_drop_hold_discarded);
}

void held_expire(struct worker* w) {
  for (uint32_t i = 0; i < PEERS_MAX && w->held; i++) {
    struct peer* peer = &w->peers[i];
    while (peer->held_first && w->now_ns - peer->held_first->since_ns >= w->hold_ns)
      held_drop_first(w, peer, C_drop_hold_expired);
  }
}

static void fdb_rebuild(struct network* network, uint32_t size, int64_t without_peer);

void peer_remove(struct worker* w, struct peer* peer) {
  held_discard(w, peer);
  security_clear(&peer->send);
  for (int i = 0; i < RECEIVE_MAX; i++) security_clear(&peer->receive[i]);
  for (uint32_t i = 0; i < w->network_count; i++) {
    member_set(w->networks[i], peer, false);
    fdb_rebuild(w->networks[i], w->networks[i]->fdb_size, peer->index);
  }
  peer->used = false;
  peer->address = 0;
  peer->shared->number = 0;
  memset(w->peer_index, 0, sizeof w->peer_index);
  for (uint32_t i = 0; i < PEERS_MAX; i++)
    if (w->peers[i].used) index_peer(w, &w->peers[i]);
}

static uint32_t network_slot(uint32_t vni) { return (vni * 0x9e3779b1u >> 12) % (NETWORKS_MAX * 2); }

struct network* network_find(struct worker* w, uint32_t vni) {
  for (uint32_t slot = network_slot(vni); w->network_index[slot]; slot = (slot + 1) % (NETWORKS_MAX * 2))
    if (w->network_index[slot]->vni == vni) return w->network_index[slot];
  return NULL;
}

static void networks_index(struct worker* w) {
  memset(w->network_index, 0, sizeof w->network_index);
  for (uint32_t i = 0; i < w->network_count; i++) {
    uint32_t slot = network_slot(w->networks[i]->vni);
    while (w->network_index[slot]) slot = (slot + 1) % (NETWORKS_MAX * 2);
    w->network_index[slot] = w->networks[i];
  }
}

struct network* network_make(struct worker* w, uint32_t vni) {
  if (w->network_count == NETWORKS_MAX) return NULL;
  struct network* network = calloc(1, sizeof *network);
  if (!network) return NULL;
  network->vni = vni;
  network->tap.fd = -1;
  network->fdb = calloc(FDB_START, sizeof *network->fdb);
  network->fdb_size = FDB_START;
  if (!network->fdb) {
    free(network);
    return NULL;
  }
  w->networks[w->network_count++] = network;
  networks_index(w);
  return network;
}

void network_remove(struct worker* w, struct network* network) {
  /* What is held for it goes with it. */
  for (uint32_t i = 0; i < PEERS_MAX; i++) {
    struct peer* peer = &w->peers[i];
    if (!peer->used) continue;
    struct held** at = &peer->held_first;
    while (*at) {
      struct held* held = *at;
      if (held->network != network) {
        at = &held->next;
        continue;
      }
      *at = held->next;
      peer->held_size -= (uint32_t)held->length;
      peer->shared->held = --peer->held_count;
      w->held--;
      COUNT(w, peer, drop_hold_discarded, 1);
      free(held);
    }
    peer->held_last = at;
  }
  for (uint32_t i = 0; i < w->network_count; i++)
    if (w->networks[i] == network) w->networks[i] = w->networks[--w->network_count];
  networks_index(w);
  network_route(w, network, false);
  if (network->tap.fd >= 0) close(network->tap.fd);
  free(network->members);
  free(network->fdb);
  free(network);
}

void network_lost(struct worker* w, struct network* network) {
  close(network->tap.fd); /* epoll forgets it */
  network->tap.fd = -1;
  event_network(w, network);
}

bool member_is(const struct network* network, const struct peer* peer) {
  return network->member_bits[peer->index / 64] >> (peer->index % 64) & 1;
}

bool sender_is(const struct network* network, const struct peer* peer) {
  return member_is(network, peer) || (network->routed && peer->routed > 0);
}

void network_route(struct worker* w, struct network* network, bool routed) {
  if (network->routed == routed) return;
  network->routed = routed;
  for (uint32_t i = 0; i < network->member_count; i++) w->peers[network->members[i]].routed += routed ? 1 : -1;
}

int member_set(struct network* network, struct peer* peer, bool in) {
  if (member_is(network, peer) == in) return 0;
  if (in) {
    uint32_t* more = realloc(network->members, (network->member_count + 1) * sizeof *more);
    if (!more) return -1;
    network->members = more;
    more[network->member_count++] = peer->index;
  } else {
    uint32_t at = 0;
    while (network->members[at] != peer->index) at++;
    network->members[at] = network->members[--network->member_count];
    /* What is behind it there was learned of a member. */
    fdb_rebuild(network, network->fdb_size, peer->index);
  }
  if (network->routed) peer->routed += in ? 1 : -1;
  network->member_bits[peer->index / 64] ^= UINT64_C(1) << (peer->index % 64);
  return 0;
}

static uint32_t fdb_slot(const struct network* network, const uint8_t* mac) {
  uint64_t key = 0;
  memcpy(&key, mac, 6);
  return (uint32_t)(key * UINT64_C(0x9e3779b97f4a7c15) >> 40) & (network->fdb_size - 1);
}

struct fdb_entry* fdb_find(struct network* network, const uint8_t* mac) {
  for (uint32_t slot = fdb_slot(network, mac); network->fdb[slot].used; slot = (slot + 1) & (network->fdb_size - 1))
    if (!memcmp(network->fdb[slot].mac, mac, 6)) return &network->fdb[slot];
  return NULL;
}

static struct fdb_entry* fdb_insert(struct network* network, const uint8_t* mac) {
  uint32_t slot = fdb_slot(network, mac);
  while (network->fdb[slot].used) slot = (slot + 1) & (network->fdb_size - 1);
  struct fdb_entry* entry = &network->fdb[slot];
  *entry = (struct fdb_entry){.used = true};
  memcpy(entry->mac, mac, 6);
  network->fdb_count++;
  return entry;
}

/* Open addressing has no simple removal, so what stays is put into a table anew. */
static void fdb_rebuild(struct network* network, uint32_t size, int64_t without_peer) {
  struct fdb_entry* old = network->fdb;
  uint32_t old_size = network->fdb_size;
  struct fdb_entry* fresh = calloc(size, sizeof *fresh);
  if (!fresh) {
    for (uint32_t i = 0; i < old_size; i++)
      if (old[i].used && (int64_t)old[i].peer == without_peer) old[i].peer = FDB_NOBODY;
    return;
  }
  network->fdb = fresh;
  network->fdb_size = size;
  network->fdb_count = 0;
  for (uint32_t i = 0; i < old_size; i++) {
    if (!old[i].used || (int64_t)old[i].peer == without_peer) continue;
    *fdb_insert(network, old[i].mac) = old[i];
  }
  free(old);
}

void fdb_learn(struct worker* w, struct network* network, const uint8_t* mac, struct peer* peer, bool fixed) {
  struct fdb_entry* entry = fdb_find(network, mac);
  if (entry && entry->fixed && !fixed) return;
  if (!entry) {
    if (network->fdb_count * 2 >= network->fdb_size) {
      if (network->fdb_size == FDB_MAX) return; /* unknown destinations are flooded */
      fdb_rebuild(network, network->fdb_size * 2, -1);
      if (network->fdb_count * 2 >= network->fdb_size) return;
    }
    entry = fdb_insert(network, mac);
  }
  entry->peer = peer->index;
  entry->fixed = fixed;
  entry->seen_s = (uint32_t)(w->now_ns / 1000000000);
}

void fdb_forget(struct network* network, const uint8_t* mac) {
  struct fdb_entry* entry = fdb_find(network, mac);
  if (!entry) return;
  entry->peer = FDB_NOBODY;
  fdb_rebuild(network, network->fdb_size, FDB_NOBODY);
}

void fdb_age(struct worker* w, struct network* network) {
  uint32_t now = (uint32_t)(w->now_ns / 1000000000);
  bool any = false;
  for (uint32_t i = 0; i < network->fdb_size; i++) {
    struct fdb_entry* entry = &network->fdb[i];
    if (!entry->used || entry->fixed || now - entry->seen_s < w->fdb_age_s) continue;
    entry->peer = FDB_NOBODY;
    any = true;
  }
  if (any) fdb_rebuild(network, network->fdb_size, FDB_NOBODY);
}
