#include "grove/green/spawn_later_local.h"

#include <string>

#include "grove/green/internal/scheduler.h"
#include "grove/hub/internal/check.h"

namespace grove::green_internal {
namespace {

Core* Spawner() {
  Scheduler& s = Scheduler::Get();
  GROVE_CHECK(
      !s.on_loop_stack(),
      "SpawnLaterLocal() in a loop callback: there is no greenlet that could end");
  return s.current();
}

}  // namespace

UnlessSpawnerEnds::UnlessSpawnerEnds() : end_(Spawner()) {
  end_.WaitsFor(this);
  end_.Enlist();
}

UnlessSpawnerEnds::~UnlessSpawnerEnds() {
  if (listed_) end_.Cancel();
}

void UnlessSpawnerEnds::Fulfilled(ListedWaiter*) {
  listed_ = false;
  Core* const spawned = spawned_;
  spawned->scheduler->Kill(spawned, nullptr);  // destroys this
}

std::string UnlessSpawnerEnds::Who() const {
  return spawned_ ? spawned_->Label() : "a greenlet that is being spawned";
}

}  // namespace grove::green_internal
