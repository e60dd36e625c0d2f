#ifndef GROVE_GREEN_THREAD_MAP_H_
#define GROVE_GREEN_THREAD_MAP_H_

#include <concepts>
#include <functional>
#include <iterator>
#include <type_traits>
#include <utility>

#include "grove/green/imap.h"
#include "grove/green/internal/next_iterator.h"
#include "grove/green/pool.h"
#include "grove/green/spawn_site.h"

namespace grove {

class ThreadPool;

namespace green_internal {

// Calls fn(item) on a thread of a pool.
template <typename Pool, typename Fn>
class ApplyEach {
 public:
  ApplyEach(Pool* pool, Fn fn) : pool_(pool), fn_(std::move(fn)) {}

  template <typename Item>
  requires std::invocable<Fn&, Item>
  auto operator()(Item&& item) -> std::decay_t<std::invoke_result_t<Fn&, Item>> {
    using R = std::decay_t<std::invoke_result_t<Fn&, Item>>;
    auto result =
        pool_->Apply([&]() -> R { return std::invoke(fn_, std::forward<Item>(item)); });
    if constexpr (std::is_same_v<decltype(result), R>) {
      return result;
    } else if constexpr (std::is_void_v<R>) {
      if (!result.ok()) throw ItemKilled(result.ToString());
    } else {
      if (!result.ok()) throw ItemKilled(result.status().ToString());
      return *std::move(result);
    }
  }

 private:
  Pool* const pool_;
  Fn fn_;
};

}  // namespace green_internal

// ThreadMapResults
//
// What ThreadPool::IMap() returns: as MapResults (imap.h), with a greenlet for each item
// that is in work, which waits for its thread. At its end, no function runs any more.
//
//   for (Image& i : pool.IMap(&Decode, paths)) Show(i);
//
// Threads: the hub's where it was made; one greenlet at a time.
template <typename Fn, typename Range, bool ordered>
class ThreadMapResults {
  using Each = green_internal::ApplyEach<ThreadPool, Fn>;
  using Results = MapResults<Each, Range, ordered>;

 public:
  using value_type = typename Results::value_type;

  ThreadMapResults(ThreadPool* pool, int threads, Fn fn, Range&& items,
                   IMapOptions options, SpawnSite site)
      : greenlets_(threads),
        results_(&greenlets_, Each(pool, std::move(fn)), std::forward<Range>(items),
                 options, site) {}

  // ThreadMapResults::Next()
  //
  // Contract as MapResults::Next(). In place of a result whose task did not run, since
  // the pool was shut down, say: throws ItemKilled.
  //
  // Blocks: until there is one. Kill: throws; no result is lost.
  auto Next() { return results_.Next(); }

  auto begin() requires(!std::is_void_v<value_type>) {
    return green_internal::NextIterator(this);
  }
  std::default_sentinel_t end() const { return {}; }

 private:
  Pool greenlets_;
  Results results_;
};

}  // namespace grove

#endif  // GROVE_GREEN_THREAD_MAP_H_
