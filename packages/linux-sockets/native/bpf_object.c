/*
 * Object files of BPF programs, by libbpf. The library is looked for when it is first needed, so that the addon loads on
 * machines that don't have it; its few functions are declared here by hand, so that its headers are not needed either.
 * What libbpf has to say (the verifier's log among it) is kept until it is asked for.
 */
#include "addon.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct bpf_object;
struct bpf_program;
struct bpf_map;
struct btf;

struct open_options { /* struct bpf_object_open_opts of libbpf 1.x, as far as it is used */
  size_t sz;
  const char* object_name;
  bool relaxed_maps;
  const char* pin_root_path;
  uint64_t unused[6];
};

struct tc_hook { /* struct bpf_tc_hook */
  size_t sz;
  int ifindex;
  int attach_point;
  uint32_t parent;
  size_t : 0;
};

struct tc_options { /* struct bpf_tc_opts */
  size_t sz;
  int prog_fd;
  uint32_t flags;
  uint32_t prog_id;
  uint32_t handle;
  uint32_t priority;
  size_t : 0;
};

typedef int (*print_function)(int level, const char* format, va_list arguments);

static struct {
  const char* (*libbpf_version_string)(void);
  print_function (*libbpf_set_print)(print_function);
  struct bpf_object* (*bpf_object__open_mem)(const void*, size_t, const struct open_options*);
  int (*bpf_object__load)(struct bpf_object*);
  void (*bpf_object__close)(struct bpf_object*);
  const struct btf* (*bpf_object__btf)(const struct bpf_object*);
  const void* (*btf__raw_data)(const struct btf*, uint32_t*);
  struct bpf_map* (*bpf_object__next_map)(const struct bpf_object*, const struct bpf_map*);
  struct bpf_program* (*bpf_object__next_program)(const struct bpf_object*, struct bpf_program*);
  const char* (*bpf_map__name)(const struct bpf_map*);
  int (*bpf_map__fd)(const struct bpf_map*);
  uint32_t (*bpf_map__max_entries)(const struct bpf_map*);
  int (*bpf_map__set_max_entries)(struct bpf_map*, uint32_t);
  int (*bpf_map__reuse_fd)(struct bpf_map*, int);
  int (*bpf_map__set_pin_path)(struct bpf_map*, const char*);
  uint32_t (*bpf_map__type)(const struct bpf_map*);
  uint32_t (*bpf_map__key_size)(const struct bpf_map*);
  uint32_t (*bpf_map__value_size)(const struct bpf_map*);
  int (*bpf_map__set_initial_value)(struct bpf_map*, const void*, size_t);
  const void* (*bpf_map__initial_value)(struct bpf_map*, size_t*);
  const char* (*bpf_program__name)(const struct bpf_program*);
  const char* (*bpf_program__section_name)(const struct bpf_program*);
  int (*bpf_program__fd)(const struct bpf_program*);
  int (*bpf_program__set_autoload)(struct bpf_program*, bool);
  int (*bpf_tc_hook_create)(struct tc_hook*);
  int (*bpf_tc_hook_destroy)(struct tc_hook*);
  int (*bpf_tc_attach)(const struct tc_hook*, struct tc_options*);
  int (*bpf_tc_detach)(const struct tc_hook*, const struct tc_options*);
} lib;

static char why_not[256];
static char log_text[1 << 17];
static size_t log_length;

/* The end says why: the front gives way. */
static int keep_log(int level, const char* format, va_list given) {
  if (level > 1) return 0; /* LIBBPF_DEBUG */
  va_list again;
  va_copy(again, given);
  int wanted = vsnprintf(NULL, 0, format, again);
  va_end(again);
  if (wanted <= 0) return 0;
  char* text = malloc((size_t)wanted + 1);
  if (!text) return 0;
  vsnprintf(text, (size_t)wanted + 1, format, given);
  const char* from = text;
  size_t length = (size_t)wanted;
  if (length > sizeof log_text / 2) {
    from += length - sizeof log_text / 2;
    length = sizeof log_text / 2;
  }
  if (log_length + length > sizeof log_text) {
    size_t gone = log_length + length - sizeof log_text;
    memmove(log_text, log_text + gone, log_length - gone);
    log_length -= gone;
  }
  memcpy(log_text + log_length, from, length);
  log_length += length;
  free(text);
  return 0;
}

