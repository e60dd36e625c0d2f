#ifndef GROVE_GREEN_CALL_H_
#define GROVE_GREEN_CALL_H_

#include <optional>
#include <type_traits>
#include <utility>
#include <variant>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "grove/green/greenlet.h"
#include "grove/green/internal/inherited.h"
#include "grove/green/spawn_site.h"
#include "grove/hub/deadline.h"
#include "grove/hub/hub.h"

// Functions that run on another hub: Call() waits for what they return, SpawnOn() gives a
// handle. What must not wait posts: HubHandle::Post().
namespace grove {

namespace green_internal {

using MakeCore = absl::FunctionRef<Core*(Scheduler& host)>;

// Lets `make`'s greenlet run on `hub`, and waits for its end. OK if it ended by itself;
// throws what it threw, or this greenlet's interrupt.
absl::Status CallOn(const HubHandle& hub, MakeCore make, Deadline deadline);
// Waits until `make` has made one there; null if that hub has ended.
Core* MakeOn(const HubHandle& hub, MakeCore make);
// The same without a journey.
absl::Status CallHere(absl::FunctionRef<void()> fn, Deadline deadline);
// What a greenlet that is made for another hub inherits: from its caller.
InheritedRef InheritedHere();
void Inherit(Core* core, const InheritedRef& inherited);

}  // namespace green_internal

// Call()
//
// Runs `fn` in a greenlet of another hub and returns what it returns; throws what it
// throws. `fn` may refer to what lies on the caller's stack, which waits; it inherits the
// caller's context and deadlines.
//
//   HubHandle accounts = group.handle(0);
//   absl::StatusOr<int> n = Call(accounts, [&] { return Accounts().Count(name); });
//
// On the caller's own hub it is called at once, in the caller.
//
// Blocks: until `fn` has returned.
// Deadline: kills the greenlet there, waits for its end, and returns kDeadlineExceeded,
//     unless it has returned meanwhile.
// Kill: kills the greenlet there, waits for its end, and throws; what it returned
//     meanwhile is not lost: the interrupt stays pending then.
// Threads: any; a thread without a hub gets one.
// Errors: kFailedPrecondition if that hub has ended, kCancelled if it ends, or somebody
//     kills the greenlet, before `fn` has returned. A greenlet that refuses to be killed,
//     or a hub that does not get to it, keeps the caller waiting.
template <typename F>
auto Call(const HubHandle& hub, F&& fn, Deadline deadline = {},
          SpawnSite site = SpawnSite::Here()) ->
    typename green_internal::GetResult<std::invoke_result_t<F&>>::type {
  using T = std::invoke_result_t<F&>;
  using Result = typename green_internal::GetResult<T>::type;
  std::conditional_t<std::is_void_v<T>, std::monostate, std::optional<T>> result;
  const auto run = [&] {
    if constexpr (std::is_void_v<T>) {
      fn();
    } else {
      result.emplace(fn());
    }
  };
  absl::Status status;
  if (const Hub* here = Hub::Current(); here && here->handle() == hub) {
    status = green_internal::CallHere(run, deadline);
  } else {
    status = green_internal::CallOn(
        hub,
        [&](green_internal::Scheduler& s) {
          return green_internal::NewCore<decltype(run)&, void>(s, 0, run, site);
        },
        deadline);
  }
  if constexpr (std::is_void_v<T>) {
    return status;
  } else {
    if (!status.ok()) return Result(std::move(status));
    return *std::move(result);
  }
}

// SpawnOn()
//
// Spawns a greenlet on another hub. The handle works from here: Join(), Get() and Kill()
// travel there. What `fn` captured is destroyed there too.
//
//   absl::StatusOr<Greenlet<int>> g = SpawnOn(group.handle(1), [] { return Work(); });
//   if (g.ok()) absl::StatusOr<int> n = g->Get();
//
// Blocks: until that hub's next turn, so that there is something to refer to; not
//     interrupted. Not at all on the caller's own hub.
// Threads: any; a thread needs no hub.
// Errors: kFailedPrecondition if that hub has ended.
template <typename F>
auto SpawnOn(const HubHandle& hub, F&& fn, SpawnOptions options = {},
             SpawnSite site = SpawnSite::Here())
    -> absl::StatusOr<Greenlet<std::invoke_result_t<std::decay_t<F>&>>> {
  using T = std::invoke_result_t<std::decay_t<F>&>;
  if (const Hub* here = Hub::Current(); here && here->handle() == hub) {
    return Spawn(options, std::forward<F>(fn), site);
  }
  green_internal::Core* core =
      green_internal::MakeOn(hub, [&](green_internal::Scheduler& s) {
        green_internal::Core* c = green_internal::NewCore<F, T>(
            s, options.stack_size, std::forward<F>(fn), site);
        if (!options.name.empty()) c->SetName(std::move(options.name));
        return c;
      });
  if (core == nullptr) {
    return absl::FailedPreconditionError("SpawnOn: hub '" + hub.name() + "' has ended");
  }
  return Greenlet<T>(core);
}

}  // namespace grove

#endif  // GROVE_GREEN_CALL_H_
