#ifndef GROVE_GREEN_OS_INTERNAL_SIGNAL_SUBSCRIPTION_H_
#define GROVE_GREEN_OS_INTERNAL_SIGNAL_SUBSCRIPTION_H_

#include <functional>

#include "grove/green/os/signals.h"

namespace grove::green_internal {

struct SignalEntry;

// SignalSubscription
//
// Calls back on the stack of the hub that made it when the process has got a signal. Any
// number of them, on any hubs, may be there for one signal. While there is one the
// process has a handler for it; the last one to go puts back what was there before.
//
// The handler walks the list of subscriptions without a lock and posts to their hubs, so
// it may run on any thread at any time. Whoever takes a subscription out of the list
// waits until no handler runs.
//
// A signal that comes before the last one was called back for adds nothing to it.
//
// Threads: its hub's. May outlive that hub, and is silent then.
class SignalSubscription {
 public:
  // The callback must neither block nor destroy the subscription.
  SignalSubscription(int signum, std::function<void(const SignalInfo&)> callback);
  SignalSubscription(const SignalSubscription&) = delete;
  SignalSubscription& operator=(const SignalSubscription&) = delete;
  ~SignalSubscription();

 private:
  SignalEntry* const entry_;
};

// In a forked child: all subscriptions are silent from now on, and each signal does what
// it did before there were any. Signals are blocked meanwhile.
void DropSubscriptionsInChild();

}  // namespace grove::green_internal

#endif  // GROVE_GREEN_OS_INTERNAL_SIGNAL_SUBSCRIPTION_H_
