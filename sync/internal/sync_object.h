#ifndef GROVE_SYNC_INTERNAL_SYNC_OBJECT_H_
#define GROVE_SYNC_INTERNAL_SYNC_OBJECT_H_

#include <string>

#include "grove/green/internal/home.h"
#include "grove/green/internal/operation.h"
#include "grove/green/wait.h"
#include "grove/hub/deadline.h"

// What the types of sync/ have in common.
namespace grove::sync_internal {

using green_internal::Core;
using green_internal::Home;
using green_internal::ListedWaiter;
using green_internal::Operation;
using green_internal::Scheduler;
using green_internal::Self;
using green_internal::Selves;
using green_internal::WaiterList;

// "Mutex 0x7f..": what an object is called in messages.
std::string NameOf(const char* type, const void* object);

// An object is being destroyed: a fatal error, naming them, if somebody waits in `line`.
// Not once the process has begun to exit, when greenlets stay where they are.
void CheckNobodyWaits(Home& home, const WaiterList& line, const char* type,
                      const void* object);

inline void CheckDestroy(Home& home, const WaiterList& line, const char* type,
                         const void* object) {
  // From elsewhere it can only be looked at once all that was sent has arrived.
  if (ABSL_PREDICT_FALSE(!home.Here())) home.Settle();
  if (ABSL_PREDICT_FALSE(!line.empty())) CheckNobodyWaits(home, line, type, object);
}

void CheckAtHome(Home& home);

// For Wait(): the operation of an object that must belong to this thread's hub.
template <typename Op, typename Object>
Waitable MakeWaitable(Object* object) {
  CheckAtHome(object->home());
  return Waitable::Of<Op>(object);
}

// A lock of one hub is about to be waited for, which `holder` holds: a fatal error that
// shows the circle if the holder waits, directly or not, for the current greenlet, and
// neither a deadline nor a Timeout will ever end that.
void CheckDeadlock(Core* holder, const Operation* wanted);

// `wanted` comes from elsewhere, for ever, for what is held by the same greenlet.
[[noreturn]] void WaitsForItself(const Operation* wanted);

// Whether the current greenlet, waiting until `deadline`, would wait for ever.
bool WaitsForEver(Deadline deadline);

}  // namespace grove::sync_internal

#endif  // GROVE_SYNC_INTERNAL_SYNC_OBJECT_H_
