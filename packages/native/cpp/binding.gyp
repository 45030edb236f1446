{
  "variables": { "ouro_asan%": 0, "ouro_portable%": 0 },
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
        "src/poll/directories.cpp",
        "src/poll/in_memory.cpp",
        "src/poll/poll_calls.cpp",
        "src/poll/poll_control.cpp",
        "src/poll/poll_copy.cpp",
        "src/poll/poll_descriptors.cpp",
        "src/poll/poll_engine.cpp",
        "src/poll/poll_files.cpp",
        "src/poll/poll_messages.cpp",
        "src/poll/poll_pipes.cpp",
        "src/poll/poll_sockets.cpp",
        "src/poll/poll_time.cpp",
        "src/poll/poll_waits.cpp",
        "src/poll/prepare.cpp",
        "src/poll/readiness.cpp",
        "src/poll/tables.cpp",
        "src/poll/work_pool.cpp",
        "src/poll/write_files.cpp",
        "src/recycler.cpp",
        "src/socket.cpp",
        "src/splice.cpp",
        "src/unix_socket.cpp"
      ],
      "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")"],
      "defines": ["NAPI_VERSION=9", "NODE_ADDON_API_DISABLE_DEPRECATED", "NAPI_DISABLE_CPP_EXCEPTIONS", "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS"],
      "cflags_cc!": ["-std=gnu++17", "-std=gnu++20", "-fno-rtti"],
      "cflags_cc": ["-std=c++20", "-Wall", "-Wextra", "-Wno-unused-parameter", "-fvisibility=hidden"],
      "conditions": [
        ["OS=='linux' and ouro_portable==0", {
          "defines": ["OURO_LINUX"],
          "sources": ["src/uring.cpp", "src/uring_setup.cpp", "src/uring_teardown.cpp"]
        }, {
          "sources": ["src/ring_absent.cpp"]
        }],
        ["ouro_portable==1", {
          # Built on Linux with nothing that only Linux has.
          "cflags_cc": ["-include", "<(module_root_dir)/src/only_portable.hpp"]
        }],
        # Stays when the last worker that loaded it has ended: threads of its own may be on their last steps.
        ["OS=='linux'", { "ldflags": ["-Wl,-z,nodelete"] }],
        ["ouro_asan==1", {
          # vptr: Node is built without the type information that it would compare.
          "cflags_cc": ["-fsanitize=address,undefined", "-fno-sanitize=vptr", "-fno-omit-frame-pointer", "-g"],
          "ldflags": ["-fsanitize=address,undefined"]
        }]
      ]
    }
  ]
}
