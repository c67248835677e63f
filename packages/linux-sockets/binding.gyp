{
  "targets": [
    {
      "target_name": "linux-sockets",
      "sources": [
        "native/arguments.c",
        "native/bpf.c",
        "native/bpf_object.c",
        "native/calls.c",
        "native/endpoint.c",
        "native/messages.c",
        "native/module.c",
        "native/names.c"
      ],
      "defines": ["NAPI_VERSION=8"],
      "cflags": ["-std=gnu11", "-Wall", "-Wextra", "-fvisibility=hidden"]
    }
  ]
}
