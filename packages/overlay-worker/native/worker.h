#ifndef OVERLAY_WORKER_H
#define OVERLAY_WORKER_H

#include <linux/virtio_net.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* Largest frame of a TAP (64 KB of GSO and its headers) and largest UDP payload over IPv4. */
#define FRAME_ROOM (65536 + 256)
#define DATAGRAM_MAX 65507
/* UDP_MAX_SEGMENTS of older kernels. */
#define SEGMENTS_MAX 64

#define ESP_HEADER 8
#define ESP_IV 8
#define ESP_ICV 16
#define INNER_HEADER 16 /* UDP and VXLAN */
#define VXLAN_PORT 4789
#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif
/* Upper four bits of an SPI (docs/encryption.md). */
#define RANGE_ENCRYPTED 8
#define RANGE_PLAIN 9
#define RANGE_CONTROL 10

/* checksum.c (RFC 1071) */

/* Sum of big-endian words as found in memory, not folded; `length` may be odd. */
uint64_t sum_bytes(const uint8_t* at, size_t length, uint64_t sum);
/* The same while copying. */
uint64_t sum_copy(uint8_t* to, const uint8_t* from, size_t length, uint64_t sum);
uint16_t fold(uint64_t sum);
/* Pseudo header of IPv4 (RFC 793) or IPv6 (RFC 8200 §8.1) at `l3`. */
uint64_t sum_pseudo(const uint8_t* l3, bool v6, uint8_t protocol, uint32_t length);

/* headers.c */

struct headers {
  uint16_t l3;       /* offset of the IP header */
  uint16_t l4;       /* offset of TCP or UDP */
  uint16_t payload;  /* offset behind TCP's or UDP's header */
  uint32_t end;      /* end of the IP packet in the frame */
  uint8_t protocol;  /* IPPROTO_TCP, IPPROTO_UDP */
  bool v6;
};

/* True for unfragmented TCP or UDP over IPv4 or IPv6 without extension headers, up to two VLAN tags deep. */
bool parse_headers(const uint8_t* frame, size_t length, struct headers* out);
/* Entropy of a flow, for the inner UDP source port (RFC 7348 §5). */
uint32_t flow_hash(const uint8_t* frame, size_t length, const struct headers* headers);

/* congestion.c */

/* DSCP and ECN of the IP packet in a frame; 0: no IP. */
uint8_t frame_tos(const uint8_t* frame, size_t length);
/* Gives the frame the ECN field that follows from both headers. False: RFC 6040 §4.2 has it dropped. `outer`: a TOS. */
bool ecn_decapsulate(uint8_t* frame, size_t length, uint8_t outer);

/* segment.c: what a kernel's GSO does, for frames that come from a TAP. */

struct cut {
  const uint8_t* frame;
  size_t length;
  struct headers headers;
  size_t size;   /* payload of each segment but the last */
  size_t count;  /* 1 when the frame stays whole */
  bool known;    /* headers are valid */
  bool gso;
  size_t csum_start, csum_offset; /* csum_start 0: the checksum is there already */
};

/* `max_frame`: no TCP segment becomes longer than this. False: the headers contradict each other. */
bool cut_begin(struct cut* cut, const struct virtio_net_hdr* hdr, const uint8_t* frame, size_t length, size_t max_frame);
size_t cut_length(const struct cut* cut, size_t index);
void cut_write(const struct cut* cut, size_t index, uint8_t* out);

/* coalesce.c: what a kernel's GRO does, for frames that go to a TAP. */

#define BUNDLE_PARTS 65
#define BUNDLES 512
#define FLOWS 32

struct tap {
  int fd;   /* -1: none */
  bool uso; /* takes large frames of UDP (Linux 6.2) */
};

struct bundle {
  int tap; /* fd */
  uint32_t vni;
  struct virtio_net_hdr hdr;
  uint8_t* frame; /* headers of the first; changed in place */
  struct headers headers;
  struct iovec part[BUNDLE_PARTS]; /* [0] the first frame whole, then payloads */
  size_t parts;
  size_t length;     /* of the frame that comes out */
  size_t size;       /* payload of the first */
  uint32_t next_seq; /* TCP */
  uint16_t next_id;  /* IPv4 identification */
  bool fixed_id;
  uint32_t hash;
  bool open;
};

struct coalescer {
  size_t count;
  size_t flow[FLOWS]; /* bundles still open, by flow hash */
  struct bundle bundle[BUNDLES];
};

void coalesce_reset(struct coalescer* c);
/* False when full. `frame` must stay until the bundles have been written. */
bool coalesce_add(struct coalescer* c, const struct tap* tap, uint32_t vni, uint8_t* frame, size_t length);
/* Sets lengths, checksums and hdr. Once per bundle. */
void bundle_finish(struct bundle* bundle);

/* esp.c */

#define REPLAY_BITS 4096

/* One traffic key. */
struct security {
  uint32_t spi;
  bool used, armed;
  EVP_CIPHER_CTX* context;
  uint8_t salt[4];
  uint8_t identity[32]; /* SHA-256 of key and salt */
  uint64_t highest;     /* receiving */
  uint64_t window[REPLAY_BITS / 64];
};

