#ifndef GROVE_GREEN_ASSERT_SWITCHES_H_
#define GROVE_GREEN_ASSERT_SWITCHES_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "grove/green/internal/core.h"
#include "grove/green/spawn_site.h"
#include "grove/hub/hub.h"

namespace grove {

// AssertSwitchesOptions
struct AssertSwitchesOptions {
  // How long the greenlet may run at a stretch, on its hub's clock.
  absl::Duration max_blocking_time = absl::InfiniteDuration();
  // That others were let run is not enough: the hub must have looked for events. The time
  // is then that from one such look to the next, whoever ran.
  bool hub_only = false;
};

// AssertSwitches
//
// Says that a piece of code lets others run: that it blocks or yields at least once, and
// does not run longer than a limit in between. That it does not is a fatal error, which
// names the greenlet.
//
//   {
//     AssertSwitches cooperative({.max_blocking_time = absl::Milliseconds(10)});
//     Compress(file);  // which says that it yields now and then
//   }
//
// For tests: while one lives, each switch on its hub takes a detour.
//
// Threads: its hub's, and to be ended by the greenlet that made it. When an exception
// ends the scope nothing is checked.
class AssertSwitches final : private Hub::RunObserver {
 public:
  explicit AssertSwitches(AssertSwitchesOptions options = {},
                          SpawnSite site = SpawnSite::Here());
  AssertSwitches(const AssertSwitches&) = delete;
  AssertSwitches& operator=(const AssertSwitches&) = delete;
  ~AssertSwitches();

  // AssertSwitches::Check()
  //
  // What would be the fatal error until now, as kFailedPrecondition; the destructor does
  // not look any more.
  absl::Status Check();

 private:
  void Runs(Runnable* r, MonotonicNanos now) override;
  void HasRun(MonotonicNanos now) override;

  const AssertSwitchesOptions options_;
  const SpawnSite site_;
  const int uncaught_exceptions_;
  green_internal::Core* const core_;
  Hub& hub_;
  bool checked_ = false;
  bool running_ = true;
  MonotonicNanos since_;  // that it runs, or that the hub has looked
  MonotonicNanos longest_ = 0;
  uint64_t runs_;
  uint64_t polls_;
  uint64_t polls_at_first_;
};

}  // namespace grove

#endif  // GROVE_GREEN_ASSERT_SWITCHES_H_
