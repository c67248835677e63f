#ifndef LINUX_SOCKETS_ADDON_H
#define LINUX_SOCKETS_ADDON_H

#include <node_api.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* arguments.c */

struct bytes {
  uint8_t* at;
  size_t length;
};

napi_value fail(napi_env env, const char* message);
bool arguments(napi_env env, napi_callback_info info, size_t count, napi_value* out);
bool get_int(napi_env env, napi_value value, int32_t* out);
bool get_bytes(napi_env env, napi_value value, struct bytes* out);
/* undefined and null: no bytes. */
bool get_optional_bytes(napi_env env, napi_value value, struct bytes* out);
bool get_text(napi_env env, napi_value value, char* out, size_t room);
napi_value number(napi_env env, int32_t value);
napi_value answer(napi_env env, long result);

/* endpoint.c */

napi_value Adopt(napi_env env, napi_callback_info info);
napi_value Poll(napi_env env, napi_callback_info info);
napi_value SetReferenced(napi_env env, napi_callback_info info);
napi_value Close(napi_env env, napi_callback_info info);

/* calls.c */

napi_value Socket(napi_env env, napi_callback_info info);
napi_value Bind(napi_env env, napi_callback_info info);
napi_value Connect(napi_env env, napi_callback_info info);
napi_value Listen(napi_env env, napi_callback_info info);
napi_value LocalAddress(napi_env env, napi_callback_info info);
napi_value SetOption(napi_env env, napi_callback_info info);
napi_value GetOption(napi_env env, napi_callback_info info);
napi_value AttachFilter(napi_env env, napi_callback_info info);
napi_value Ioctl(napi_env env, napi_callback_info info);
napi_value Setns(napi_env env, napi_callback_info info);
napi_value OpenFile(napi_env env, napi_callback_info info);
napi_value Flock(napi_env env, napi_callback_info info);

/* messages.c */

napi_value Send(napi_env env, napi_callback_info info);
napi_value SendBatch(napi_env env, napi_callback_info info);
napi_value ReceiveBatch(napi_env env, napi_callback_info info);

/* names.c */

napi_value InterfaceIndex(napi_env env, napi_callback_info info);
napi_value ParseAddress(napi_env env, napi_callback_info info);
napi_value FormatIpv6(napi_env env, napi_callback_info info);

/* bpf.c */

napi_value BpfElement(napi_env env, napi_callback_info info);
napi_value BpfBatch(napi_env env, napi_callback_info info);
napi_value BpfPath(napi_env env, napi_callback_info info);
napi_value BpfById(napi_env env, napi_callback_info info);
napi_value BpfInfo(napi_env env, napi_callback_info info);
napi_value BpfLink(napi_env env, napi_callback_info info);
napi_value BpfRun(napi_env env, napi_callback_info info);
napi_value BpfQuery(napi_env env, napi_callback_info info);
napi_value Mount(napi_env env, napi_callback_info info);

/* bpf_object.c */

napi_value BpfLibrary(napi_env env, napi_callback_info info);
napi_value BpfLog(napi_env env, napi_callback_info info);
napi_value BpfOpen(napi_env env, napi_callback_info info);
napi_value BpfClose(napi_env env, napi_callback_info info);
napi_value BpfLoad(napi_env env, napi_callback_info info);
napi_value BpfBtf(napi_env env, napi_callback_info info);
napi_value BpfMaps(napi_env env, napi_callback_info info);
napi_value BpfPrograms(napi_env env, napi_callback_info info);
napi_value BpfSetMap(napi_env env, napi_callback_info info);
napi_value BpfInitial(napi_env env, napi_callback_info info);
napi_value BpfAutoload(napi_env env, napi_callback_info info);
napi_value BpfTc(napi_env env, napi_callback_info info);

#endif
