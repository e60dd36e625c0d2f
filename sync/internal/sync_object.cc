#include "grove/sync/internal/sync_object.h"

#include "absl/strings/str_cat.h"
#include "grove/hub/internal/check.h"

namespace grove::sync_internal {
std::string NameOf(const char* type, const void* object) {
  return absl::StrCat(type, " 0x", absl::Hex(reinterpret_cast<uintptr_t>(object)));
}

void CheckNobodyWaits(Home& home, const WaiterList& line, const char* type,
                      const void* object) {
  if (Scheduler::process_exits()) return;
  home.Settle();  // what was sent from elsewhere may let them go
  if (line.empty()) return;
  std::string who;
  int count = 0;
  for (ListedWaiter* w = line.front(); w; w = w->next()) {
    if (++count <= 10) absl::StrAppend(&who, "\n  ", w->Who());
  }
  GROVE_FATAL(NameOf(type, object), " is destroyed while ", count, " wait for it:", who,
              count > 10 ? "\n  ..." : "");
}

void CheckAtHome(Home& home) {
  Scheduler& here = Scheduler::Get();
  GROVE_CHECK(home.BelongsTo(here), "Wait() on hub '", here.hub_name(),
              "' for an object of another hub");
}

void CheckDeadlock(Core* holder, const Operation* wanted) {
  Core* self = Scheduler::GetIfExists()->current();
  const auto next = [](const Core* core) -> Core* {
    return core->parked && !core->timeouts ? core->waiting_on->BlockedBy() : nullptr;
  };
  if (self->timeouts) return;
  Core* core = holder;
  // A circle that others have closed is theirs, and was told.
  for (int steps = 0; core != self; core = next(core)) {
    if (core == nullptr || ++steps > 1'000) return;
  }
  std::string circle =
      absl::StrCat("deadlock:\n  ", self->Label(), " waits for ", wanted->Describe());
  for (core = holder; core != self; core = next(core)) {
    absl::StrAppend(&circle, "\n  ", core->Label(), " waits for ",
                    core->waiting_on->Describe());
  }
  GROVE_FATAL(circle);
}

void WaitsForItself(const Operation* wanted) {
  GROVE_FATAL("deadlock:\n  ", wanted->Who(), " waits for ", wanted->Describe(),
              ": it holds that itself");
}

bool WaitsForEver(Deadline deadline) {
  Scheduler* s = Scheduler::GetIfExists();
  return deadline.infinite() && (s == nullptr || s->current()->timeouts == nullptr);
}

}  // namespace grove::sync_internal
