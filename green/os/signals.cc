#include "grove/green/os/signals.h"

#include <string>

#include "grove/green/internal/scheduler.h"
#include "grove/hub/internal/check.h"

namespace grove {
namespace {

using green_internal::ListedWaiter;
using green_internal::Scheduler;

class SignalWaiter final : public ListedWaiter {
 public:
  using ListedWaiter::ListedWaiter;
  std::string Describe() const override { return "a signal"; }
};

}  // namespace

SignalListener::SignalListener(std::initializer_list<int> signals) {
  Hub& hub = Scheduler::Get().hub();
  for (const int signum : signals) {
    auto watcher = std::make_unique<SignalWatcher>(&hub.loop(), signum);
    watcher->Start([this, signum] {
      arrived_.push_back(signum);
      if (ListedWaiter* w = waiters_.PopFront()) Scheduler::Get().Wake(w->core());
    });
    watchers_.push_back(std::move(watcher));
  }
}

SignalListener::~SignalListener() {
  GROVE_CHECK(waiters_.empty(),
              "a SignalListener is destroyed while a greenlet waits in it");
}

std::optional<int> SignalListener::Wait(Deadline deadline) {
  Scheduler& s = Scheduler::Get();
  while (arrived_.empty()) {
    KeepAlive alive(&s.hub());
    SignalWaiter waiter(s.current(), &waiters_);
    if (!s.ParkUntil(&waiter, deadline)) return std::nullopt;
  }
  const int signum = arrived_.front();
  arrived_.pop_front();
  return signum;
}

}  // namespace grove
