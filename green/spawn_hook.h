#ifndef GROVE_GREEN_SPAWN_HOOK_H_
#define GROVE_GREEN_SPAWN_HOOK_H_

#include <cstdint>

#include "absl/functional/any_invocable.h"
#include "grove/green/greenlet.h"

// Being told of every greenlet of this thread's hub that begins or ends: for tracers,
// counters and tests.
//
//   const SpawnHookId id = AddSpawnHook([](const AnyGreenlet& g) {
//     tracer.Began(g.id(), g.parent_id(), g.spawn_site());
//   });
//
// Each hub has its own hooks: in a HubGroup, add them in the function that it runs. Hooks
// must not block, since Spawn() does not, and what they throw is reported as an unhandled
// exception of the greenlet, and goes no further. They are called in the order in which
// they were added. Of what a hook itself spawns, spawn hooks are not told.
//
// Without hooks, a spawn and an end cost one branch each.
namespace grove {

using SpawnHookId = uint64_t;

// AddSpawnHook()
//
// Calls `fn` for each new greenlet before it is scheduled, in the greenlet (or callback)
// that spawns it. It has its name, if the spawner gave one; it may be named, linked to,
// and killed, which it then is without having run.
SpawnHookId AddSpawnHook(absl::AnyInvocable<void(const AnyGreenlet&)> fn);

// AddEndHook()
//
// Calls `fn` for each greenlet that has ended, in whatever way, before those who join are
// woken; in that greenlet, or if it never began, in the one that killed it.
SpawnHookId AddEndHook(absl::AnyInvocable<void(const AnyGreenlet&)> fn);

// RemoveSpawnHook()
//
// Of either kind; also from within one. False if there is no such hook (any more).
bool RemoveSpawnHook(SpawnHookId id);

}  // namespace grove

#endif  // GROVE_GREEN_SPAWN_HOOK_H_