/* `key`: 32 octets and 4 of salt. The same again changes nothing. */
bool security_set(struct security* sa, uint32_t spi, const uint8_t* key, bool encrypt);
void security_clear(struct security* sa);
size_t esp_length(size_t payload, bool null);
/* `packet` holds `payload` octets behind ESP_HEADER (and ESP_IV); the rest is filled in. */
bool esp_seal(struct security* sa, uint64_t sequence, uint8_t* packet, size_t payload);
void esp_wrap(uint32_t spi, uint64_t sequence, uint8_t* packet, size_t payload);

enum opened { OPENED, OPEN_SHORT, OPEN_REPLAY, OPEN_FORGED, OPEN_MALFORMED };
/* Decrypts in place. */
enum opened esp_open(struct security* sa, uint8_t* packet, size_t length, uint8_t** payload, size_t* payload_length);
enum opened esp_unwrap(uint8_t* packet, size_t length, uint8_t** payload, size_t* payload_length);

/* table.c */

/* What begins with drop_ is a packet that went no further. */
#define COUNTERS(X)                                                                                                    \
  X(sent_encrypted) X(sent_plain) X(sent_bytes) X(received_encrypted) X(received_plain) X(received_bytes)              \
  X(sent_frames) X(received_frames) X(fragmented) X(held) X(held_released) X(control_sent) X(control_received)         \
  X(plain_unmarked) X(sent_one_by_one) X(events_lost)                                                                  \
  X(drop_unknown_peer) X(drop_truncated) X(drop_unknown_form) X(drop_control_overflow) X(drop_no_key)                  \
  X(drop_malformed) X(drop_replayed) X(drop_forged) X(drop_plain_refused) X(drop_plain_forbidden)                      \
  X(drop_no_member) X(drop_hold_full) X(drop_hold_expired) X(drop_hold_discarded) X(drop_by_mode) X(drop_sending)      \
  X(drop_cipher) X(drop_frame_malformed) X(drop_too_long) X(drop_not_vxlan) X(drop_network_unknown)                    \
  X(drop_wrong_network) X(drop_ecn) X(drop_tap) X(drop_socket_full)

enum counter {
#define X(name) C_##name,
  COUNTERS(X)
#undef X
  COUNTER_COUNT
};

enum mode { MODE_DROP, MODE_HOLD, MODE_ENCRYPT, MODE_PLAIN, MODE_COUNT };

#define PEERS_MAX 4096
#define NETWORKS_MAX 1024
#define RECEIVE_MAX 32
#define MEMO_MAX 128
#define REPORTS 4

/* What the agent reads without asking, mapped from a file. Never a key. Times are CLOCK_MONOTONIC, ns; 0: never. */
struct shared_peer {
  uint64_t number; /* 0: free */
  uint64_t sequence, held, last_sent, last_tcp, last_other;
  uint64_t counters[COUNTER_COUNT];
};

struct shared {
  uint64_t layout, counters_each;
  uint64_t counters[COUNTER_COUNT];
  struct shared_peer peer[PEERS_MAX];
};

struct held {
  struct held* next;
  struct network* network;
  uint64_t since_ns;
  size_t length;
  struct virtio_net_hdr hdr;
  uint8_t frame[];
};

/* An event that was told, so that it is not told again too soon. */
struct report {
  uint64_t at_ns;
  uint32_t kind, word;
};

struct peer {
  uint32_t address; /* network order */
  uint32_t index;
  uint32_t number;
  bool used;
  uint8_t mode;
  bool accept_plain;
  uint64_t sequence; /* last used; goes on whatever the key */
  uint32_t plain_spi;  /* form (b) */
  uint32_t plain_word; /* form (c): the first word of the VXLAN header */
  uint8_t memo_length;
  uint8_t memo[MEMO_MAX];
  struct security send;
  struct security receive[RECEIVE_MAX];
  uint8_t receive_last; /* the slot that the last packet was for */
  struct held *held_first, **held_last;
  uint32_t held_count, held_size;
  uint32_t routed; /* in how many routed networks it is a member */
  struct shared_peer* shared;
  double control_tokens;
  uint64_t control_ns;
  struct report report[REPORTS];
  uint32_t next_report;
};

struct fdb_entry {
  uint8_t mac[6];
  bool used, fixed;
  uint32_t peer; /* index, or FDB_NOBODY */
  uint32_t seen_s;
};

/* Forgotten, and there was no memory to make the table anew without it: as good as unknown. */
#define FDB_NOBODY UINT32_MAX
#define FDB_START 256
#define FDB_MAX 65536

struct network {
  uint32_t vni;
  struct tap tap;
  char name[16];
  bool routed; /* to the other routed ones: what their members send comes under this VNI */
  uint32_t member_count;
  uint32_t* members; /* indices of peers */
  uint64_t member_bits[PEERS_MAX / 64];
  struct fdb_entry* fdb;
  uint32_t fdb_size, fdb_count;
};

struct way {
  struct peer* peer;
  uint8_t source; /* index of a source port */
  uint8_t tos;
  bool plain; /* form (c) */
};

