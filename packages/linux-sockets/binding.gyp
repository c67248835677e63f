{
  "targets": [
    {
      "target_name": "linux-sockets",
      "sources": ["native/linux-sockets.c"],
      "defines": ["NAPI_VERSION=8"],
      "cflags": ["-std=gnu11", "-Wall", "-Wextra", "-fvisibility=hidden"]
    }
  ]
}
