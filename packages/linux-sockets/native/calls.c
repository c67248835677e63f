/* System calls on a descriptor, or that make one. */
#define _GNU_SOURCE
#include "addon.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <sched.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

/* socket(family, type, protocol) -> fd */
napi_value Socket(napi_env env, napi_callback_info info) {
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

napi_value Bind(napi_env env, napi_callback_info info) { return with_address(env, info, bind); }
napi_value Connect(napi_env env, napi_callback_info info) { return with_address(env, info, connect); }

/* localAddress(fd, out) -> length */
napi_value LocalAddress(napi_env env, napi_callback_info info) {
  napi_value arg[2];
  int32_t fd;
  struct bytes out;
  if (!arguments(env, info, 2, arg) || !get_int(env, arg[0], &fd) || !get_bytes(env, arg[1], &out)) return NULL;
  socklen_t length = (socklen_t)out.length;
  int result = getsockname(fd, (struct sockaddr*)out.at, &length);
  return answer(env, result < 0 ? result : (long)(length < out.length ? length : out.length));
}

/* listen(fd, backlog) */
napi_value Listen(napi_env env, napi_callback_info info) {
  napi_value arg[2];
  int32_t fd, backlog;
  if (!arguments(env, info, 2, arg) || !get_int(env, arg[0], &fd) || !get_int(env, arg[1], &backlog)) return NULL;
  return answer(env, listen(fd, backlog));
}

/* setOption(fd, level, name, bytes) */
napi_value SetOption(napi_env env, napi_callback_info info) {
  napi_value arg[4];
  int32_t fd, level, name;
  struct bytes value;
  if (!arguments(env, info, 4, arg) || !get_int(env, arg[0], &fd) || !get_int(env, arg[1], &level) ||
      !get_int(env, arg[2], &name) || !get_bytes(env, arg[3], &value))
    return NULL;
  return answer(env, setsockopt(fd, level, name, value.at, (socklen_t)value.length));
}

/* getOption(fd, level, name, out) -> length */
napi_value GetOption(napi_env env, napi_callback_info info) {
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
napi_value AttachFilter(napi_env env, napi_callback_info info) {
  napi_value arg[2];
  int32_t fd;
  struct bytes code;
  if (!arguments(env, info, 2, arg) || !get_int(env, arg[0], &fd) || !get_bytes(env, arg[1], &code)) return NULL;
  if (code.length % sizeof(struct sock_filter) || code.length / sizeof(struct sock_filter) > BPF_MAXINSNS)
    return number(env, -EINVAL);
  struct sock_fprog program = {(unsigned short)(code.length / sizeof(struct sock_filter)), (void*)code.at};
  return answer(env, setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program));
}

/* ioctl(fd, request, bytes). The kernel decides how much it reads and writes, at most 16 KiB (_IOC_SIZEBITS): it works
   on a copy of that size, so an argument that is too short can't be overrun. */
napi_value Ioctl(napi_env env, napi_callback_info info) {
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
napi_value Setns(napi_env env, napi_callback_info info) {
  napi_value arg[1];
  int32_t fd;
  if (!arguments(env, info, 1, arg) || !get_int(env, arg[0], &fd)) return NULL;
  return answer(env, setns(fd, CLONE_NEWNET));
}

/* openFile(path, flags) -> fd, close-on-exec */
napi_value OpenFile(napi_env env, napi_callback_info info) {
  napi_value arg[2];
  int32_t flags;
  char path[4096];
  if (!arguments(env, info, 2, arg) || !get_text(env, arg[0], path, sizeof path) || !get_int(env, arg[1], &flags))
    return NULL;
  return answer(env, open(path, flags | O_CLOEXEC, 0600));
}

/* flock(fd, operation) */
napi_value Flock(napi_env env, napi_callback_info info) {
  napi_value arg[2];
  int32_t fd, operation;
  if (!arguments(env, info, 2, arg) || !get_int(env, arg[0], &fd) || !get_int(env, arg[1], &operation)) return NULL;
  return answer(env, flock(fd, operation));
}
