#ifndef GROVE_GREEN_HUB_SCOPE_H_
#define GROVE_GREEN_HUB_SCOPE_H_

#include <cstddef>

#include "absl/time/time.h"
#include "grove/hub/hub.h"

namespace grove {

// ThisHub()
//
// This thread's hub; made by the first call, if nothing that blocks has made it.
//
// Threads: any; each has its own.
Hub& ThisHub();

// HubScope
//
// Gives this thread a hub with options of its own, for as long as the scope lasts. At its
// end, the greenlets that are left are killed and joined (see Shutdown), and the hub
// ends. Threads without one get a hub with default options at their first blocking call,
// and that hub ends with the thread, without running or unwinding greenlets. What
// greenlets refer to has to be declared before the scope, for it is its end that ends
// them.
//
//   ManualClock clock;
//   HubScope scope({.clock = &clock});
//   Sleep(absl::Hours(1));  // returns at once
//
// Threads: the one that made it.
class HubScope {
 public:
  // A thread that has a hub already is a fatal error.
  explicit HubScope(HubOptions options = {});
  HubScope(const HubScope&) = delete;
  HubScope& operator=(const HubScope&) = delete;
  // Blocks until the greenlets have ended. Those that refuse for ten seconds are named on
  // stderr and left as they are.
  ~HubScope();

  Hub& hub() { return ThisHub(); }
};

// Shutdown()
//
// Kills all greenlets of this thread's hub but the current and the main one, also those
// that are spawned meanwhile, and waits for their end. Returns how many have not ended
// within `grace`. Returning from main() does not do this by itself.
//
// Blocks: until all have ended. Deadline: `grace`. Kill: throws.
size_t Shutdown(absl::Duration grace);

// LiveGreenlets()
//
// How many greenlets of this thread's hub have not ended; the main one does not count.
size_t LiveGreenlets();

}  // namespace grove

#endif  // GROVE_GREEN_HUB_SCOPE_H_
