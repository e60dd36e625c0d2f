#ifndef GROVE_SYNC_LOCK_TEST_UTIL_H_
#define GROVE_SYNC_LOCK_TEST_UTIL_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <random>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "grove/green/greenlet.h"
#include "grove/green/hub_group.h"
#include "grove/green/hub_scope.h"
#include "grove/green/internal/sanitizer.h"
#include "grove/green/interrupt.h"
#include "grove/green/sleep.h"
#include "grove/hub/hub.h"
#include "grove/sync/wait_group.h"

// What the tests of locks have in common.
namespace grove::test_util {

// How many seeds a test of order tries. ThreadSanitizer, which is slow, has nothing to
// find on a single thread.
inline constexpr uint64_t kSeeds = GROVE_TSAN ? 50 : 1000;

// What has passed on this hub's clock since it was made.
class Stopwatch {
 public:
  // To 10 us: each timer is rounded up to its slot of a microsecond.
  bool Shows(absl::Duration expected) const {
    const absl::Duration elapsed = absl::Nanoseconds(ThisHub().Now() - start_);
    return elapsed >= expected && elapsed <= expected + absl::Microseconds(10);
  }

 private:
  const MonotonicNanos start_ = ThisHub().Now();
};

// What a body of ForEachSeed() draws by lot.
class Dice {
 public:
  // 0 to n - 1.
  int Roll(int n) { return static_cast<int>(generator_() % static_cast<uint64_t>(n)); }
  // Lets others run, in one of several ways, or goes on.
  void Pause() {
    switch (Roll(4)) {
      case 0:
        return;
      case 1:
        return Sleep(absl::Microseconds(Roll(20)));
      default:
        return Yield();
    }
  }

 private:
  std::mt19937_64 generator_{ThisHub().options().seed.value_or(0)};
};

// Runs `fn(index)` as the main greenlet of each of `n` other hubs, to its end.
inline void OnHubs(int n, const std::function<void(int)>& fn) {
  HubGroup group({.hubs = n, .pin = false}, fn);
  group.Join();
}
inline void OnAnotherHub(const std::function<void()>& fn) {
  OnHubs(1, [&](int) { fn(); });
}

// Runs `fn` on `n` threads that have no hub, to its end, and says that none got one.
// Greenlets of this hub go on meanwhile.
inline void OnPlainThreads(int n, const std::function<void(int)>& fn) {
  const KeepAlive alive(&ThisHub());
  Latch done(n);
  std::vector<std::thread> threads;
  for (int i = 0; i < n; ++i) {
    threads.emplace_back([&, i] {
      EXPECT_EQ(Hub::Current(), nullptr);
      fn(i);
      EXPECT_EQ(Hub::Current(), nullptr) << "a thread got a hub";
      done.count_down();
    });
  }
  done.wait();
  for (std::thread& t : threads) t.join();
}
inline void OnPlainThread(const std::function<void()>& fn) {
  OnPlainThreads(1, [&](int) { fn(); });
}

inline void JoinAll(const std::vector<Greenlet<>>& greenlets) {
  for (const Greenlet<>& g : greenlets) g.Join();
}

}  // namespace grove::test_util

#endif  // GROVE_SYNC_LOCK_TEST_UTIL_H_
