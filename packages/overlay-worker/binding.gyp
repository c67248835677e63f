{
  "targets": [
    {
      "target_name": "overlay-worker",
      "sources": [
        "native/checksum.c",
        "native/coalesce.c",
        "native/commands.c",
        "native/congestion.c",
        "native/control.c",
        "native/esp.c",
        "native/headers.c",
        "native/loop.c",
        "native/module.c",
        "native/outgoing.c",
        "native/receive.c",
        "native/segment.c",
        "native/statistics.c",
        "native/table.c",
        "native/tap.c",
        "native/transmit.c"
      ],
      "defines": ["NAPI_VERSION=8"],
      "cflags": ["-std=gnu11", "-Wall", "-Wextra", "-fvisibility=hidden"]
    }
  ]
}
