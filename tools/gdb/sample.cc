// For gdb_test.py: greenlets in each state, and then the end.
#include <stdlib.h>

#include <vector>

#include "absl/time/time.h"
#include "grove/green/greenlet.h"
#include "grove/green/hub_group.h"
#include "grove/green/internal/stack.h"
#include "grove/green/sleep.h"
#include "grove/sync/event.h"
#include "grove/sync/mutex.h"

namespace grove {
namespace {

// Kept out of line, to be found in stacks.
[[gnu::noinline]] void WaitForTheDoor(Event& door) {
  door.Wait();
  asm volatile("");
}
[[gnu::noinline]] void WantTheKey(Mutex& key) {
  key.lock();
  asm volatile("");
}
[[gnu::noinline]] void RestALittle() {
  Sleep(absl::Hours(1));
  asm volatile("");
}
[[gnu::noinline]] void StopHere() { abort(); }

int Main() {
  // gdb's own core files end where one of those begins; the kernel's do not.
  green_internal::DisableLightweightGuards();
  HubGroup others({.hubs = 1, .name = "others"});
  Event door;
  Mutex key;
  key.lock();
  std::vector<Greenlet<>> all;
  for (int i = 0; i < 3; ++i) all.push_back(Spawn([&] { WaitForTheDoor(door); }));
  all.push_back(Spawn({.name = "locksmith"}, [&] { WantTheKey(key); }));
  all.push_back(Spawn({.name = "sleeper"}, [] { RestALittle(); }));
  Yield();
  all.push_back(Spawn({.name = "late"}, [] {}));
  StopHere();
  return 0;
}

}  // namespace
}  // namespace grove

int main() { return grove::Main(); }
