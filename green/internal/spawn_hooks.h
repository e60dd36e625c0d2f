#ifndef GROVE_GREEN_INTERNAL_SPAWN_HOOKS_H_
#define GROVE_GREEN_INTERNAL_SPAWN_HOOKS_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "grove/green/internal/core.h"

namespace grove::green_internal {

// SpawnHooks
//
// The hooks of one hub.
class SpawnHooks {
 public:
  enum class When : uint8_t { kSpawn, kEnd };

  uint64_t Add(When when, absl::AnyInvocable<void(Core*)> fn);
  bool Remove(uint64_t id);
  bool empty() const { return hooks_.empty(); }
  void Run(When when, Core* core);

 private:
  struct Hook {
    uint64_t id;
    When when;
    absl::AnyInvocable<void(Core*)> fn;
  };

  // Shared, for one that runs may be removed.
  std::vector<std::shared_ptr<Hook>> hooks_;
  int running_ = 0;  // how many are
  uint64_t last_id_ = 0;
};

}  // namespace grove::green_internal

#endif  // GROVE_GREEN_INTERNAL_SPAWN_HOOKS_H_
