#include "grove/green/os/signals.h"

#include <algorithm>
#include <string>
#include <utility>

#include "grove/green/greenlet.h"
#include "grove/green/internal/scheduler.h"
#include "grove/green/os/internal/signal_subscription.h"
#include "grove/hub/internal/check.h"

namespace grove {
namespace {

using green_internal::ListedWaiter;
using green_internal::Scheduler;
using green_internal::SignalSubscription;

class SignalWaiter final : public ListedWaiter {
 public:
  using ListedWaiter::ListedWaiter;
  std::string Describe() const override { return "a signal"; }
};

}  // namespace

SignalListener::SignalListener(std::initializer_list<int> signals) {
  for (const int* s = signals.begin(); s != signals.end(); ++s) {
    if (std::find(signals.begin(), s, *s) != s) continue;  // named twice
    subscriptions_.push_back(std::make_unique<SignalSubscription>(
        *s, [this](const SignalInfo& info) { Arrive(info); }));
  }
}

SignalListener::~SignalListener() {
  GROVE_CHECK(waiters_.empty(),
              "a SignalListener is destroyed while a greenlet waits in it");
}

void SignalListener::Arrive(const SignalInfo& info) {
  for (const SignalInfo& other : arrived_) {
    if (other.signum == info.signum) return;
  }
  arrived_.push_back(info);
  if (ListedWaiter* w = waiters_.PopFront()) w->Notify();
}

std::optional<int> SignalListener::Wait(Deadline deadline) {
  const std::optional<SignalInfo> info = WaitInfo(deadline);
  if (!info) return std::nullopt;
  return info->signum;
}

std::optional<SignalInfo> SignalListener::WaitInfo(Deadline deadline) {
  Scheduler& s = Scheduler::Get();
  while (arrived_.empty()) {
    KeepAlive alive(&s.hub());
    SignalWaiter waiter(s.current(), &waiters_);
    if (!s.ParkUntil(&waiter, deadline)) return std::nullopt;
  }
  const SignalInfo info = arrived_.front();
  arrived_.pop_front();
  return info;
}

SignalHandler::SignalHandler(SignalHandler&&) noexcept = default;
SignalHandler& SignalHandler::operator=(SignalHandler&&) noexcept = default;
SignalHandler::~SignalHandler() = default;
SignalHandler::SignalHandler() = default;

SignalHandler OnSignal(int signum, std::function<void(const SignalInfo&)> handler) {
  SignalHandler guard;
  // Shared with the greenlets that still run when the guard has gone.
  auto shared =
      std::make_shared<std::function<void(const SignalInfo&)>>(std::move(handler));
  guard.subscription_ = std::make_unique<SignalSubscription>(
      signum, [shared = std::move(shared)](const SignalInfo& info) {
        Spawn([shared, info] { (*shared)(info); });
      });
  return guard;
}

}  // namespace grove
