#include "grove/green/greenlet.h"

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
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

std::string JoinWaiter::Describe() const { return "the end of " + target_->Label(); }

bool JoinUntil(Core* core, Deadline deadline) {
  CheckHome(core, "Join");
  if (core->finished) return true;
  if (deadline == Deadline::Passed()) return false;
  Scheduler* s = core->scheduler;
  GROVE_CHECK(core != s->current(), core->Label(), " joins itself");
  GROVE_CHECK(core != s->main(), "the main greenlet cannot be joined");
  JoinWaiter waiter(s->current(), core);
  return s->ParkUntil(&waiter, deadline);
}

void Kill(Core* core, KillOptions options, bool wait) {
  CheckHome(core, "Kill");
  Scheduler* s = core->scheduler;
  s->Kill(core, std::move(options.error));
  if (!wait || core->finished) return;
  if (core == s->current()) {
    s->DeliverPending();
  } else if (core != s->main()) {
    Join(core, options.deadline);
  }
}

void Throw(Core* core, std::exception_ptr error) {
  CheckHome(core, "Throw");
  GROVE_CHECK(error != nullptr, "Throw() of nothing into ", core->Label());
  if (core->finished || core->cancelled) return;
  Scheduler* s = core->scheduler;
  if (!core->started) {
    s->FinishUnstarted(core, std::move(error));
    return;
  }
  core->thrown = std::move(error);
  core->pending |= kPendingThrow;
  s->Interrupt(core);
}

absl::Status OutcomeOf(Core* core) {
  if (core->error) std::rethrow_exception(core->error);
  if (core->killed) return absl::CancelledError(core->Label() + " was killed");
  return absl::OkStatus();
}

Extras& ExtrasOf(Core* core) {
  if (!core->extras) core->extras = std::make_unique<Extras>();
  return *core->extras;
}

LinkId AddLink(Core* core, LinkOn on, bool raw, absl::AnyInvocable<void(Core*)> fn) {
  CheckHome(core, "Link");
  Extras& extras = ExtrasOf(core);
  const LinkId id = extras.next_link_id++;
  if (!raw) {
    fn = [fn = std::move(fn)](Core* c) mutable {
      Spawn([fn = std::move(fn),
             g = AnyGreenlet::FromCore(c, /*add_ref=*/true)]() mutable { fn(g.core()); });
    };
  }
  extras.links.push_back({id, on, raw, std::move(fn)});
  if (core->finished && extras.links.size() == 1) core->scheduler->RunLinks(core);
  return id;
}

bool RemoveLink(Core* core, LinkId id) {
  CheckHome(core, "Unlink");
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
  core->scheduler->hub().timers().Arm(timer.get(), after <= absl::ZeroDuration()
                                                       ? core->scheduler->hub().Now()
                                                       : Deadline(after).when());
  ExtrasOf(core).start_timer = std::move(timer);
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
