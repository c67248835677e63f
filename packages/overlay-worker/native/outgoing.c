/*
 * Packets on their way out. What goes the same way and has one size is laid out side by side and leaves by one sendmsg
 * with UDP_SEGMENT; what a source port has to send in a turn leaves by one sendmmsg.
 *
 * A way is a peer, a source port and a TOS. The port follows from the inner flow (RFC 7348 §5), so that the underlay's
 * routers spread what one pair of hosts has to say over their paths and keep each flow on one. TOS and port stand in the
 * header that all packets of a sendmsg share.
 */
#define _GNU_SOURCE
#include "worker.h"

#include <errno.h>
#include <netinet/udp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

#define CONTROL_ROOM (CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(uint16_t)))

static void control_add(struct msghdr* header, int level, int type, const void* value, size_t size) {
  struct cmsghdr* cmsg = (struct cmsghdr*)((uint8_t*)header->msg_control + header->msg_controllen);
  cmsg->cmsg_level = level;
  cmsg->cmsg_type = type;
  cmsg->cmsg_len = CMSG_LEN(size);
  memcpy(CMSG_DATA(cmsg), value, size);
  header->msg_controllen += CMSG_SPACE(size);
}

static struct msghdr header(const struct message* m, struct iovec* part, struct sockaddr_in* to, uint8_t* control,
                            uint16_t port) {
  *part = (struct iovec){m->bytes, m->length};
  *to = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = m->way.peer->address};
  struct msghdr header = {
      .msg_name = to, .msg_namelen = sizeof *to, .msg_iov = part, .msg_iovlen = 1, .msg_control = control};
  int tos = m->way.tos;
  uint16_t segment = (uint16_t)m->segment;
  if (tos) control_add(&header, IPPROTO_IP, IP_TOS, &tos, sizeof tos);
  if (m->count > 1) control_add(&header, SOL_UDP, UDP_SEGMENT, &segment, sizeof segment);
  return header;
}

/*
 * What the kernel refuses as a whole it may take in pieces: devices without checksum offload have no UDP_SEGMENT in older
 * kernels, and a device whose MTU is smaller than we were told needs fragments.
 */
static void one_by_one(struct worker* w, int socket, const struct msghdr* whole, const struct message* m) {
  bool pieces = m->count > 1 && (errno == EIO || errno == EINVAL || errno == EMSGSIZE);
  if (!pieces) {
    COUNT(w, m->way.peer, drop_sending, m->count);
    return;
  }
  for (size_t at = 0; at < m->length; at += m->segment) {
    struct iovec part = {m->bytes + at, m->length - at < m->segment ? m->length - at : m->segment};
    struct msghdr piece = *whole;
    piece.msg_iov = &part;
    piece.msg_controllen = m->way.tos ? CMSG_SPACE(sizeof(int)) : 0;
    if (sendmsg(socket, &piece, 0) < 0) COUNT(w, m->way.peer, drop_sending, 1);
    else COUNT(w, m->way.peer, sent_one_by_one, 1);
  }
}

static void flush_socket(struct worker* w, int socket, const uint8_t* which, unsigned count) {
  struct mmsghdr out[MESSAGES];
  struct iovec part[MESSAGES];
  struct sockaddr_in to[MESSAGES];
  _Alignas(struct cmsghdr) uint8_t control[MESSAGES][CONTROL_ROOM];
  for (unsigned i = 0; i < count; i++) {
    const struct message* m = &w->message[which[i]];
    out[i].msg_hdr = header(m, &part[i], &to[i], control[i], m->way.plain ? w->plain_port : w->port);
  }
  bool waited = false;
  for (unsigned done = 0; done < count;) {
    int result = socket < 0 ? (errno = EBADF, -1) : sendmmsg(socket, out + done, count - done, 0);
    if (result > 0) {
      done += (unsigned)result;
      continue;
    }
    if (errno == EINTR) continue;
    if ((errno == EAGAIN || errno == ENOBUFS) && !waited) {
      waited = true;
      struct pollfd ready = {.fd = socket, .events = POLLOUT};
      if (poll(&ready, 1, 2) > 0) continue;
    }
    one_by_one(w, socket, &out[done].msg_hdr, &w->message[which[done]]);
    done++;
  }
}

static int socket_of(const struct worker* w, const struct way* way) {
  if (way->plain && w->plain < 0) return -1;
  if (w->source_count) return w->source[way->source];
  return way->plain ? w->plain : w->udp;
}

void outgoing_flush(struct worker* w) {
  uint32_t left = w->messages == 32 ? UINT32_MAX : (UINT32_C(1) << w->messages) - 1;
  while (left) {
    uint8_t which[MESSAGES];
    unsigned count = 0;
    int socket = socket_of(w, &w->message[__builtin_ctz(left)].way);
    for (uint32_t rest = left; rest; rest &= rest - 1) {
      uint8_t i = (uint8_t)__builtin_ctz(rest);
      if (socket_of(w, &w->message[i].way) != socket) continue;
      which[count++] = i;
      left ^= UINT32_C(1) << i;
    }
    flush_socket(w, socket, which, count);
  }
  w->messages = 0;
}
_Static_assert(MESSAGES == 32, "a bit each");

/*
 * The newest message of a flow's port and peer is the only one that may grow: what joined an older one would leave before
 * packets of the same flow that came earlier.
 */
static struct message* newest(struct worker* w, const struct way* way) {
  for (size_t i = w->messages; i-- > 0;) {
    struct message* m = &w->message[i];
    if (m->way.peer == way->peer && m->way.source == way->source && m->way.plain == way->plain) return m;
  }
  return NULL;
}

uint8_t* outgoing_room(struct worker* w, const struct way* way, size_t size) {
  bool alone = size + 28 > w->underlay_mtu;
  struct message* m = newest(w, way);
  if (!m || m->way.tos != way->tos || m->closed || alone || size > m->segment || m->count == SEGMENTS_MAX ||
      m->length + size > DATAGRAM_MAX) {
    if (w->messages == MESSAGES) outgoing_flush(w);
    m = &w->message[w->messages++];
    m->way = *way;
    m->length = m->count = 0;
    m->segment = size;
    m->closed = alone;
    if (alone) COUNT(w, way->peer, fragmented, 1);
  }
  if (size < m->segment) m->closed = true;
  uint8_t* at = m->bytes + m->length;
  m->length += size;
  m->count++;
  return at;
}
