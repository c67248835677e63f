/* What JavaScript hands over, and what it is answered. */
#include "addon.h"

#include <errno.h>

napi_value fail(napi_env env, const char* message) {
  bool pending = false;
  napi_is_exception_pending(env, &pending);
  if (!pending) napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", message);
  return NULL;
}

bool arguments(napi_env env, napi_callback_info info, size_t count, napi_value* out) {
  size_t given = count;
  if (napi_get_cb_info(env, info, &given, out, NULL, NULL) != napi_ok || given < count) {
    fail(env, "too few arguments");
    return false;
  }
  return true;
}

bool get_int(napi_env env, napi_value value, int32_t* out) {
  if (napi_get_value_int32(env, value, out) == napi_ok) return true;
  fail(env, "a number was expected");
  return false;
}

bool get_bytes(napi_env env, napi_value value, struct bytes* out) {
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
bool get_optional_bytes(napi_env env, napi_value value, struct bytes* out) {
  napi_valuetype type;
  out->at = NULL;
  out->length = 0;
  if (napi_typeof(env, value, &type) == napi_ok && (type == napi_undefined || type == napi_null)) return true;
  return get_bytes(env, value, out);
}

napi_value number(napi_env env, int32_t value) {
  napi_value result = NULL;
  napi_create_int32(env, value, &result);
  return result;
}

napi_value answer(napi_env env, long result) { return number(env, result < 0 ? -errno : (int32_t)result); }

bool get_text(napi_env env, napi_value value, char* out, size_t room) {
  size_t length = 0;
  if (napi_get_value_string_utf8(env, value, NULL, 0, &length) != napi_ok ||
      napi_get_value_string_utf8(env, value, out, room, NULL) != napi_ok) {
    fail(env, "a string was expected");
    return false;
  }
  if (length >= room) out[0] = '\0';
  return true;
}
