/*
 * Life of a socket. `struct endpoint` owns the descriptor and, once readiness was asked for, the uv_poll_t. It has up
 * to two owners: the JavaScript external (until collected) and libuv (until the handle's close callback); the last one
 * frees it. While polling is on, the reference to the JavaScript callback is strong, so a socket that listens lives;
 * otherwise it is weak and a forgotten socket is closed by the collector. When the environment ends first (a worker,
 * process exit), the asynchronous cleanup hook closes the handle and the environment waits for that.
 */
#include "addon.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

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
napi_value Adopt(napi_env env, napi_callback_info info) {
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
napi_value Poll(napi_env env, napi_callback_info info) {
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
napi_value SetReferenced(napi_env env, napi_callback_info info) {
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
napi_value Close(napi_env env, napi_callback_info info) {
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
