/* sendmsg and recvmsg, one and many. */
#define _GNU_SOURCE
#include "addon.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define MAX_BATCH 256

static bool fill_message(napi_env env, napi_value data, napi_value name, napi_value control, struct msghdr* header,
                         struct iovec* vector) {
  struct bytes part[3];
  if (!get_bytes(env, data, &part[0]) || !get_optional_bytes(env, name, &part[1]) ||
      !get_optional_bytes(env, control, &part[2]))
    return false;
  memset(header, 0, sizeof *header);
  vector->iov_base = part[0].at;
  vector->iov_len = part[0].length;
  header->msg_iov = vector;
  header->msg_iovlen = 1;
  header->msg_name = part[1].at;
  header->msg_namelen = (socklen_t)part[1].length;
  header->msg_control = part[2].length ? part[2].at : NULL;
  header->msg_controllen = part[2].length;
  return true;
}

/* send(fd, data, address | undefined, control | undefined, flags) -> bytes */
napi_value Send(napi_env env, napi_callback_info info) {
  napi_value arg[5];
  int32_t fd, flags;
  struct msghdr header;
  struct iovec vector;
  if (!arguments(env, info, 5, arg) || !get_int(env, arg[0], &fd) || !get_int(env, arg[4], &flags) ||
      !fill_message(env, arg[1], arg[2], arg[3], &header, &vector))
    return NULL;
  ssize_t result;
  do result = sendmsg(fd, &header, flags | MSG_DONTWAIT | MSG_NOSIGNAL);
  while (result < 0 && errno == EINTR);
  return answer(env, result);
}

/* sendBatch(fd, data[], address[], control[], flags) -> messages; at most MAX_BATCH of them */
napi_value SendBatch(napi_env env, napi_callback_info info) {
  napi_value arg[5], data, name, control;
  int32_t fd, flags;
  uint32_t count = 0;
  struct mmsghdr header[MAX_BATCH];
  struct iovec vector[MAX_BATCH];
  if (!arguments(env, info, 5, arg) || !get_int(env, arg[0], &fd) || !get_int(env, arg[4], &flags)) return NULL;
  if (napi_get_array_length(env, arg[1], &count) != napi_ok) return fail(env, "an array was expected");
  if (count > MAX_BATCH) count = MAX_BATCH;
  for (uint32_t index = 0; index < count; index++) {
    if (napi_get_element(env, arg[1], index, &data) != napi_ok ||
        napi_get_element(env, arg[2], index, &name) != napi_ok ||
        napi_get_element(env, arg[3], index, &control) != napi_ok)
      return fail(env, "an array was expected");
    if (!fill_message(env, data, name, control, &header[index].msg_hdr, &vector[index])) return NULL;
    header[index].msg_len = 0;
  }
  int result;
  do result = sendmmsg(fd, header, count, flags | MSG_DONTWAIT | MSG_NOSIGNAL);
  while (result < 0 && errno == EINTR);
  return answer(env, result);
}

/*
 * receiveBatch(fd, pool, slot, data, name, max, lengths) -> messages. A slot is `slot` bytes of the pool: `data` bytes
 * of payload, `name` bytes of address, the rest control. `lengths` (Int32Array) gets payload, address, control length
 * and flags of each message. EAGAIN is 0 messages.
 */
napi_value ReceiveBatch(napi_env env, napi_callback_info info) {
  napi_value arg[7];
  int32_t fd, slot, payload, name, max;
  struct bytes pool;
  napi_typedarray_type type;
  size_t room = 0;
  void* at = NULL;
  bool typed = false;
  struct mmsghdr header[MAX_BATCH];
  struct iovec vector[MAX_BATCH];
  if (!arguments(env, info, 7, arg) || !get_int(env, arg[0], &fd) || !get_bytes(env, arg[1], &pool) ||
      !get_int(env, arg[2], &slot) || !get_int(env, arg[3], &payload) || !get_int(env, arg[4], &name) ||
      !get_int(env, arg[5], &max))
    return NULL;
  if (napi_is_typedarray(env, arg[6], &typed) != napi_ok || !typed ||
      napi_get_typedarray_info(env, arg[6], &type, &room, &at, NULL, NULL) != napi_ok || type != napi_int32_array)
    return fail(env, "an Int32Array was expected");
  int32_t* lengths = at;
  if (payload < 0 || name < 0 || max < 1 || slot < 1 || (int64_t)payload + name > slot) return number(env, -EINVAL);
  if (max > MAX_BATCH) max = MAX_BATCH;
  if ((size_t)max * (size_t)slot > pool.length || (size_t)max * 4 > room) return number(env, -EINVAL);
  for (int32_t index = 0; index < max; index++) {
    uint8_t* start = pool.at + (size_t)index * (size_t)slot;
    struct msghdr* message = &header[index].msg_hdr;
    vector[index].iov_base = start;
    vector[index].iov_len = (size_t)payload;
    memset(message, 0, sizeof *message);
    message->msg_iov = &vector[index];
    message->msg_iovlen = 1;
    message->msg_name = start + payload;
    message->msg_namelen = (socklen_t)name;
    message->msg_control = start + payload + name;
    message->msg_controllen = (size_t)(slot - payload - name);
    header[index].msg_len = 0;
  }
  int count;
  do count = recvmmsg(fd, header, (unsigned)max, MSG_DONTWAIT, NULL);
  while (count < 0 && errno == EINTR);
  if (count < 0) return number(env, errno == EAGAIN ? 0 : -errno);
  for (int index = 0; index < count; index++) {
    struct msghdr* message = &header[index].msg_hdr;
    int32_t* out = lengths + 4 * index;
    out[0] = (int32_t)(header[index].msg_len < (unsigned)payload ? header[index].msg_len : (unsigned)payload);
    out[1] = (int32_t)(message->msg_namelen < (socklen_t)name ? message->msg_namelen : (socklen_t)name);
    out[2] = (int32_t)message->msg_controllen;
    out[3] = message->msg_flags;
  }
  return number(env, count);
}
