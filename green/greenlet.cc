#include "grove/green/greenlet.h"

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "grove/green/internal/elsewhere.h"
#include "grove/hub/internal/check.h"

namespace grove {
namespace green_internal {
void CheckHome(const Core* core, const char* operation) {
  if (ABSL_PREDICT_TRUE(core->scheduler->on_home_thread())) return;
  const Hub* here = Hub::Current();
  GROVE_FATAL(operation, " of greenlet #", core->id, " of hub '",
              core->scheduler->hub_name(), "', spawned at ", core->site.file, ":",
              core->site.line, ", from ",
              here ? absl::StrCat("hub '", here->name(), "'") : "a thread without a hub");
}

std::string LabelAnywhere(const Core* core) {
  if (core->scheduler->on_home_thread() || core->finished) return core->Label();
  return absl::StrCat("greenlet #", core->id, " of hub '", core->scheduler->hub_name(),
                      "'");
}

std::string JoinOperation::Describe() const {
  return "the end of " + LabelAnywhere(target_);
}

void CheckJoinable(const Core* core) {
  Scheduler* s = core->scheduler;
  GROVE_CHECK(core != s->main(), "the main greenlet of hub '", s->hub_name(),
              "' cannot be joined");
  GROVE_CHECK(!s->on_home_thread() || core != s->current(), core->Label(),
              " joins itself");
}

bool JoinUntil(Core* core, Deadline deadline) {
  if (!core->scheduler->on_home_thread()) return JoinElsewhere(core, deadline);
  if (core->finished) return true;
  if (deadline == Deadline::Passed()) return false;
  Scheduler* s = core->scheduler;
  CheckJoinable(core);
  JoinOperation join(core);
  join.WaitsFor(s->current());
  join.Enlist();
  return s->ParkUntil(&join, deadline);
}

void Kill(Core* core, KillOptions options, bool wait) {
  Scheduler* s = core->scheduler;
  if (!s->on_home_thread()) {
    KillElsewhere(core, std::move(options.error));
    if (wait && core != s->main()) JoinElsewhere(core, options.deadline);
    return;
  }
  s->Kill(core, std::move(options.error));
  if (!wait || core->finished) return;
  if (core == s->current()) {
    s->DeliverPending();
  } else if (core != s->main()) {
    Join(core, options.deadline);
  }
}

void Throw(Core* core, std::exception_ptr error) {
  GROVE_CHECK(error != nullptr, "Throw() of nothing into ", LabelAnywhere(core));
  if (!core->scheduler->on_home_thread()) {
    ThrowElsewhere(core, std::move(error));
    return;
  }
  if (core->finished || core->cancelled) return;
  Scheduler* s = core->scheduler;
  if (!core->started) {
    s->FinishUnstarted(core, std::move(error));
    return;
  }
  core->thrown = std::move(error);
  core->special |= kPendingThrow;
  s->Interrupt(core);
}

absl::Status OutcomeOf(Core* core) {
  if (!core->finished) {
    return absl::CancelledError(
        absl::StrCat(LabelAnywhere(core), " has not ended before its hub did"));
  }
  if (core->expired) {
    return absl::DeadlineExceededError(core->Label() +
                                       " has run out of the time that it inherited");
  }
  if (core->error) std::rethrow_exception(core->error);
  if (core->killed) return absl::CancelledError(core->Label() + " was killed");
  return absl::OkStatus();
}

bool IsShared(const Core* core) {
  if (core->refs.load(std::memory_order_acquire) > 1) return true;
  return core->scheduler->on_home_thread() && core->extras &&
         !core->extras->links.empty();
}

Extras& ExtrasOf(Core* core) {
  if (!core->extras) core->extras = std::make_unique<Extras>();
  return *core->extras;
}

LinkId AddLink(Core* core, LinkOn on, bool raw, absl::AnyInvocable<void(Core*)> fn) {
  if (!core->scheduler->on_home_thread()) {
    return AddLinkElsewhere(core, on, raw, std::move(fn));
  }
  if (!raw) {
    fn = [fn = std::move(fn)](Core* c) mutable {
      Spawn([fn = std::move(fn),
             g = AnyGreenlet::FromCore(c, /*add_ref=*/true)]() mutable { fn(g.core()); });
    };
  }
  const LinkId id = ExtrasOf(core).next_link_id++;
  LinkWithId(core, id, on, std::move(fn));
  return id;
}

void LinkWithId(Core* core, LinkId id, LinkOn on, absl::AnyInvocable<void(Core*)> fn) {
  Extras& extras = ExtrasOf(core);
  extras.links.push_back({id, on, std::move(fn)});
  if (core->finished && extras.links.size() == 1) core->scheduler->RunLinks(core);
}

bool RemoveLink(Core* core, LinkId id) {
  if (!core->scheduler->on_home_thread()) return RemoveLinkElsewhere(core, id);
  if (!core->extras) return false;
  return std::erase_if(core->extras->links,
                       [id](const Extras::Link& link) { return link.id == id; }) > 0;
}

void Extras::StartTimer::OnFire(Timer* timer) {
  Core* core = static_cast<StartTimer*>(timer)->core;
  core->scheduler->hub().MakeReady(core);
  core->extras->start_timer.reset();  // destroys this timer
}

void StartLater(Core* core, absl::Duration after) {
  auto timer = std::make_unique<Extras::StartTimer>(core);
  Hub& hub = core->scheduler->hub();
  const Deadline at(after);
  // Without an end it waits to be killed.
  if (!at.infinite()) {
    hub.timers().Arm(timer.get(), after <= absl::ZeroDuration() ? hub.Now() : at.when());
  }
  ExtrasOf(core).start_timer = std::move(timer);
  core->scheduler->TellSpawned(core);
}

Core* ParentOf(Core* core) {
  CheckHome(core, "parent()");
  Scheduler* s = core->scheduler;
  return core == s->main() ? nullptr : s->Find(core->parent_id);
}

}  // namespace green_internal

AnyGreenlet CurrentGreenlet() {
  green_internal::Scheduler& s = green_internal::Scheduler::Get();
  GROVE_CHECK(!s.on_loop_stack(), "CurrentGreenlet() in a loop callback: none runs");
  return AnyGreenlet::FromCore(s.current(), /*add_ref=*/true);
}

void SetErrorHandler(absl::AnyInvocable<void(const UnhandledException&)> handler) {
  green_internal::Scheduler& s = green_internal::Scheduler::Get();
  if (!handler) {
    s.set_error_handler(nullptr);
    return;
  }
  auto shared = std::make_shared<absl::AnyInvocable<void(const UnhandledException&)>>(
      std::move(handler));
  s.set_error_handler([shared](green_internal::Core* core, std::exception_ptr error) {
    (*shared)({AnyGreenlet::FromCore(core, /*add_ref=*/true), std::move(error)});
  });
}

}  // namespace grove