static bool library(void) {
  static bool tried, found;
  if (tried) return found;
  tried = true;
  void* handle = dlopen("libbpf.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!handle) {
    snprintf(why_not, sizeof why_not, "%s", dlerror());
    return false;
  }
#define NEED(name)                                             \
  do {                                                         \
    void* symbol = dlsym(handle, #name);                       \
    if (!symbol) {                                             \
      snprintf(why_not, sizeof why_not, "it has no %s", #name); \
      return false;                                            \
    }                                                          \
    memcpy(&lib.name, &symbol, sizeof symbol);                 \
  } while (0)
  NEED(libbpf_version_string);
  NEED(libbpf_set_print);
  NEED(bpf_object__open_mem);
  NEED(bpf_object__load);
  NEED(bpf_object__close);
  NEED(bpf_object__btf);
  NEED(btf__raw_data);
  NEED(bpf_object__next_map);
  NEED(bpf_object__next_program);
  NEED(bpf_map__name);
  NEED(bpf_map__fd);
  NEED(bpf_map__max_entries);
  NEED(bpf_map__set_max_entries);
  NEED(bpf_map__reuse_fd);
  NEED(bpf_map__set_pin_path);
  NEED(bpf_map__type);
  NEED(bpf_map__key_size);
  NEED(bpf_map__value_size);
  NEED(bpf_map__set_initial_value);
  NEED(bpf_map__initial_value);
  NEED(bpf_program__name);
  NEED(bpf_program__section_name);
  NEED(bpf_program__fd);
  NEED(bpf_program__set_autoload);
  NEED(bpf_tc_hook_create);
  NEED(bpf_tc_hook_destroy);
  NEED(bpf_tc_attach);
  NEED(bpf_tc_detach);
#undef NEED
  lib.libbpf_set_print(keep_log);
  found = true;
  return true;
}

static napi_value text(napi_env env, const char* value, size_t length) {
  napi_value result = NULL;
  napi_create_string_utf8(env, value, length, &result);
  return result;
}

/* bpfLibrary() -> [version or "", why it can't be used] */
napi_value BpfLibrary(napi_env env, napi_callback_info info) {
  (void)info;
  napi_value result = NULL;
  bool there = library();
  napi_create_array_with_length(env, 2, &result);
  napi_set_element(env, result, 0, text(env, there ? lib.libbpf_version_string() : "", NAPI_AUTO_LENGTH));
  napi_set_element(env, result, 1, text(env, why_not, NAPI_AUTO_LENGTH));
  return result;
}

/* bpfLog() -> what libbpf said since the last call */
napi_value BpfLog(napi_env env, napi_callback_info info) {
  (void)info;
  napi_value result = text(env, log_text, log_length);
  log_length = 0;
  return result;
}

/* An external value owns a `struct bpf_object**`; closed means that it points to NULL. */
static void let_go(napi_env env, void* data, void* hint) {
  (void)env;
  (void)hint;
  struct bpf_object** holder = data;
  if (*holder) lib.bpf_object__close(*holder);
  free(holder);
}

static struct bpf_object** get_holder(napi_env env, napi_value value) {
  void* data = NULL;
  if (napi_get_value_external(env, value, &data) != napi_ok) fail(env, "a BPF object was expected");
  return data;
}

static struct bpf_object* get_object(napi_env env, napi_value value) {
  struct bpf_object** holder = get_holder(env, value);
  if (holder && !*holder) fail(env, "this BPF object is closed");
  return holder ? *holder : NULL;
}

/* bpfOpen(bytes, name) -> object, or a negated errno */
napi_value BpfOpen(napi_env env, napi_callback_info info) {
  napi_value arg[2], result = NULL;
  struct bytes file;
  char name[64];
  if (!arguments(env, info, 2, arg) || !get_bytes(env, arg[0], &file) || !get_text(env, arg[1], name, sizeof name))
    return NULL;
  if (!library()) return number(env, -ENOSYS);
  struct open_options options;
  memset(&options, 0, sizeof options);
  options.sz = sizeof options;
  options.object_name = name;
  struct bpf_object** holder = calloc(1, sizeof *holder);
  if (!holder) return number(env, -ENOMEM);
  *holder = lib.bpf_object__open_mem(file.at, file.length, &options);
  if (!*holder) {
    free(holder);
    return number(env, -errno);
  }
  /* What is pinned, and where, is the caller's to say: never what a map's definition asks for. */
  for (struct bpf_map* map = NULL; (map = lib.bpf_object__next_map(*holder, map));)
    lib.bpf_map__set_pin_path(map, NULL);
  if (napi_create_external(env, holder, let_go, NULL, &result) == napi_ok) return result;
  let_go(env, holder, NULL);
  return number(env, -ENOMEM);
}

/* bpfClose(object): its descriptors too */
napi_value BpfClose(napi_env env, napi_callback_info info) {
  napi_value arg[1];
  struct bpf_object** holder;
  if (!arguments(env, info, 1, arg) || !(holder = get_holder(env, arg[0]))) return NULL;
  if (*holder) lib.bpf_object__close(*holder);
  *holder = NULL;
  return number(env, 0);
}

/* bpfLoad(object) */
napi_value BpfLoad(napi_env env, napi_callback_info info) {
  napi_value arg[1];
  struct bpf_object* object;
  if (!arguments(env, info, 1, arg) || !(object = get_object(env, arg[0]))) return NULL;
  return number(env, lib.bpf_object__load(object));
}

/* bpfBtf(object) -> the types that the object describes, raw */
napi_value BpfBtf(napi_env env, napi_callback_info info) {
  napi_value arg[1], result = NULL;
  struct bpf_object* object;
  if (!arguments(env, info, 1, arg) || !(object = get_object(env, arg[0]))) return NULL;
  const struct btf* btf = lib.bpf_object__btf(object);
  uint32_t size = 0;
  const void* raw = btf ? lib.btf__raw_data(btf, &size) : NULL;
  napi_create_buffer_copy(env, raw ? size : 0, raw ? raw : "", NULL, &result);
  return result;
}

static napi_value row(napi_env env, const char* first, const char* second, const int64_t* figures, uint32_t count) {
  napi_value result = NULL, value = NULL;
  napi_create_array(env, &result);
  napi_set_element(env, result, 0, text(env, first, NAPI_AUTO_LENGTH));
  napi_set_element(env, result, 1, text(env, second, NAPI_AUTO_LENGTH));
  for (uint32_t at = 0; at < count; at += 1) {
    napi_create_int64(env, figures[at], &value);
    napi_set_element(env, result, at + 2, value);
  }
  return result;
}

/* bpfMaps(object) -> [name, "", fd, type, key size, value size, entries][]; fd below zero before it is loaded */
napi_value BpfMaps(napi_env env, napi_callback_info info) {
  napi_value arg[1], result = NULL;
  struct bpf_object* object;
  if (!arguments(env, info, 1, arg) || !(object = get_object(env, arg[0]))) return NULL;
  napi_create_array(env, &result);
  uint32_t at = 0;
  for (struct bpf_map* map = NULL; (map = lib.bpf_object__next_map(object, map));) {
    int64_t figures[] = {lib.bpf_map__fd(map), lib.bpf_map__type(map), lib.bpf_map__key_size(map),
                         lib.bpf_map__value_size(map), lib.bpf_map__max_entries(map)};
    napi_set_element(env, result, at++, row(env, lib.bpf_map__name(map), "", figures, 5));
  }
  return result;
}

/* bpfPrograms(object) -> [name, section, fd][] */
napi_value BpfPrograms(napi_env env, napi_callback_info info) {
  napi_value arg[1], result = NULL;
  struct bpf_object* object;
  if (!arguments(env, info, 1, arg) || !(object = get_object(env, arg[0]))) return NULL;
  napi_create_array(env, &result);
  uint32_t at = 0;
  for (struct bpf_program* program = NULL; (program = lib.bpf_object__next_program(object, program));) {
    int64_t fd = lib.bpf_program__fd(program);
    napi_set_element(env, result, at++,
                     row(env, lib.bpf_program__name(program), lib.bpf_program__section_name(program), &fd, 1));
  }
  return result;
}

static struct bpf_map* get_map(napi_env env, struct bpf_object* object, napi_value value) {
  char name[128];
  if (!get_text(env, value, name, sizeof name)) return NULL;
  for (struct bpf_map* map = NULL; (map = lib.bpf_object__next_map(object, map));)
    if (strcmp(lib.bpf_map__name(map), name) == 0) return map;
  fail(env, "the BPF object has no map of that name");
  return NULL;
}

/* bpfSetMap(object, map, entries or 0, fd to use or -1), before it is loaded */
napi_value BpfSetMap(napi_env env, napi_callback_info info) {
  napi_value arg[4];
  struct bpf_object* object;
  struct bpf_map* map;
  uint32_t entries;
  int32_t fd;
  if (!arguments(env, info, 4, arg) || !(object = get_object(env, arg[0])) || !(map = get_map(env, object, arg[1])))
    return NULL;
  if (napi_get_value_uint32(env, arg[2], &entries) != napi_ok) return fail(env, "a number was expected");
  if (!get_int(env, arg[3], &fd)) return NULL;
  int result = entries ? lib.bpf_map__set_max_entries(map, entries) : 0;
  if (result == 0 && fd >= 0) result = lib.bpf_map__reuse_fd(map, fd);
  return number(env, result);
}

/* bpfInitial(object, map, bytes?): the first content of a map of variables (".rodata"); without bytes it is read */
napi_value BpfInitial(napi_env env, napi_callback_info info) {
  napi_value arg[3], result = NULL;
  struct bpf_object* object;
  struct bpf_map* map;
  struct bytes value;
  if (!arguments(env, info, 3, arg) || !(object = get_object(env, arg[0])) || !(map = get_map(env, object, arg[1])) ||
      !get_optional_bytes(env, arg[2], &value))
    return NULL;
  if (value.at) return number(env, lib.bpf_map__set_initial_value(map, value.at, value.length));
  size_t size = 0;
  const void* at = lib.bpf_map__initial_value(map, &size);
  napi_create_buffer_copy(env, at ? size : 0, at ? at : "", NULL, &result);
  return result;
}

/* bpfAutoload(object, program, whether) */
napi_value BpfAutoload(napi_env env, napi_callback_info info) {
  napi_value arg[3];
  struct bpf_object* object;
  char name[128];
  int32_t whether;
  if (!arguments(env, info, 3, arg) || !(object = get_object(env, arg[0])) || !get_text(env, arg[1], name, sizeof name) ||
      !get_int(env, arg[2], &whether))
    return NULL;
  for (struct bpf_program* program = NULL; (program = lib.bpf_object__next_program(object, program));)
    if (strcmp(lib.bpf_program__name(program), name) == 0)
      return number(env, lib.bpf_program__set_autoload(program, whether != 0));
  return fail(env, "the BPF object has no program of that name");
}

/* bpfTc(operation, ifindex, direction, program, handle, priority): the clsact way, for kernels without tcx.
   operation 1: make the hook and attach (replacing what has this handle and priority), 0: detach, 2: remove the hook;
   direction 1: ingress, 2: egress, 3: both (to remove it) */
napi_value BpfTc(napi_env env, napi_callback_info info) {
  napi_value arg[6];
  int32_t operation, index, direction, program, handle, priority;
  if (!arguments(env, info, 6, arg) || !get_int(env, arg[0], &operation) || !get_int(env, arg[1], &index) ||
      !get_int(env, arg[2], &direction) || !get_int(env, arg[3], &program) || !get_int(env, arg[4], &handle) ||
      !get_int(env, arg[5], &priority))
    return NULL;
  if (!library()) return number(env, -ENOSYS);
  struct tc_hook hook;
  struct tc_options options;
  memset(&hook, 0, sizeof hook);
  memset(&options, 0, sizeof options);
  hook.sz = sizeof hook;
  hook.ifindex = index;
  hook.attach_point = direction;
  if (operation == 2) return number(env, lib.bpf_tc_hook_destroy(&hook));
  options.sz = sizeof options;
  options.handle = (uint32_t)handle;
  options.priority = (uint32_t)priority;
  if (operation == 0) return number(env, lib.bpf_tc_detach(&hook, &options));
  int made = lib.bpf_tc_hook_create(&hook);
  if (made < 0 && made != -EEXIST) return number(env, made);
  options.prog_fd = program;
  options.flags = 1; /* BPF_TC_F_REPLACE */
  return number(env, lib.bpf_tc_attach(&hook, &options));
}
