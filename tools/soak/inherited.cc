#include <vector>

#include "grove/green/context.h"
#include "grove/green/deadline_scope.h"
#include "tools/soak/scene.h"

namespace grove::soak {
namespace {

const ContextKey<uint64_t>& Trace() {
  static const auto* const key = new ContextKey<uint64_t>;
  return *key;
}

void Contexts(Scene& s) {
  Crowd crowd(s);
  for (int i = s.Workers(); i > 0; --i) {
    crowd.Add([&, trace = s.lots.Next()] {
      const ContextScope outer(Trace(), trace);
      // It may outlive the scene, if this greenlet is killed.
      const Greenlet<bool> child = Spawn([trace, naps = s.lots.Below(3)] {
        for (uint64_t n = 0; n < naps; ++n) Yield();
        const ContextScope own(Trace(), trace + 1);
        const Greenlet<uint64_t> grandchild = Spawn([] { return Trace().GetOr(0); });
        const absl::StatusOr<uint64_t> seen = grandchild.Get();
        return seen.ok() && *seen == trace + 1;
      });
      {
        const ContextScope inner(Trace(), trace + 2);
        s.Pause();
        s.Check(Trace().GetOr(0) == trace + 2, "a scope's value is seen in it");
      }
      const absl::StatusOr<bool> seen = child.Get();
      s.Check(seen.ok() && *seen, "a greenlet has what was in force at its spawn");
      s.Check(Trace().GetOr(0) == trace, "a scope's end brings back what was before");
    });
  }
  crowd.Stir();
  crowd.Join();
  s.Check(Trace().Get() == nullptr, "nothing comes from greenlets to their spawner");
}

void Budgets(Scene& s) {
  Crowd crowd(s);
  for (int i = s.Workers(); i > 0; --i) {
    crowd.Add([&] {
      const auto draw = [&] { return absl::Microseconds(s.lots.Below(3000)); };
      const absl::Duration budget = draw();
      const MonotonicNanos start = ThisHub().Now();
      Greenlet<> child;
      const absl::Status status = WithDeadline(budget, [&] {
        s.Check(RemainingTime() <= budget, "there is no more than was given");
        child = Spawn([] { Sleep(absl::Hours(1)); });
        Sleep(draw());
      });
      s.Check(status.ok() || ThisHub().Now() - start >= absl::ToInt64Nanoseconds(budget),
              "no budget ends early");
      const absl::Status ended = child.Get();
      s.Check(absl::IsDeadlineExceeded(ended), "what was spawned ends with the budget");
      s.Check(RemainingTime() == absl::InfiniteDuration(), "a scope's end lifts it");
    });
  }
  crowd.Stir();
  crowd.Join();
}

}  // namespace

std::vector<Scenario> InheritedScenarios() {
  return {{"context", &Contexts}, {"deadline_scope", &Budgets}};
}

}  // namespace grove::soak
