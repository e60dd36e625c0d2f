#include "grove/green/spawn_hook.h"

#include <algorithm>
#include <exception>
#include <utility>

#include "grove/green/internal/scheduler.h"
#include "grove/green/internal/spawn_hooks.h"

namespace grove {
namespace green_internal {

uint64_t SpawnHooks::Add(When when, absl::AnyInvocable<void(Core*)> fn) {
  const uint64_t id = ++last_id_;
  hooks_.push_back(std::make_shared<Hook>(Hook{id, when, std::move(fn)}));
  return id;
}

bool SpawnHooks::Remove(uint64_t id) {
  return std::erase_if(hooks_, [id](const auto& hook) { return hook->id == id; }) > 0;
}

void SpawnHooks::Run(When when, Core* core) {
  if (when == When::kSpawn && running_ > 0) return;
  ++running_;
  // By their ids, since a hook may remove any, and add some, which are not called yet.
  const uint64_t last = last_id_;
  uint64_t done = 0;
  for (;;) {
    const auto next = std::find_if(hooks_.begin(), hooks_.end(),
                                   [done](const auto& hook) { return hook->id > done; });
    if (next == hooks_.end() || (*next)->id > last) break;
    const std::shared_ptr<Hook> hook = *next;
    done = hook->id;
    if (hook->when != when) continue;
    try {
      hook->fn(core);
    } catch (...) {
      core->scheduler->HandleError(core, std::current_exception());
    }
  }
  --running_;
}

}  // namespace green_internal

namespace {

using green_internal::Core;
using green_internal::Scheduler;
using green_internal::SpawnHooks;

SpawnHookId Add(SpawnHooks::When when, absl::AnyInvocable<void(const AnyGreenlet&)> fn) {
  return Scheduler::Get().AddSpawnHook(when, [fn = std::move(fn)](Core* core) mutable {
    fn(AnyGreenlet::FromCore(core, /*add_ref=*/true));
  });
}

}  // namespace

SpawnHookId AddSpawnHook(absl::AnyInvocable<void(const AnyGreenlet&)> fn) {
  return Add(SpawnHooks::When::kSpawn, std::move(fn));
}

SpawnHookId AddEndHook(absl::AnyInvocable<void(const AnyGreenlet&)> fn) {
  return Add(SpawnHooks::When::kEnd, std::move(fn));
}

bool RemoveSpawnHook(SpawnHookId id) {
  Scheduler* s = Scheduler::GetIfExists();
  return s && s->RemoveSpawnHook(id);
}

}  // namespace grove
