#ifndef GROVE_GREEN_SPAWN_LATER_LOCAL_H_
#define GROVE_GREEN_SPAWN_LATER_LOCAL_H_

#include <memory>
#include <type_traits>
#include <utility>

#include "absl/time/time.h"
#include "grove/green/greenlet.h"
#include "grove/green/internal/core.h"
#include "grove/green/spawn_site.h"

namespace grove {
namespace green_internal {

// Kills a greenlet that has not begun when the one that spawned it ends.
class UnlessSpawnerEnds final : public Observer {
 public:
  // Of the current greenlet.
  UnlessSpawnerEnds();
  ~UnlessSpawnerEnds();
  void Watch(Core* spawned) { spawned_ = spawned; }

  void Fulfilled(ListedWaiter*) override;
  std::string Who() const override;

 private:
  Core* spawned_ = nullptr;
  bool listed_ = true;
  JoinOperation end_;
};

}  // namespace green_internal

// SpawnLaterLocal()
//
// As SpawnLater(), for what makes no sense any more once the greenlet that asked for it
// has ended, in whatever way: then the new one is killed, if it has not begun. One that
// has begun is left alone; for that there is TaskGroup.
//
//   SpawnLaterLocal(absl::Seconds(1), [stream] { stream->WarnThatItIsSlow(); });
//
// The main greenlet ends with its hub. Does not block; in a callback on the hub's stack,
// where no greenlet runs, it is a fatal error.
template <typename F>
auto SpawnLaterLocal(absl::Duration after, F&& fn, SpawnSite site = SpawnSite::Here())
    -> Greenlet<std::invoke_result_t<std::decay_t<F>&>> {
  auto guard = std::make_unique<green_internal::UnlessSpawnerEnds>();
  auto* const watched = guard.get();
  auto g = SpawnLater(
      after,
      [guard = std::move(guard), fn = std::decay_t<F>(std::forward<F>(fn))]() mutable {
        guard.reset();
        return fn();
      },
      site);
  // A hook may have killed it.
  if (!g.ready()) watched->Watch(g.core());
  return g;
}

}  // namespace grove

#endif  // GROVE_GREEN_SPAWN_LATER_LOCAL_H_
