/*
 * The addon: run() never comes back until the agent says stop, so it has a process of its own. The other
 * functions show the pure parts to tests.
 */
#include "worker.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <node_api.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static napi_value fail(napi_env env, const char* message) {
  napi_throw_type_error(env, NULL, message);
  return NULL;
}

static bool number_of(napi_env env, napi_value value, uint32_t* out) {
  return napi_get_value_uint32(env, value, out) == napi_ok;
}

static bool bytes_of(napi_env env, napi_value value, uint8_t** at, size_t* length) {
  bool is = false;
  return napi_is_buffer(env, value, &is) == napi_ok && is && napi_get_buffer_info(env, value, (void**)at, length) == napi_ok;
}

/* run(socket, address, port, plainPort, underlayMtu, first source port, their number) -> [status, what] */
static napi_value Run(napi_env env, napi_callback_info info) {
  napi_value arg[7], result, part;
  size_t count = 7, length;
  struct options options = {0};
  char address[64];
  uint32_t port, plain_port, first, sources;
  if (napi_get_cb_info(env, info, &count, arg, NULL, NULL) != napi_ok || count != 7 ||
      napi_get_value_string_utf8(env, arg[0], options.socket, sizeof options.socket, &length) != napi_ok ||
      length == 0 || length >= sizeof options.socket - 2 ||
      napi_get_value_string_utf8(env, arg[1], address, sizeof address, &length) != napi_ok ||
      inet_pton(AF_INET, address, &options.address) != 1 || !number_of(env, arg[2], &port) ||
      !number_of(env, arg[3], &plain_port) || !number_of(env, arg[4], &options.underlay_mtu) ||
      !number_of(env, arg[5], &first) || !number_of(env, arg[6], &sources) || sources > SOURCES_MAX ||
      (sources && (first == 0 || first + sources > 65536)))
    return fail(env, "run(socket, IPv4 address, port, plain port or 0, underlay MTU, first source port, at most 64)");
  options.port = (uint16_t)port;
  options.plain_port = (uint16_t)plain_port;
  options.source_first = (uint16_t)first;
  options.source_count = (uint16_t)sources;
  const char* what = "";
  int status = worker_run(&options, &what);
  napi_create_array(env, &result);
  napi_create_int32(env, status, &part);
  napi_set_element(env, result, 0, part);
  napi_create_string_utf8(env, what, NAPI_AUTO_LENGTH, &part);
  napi_set_element(env, result, 1, part);
  return result;
}

/* segment(header and frame, largest frame) -> frames, or undefined when the headers contradict each other */
static napi_value Segment(napi_env env, napi_callback_info info) {
  napi_value arg[2], result = NULL;
  size_t count = 2, length;
  uint8_t* at;
  uint32_t most;
  struct cut cut;
  struct virtio_net_hdr hdr;
  if (napi_get_cb_info(env, info, &count, arg, NULL, NULL) != napi_ok || count != 2 ||
      !bytes_of(env, arg[0], &at, &length) || length < sizeof hdr || !number_of(env, arg[1], &most))
    return fail(env, "segment(bytes, number)");
  memcpy(&hdr, at, sizeof hdr);
  if (!cut_begin(&cut, &hdr, at + sizeof hdr, length - sizeof hdr, most)) return NULL;
  napi_create_array(env, &result);
  for (size_t i = 0; i < cut.count; i++) {
    void* out;
    napi_value buffer;
    if (napi_create_buffer(env, cut_length(&cut, i), &out, &buffer) != napi_ok) return NULL;
    cut_write(&cut, i, out);
    napi_set_element(env, result, (uint32_t)i, buffer);
  }
  return result;
}

