/*
 * The system calls that Node lacks, one C function per call, and uv_poll readiness. No policy, no formats: socket
 * addresses and control data cross this border as bytes, which TypeScript encodes and decodes.
 *
 * Every call answers a number: the result, or the negated errno. Only arguments of the wrong type throw, as TypeError.
 *
 * Life of a socket. `struct endpoint` owns the descriptor and, once readiness was asked for, the uv_poll_t. It has up
 * to two owners: the JavaScript external (until collected) and libuv (until the handle's close callback); the last one
 * frees it. While polling is on, the reference to the JavaScript callback is strong, so a socket that listens lives;
 * otherwise it is weak and a forgotten socket is closed by the collector. When the environment ends first (a worker,
 * process exit), the asynchronous cleanup hook closes the handle and the environment waits for that.
 */
#define _GNU_SOURCE
#include <node_api.h>
#include <uv.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <net/if.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_BATCH 256

struct endpoint {
  int fd;
  int owners;
  int events;
  bool polling; /* `poll` was initialised and is not closing */
  bool referenced;
  napi_env env;
  napi_ref callback;
  bool strong;
  napi_async_cleanup_hook_handle hook;
  uv_poll_t poll;
};

/* ---- arguments -------------------------------------------------------------------------------------------------- */

struct bytes {
  uint8_t* at;
  size_t length;
};

static napi_value fail(napi_env env, const char* message) {
  bool pending = false;
  napi_is_exception_pending(env, &pending);
  if (!pending) napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", message);
  return NULL;
}

static bool arguments(napi_env env, napi_callback_info info, size_t count, napi_value* out) {
  size_t given = count;
  if (napi_get_cb_info(env, info, &given, out, NULL, NULL) != napi_ok || given < count) {
    fail(env, "too few arguments");
    return false;
  }
  return true;
}

static bool get_int(napi_env env, napi_value value, int32_t* out) {
  if (napi_get_value_int32(env, value, out) == napi_ok) return true;
  fail(env, "a number was expected");
  return false;
}

static bool get_bytes(napi_env env, napi_value value, struct bytes* out) {
  napi_typedarray_type type;
  void* at = NULL;
  bool typed = false;
  if (napi_is_typedarray(env, value, &typed) != napi_ok || !typed ||
      napi_get_typedarray_info(env, value, &type, &out->length, &at, NULL, NULL) != napi_ok ||
      (type != napi_uint8_array && type != napi_uint8_clamped_array)) {
    fail(env, "a Uint8Array was expected");
    return false;
  }
  out->at = at;
  return true;
}

/* undefined and null: no bytes. */
static bool get_optional_bytes(napi_env env, napi_value value, struct bytes* out) {
  napi_valuetype type;
  out->at = NULL;
  out->length = 0;
  if (napi_typeof(env, value, &type) == napi_ok && (type == napi_undefined || type == napi_null)) return true;
  return get_bytes(env, value, out);
}

static napi_value number(napi_env env, int32_t value) {
  napi_value result = NULL;
  napi_create_int32(env, value, &result);
  return result;
}

static napi_value answer(napi_env env, long result) { return number(env, result < 0 ? -errno : (int32_t)result); }

/* ---- endpoints: descriptor and readiness ------------------------------------------------------------------------ */

static void release(struct endpoint* endpoint) {
  if (--endpoint->owners == 0) free(endpoint);
}

static void drop_callback(struct endpoint* endpoint) {
  if (endpoint->callback) napi_delete_reference(endpoint->env, endpoint->callback);
  endpoint->callback = NULL;
}

static void on_closed(uv_handle_t* handle) {
  struct endpoint* endpoint = handle->data;
  napi_async_cleanup_hook_handle hook = endpoint->hook;
  endpoint->hook = NULL;
  release(endpoint);
  if (hook) napi_remove_async_cleanup_hook(hook);
}

