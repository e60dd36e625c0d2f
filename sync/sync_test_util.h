#ifndef GROVE_SYNC_SYNC_TEST_UTIL_H_
#define GROVE_SYNC_SYNC_TEST_UTIL_H_

#include <random>
#include <thread>

#include "absl/time/time.h"
#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/sleep.h"
#include "grove/green/timeout.h"
#include "grove/hub/hub.h"
#include "grove/sync/event.h"

// What the tests of sync/ have in common.
namespace grove::test_util {

// Lets all others run until they wait: on a manual clock time moves no sooner, whatever
// the hub's seed.
inline void Settle() { Sleep(absl::Microseconds(1)); }

// Runs `fn` on a thread that has no hub, while this hub goes on, and waits for its end.
template <typename F>
void OnThread(F fn) {
  const KeepAlive alive(&ThisHub());
  Event ended;
  std::thread thread([&] {
    fn();
    ended.Set();
  });
  {
    const Shield shield;
    ended.Wait();
  }
  thread.join();
}

// As OnThread(), on a hub of its own, with the real clock.
template <typename F>
void OnHub(F fn) {
  OnThread([&] {
    HubScope scope({.name = "other"});
    fn();
  });
}

// What a body under ForEachSeed() draws by lot.
class Lots {
 public:
  Lots() : random_(ThisHub().options().seed.value_or(0)) {}
  int Below(int n) { return static_cast<int>(random_() % static_cast<unsigned>(n)); }
  bool OneIn(int n) { return Below(n) == 0; }
  // A deadline that may pass before, in, or after the turn in which something happens; or
  // none.
  Deadline SomeDeadline() {
    switch (Below(4)) {
      case 0:
        return Deadline::Passed();
      case 1:
        return Deadline();
      default:
        return absl::Microseconds(1 + Below(4));
    }
  }

 private:
  std::mt19937_64 random_;
};

// Counts how often it was moved, and knows whether it was moved from. Neither
// default-constructible nor copyable.
class Moved {
 public:
  explicit Moved(int v) : value(v) {}
  Moved(Moved&& other) noexcept : value(other.value), moves(other.moves + 1) {
    other.value = -1;
  }
  Moved& operator=(Moved&& other) noexcept {
    value = other.value;
    moves = other.moves + 1;
    other.value = -1;
    return *this;
  }

  int value;
  int moves = 0;
};

}  // namespace grove::test_util

#endif  // GROVE_SYNC_SYNC_TEST_UTIL_H_