/* coalesce(frames, whether UDP too) -> headers and frames; the frames given are changed */
static napi_value Coalesce(napi_env env, napi_callback_info info) {
  napi_value arg[2], result = NULL;
  size_t count = 2;
  uint32_t frames;
  struct tap tap = {.fd = 0};
  if (napi_get_cb_info(env, info, &count, arg, NULL, NULL) != napi_ok || count != 2 ||
      napi_get_array_length(env, arg[0], &frames) != napi_ok || frames > BUNDLES ||
      napi_get_value_bool(env, arg[1], &tap.uso) != napi_ok)
    return fail(env, "coalesce(at most 512 frames, boolean)");
  struct coalescer* c = malloc(sizeof *c);
  if (!c) return fail(env, "no memory");
  coalesce_reset(c);
  for (uint32_t i = 0; i < frames; i++) {
    napi_value element;
    uint8_t* at;
    size_t length;
    if (napi_get_element(env, arg[0], i, &element) != napi_ok || !bytes_of(env, element, &at, &length)) {
      free(c);
      return fail(env, "a frame is bytes");
    }
    coalesce_add(c, &tap, 1, at, length);
  }
  napi_create_array(env, &result);
  for (size_t i = 0; i < c->count; i++) {
    struct bundle* b = &c->bundle[i];
    bundle_finish(b);
    uint8_t* out;
    napi_value buffer;
    if (napi_create_buffer(env, sizeof b->hdr + b->length, (void**)&out, &buffer) != napi_ok) break;
    memcpy(out, &b->hdr, sizeof b->hdr);
    out += sizeof b->hdr;
    for (size_t p = 0; p < b->parts; p++) {
      memcpy(out, b->part[p].iov_base, b->part[p].iov_len);
      out += b->part[p].iov_len;
    }
    napi_set_element(env, result, (uint32_t)i, buffer);
  }
  free(c);
  return result;
}

/* tos(frame) -> DSCP and ECN of the IP packet in it, or 0 */
static napi_value Tos(napi_env env, napi_callback_info info) {
  napi_value arg[1], result;
  size_t count = 1, length;
  uint8_t* at;
  if (napi_get_cb_info(env, info, &count, arg, NULL, NULL) != napi_ok || count != 1 || !bytes_of(env, arg[0], &at, &length))
    return fail(env, "tos(bytes)");
  napi_create_uint32(env, frame_tos(at, length), &result);
  return result;
}

/* decapsulate(frame, outer TOS) -> whether it goes further; the frame given is changed */
static napi_value Decapsulate(napi_env env, napi_callback_info info) {
  napi_value arg[2], result;
  size_t count = 2, length;
  uint8_t* at;
  uint32_t outer;
  if (napi_get_cb_info(env, info, &count, arg, NULL, NULL) != napi_ok || count != 2 ||
      !bytes_of(env, arg[0], &at, &length) || !number_of(env, arg[1], &outer))
    return fail(env, "decapsulate(bytes, number)");
  napi_get_boolean(env, ecn_decapsulate(at, length, (uint8_t)outer), &result);
  return result;
}

static void unmap(napi_env env, void* at, void* length) {
  (void)env;
  munmap(at, (size_t)(uintptr_t)length);
}

/* map(path, length) -> ArrayBuffer of what a worker counts, read-only: writing to it ends the process */
static napi_value Map(napi_env env, napi_callback_info info) {
  napi_value arg[2], result;
  size_t count = 2, length;
  char path[256];
  uint32_t room;
  struct stat status;
  if (napi_get_cb_info(env, info, &count, arg, NULL, NULL) != napi_ok || count != 2 ||
      napi_get_value_string_utf8(env, arg[0], path, sizeof path, &length) != napi_ok || !number_of(env, arg[1], &room))
    return fail(env, "map(path, length)");
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  void* at = MAP_FAILED;
  if (fd >= 0 && fstat(fd, &status) == 0 && status.st_size == (off_t)room)
    at = mmap(NULL, room, PROT_READ, MAP_SHARED, fd, 0);
  if (fd >= 0) close(fd);
  if (at == MAP_FAILED) return fail(env, "the file of counters can't be mapped");
  if (napi_create_external_arraybuffer(env, at, room, unmap, (void*)(uintptr_t)room, &result) == napi_ok) return result;
  munmap(at, room);
  return fail(env, "no ArrayBuffer over the file of counters");
}

NAPI_MODULE_INIT() {
#define METHOD(name, function) {name, NULL, function, NULL, NULL, NULL, napi_default, NULL}
  const napi_property_descriptor methods[] = {
      METHOD("run", Run),
      METHOD("map", Map),
      METHOD("segment", Segment),
      METHOD("coalesce", Coalesce),
      METHOD("tos", Tos),
      METHOD("decapsulate", Decapsulate),
  };
#undef METHOD
  if (napi_define_properties(env, exports, sizeof methods / sizeof *methods, methods) != napi_ok) return NULL;
  return exports;
}