/* Stops readiness and, unless `keep`, closes the descriptor. uv_close takes the fd out of epoll before it returns. */
static void endpoint_close(struct endpoint* endpoint, bool keep) {
  if (endpoint->polling) {
    endpoint->polling = false;
    uv_close((uv_handle_t*)&endpoint->poll, on_closed);
  }
  if (endpoint->fd >= 0 && !keep) close(endpoint->fd);
  endpoint->fd = -1;
}

static void on_environment_end(napi_async_cleanup_hook_handle hook, void* data) {
  struct endpoint* endpoint = data;
  (void)hook; /* removed in on_closed, which is already on its way or is started here */
  endpoint_close(endpoint, false);
}

static void on_collected(napi_env env, void* data, void* hint) {
  struct endpoint* endpoint = data;
  (void)env;
  (void)hint;
  endpoint_close(endpoint, false);
  drop_callback(endpoint);
  release(endpoint);
}

static void on_poll(uv_poll_t* poll, int status, int events) {
  struct endpoint* endpoint = poll->data;
  napi_env env = endpoint->env;
  /* libuv stops a handle that reports POLLERR. A netlink socket that overflowed (ENOBUFS) or a packet socket whose
     device went down (ENETDOWN) lives on after the error was read, so polling goes on. */
  if (status < 0) {
    if (endpoint->events) uv_poll_start(poll, endpoint->events, on_poll);
    events = endpoint->events;
  }
  napi_handle_scope scope;
  if (napi_open_handle_scope(env, &scope) != napi_ok) return;
  napi_value callback = NULL, global = NULL, argument = NULL;
  if (endpoint->callback && napi_get_reference_value(env, endpoint->callback, &callback) == napi_ok && callback &&
      napi_get_global(env, &global) == napi_ok && napi_create_int32(env, events, &argument) == napi_ok) {
    napi_status called = napi_make_callback(env, NULL, global, callback, 1, &argument, NULL);
    bool pending = false;
    napi_value error = NULL;
    if (called != napi_ok && napi_is_exception_pending(env, &pending) == napi_ok && pending &&
        napi_get_and_clear_last_exception(env, &error) == napi_ok)
      napi_fatal_exception(env, error); /* becomes 'uncaughtException', as from any of Node's own callbacks */
  }
  napi_close_handle_scope(env, scope);
}

static bool get_endpoint(napi_env env, napi_value value, struct endpoint** out) {
  napi_valuetype type;
  void* data = NULL;
  if (napi_typeof(env, value, &type) == napi_ok && type == napi_external &&
      napi_get_value_external(env, value, &data) == napi_ok && data) {
    *out = data;
    return true;
  }
  fail(env, "a socket handle was expected");
  return false;
}

/* adopt(fd, callback(events)) -> external */
static napi_value Adopt(napi_env env, napi_callback_info info) {
  napi_value arg[2], result;
  int32_t fd;
  napi_valuetype type;
  if (!arguments(env, info, 2, arg) || !get_int(env, arg[0], &fd)) return NULL;
  if (napi_typeof(env, arg[1], &type) != napi_ok || type != napi_function) return fail(env, "a function was expected");
  struct endpoint* endpoint = calloc(1, sizeof *endpoint);
  if (!endpoint) return fail(env, "out of memory");
  endpoint->env = env;
  endpoint->fd = -1;
  endpoint->owners = 1;
  endpoint->referenced = true;
  if (napi_create_reference(env, arg[1], 0, &endpoint->callback) != napi_ok) {
    free(endpoint);
    return fail(env, "no reference to the callback");
  }
  if (napi_create_external(env, endpoint, on_collected, NULL, &result) != napi_ok) {
    drop_callback(endpoint);
    free(endpoint);
    return fail(env, "no external");
  }
  endpoint->fd = fd;
  return result;
}

