#ifndef OVERLAY_WORKER_CONTROL_H
#define OVERLAY_WORKER_CONTROL_H

#include "worker.h"

#define LAYOUT_VERSION 3

enum message_type {
  COMMAND_HELLO = 1,
  COMMAND_SETTINGS,
  COMMAND_NETWORK_SET,
  COMMAND_NETWORK_DELETE,
  COMMAND_PEER_ADD,
  COMMAND_PEER_REMOVE,
  COMMAND_SEND_SET,
  COMMAND_RECEIVE_ADD,
  COMMAND_RECEIVE_REMOVE,
  COMMAND_RECEIVE_ARM,
  COMMAND_ACCEPT_PLAIN,
  COMMAND_MEMO,
  COMMAND_CONTROL,
  COMMAND_MEMBER_SET,
  COMMAND_FDB_SET,
  COMMAND_FDB_LIST,
  COMMAND_PEERS,
  COMMAND_STOP,
  MESSAGE_RESULT = 0x81,
  MESSAGE_EVENT,
  MESSAGE_PACKET,
};

/* JSON for the agent; `text` is to be freed. */
struct reply {
  char* text;
  size_t length, room;
};

/* 0 or a negated errno. `body` may hold a key: the caller wipes it. */
int command(struct worker* w, uint16_t type, const uint8_t* body, size_t length, struct reply* reply);

/* statistics.c */
void describe_worker(const struct worker* w, struct reply* reply);
void describe_peers(const struct worker* w, struct reply* reply);
void describe_fdb(const struct worker* w, const struct network* network, struct reply* reply);

#endif