struct message {
  struct way way;
  uint8_t* bytes;
  size_t length, segment, count;
  bool closed;
};

#define MESSAGES 32
#define SOURCES_MAX 64
#define RECEIVES 16

struct worker {
  int epoll, udp, plain, listener, connection;
  uint32_t address; /* network order */
  uint16_t port, plain_port;
  uint16_t source_first, source_wanted; /* as asked for */
  uint8_t source_count;                 /* 0: `udp` and `plain` send */
  int source[SOURCES_MAX];
  uint32_t underlay_mtu;
  uint32_t fdb_age_s;
  uint64_t now_ns, started_ns;
  bool stop, plain_allowed, plain_vxlan;
  uint32_t hold_packets, hold_bytes;
  uint64_t hold_ns;
  uint32_t held; /* packets of all peers */
  uint32_t overflow[2]; /* SO_RXQ_OVFL as last seen: ESP, plain */
  uint32_t last_number;
  struct shared* shared;
  char shared_path[128];
  struct peer* peers;
  uint32_t peer_index[PEERS_MAX * 2]; /* open addressing by address; 0: empty, else index + 1 */
  struct network* networks[NETWORKS_MAX];
  uint32_t network_count;
  struct network* network_index[NETWORKS_MAX * 2]; /* open addressing by VNI */
  /* sending */
  uint8_t* frame;
  struct message message[MESSAGES];
  size_t messages;
  /* receiving */
  uint8_t* receive[RECEIVES];
  uint8_t tos; /* of the outer header of what is being taken apart */
  struct coalescer* coalescer;
  /* control */
  uint8_t *in, *out;
  size_t in_length, out_length, out_sent;
};

static inline void add_to(struct worker* w, struct peer* peer, enum counter counter, uint64_t by) {
  w->shared->counters[counter] += by;
  if (peer) peer->shared->counters[counter] += by;
}
#define COUNT(worker, peer, name, by) add_to(worker, peer, C_##name, by)

extern const char* const counter_names[COUNTER_COUNT];
struct peer* peer_find(struct worker* w, uint32_t address);
/* At a free index, with a free address. */
struct peer* peer_make(struct worker* w, uint32_t index, uint32_t number, uint32_t address);
void peer_remove(struct worker* w, struct peer* peer);
struct network* network_find(struct worker* w, uint32_t vni);
struct network* network_make(struct worker* w, uint32_t vni);
/* Its TAP is gone; the rest stays. */
void network_lost(struct worker* w, struct network* network);
void network_remove(struct worker* w, struct network* network);
bool member_is(const struct network* network, const struct peer* peer);
bool sender_is(const struct network* network, const struct peer* peer);
int member_set(struct network* network, struct peer* peer, bool in);
void network_route(struct worker* w, struct network* network, bool routed);
struct fdb_entry* fdb_find(struct network* network, const uint8_t* mac);
void fdb_learn(struct worker* w, struct network* network, const uint8_t* mac, struct peer* peer, bool fixed);
void fdb_forget(struct network* network, const uint8_t* mac);
void fdb_age(struct worker* w, struct network* network);
void held_drop_first(struct worker* w, struct peer* peer, enum counter why);
void held_discard(struct worker* w, struct peer* peer);
void held_expire(struct worker* w);

/* tap.c: results below zero are negated errnos */

int tap_open(const char* name, struct tap* tap);
int tap_configure(const char* name, uint32_t mtu, const char* bridge);

/* outgoing.c */

/* Room for one packet of `size` bytes. It leaves with outgoing_flush(). */
uint8_t* outgoing_room(struct worker* w, const struct way* way, size_t size);
void outgoing_flush(struct worker* w);

/* transmit.c */

void transmit_frame(struct worker* w, struct network* network, const struct virtio_net_hdr* hdr, const uint8_t* frame,
                    size_t length);
void transmit_tap(struct worker* w, struct network* network);
void transmit_held(struct worker* w, struct peer* peer);
int transmit_control(struct worker* w, struct peer* peer, const uint8_t* bytes, size_t length);

/* receive.c */

void receive_socket(struct worker* w, int socket, bool plain);

/* control.c */

enum event { EVENT_UNREADABLE = 1, EVENT_READABLE, EVENT_FORGED, EVENT_PLAIN, EVENT_HELD, EVENT_NETWORK_LOST };

void control_accept(struct worker* w);
void control_readable(struct worker* w);
void control_writable(struct worker* w);
void control_close(struct worker* w);
/* `word`: an SPI; for EVENT_PLAIN version, fp12 and off as in the SPI of form (b). */
void event_peer(struct worker* w, struct peer* peer, enum event kind, uint32_t word);
void event_network(struct worker* w, const struct network* network);
void event_packet(struct worker* w, struct peer* peer, const uint8_t* bytes, size_t length);

/* loop.c */

struct options {
  char socket[108];
  uint32_t address;
  uint16_t port, plain_port;
  uint32_t underlay_mtu;
  uint16_t source_first, source_count;
};

/* Runs until it is told to stop. Answers 0, or a negated errno with `what` naming the call. */
int worker_run(const struct options* options, const char** what);

#endif