/* poll(handle, events) -> 0 or -errno; events 0 stops */
static napi_value Poll(napi_env env, napi_callback_info info) {
  napi_value arg[2];
  struct endpoint* endpoint;
  int32_t events;
  if (!arguments(env, info, 2, arg) || !get_endpoint(env, arg[0], &endpoint) || !get_int(env, arg[1], &events))
    return NULL;
  if (endpoint->fd < 0) return number(env, -EBADF);
  events &= UV_READABLE | UV_WRITABLE;
  int result = 0;
  if (!endpoint->polling) {
    if (events == 0) return number(env, 0);
    uv_loop_t* loop = NULL;
    if (napi_get_uv_event_loop(env, &loop) != napi_ok) return fail(env, "no event loop");
    result = uv_poll_init(loop, &endpoint->poll, endpoint->fd);
    if (result < 0) return number(env, result);
    endpoint->poll.data = endpoint;
    endpoint->polling = true;
    endpoint->owners++;
    if (!endpoint->referenced) uv_unref((uv_handle_t*)&endpoint->poll);
    if (napi_add_async_cleanup_hook(env, on_environment_end, endpoint, &endpoint->hook) != napi_ok)
      endpoint->hook = NULL;
  }
  result = events ? uv_poll_start(&endpoint->poll, events, on_poll) : uv_poll_stop(&endpoint->poll);
  if (result < 0) return number(env, result);
  endpoint->events = events;
  uint32_t count;
  if (events && !endpoint->strong && endpoint->callback) {
    napi_reference_ref(env, endpoint->callback, &count);
    endpoint->strong = true;
  } else if (!events && endpoint->strong && endpoint->callback) {
    napi_reference_unref(env, endpoint->callback, &count);
    endpoint->strong = false;
  }
  return number(env, 0);
}

/* setReferenced(handle, yes) */
static napi_value SetReferenced(napi_env env, napi_callback_info info) {
  napi_value arg[2];
  struct endpoint* endpoint;
  bool yes;
  if (!arguments(env, info, 2, arg) || !get_endpoint(env, arg[0], &endpoint)) return NULL;
  if (napi_get_value_bool(env, arg[1], &yes) != napi_ok) return fail(env, "a boolean was expected");
  endpoint->referenced = yes;
  if (endpoint->polling) (yes ? uv_ref : uv_unref)((uv_handle_t*)&endpoint->poll);
  return number(env, 0);
}

/* close(handle, keepDescriptor) */
static napi_value Close(napi_env env, napi_callback_info info) {
  napi_value arg[2];
  struct endpoint* endpoint;
  bool keep;
  if (!arguments(env, info, 2, arg) || !get_endpoint(env, arg[0], &endpoint)) return NULL;
  if (napi_get_value_bool(env, arg[1], &keep) != napi_ok) return fail(env, "a boolean was expected");
  endpoint->events = 0;
  endpoint_close(endpoint, keep);
  drop_callback(endpoint);
  return number(env, 0);
}

/* ---- system calls on a descriptor ------------------------------------------------------------------------------- */

/* socket(family, type, protocol) -> fd */
static napi_value Socket(napi_env env, napi_callback_info info) {
  napi_value arg[3];
  int32_t family, type, protocol;
  if (!arguments(env, info, 3, arg) || !get_int(env, arg[0], &family) || !get_int(env, arg[1], &type) ||
      !get_int(env, arg[2], &protocol))
    return NULL;
  return answer(env, socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol));
}

static napi_value with_address(napi_env env, napi_callback_info info,
                               int (*call)(int, const struct sockaddr*, socklen_t)) {
  napi_value arg[2];
  int32_t fd;
  struct bytes address;
  struct sockaddr_storage storage;
  if (!arguments(env, info, 2, arg) || !get_int(env, arg[0], &fd) || !get_bytes(env, arg[1], &address)) return NULL;
  if (address.length > sizeof storage) return number(env, -EINVAL);
  memset(&storage, 0, sizeof storage);
  if (address.length) memcpy(&storage, address.at, address.length);
  return answer(env, call(fd, (struct sockaddr*)&storage, (socklen_t)address.length));
}

static napi_value Bind(napi_env env, napi_callback_info info) { return with_address(env, info, bind); }
static napi_value Connect(napi_env env, napi_callback_info info) { return with_address(env, info, connect); }

