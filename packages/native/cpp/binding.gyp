{
  "variables": { "ouro_asan%": 0 },
  "targets": [
    {
      "target_name": "ouro",
      "sources": [
        "src/addon.cpp",
        "src/engine.cpp",
        "src/environment.cpp",
        "src/file.cpp",
        "src/fusion.cpp",
        "src/loop_hook.cpp",
        "src/memory.cpp",
        "src/poll/poll_control.cpp",
        "src/poll/poll_engine.cpp",
        "src/poll/poll_files.cpp",
        "src/poll/poll_pipes.cpp",
        "src/poll/poll_sockets.cpp",
        "src/poll/poll_waits.cpp",
        "src/poll/prepare.cpp",
        "src/poll/readiness.cpp",
        "src/poll/tables.cpp",
        "src/poll/work_pool.cpp",
        "src/socket.cpp",
        "src/uring.cpp",
        "src/uring_setup.cpp",
        "src/uring_teardown.cpp"
      ],
      "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")"],
      "defines": ["NAPI_VERSION=9", "NODE_ADDON_API_DISABLE_DEPRECATED", "NAPI_DISABLE_CPP_EXCEPTIONS", "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS"],
      "cflags_cc!": ["-std=gnu++17", "-std=gnu++20", "-fno-rtti"],
      "cflags_cc": ["-std=c++20", "-Wall", "-Wextra", "-Wno-unused-parameter", "-fvisibility=hidden"],
      "conditions": [
        ["ouro_asan==1", {
          # vptr: Node is built without the type information that it would compare.
          "cflags_cc": ["-fsanitize=address,undefined", "-fno-sanitize=vptr", "-fno-omit-frame-pointer", "-g"],
          "ldflags": ["-fsanitize=address,undefined"]
        }]
      ]
    }
  ]
}
