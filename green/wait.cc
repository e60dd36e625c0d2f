#include "grove/green/wait.h"

#include <string>

#include "grove/hub/internal/check.h"
#include "grove/hub/loop.h"

namespace grove {

using green_internal::Core;
using green_internal::ForeignJoin;
using green_internal::JoinOperation;
using green_internal::JoinSet;
using green_internal::MultiWait;
using green_internal::Operation;
using green_internal::Scheduler;

bool KillAll(absl::Span<const AnyGreenlet> greenlets, KillAllOptions options) {
  Scheduler& s = Scheduler::Get();
  // What a greenlet captured may block when it is destroyed. Meanwhile none of the others
  // that have not begun may begin.
  std::vector<Core*> unstarted;
  for (const AnyGreenlet& g : greenlets) {
    Core* core = g.core();
    if (core->scheduler != &s) continue;
    if (core->started || core->finished || core->cancelled) continue;
    core->cancelled = true;
    unstarted.push_back(core);
  }
  for (Core* core : unstarted) s.FinishUnstarted(core, options.error);
  bool all_ended = true;
  bool suicide = false;
  for (const AnyGreenlet& g : greenlets) {
    suicide |= g.core() == s.current();
    if (g.core() != s.current()) g.KillSoon(options.error);
    all_ended &= g.ready();
  }
  if (suicide) s.Kill(s.current(), options.error);
  if (!options.wait || all_ended) return all_ended;
  if (suicide) s.DeliverPending();
  JoinSet joins(greenlets.size());
  all_ended = true;
  size_t left = 0;
  for (const AnyGreenlet& g : greenlets) {
    if (g.ready()) continue;
    if (g.core() == s.current() || g.core() == g.core()->scheduler->main()) {
      all_ended = false;
    } else {
      joins.Add(g.core());
      ++left;
    }
  }
  for (; left > 0; --left) {
    if (joins.Next(options.deadline) == JoinSet::kNone) return false;
  }
  return all_ended;
}

Waitable::Waitable(AnyGreenlet greenlet)
    : make_([greenlet = std::move(greenlet)] {
        Core* core = greenlet.core();
        green_internal::CheckJoinable(core);
        if (core->scheduler->on_home_thread()) {
          return std::unique_ptr<Holder>(std::make_unique<HolderOf<JoinOperation>>(core));
        }
        return std::unique_ptr<Holder>(std::make_unique<HolderOf<ForeignJoin>>(core));
      }) {}

std::vector<size_t> Wait(absl::Span<const Waitable> objects, WaitOptions options) {
  struct Standing {
    ~Standing() {
      for (; !held.empty(); held.pop_back()) MultiWait::Remove(held.back()->operation());
    }
    MultiWait wait;
    std::vector<std::unique_ptr<Waitable::Holder>> held;
  } standing;
  for (const Waitable& object : objects) {
    standing.held.push_back(object.Begin());
    standing.wait.Add(standing.held.back()->operation(), standing.held.size() - 1);
  }
  std::vector<size_t> ready;
  while (ready.size() < std::min(options.count, objects.size())) {
    const Operation* done = standing.wait.Next(options.deadline);
    if (done == nullptr) break;
    ready.push_back(done->tag);
  }
  return ready;
}

namespace {

class IdleWaiter final : public green_internal::Waiter {
 public:
  void Cancel() override {}
  std::string Describe() const override { return "an idle hub (Idle)"; }
};

}  // namespace

bool Idle(Deadline deadline) {
  if (deadline == Deadline::Passed()) return false;
  Scheduler& s = Scheduler::Get();
  Core* self = s.current();
  Hub& hub = s.hub();
  const KeepAlive alive(&hub);
  IdleWatcher watcher(&hub.loop());
  watcher.Start([self, &hub] {
    if (hub.HasReady() || hub.HasMail()) return;
    if (hub.timers().armed() > 0 && *hub.timers().NextLook() <= hub.Now()) return;
    self->scheduler->Wake(self);
  });
  IdleWaiter waiter;
  return s.ParkUntil(&waiter, deadline);
}

}  // namespace grove