/* localAddress(fd, out) -> length */
static napi_value LocalAddress(napi_env env, napi_callback_info info) {
  napi_value arg[2];
  int32_t fd;
  struct bytes out;
  if (!arguments(env, info, 2, arg) || !get_int(env, arg[0], &fd) || !get_bytes(env, arg[1], &out)) return NULL;
  socklen_t length = (socklen_t)out.length;
  int result = getsockname(fd, (struct sockaddr*)out.at, &length);
  return answer(env, result < 0 ? result : (long)(length < out.length ? length : out.length));
}

/* listen(fd, backlog) */
static napi_value Listen(napi_env env, napi_callback_info info) {
  napi_value arg[2];
  int32_t fd, backlog;
  if (!arguments(env, info, 2, arg) || !get_int(env, arg[0], &fd) || !get_int(env, arg[1], &backlog)) return NULL;
  return answer(env, listen(fd, backlog));
}

/* setOption(fd, level, name, bytes) */
static napi_value SetOption(napi_env env, napi_callback_info info) {
  napi_value arg[4];
  int32_t fd, level, name;
  struct bytes value;
  if (!arguments(env, info, 4, arg) || !get_int(env, arg[0], &fd) || !get_int(env, arg[1], &level) ||
      !get_int(env, arg[2], &name) || !get_bytes(env, arg[3], &value))
    return NULL;
  return answer(env, setsockopt(fd, level, name, value.at, (socklen_t)value.length));
}

/* getOption(fd, level, name, out) -> length */
static napi_value GetOption(napi_env env, napi_callback_info info) {
  napi_value arg[4];
  int32_t fd, level, name;
  struct bytes out;
  if (!arguments(env, info, 4, arg) || !get_int(env, arg[0], &fd) || !get_int(env, arg[1], &level) ||
      !get_int(env, arg[2], &name) || !get_bytes(env, arg[3], &out))
    return NULL;
  socklen_t length = (socklen_t)out.length;
  int result = getsockopt(fd, level, name, out.at, &length);
  return answer(env, result < 0 ? result : (long)(length < out.length ? length : out.length));
}

