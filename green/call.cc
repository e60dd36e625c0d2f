#include "grove/green/call.h"

#include <exception>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "grove/green/internal/crossing.h"
#include "grove/green/timeout.h"
#include "grove/hub/internal/check.h"

namespace grove::green_internal {
namespace {

absl::Status HasEnded(const HubHandle& hub) {
  return absl::FailedPreconditionError(
      absl::StrCat("Call: hub '", hub.name(), "' has ended"));
}

// A call of a greenlet of `caller` to another hub. It lies on the caller's stack, and the
// greenlet over there refers to what is there too: nobody leaves before that has ended.
class RemoteCall final : public Observer, public Scheduler::Visitor {
 public:
  RemoteCall(MakeCore make, Scheduler* caller, const HubHandle& hub)
      : make_(make),
        hub_(hub),
        caller_(caller),
        core_(caller->current()),
        inherited_(core_->inherited) {}

  absl::Status Run(Deadline deadline) {
    if (!hub_.PostLetter(&request_)) return HasEnded(hub_);
    const KeepAlive alive(&caller_->hub());
    EndWaiter waiter(this);
    const auto how = caller_->ParkQuietly(&waiter, deadline);
    if (how != Scheduler::ParkEnd::kWoken) {
      const bool killing = hub_.PostLetter(&kill_);
      ++core_->shields;
      while (!ended_ || (killing && !kill_arrived_)) caller_->Park(&waiter);
      --core_->shields;
    }
    if (outcome_.ok() && !error_) return outcome_;
    caller_->DeliverPending();
    if (how == Scheduler::ParkEnd::kTimedOut && !error_) {
      return absl::DeadlineExceededError(
          absl::StrCat("Call: the deadline passed, and the greenlet on hub '",
                       hub_.name(), "' was killed"));
    }
    if (error_) std::rethrow_exception(error_);
    return outcome_;
  }

  // --- over there ---
  void Fulfilled(ListedWaiter*) override {
    host_->RemoveVisitor(this);
    if (!callee_->expired) TakeError();  // that is told by its outcome
    callee_outcome_ =
        callee_->expired ? OutcomeOf(callee_)
        : callee_->killed
            ? absl::CancelledError(absl::StrCat("Call: ", callee_->Label(), " of hub '",
                                                hub_.name(), "' was killed"))
            : absl::OkStatus();
    Answer();
  }
  // The greenlet has refused to be killed, and never runs again.
  void HubEnds() override {
    end_->Cancel();
    callee_outcome_ = absl::CancelledError(absl::StrCat(
        "Call: hub '", hub_.name(), "' has ended before what it was called for"));
    Answer();
  }
  std::string Who() const override {
    return absl::StrCat("a greenlet of hub '", caller_->hub_name(), "'");
  }
  Wait GetWait() const override {
    return {core_, Who(), absl::StrCat("a call to ", callee_->Label()), callee_};
  }

 private:
  class EndWaiter final : public Waiter {
   public:
    explicit EndWaiter(const RemoteCall* call) : call_(call) {}
    void Cancel() override {}
    std::string Describe() const override {
      return absl::StrCat("a call to hub '", call_->hub_.name(), "'");
    }
    bool IsHeldElsewhere() const override { return true; }

   private:
    const RemoteCall* const call_;
  };

