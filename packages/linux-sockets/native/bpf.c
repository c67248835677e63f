/* bpf(2) by itself: what works on descriptors of maps, programs and links, and needs no library. */
#define _GNU_SOURCE
#include "addon.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#define POINTER(at) ((uint64_t)(uintptr_t)(at))

static long bpf(int command, union bpf_attr* attributes) {
  return syscall(SYS_bpf, command, attributes, sizeof *attributes);
}

static bool get_unsigned(napi_env env, napi_value value, uint32_t* out) {
  if (napi_get_value_uint32(env, value, out) == napi_ok) return true;
  fail(env, "a number was expected");
  return false;
}

/* bpfElement(command, fd, key?, value?, flags): BPF_MAP_{LOOKUP,UPDATE,DELETE,GET_NEXT_KEY,LOOKUP_AND_DELETE}_ELEM.
   TypeScript holds the sizes of the map, and checks them. */
napi_value BpfElement(napi_env env, napi_callback_info info) {
  napi_value arg[5];
  int32_t command, fd;
  uint32_t flags;
  struct bytes key, value;
  if (!arguments(env, info, 5, arg) || !get_int(env, arg[0], &command) || !get_int(env, arg[1], &fd) ||
      !get_optional_bytes(env, arg[2], &key) || !get_optional_bytes(env, arg[3], &value) ||
      !get_unsigned(env, arg[4], &flags))
    return NULL;
  union bpf_attr attributes = {.map_fd = (uint32_t)fd};
  attributes.key = POINTER(key.at);
  attributes.value = POINTER(value.at); /* next_key stands at the same place */
  if (command != BPF_MAP_GET_NEXT_KEY) attributes.flags = flags;
  return answer(env, bpf(command, &attributes));
}

/* bpfBatch(command, fd, from?, next?, keys, values?, count, done): `done` gets the u32 count of what was processed, also
   when the call fails (ENOENT: that was the last batch) */
napi_value BpfBatch(napi_env env, napi_callback_info info) {
  napi_value arg[8];
  int32_t command, fd;
  uint32_t count;
  struct bytes from, next, keys, values, done;
  if (!arguments(env, info, 8, arg) || !get_int(env, arg[0], &command) || !get_int(env, arg[1], &fd) ||
      !get_optional_bytes(env, arg[2], &from) || !get_optional_bytes(env, arg[3], &next) ||
      !get_bytes(env, arg[4], &keys) || !get_optional_bytes(env, arg[5], &values) || !get_unsigned(env, arg[6], &count) ||
      !get_bytes(env, arg[7], &done))
    return NULL;
  if (done.length < sizeof count) return number(env, -EINVAL);
  union bpf_attr attributes;
  memset(&attributes, 0, sizeof attributes);
  attributes.batch.map_fd = (uint32_t)fd;
  attributes.batch.in_batch = POINTER(from.at);
  attributes.batch.out_batch = POINTER(next.at);
  attributes.batch.keys = POINTER(keys.at);
  attributes.batch.values = POINTER(values.at);
  attributes.batch.count = count;
  long result = bpf(command, &attributes);
  napi_value outcome = answer(env, result);
  count = attributes.batch.count;
  memcpy(done.at, &count, sizeof count);
  return outcome;
}

/* bpfPath(command, path, fd, flags): BPF_OBJ_PIN (fd under path) or BPF_OBJ_GET -> fd */
napi_value BpfPath(napi_env env, napi_callback_info info) {
  napi_value arg[4];
  int32_t command, fd;
  uint32_t flags;
  char path[4096];
  if (!arguments(env, info, 4, arg) || !get_int(env, arg[0], &command) || !get_text(env, arg[1], path, sizeof path) ||
      !get_int(env, arg[2], &fd) || !get_unsigned(env, arg[3], &flags))
    return NULL;
  union bpf_attr attributes;
  memset(&attributes, 0, sizeof attributes);
  attributes.pathname = POINTER(path);
  if (command == BPF_OBJ_PIN) attributes.bpf_fd = (uint32_t)fd;
  attributes.file_flags = flags;
  return answer(env, bpf(command, &attributes));
}

/* bpfById(command, id): BPF_{PROG,MAP,LINK}_GET_FD_BY_ID -> fd, BPF_{PROG,MAP,LINK}_GET_NEXT_ID -> id */
napi_value BpfById(napi_env env, napi_callback_info info) {
  napi_value arg[2];
  int32_t command;
  uint32_t id;
  if (!arguments(env, info, 2, arg) || !get_int(env, arg[0], &command) || !get_unsigned(env, arg[1], &id)) return NULL;
  union bpf_attr attributes;
  memset(&attributes, 0, sizeof attributes);
  attributes.start_id = id;
  long result = bpf(command, &attributes);
  bool next = command == BPF_PROG_GET_NEXT_ID || command == BPF_MAP_GET_NEXT_ID || command == BPF_LINK_GET_NEXT_ID;
  return answer(env, result == 0 && next ? (long)attributes.next_id : result);
}

