#ifndef GROVE_GREEN_POOL_H_
#define GROVE_GREEN_POOL_H_

#include <cstdint>
#include <limits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "grove/green/group.h"
#include "grove/green/internal/members.h"
#include "grove/hub/deadline.h"

namespace grove {

// Pool
//
// A Group that has a limited number of places: whoever wants to start one more waits
// until one ends. All that a Group can do, a Pool does within its limit.
//
//   Pool pool(20);
//   for (const Url& url : urls) pool.Spawn([url] { Fetch(url); });  // 20 at a time
//   pool.Join();
//
// First come first served: a place that is given back goes to whoever waits longest.
//
// A member that spawns into its own pool, when it is full, lends its own place to the new
// one: Spawn() then returns once that has ended. So a pool of size 1 whose members spawn
// more does not wait for itself, and never runs more than one at once. (Should the member
// be killed while it waits, both go on, and nobody else starts until the number is
// right.)
//
// Threads: as a Group.
class Pool : public Group {
 public:
  static constexpr int64_t kUnlimited = std::numeric_limits<int64_t>::max();

  // Negative is a fatal error. In a pool of size 0 a spawn blocks until it is resized.
  explicit Pool(int64_t size = kUnlimited);
  // While somebody waits for a place: a fatal error that names them.
  ~Pool() override;

  // Pool::Spawn() is Group::Spawn().
  //
  // Blocks: until there is a place, and all that came before have theirs.
  // Kill: throws, and `fn` does not run; where a member has lent its place, it has begun
  // and goes on.

  // Pool::TrySpawn()
  //
  // As Spawn(), without waiting, or until a deadline. Never lends a place.
  //
  // Blocks: until there is a place.
  // Deadline: returns kDeadlineExceeded, "the pool is full"; `fn` was not moved from.
  // Kill: throws, and `fn` does not run.
  template <typename F>
  auto TrySpawn(F&& fn, Deadline deadline = Deadline::Passed(),
                SpawnSite site = SpawnSite::Here())
      -> absl::StatusOr<Greenlet<std::invoke_result_t<std::decay_t<F>&>>> {
    green_internal::Place place = TakePlace(deadline, /*may_lend=*/false);
    if (!place) return Full();
    auto g = grove::Spawn(std::forward<F>(fn), site);
    Admit(g.core(), std::move(place));
    return g;
  }

  // Pool::Resize()
  //
  // Changes the limit. Those that are too many then run on; nobody is started until they
  // are few enough.
  void Resize(int64_t size);
  int64_t limit() const { return limit_; }

  // How many members run; those that have lent their places do not count.
  int64_t running() const { return static_cast<int64_t>(size()) - lent_; }
  // How many wait for a place, WaitAvailable() included.
  int64_t waiting() const { return waiting_; }
  // How many places are free: negative after a Resize() to less than are running;
  // kUnlimited if there is no limit.
  int64_t free_count() const {
    return limit_ == kUnlimited ? kUnlimited : limit_ - used();
  }
  bool full() const override { return used() >= limit_ || !line_.empty(); }

  // Contract in Members; returns false on the deadline.
  bool WaitAvailable(Deadline deadline = {}) override;

  green_internal::Place TakePlace(Deadline deadline, bool may_lend) override;

 private:
  class PlaceOperation;

  int64_t used() const { return running() + promised_; }
  void Serve();
  absl::Status Full() const;
  void PlaceUsed(bool lent) override;
  void PlaceLeft(bool lent) override;
  void PlaceUnused(bool lent) override;
  void ForgetPlaces() override;

  int64_t limit_;
  int64_t promised_ = 0;  // places that were given out, and are not in use yet
  int64_t lent_ = 0;
  int64_t waiting_ = 0;
  green_internal::WaiterList line_;
};

}  // namespace grove

#endif  // GROVE_GREEN_POOL_H_
