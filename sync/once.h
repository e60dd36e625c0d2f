#ifndef GROVE_SYNC_ONCE_H_
#define GROVE_SYNC_ONCE_H_

#include <utility>

#include "grove/hub/deadline.h"
#include "grove/sync/internal/sync_object.h"

namespace grove {

// Once
//
// Something that is done once, by the first that asks for it; the others wait until it is
// done. As std::call_once with a flag.
//
//   Once loaded;
//   ...
//   loaded.Call([&] { table = Load(); });   // may block
//
// If the function throws, or its greenlet is killed in it, the one that has waited
// longest tries in its place. Calling it again from within is a fatal error.
//
// Threads: any; see docs/sync.md.
class Once {
 public:
  Once() = default;
  Once(const Once&) = delete;
  Once& operator=(const Once&) = delete;
  // While somebody waits for it: a fatal error that names them.
  ~Once() { sync_internal::CheckDestroy(home_, line_, "Once", this); }

  // Once::Call()
  //
  // Blocks: as `fn` does, here or where it runs.
  // Kill: throws.
  template <typename F>
  void Call(F&& fn) {
    if (home_.Here() && done_) return;
    if (!Begin()) return;
    Running running(this);
    std::forward<F>(fn)();
    running.done = true;
  }

  bool done() {
    bool done;
    home_.Ask([&] { done = done_; });
    return done;
  }

 private:
  class BeginOperation;
  struct Running {
    explicit Running(Once* o) : once(o) {}
    ~Running() { once->End(done); }
    Once* const once;
    bool done = false;
  };

  // True if the caller is to do it.
  bool Begin();
  void End(bool done);

  bool done_ = false;
  sync_internal::Self runner_;
  sync_internal::WaiterList line_;
  sync_internal::Home home_;  // last: what is on its way arrives first
};

}  // namespace grove

#endif  // GROVE_SYNC_ONCE_H_