/* bpfInfo(fd, out) -> length of what the kernel knows */
napi_value BpfInfo(napi_env env, napi_callback_info info) {
  napi_value arg[2];
  int32_t fd;
  struct bytes out;
  if (!arguments(env, info, 2, arg) || !get_int(env, arg[0], &fd) || !get_bytes(env, arg[1], &out)) return NULL;
  union bpf_attr attributes;
  memset(&attributes, 0, sizeof attributes);
  attributes.info.bpf_fd = (uint32_t)fd;
  attributes.info.info_len = (uint32_t)out.length;
  attributes.info.info = POINTER(out.at);
  long result = bpf(BPF_OBJ_GET_INFO_BY_FD, &attributes);
  return answer(env, result < 0 ? result : (long)attributes.info.info_len);
}

/* bpfLink(command, fd, target, type): LINK_CREATE(program, ifindex, attach type) -> fd, LINK_UPDATE(link, program),
   LINK_DETACH(link) */
napi_value BpfLink(napi_env env, napi_callback_info info) {
  napi_value arg[4];
  int32_t command, fd, target, type;
  if (!arguments(env, info, 4, arg) || !get_int(env, arg[0], &command) || !get_int(env, arg[1], &fd) ||
      !get_int(env, arg[2], &target) || !get_int(env, arg[3], &type))
    return NULL;
  union bpf_attr attributes;
  memset(&attributes, 0, sizeof attributes);
  if (command == BPF_LINK_CREATE) {
    attributes.link_create.prog_fd = (uint32_t)fd;
    attributes.link_create.target_ifindex = (uint32_t)target;
    attributes.link_create.attach_type = (uint32_t)type;
  } else if (command == BPF_LINK_UPDATE) {
    attributes.link_update.link_fd = (uint32_t)fd;
    attributes.link_update.new_prog_fd = (uint32_t)target;
  } else {
    attributes.link_detach.link_fd = (uint32_t)fd;
  }
  return answer(env, bpf(command, &attributes));
}

/* bpfRun(program, in, out, contextIn?, contextOut?, repeat, results): BPF_PROG_TEST_RUN; `results` gets u32 return value,
   bytes of output, ns for each run, bytes of context */
napi_value BpfRun(napi_env env, napi_callback_info info) {
  napi_value arg[7];
  int32_t fd;
  uint32_t repeat;
  struct bytes in, out, context_in, context_out, results;
  if (!arguments(env, info, 7, arg) || !get_int(env, arg[0], &fd) || !get_bytes(env, arg[1], &in) ||
      !get_bytes(env, arg[2], &out) || !get_optional_bytes(env, arg[3], &context_in) ||
      !get_optional_bytes(env, arg[4], &context_out) || !get_unsigned(env, arg[5], &repeat) ||
      !get_bytes(env, arg[6], &results))
    return NULL;
  uint32_t figures[4];
  if (results.length < sizeof figures) return number(env, -EINVAL);
  union bpf_attr attributes;
  memset(&attributes, 0, sizeof attributes);
  attributes.test.prog_fd = (uint32_t)fd;
  attributes.test.data_size_in = (uint32_t)in.length;
  attributes.test.data_in = POINTER(in.at);
  attributes.test.data_size_out = (uint32_t)out.length;
  attributes.test.data_out = POINTER(out.at);
  attributes.test.ctx_size_in = (uint32_t)context_in.length;
  attributes.test.ctx_in = POINTER(context_in.at);
  attributes.test.ctx_size_out = (uint32_t)context_out.length;
  attributes.test.ctx_out = POINTER(context_out.at);
  attributes.test.repeat = repeat;
  napi_value outcome = answer(env, bpf(BPF_PROG_TEST_RUN, &attributes));
  figures[0] = attributes.test.retval;
  figures[1] = attributes.test.data_size_out;
  figures[2] = attributes.test.duration;
  figures[3] = attributes.test.ctx_size_out;
  memcpy(results.at, figures, sizeof figures);
  return outcome;
}

/* bpfQuery(ifindex, attachType, ids): ids of the programs that stand on a device (tcx), 4 bytes each -> how many */
napi_value BpfQuery(napi_env env, napi_callback_info info) {
  napi_value arg[3];
  int32_t index, type;
  struct bytes ids;
  if (!arguments(env, info, 3, arg) || !get_int(env, arg[0], &index) || !get_int(env, arg[1], &type) ||
      !get_bytes(env, arg[2], &ids))
    return NULL;
  union bpf_attr attributes;
  memset(&attributes, 0, sizeof attributes);
  attributes.query.target_fd = (uint32_t)index;
  attributes.query.attach_type = (uint32_t)type;
  attributes.query.prog_ids = POINTER(ids.at);
  attributes.query.prog_cnt = (uint32_t)(ids.length / sizeof(uint32_t));
  long result = bpf(BPF_PROG_QUERY, &attributes);
  return answer(env, result < 0 ? result : (long)attributes.query.prog_cnt);
}

/* mount(type, path, data) with that type as its source; mount(undefined, path, "") takes it away */
napi_value Mount(napi_env env, napi_callback_info info) {
  napi_value arg[3];
  char type[64], path[4096], data[256];
  napi_valuetype given;
  if (!arguments(env, info, 3, arg)) return NULL;
  bool away = napi_typeof(env, arg[0], &given) == napi_ok && given == napi_undefined;
  if ((!away && !get_text(env, arg[0], type, sizeof type)) || !get_text(env, arg[1], path, sizeof path) ||
      !get_text(env, arg[2], data, sizeof data))
    return NULL;
  return answer(env, away ? umount2(path, MNT_DETACH) : mount(type, path, type, MS_NOSUID | MS_NODEV | MS_NOEXEC, data));
}