/* attachFilter(fd, instructions): 8 bytes each, struct sock_filter */
static napi_value AttachFilter(napi_env env, napi_callback_info info) {
  napi_value arg[2];
  int32_t fd;
  struct bytes code;
  if (!arguments(env, info, 2, arg) || !get_int(env, arg[0], &fd) || !get_bytes(env, arg[1], &code)) return NULL;
  if (code.length % sizeof(struct sock_filter) || code.length / sizeof(struct sock_filter) > BPF_MAXINSNS)
    return number(env, -EINVAL);
  struct sock_fprog program = {(unsigned short)(code.length / sizeof(struct sock_filter)), (void*)code.at};
  return answer(env, setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program));
}

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
static napi_value Send(napi_env env, napi_callback_info info) {
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
static napi_value SendBatch(napi_env env, napi_callback_info info) {
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
static napi_value ReceiveBatch(napi_env env, napi_callback_info info) {
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

/* ioctl(fd, request, bytes). The kernel decides how much it reads and writes, at most 16 KiB (_IOC_SIZEBITS): it works
   on a copy of that size, so an argument that is too short can't be overrun. */
static napi_value Ioctl(napi_env env, napi_callback_info info) {
  napi_value arg[3];
  int32_t fd;
  uint32_t request;
  struct bytes argument;
  if (!arguments(env, info, 3, arg) || !get_int(env, arg[0], &fd) || !get_bytes(env, arg[2], &argument)) return NULL;
  if (napi_get_value_uint32(env, arg[1], &request) != napi_ok) return fail(env, "a number was expected");
  uint64_t copy[(1 << 14) / sizeof(uint64_t)];
  if (argument.length > sizeof copy) return number(env, -EINVAL);
  memset(copy, 0, sizeof copy);
  if (argument.length) memcpy(copy, argument.at, argument.length);
  napi_value result = answer(env, ioctl(fd, (unsigned long)request, copy));
  if (argument.length) memcpy(argument.at, copy, argument.length);
  return result;
}

/* setns(fd): this thread's network namespace */
static napi_value Setns(napi_env env, napi_callback_info info) {
  napi_value arg[1];
  int32_t fd;
  if (!arguments(env, info, 1, arg) || !get_int(env, arg[0], &fd)) return NULL;
  return answer(env, setns(fd, CLONE_NEWNET));
}

static bool get_text(napi_env env, napi_value value, char* out, size_t room) {
  size_t length = 0;
  if (napi_get_value_string_utf8(env, value, NULL, 0, &length) != napi_ok ||
      napi_get_value_string_utf8(env, value, out, room, NULL) != napi_ok) {
    fail(env, "a string was expected");
    return false;
  }
  if (length >= room) out[0] = '\0';
  return true;
}

/* openFile(path, flags) -> fd, close-on-exec */
static napi_value OpenFile(napi_env env, napi_callback_info info) {
  napi_value arg[2];
  int32_t flags;
  char path[4096];
  if (!arguments(env, info, 2, arg) || !get_text(env, arg[0], path, sizeof path) || !get_int(env, arg[1], &flags))
    return NULL;
  return answer(env, open(path, flags | O_CLOEXEC, 0600));
}

/* interfaceIndex(name) in this thread's network namespace */
static napi_value InterfaceIndex(napi_env env, napi_callback_info info) {
  napi_value arg[1];
  char name[64];
  if (!arguments(env, info, 1, arg) || !get_text(env, arg[0], name, sizeof name)) return NULL;
  unsigned index = if_nametoindex(name);
  return number(env, index ? (int32_t)index : -errno);
}

/* parseAddress(text, out) -> 4, 16, or 0 for neither family; `out` has room for 16 bytes */
static napi_value ParseAddress(napi_env env, napi_callback_info info) {
  napi_value arg[2];
  char text[64];
  struct bytes out;
  if (!arguments(env, info, 2, arg) || !get_text(env, arg[0], text, sizeof text) || !get_bytes(env, arg[1], &out))
    return NULL;
  if (out.length < 16) return number(env, -EINVAL);
  if (inet_pton(AF_INET, text, out.at) == 1) return number(env, 4);
  return number(env, inet_pton(AF_INET6, text, out.at) == 1 ? 16 : 0);
}

/* formatIpv6(bytes) -> text */
static napi_value FormatIpv6(napi_env env, napi_callback_info info) {
  napi_value arg[1], result = NULL;
  char text[INET6_ADDRSTRLEN];
  struct bytes address;
  if (!arguments(env, info, 1, arg) || !get_bytes(env, arg[0], &address)) return NULL;
  if (address.length != 16 || !inet_ntop(AF_INET6, address.at, text, sizeof text))
    return fail(env, "16 bytes were expected");
  napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &result);
  return result;
}

NAPI_MODULE_INIT() {
#define METHOD(name, function) {name, NULL, function, NULL, NULL, NULL, napi_default, NULL}
  const napi_property_descriptor methods[] = {
      METHOD("adopt", Adopt),
      METHOD("poll", Poll),
      METHOD("setReferenced", SetReferenced),
      METHOD("close", Close),
      METHOD("socket", Socket),
      METHOD("bind", Bind),
      METHOD("connect", Connect),
      METHOD("listen", Listen),
      METHOD("localAddress", LocalAddress),
      METHOD("setOption", SetOption),
      METHOD("getOption", GetOption),
      METHOD("attachFilter", AttachFilter),
      METHOD("send", Send),
      METHOD("sendBatch", SendBatch),
      METHOD("receiveBatch", ReceiveBatch),
      METHOD("ioctl", Ioctl),
      METHOD("setns", Setns),
      METHOD("openFile", OpenFile),
      METHOD("interfaceIndex", InterfaceIndex),
      METHOD("parseAddress", ParseAddress),
      METHOD("formatIpv6", FormatIpv6),
  };
#undef METHOD
  if (napi_define_properties(env, exports, sizeof methods / sizeof *methods, methods) != napi_ok) return NULL;
  return exports;
}
