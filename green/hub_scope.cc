#include "grove/green/hub_scope.h"

#include <stdio.h>

#include <utility>
#include <vector>

#include "grove/green/greenlet.h"
#include "grove/green/internal/kill_others.h"
#include "grove/green/internal/scheduler.h"
#include "grove/green/timeout.h"
#include "grove/hub/internal/check.h"

namespace grove {

using green_internal::Core;
using green_internal::Scheduler;

namespace {
constexpr absl::Duration kScopeGrace = absl::Seconds(10);
}  // namespace

Hub& ThisHub() { return Scheduler::Get().hub(); }

size_t LiveGreenlets() {
  Scheduler* s = Scheduler::GetIfExists();
  return s ? s->live() : 0;
}

HubScope::HubScope(HubOptions options) {
  GROVE_CHECK(Scheduler::GetIfExists() == nullptr,
              "a HubScope on a thread that has hub '",
              Scheduler::GetIfExists()->hub().name(), "' already");
  Scheduler::Make(std::move(options));
}

HubScope::~HubScope() {
  Scheduler* s = Scheduler::GetIfExists();
  size_t left;
  {
    Shield shield;  // a destructor does not throw
    left = Shutdown(kScopeGrace);
  }
  if (left > 0) {
    fprintf(stderr, "grove: hub '%s' ends with %zu greenlets that refused to:\n%s",
            s->hub().name().c_str(), left, s->Report().c_str());
  }
  Scheduler::Destroy(s);
}

size_t Shutdown(absl::Duration grace) {
  return green_internal::KillOthers(grace, [](const Core*) {}).size();
}

std::vector<AnyGreenlet> green_internal::KillOthers(
    Deadline deadline, absl::FunctionRef<void(const Core*)> before_kill) {
  Scheduler& s = Scheduler::Get();
  for (;;) {
    std::vector<AnyGreenlet> others;
    s.ForEach([&](Core* core) {
      if (core == s.current() || core == s.main()) return;
      if (!(core->special & kPendingKill)) before_kill(core);
      others.push_back(AnyGreenlet::FromCore(core, /*add_ref=*/true));
    });
    if (others.empty()) {
      // The links of those that have ended are still to be called.
      if (!s.hub().HasReady() || deadline.HasPassed()) return {};
      s.Yield();
      continue;
    }
    for (const AnyGreenlet& g : others) g.KillSoon();
    for (const AnyGreenlet& g : others) {
      if (g.Join(deadline)) continue;
      std::erase_if(others, [](const AnyGreenlet& o) { return o.ready(); });
      return others;
    }
  }
}

}  // namespace grove
