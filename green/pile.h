#ifndef GROVE_GREEN_PILE_H_
#define GROVE_GREEN_PILE_H_

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <type_traits>
#include <utility>

#include "grove/green/group.h"
#include "grove/green/internal/next_iterator.h"
#include "grove/green/internal/outcomes.h"
#include "grove/green/pool.h"

namespace grove {

// GreenPile
//
// Calls that are made side by side, and whose results are taken in the order in which
// they were made. `T` is what the functions return.
//
//   GreenPile<Page> pile;
//   for (const Url& url : urls) pile.Spawn([&url] { return Fetch(url); });
//   for (Page& page : pile) Store(page);
//
// More can be spawned at any time, also once all results were taken. At its end, what has
// not ended is killed and joined, so that the functions may refer to the caller's
// variables that were declared before the pile.
//
// Threads: those of its pool; one greenlet at a time takes results.
template <typename T = void>
class GreenPile {
 public:
  using value_type = T;
  using MaybeResult =
      typename std::conditional_t<std::is_void_v<T>, std::type_identity<bool>,
                                  std::type_identity<std::optional<T>>>::type;

  // With a pool of its own, of that size.
  explicit GreenPile(int64_t size = 1000)
      : own_(std::in_place, size), members_(&*own_), outcomes_(members_, true) {}
  // In a pool or group that is used for other things, too, and outlives the pile.
  explicit GreenPile(Group* group) : members_(group), outcomes_(members_, true) {}
  GreenPile(const GreenPile&) = delete;
  GreenPile& operator=(const GreenPile&) = delete;

  // GreenPile::Spawn()
  //
  // Calls fn() in a greenlet of the pool.
  //
  // Blocks: until there is a place. A member of the pool lends its own, see Pool.
  // Kill: throws, and `fn` does not run.
  template <typename F>
  void Spawn(F&& fn, SpawnSite site = SpawnSite::Here()) {
    outcomes_.Start(members_->TakePlace({}, /*may_lend=*/true), std::forward<F>(fn),
                    site);
  }

  // GreenPile::Next()
  //
  // The result of the earliest Spawn() whose result was not taken yet; nothing (or false)
  // if there is none. Throws what that function threw, or ItemKilled; the next call goes
  // on with the next result.
  //
  // Blocks: until that function has ended.
  // Kill: throws; no result is lost.
  MaybeResult Next() {
    outcomes_.AwaitReady();
    if (!outcomes_.ready()) return MaybeResult();
    if constexpr (std::is_void_v<T>) {
      outcomes_.Take();
      return true;
    } else {
      return outcomes_.Take();
    }
  }

  // How many results are to be taken, ready or not.
  size_t size() const { return outcomes_.open(); }

  // Goes on until nothing is left, or to the first error.
  auto begin() requires(!std::is_void_v<T>) { return green_internal::NextIterator(this); }
  std::default_sentinel_t end() const { return {}; }

 private:
  std::optional<Pool> own_;
  green_internal::Members* const members_;
  green_internal::Outcomes<T> outcomes_;
};

}  // namespace grove

#endif  // GROVE_GREEN_PILE_H_
