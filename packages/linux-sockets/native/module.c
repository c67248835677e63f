/*
 * The system calls that Node lacks, one C function per call, and uv_poll readiness. No policy, no formats: socket
 * addresses and control data cross this border as bytes, which TypeScript encodes and decodes.
 *
 * Every call answers a number: the result, or the negated errno. Only arguments of the wrong type throw, as TypeError.
 */
#include "addon.h"

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
      METHOD("flock", Flock),
      METHOD("interfaceIndex", InterfaceIndex),
      METHOD("parseAddress", ParseAddress),
      METHOD("formatIpv6", FormatIpv6),
      METHOD("bpfElement", BpfElement),
      METHOD("bpfBatch", BpfBatch),
      METHOD("bpfPath", BpfPath),
      METHOD("bpfById", BpfById),
      METHOD("bpfInfo", BpfInfo),
      METHOD("bpfLink", BpfLink),
      METHOD("bpfRun", BpfRun),
      METHOD("bpfQuery", BpfQuery),
      METHOD("mount", Mount),
      METHOD("bpfLibrary", BpfLibrary),
      METHOD("bpfLog", BpfLog),
      METHOD("bpfOpen", BpfOpen),
      METHOD("bpfClose", BpfClose),
      METHOD("bpfLoad", BpfLoad),
      METHOD("bpfBtf", BpfBtf),
      METHOD("bpfMaps", BpfMaps),
      METHOD("bpfPrograms", BpfPrograms),
      METHOD("bpfSetMap", BpfSetMap),
      METHOD("bpfInitial", BpfInitial),
      METHOD("bpfAutoload", BpfAutoload),
      METHOD("bpfTc", BpfTc),
  };
#undef METHOD
  if (napi_define_properties(env, exports, sizeof methods / sizeof *methods, methods) != napi_ok) return NULL;
  return exports;
}
