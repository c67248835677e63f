/* Names of interfaces, and addresses as text. */
#include "addon.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>

/* interfaceIndex(name) in this thread's network namespace */
napi_value InterfaceIndex(napi_env env, napi_callback_info info) {
  napi_value arg[1];
  char name[64];
  if (!arguments(env, info, 1, arg) || !get_text(env, arg[0], name, sizeof name)) return NULL;
  unsigned index = if_nametoindex(name);
  return number(env, index ? (int32_t)index : -errno);
}

/* parseAddress(text, out) -> 4, 16, or 0 for neither family; `out` has room for 16 bytes */
napi_value ParseAddress(napi_env env, napi_callback_info info) {
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
napi_value FormatIpv6(napi_env env, napi_callback_info info) {
  napi_value arg[1], result = NULL;
  char text[INET6_ADDRSTRLEN];
  struct bytes address;
  if (!arguments(env, info, 1, arg) || !get_bytes(env, arg[0], &address)) return NULL;
  if (address.length != 16 || !inet_ntop(AF_INET6, address.at, text, sizeof text))
    return fail(env, "16 bytes were expected");
  napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &result);
  return result;
}
