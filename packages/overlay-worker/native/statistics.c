/* What the agent is told of the worker, as JSON. Never a key: SPIs, counts and times only. */
#define _GNU_SOURCE
#include "control.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

__attribute__((format(printf, 2, 3))) static void put(struct reply* reply, const char* format, ...) {
  for (;;) {
    va_list values;
    va_start(values, format);
    size_t room = reply->room - reply->length;
    int length = vsnprintf(reply->text ? reply->text + reply->length : NULL, room, format, values);
    va_end(values);
    if (length < 0) return;
    if ((size_t)length < room) {
      reply->length += (size_t)length;
      return;
    }
    size_t more = reply->room * 2 + (size_t)length + 1024;
    char* text = realloc(reply->text, more);
    if (!text) return;
    reply->text = text;
    reply->room = more;
  }
}

static void put_address(struct reply* reply, const char* name, uint32_t address) {
  char text[INET_ADDRSTRLEN];
  inet_ntop(AF_INET, &address, text, sizeof text);
  put(reply, "\"%s\":\"%s\"", name, text);
}

void describe_worker(const struct worker* w, struct reply* reply) {
  put(reply, "{\"layout\":%d,\"pid\":%d,\"port\":%u,\"plainPort\":%u,\"plainBound\":%s,\"shared\":\"%s\",\"sharedLength\":%zu,\"places\":%d,\"lastNumber\":%u,",
      LAYOUT_VERSION, (int)getpid(), w->port, w->plain_port, w->plain >= 0 ? "true" : "false", w->shared_path, sizeof *w->shared,
      PEERS_MAX, w->last_number);
  put(reply, "\"sourceFirst\":%u,\"sourceWanted\":%u,\"sourceBound\":%u,", w->source_first, w->source_wanted, w->source_count);
  put_address(reply, "address", w->address);
  put(reply, ",\"counters\":[");
  for (int i = 0; i < COUNTER_COUNT; i++) put(reply, "%s\"%s\"", i ? "," : "", counter_names[i]);
  put(reply, "],\"networks\":[");
  for (uint32_t i = 0; i < w->network_count; i++)
    put(reply, "%s{\"vni\":%u,\"device\":\"%s\"}", i ? "," : "", w->networks[i]->vni, w->networks[i]->name);
  put(reply, "]}");
}

static void put_peer(struct reply* reply, const struct worker* w, const struct peer* peer) {
  static const char* const modes[MODE_COUNT] = {"drop", "hold", "encrypt", "plain"};
  put(reply, "{\"index\":%u,\"number\":%u,", peer->index, peer->number);
  put_address(reply, "address", peer->address);
  put(reply, ",\"mode\":\"%s\",\"spi\":%u,\"acceptPlain\":%s,\"memo\":\"", modes[peer->mode],
      peer->send.used ? peer->send.spi : 0, peer->accept_plain ? "true" : "false");
  for (int i = 0; i < peer->memo_length; i++) put(reply, "%02x", peer->memo[i]);
  put(reply, "\",\"receive\":[");
  const char* comma = "";
  for (int i = 0; i < RECEIVE_MAX; i++) {
    if (!peer->receive[i].used) continue;
    put(reply, "%s%u", comma, peer->receive[i].spi);
    comma = ",";
  }
  put(reply, "],\"networks\":[");
  comma = "";
  for (uint32_t i = 0; i < w->network_count; i++) {
    if (!member_is(w->networks[i], peer)) continue;
    put(reply, "%s%u", comma, w->networks[i]->vni);
    comma = ",";
  }
  put(reply, "]}");
}

void describe_peers(const struct worker* w, struct reply* reply) {
  const char* comma = "";
  put(reply, "[");
  for (uint32_t i = 0; i < PEERS_MAX; i++) {
    if (!w->peers[i].used) continue;
    put(reply, "%s", comma);
    put_peer(reply, w, &w->peers[i]);
    comma = ",";
  }
  put(reply, "]");
}

void describe_fdb(const struct worker* w, const struct network* network, struct reply* reply) {
  const char* comma = "";
  put(reply, "[");
  for (uint32_t i = 0; i < network->fdb_size; i++) {
    const struct fdb_entry* entry = &network->fdb[i];
    if (!entry->used || entry->peer == FDB_NOBODY) continue;
    const uint8_t* m = entry->mac;
    put(reply, "%s{\"mac\":\"%02x:%02x:%02x:%02x:%02x:%02x\",\"fixed\":%s,", comma, m[0], m[1], m[2], m[3], m[4], m[5],
        entry->fixed ? "true" : "false");
    put_address(reply, "peer", w->peers[entry->peer].address);
    put(reply, "}");
    comma = ",";
  }
  put(reply, "]");
}