  void OnRequest(bool hub_alive) {
    host_ = Scheduler::GetIfExists();
    if (!hub_alive || host_ == nullptr) {
      callee_outcome_ = HasEnded(hub_);
      PostTo(caller_, &answer_);
      return;
    }
    try {
      callee_ = make_(*host_);
    } catch (...) {
      callee_error_ = std::current_exception();
      PostTo(caller_, &answer_);
      return;
    }
    Inherit(callee_, inherited_);
    callee_->watched = true;  // what it throws is thrown by Call()
    end_.emplace(callee_);
    end_->WaitsFor(this);
    end_->Enlist();
    host_->AddVisitor(this);
    host_->Start(callee_);
  }
  void OnKill(bool) {
    if (callee_ != nullptr) host_->Kill(callee_, nullptr);
    PostTo(caller_, &kill_answer_);
  }
  // Moved where nobody can tell: an exception that two threads hold is let go of under a
  // count in the C++ library, into which ThreadSanitizer does not see.
  void TakeError() {
    const bool is_ours = callee_->refs.load(std::memory_order_acquire) == 1 &&
                         (!callee_->extras || callee_->extras->links.empty());
    callee_error_ = is_ours ? std::move(callee_->error) : callee_->error;
  }
  void Answer() {
    Scheduler::Unref(std::exchange(callee_, nullptr));
    PostTo(caller_, &answer_);
  }

  // --- here ---
  void OnAnswer(bool) {
    ended_ = true;
    outcome_ = std::move(callee_outcome_);
    error_ = std::move(callee_error_);
    caller_->Wake(core_);
  }
  void OnKillAnswer(bool) {
    kill_arrived_ = true;
    caller_->Wake(core_);
  }

  const MakeCore make_;
  const HubHandle& hub_;
  Scheduler* const caller_;
  Core* const core_;
  const InheritedRef& inherited_;
  // There:
  Scheduler* host_ = nullptr;
  Core* callee_ = nullptr;
  std::optional<JoinOperation> end_;
  absl::Status callee_outcome_;
  std::exception_ptr callee_error_;
  // Here:
  bool ended_ = false;
  bool kill_arrived_ = false;
  absl::Status outcome_;
  std::exception_ptr error_;
  MemberLetter<RemoteCall, &RemoteCall::OnRequest> request_{this};
  MemberLetter<RemoteCall, &RemoteCall::OnKill> kill_{this};
  MemberLetter<RemoteCall, &RemoteCall::OnAnswer> answer_{this};
  MemberLetter<RemoteCall, &RemoteCall::OnKillAnswer> kill_answer_{this};
};

}  // namespace

InheritedRef InheritedHere() {
  Scheduler* s = Scheduler::GetIfExists();
  return s ? s->current()->inherited : InheritedRef();
}

void Inherit(Core* core, const InheritedRef& inherited) {
  core->inherited = inherited;
  core->bounded = inherited && !inherited->deadline.infinite();
}

absl::Status CallOn(const HubHandle& hub, MakeCore make, Deadline deadline) {
  Scheduler& here = Scheduler::Get();
  GROVE_CHECK(!here.on_loop_stack(), "Call to hub '", hub.name(),
              "' inside a loop callback of hub '", here.hub_name(),
              "', where nothing may block; spawn a greenlet for it");
  here.DeliverPending();
  if (deadline == Deadline::Passed()) {
    return absl::DeadlineExceededError("Call: the deadline passed before it began");
  }
  return RemoteCall(make, &here, hub).Run(deadline);
}

absl::Status CallHere(absl::FunctionRef<void()> fn, Deadline deadline) {
  if (deadline.infinite()) {
    fn();
    return absl::OkStatus();
  }
  Timeout timeout(deadline);
  try {
    fn();
  } catch (const TimeoutExpired& e) {
    if (e.scope() != &timeout) throw;
    return absl::DeadlineExceededError("Call: the deadline passed");
  }
  return absl::OkStatus();
}

Core* MakeOn(const HubHandle& hub, MakeCore make) {
  Core* made = nullptr;
  std::exception_ptr error;  // of a copy that throws
  const InheritedRef inherited = InheritedHere();
  AskHub(hub, [&](bool hub_alive) {
    Scheduler* host = Scheduler::GetIfExists();
    if (!hub_alive || host == nullptr) return;
    try {
      made = make(*host);
    } catch (...) {
      error = std::current_exception();
      return;
    }
    Inherit(made, inherited);
    host->Start(made);
  });
  if (error) std::rethrow_exception(error);
  return made;
}

}  // namespace grove::green_internal
