#pragma once

#include <napi.h>

#include <cstddef>
#include <deque>
#include <map>
#include <memory>

namespace v8 {
class BackingStore;
}  // namespace v8

namespace ouro {

// Memory that has been handed out and is handed out again when V8 has collected the ArrayBuffer over it. Fresh memory costs more than
// what is put there: 16 page faults for 64 KiB. The recycler is one owner of each piece; when it is the last one the piece is free.
class Recycler {
 public:
  Recycler() = default;
  Recycler(const Recycler&) = delete;
  Recycler& operator=(const Recycler&) = delete;
  ~Recycler();

  // An ArrayBuffer of `size` bytes over a free piece; null if there is none.
  napi_value take(size_t size);
  // Watches over the memory of an ArrayBuffer that has just been made. False where this Node cannot do that.
  bool add(napi_value buffer, size_t size);
  // Lets go of the pieces that have not been handed out since the last time, and answers how many bytes are left.
  size_t trim();

 private:
  struct Piece {
    std::shared_ptr<v8::BackingStore> memory;
    bool used = true;  // since the last trim
  };
  // By size, in the order in which they were handed out: the first has had most time to be dropped.
  std::map<size_t, std::deque<Piece>> pieces_;
  size_t bytes_ = 0;
};

void export_recycler_calls(Napi::Env env, Napi::Object exports);

}  // namespace ouro
