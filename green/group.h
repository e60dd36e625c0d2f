#ifndef GROVE_GREEN_GROUP_H_
#define GROVE_GREEN_GROUP_H_

#include <cstddef>
#include <ranges>
#include <type_traits>
#include <utility>

#include "grove/green/greenlet.h"
#include "grove/green/imap.h"
#include "grove/green/internal/members.h"
#include "grove/green/wait.h"
#include "grove/hub/deadline.h"

namespace grove {

// Group
//
// A set of greenlets that are waited for, or killed, together. A greenlet leaves it when
// it ends.
//
//   Group group;
//   for (const Url& url : urls) group.Spawn([url] { Fetch(url); });
//   if (!group.Join(absl::Seconds(10))) group.Kill();
//
// Destroying a group lets its greenlets run on, as dropping their handles does: it is a
// list, not an owner. What they refer to must outlive them; where that is the caller's
// own stack, Kill() the group before it goes, or use Map(), IMap() and Apply(), which end
// what they have started before they return.
//
// Threads: belongs to the hub of its first use; use elsewhere is a fatal error.
class Group : public green_internal::Members {
 public:
  Group() = default;

  // Group::Spawn()
  //
  // As grove::Spawn(), in this group. In a Pool (pool.h) blocks until there is a place.
  //
  // Blocks: in a Group, never. Kill: throws, and `fn` does not run.
  template <typename F>
  auto Spawn(F&& fn, SpawnSite site = SpawnSite::Here()) {
    green_internal::Place place = TakePlace({}, /*may_lend=*/true);
    auto g = grove::Spawn(std::forward<F>(fn), site);
    Admit(g.core(), std::move(place));
    return g;
  }
  template <typename F>
  auto Spawn(const SpawnOptions& options, F&& fn, SpawnSite site = SpawnSite::Here()) {
    green_internal::Place place = TakePlace({}, /*may_lend=*/true);
    auto g = grove::Spawn(options, std::forward<F>(fn), site);
    Admit(g.core(), std::move(place));
    return g;
  }

  // Group::Apply()
  //
  // Runs `fn` in a greenlet of this group and returns its result, as Greenlet::Get()
  // does: what it throws is thrown, and kCancelled returned if it was killed. If the
  // caller is a member itself, runs `fn` right here, lest a full pool wait for itself.
  //
  // Blocks: until there is a place, and `fn` has ended.
  // Kill: throws, once `fn` has been killed and has ended.
  template <typename F>
  auto Apply(F&& fn, SpawnSite site = SpawnSite::Here()) ->
      typename Greenlet<std::invoke_result_t<std::decay_t<F>&>>::Result {
    using T = std::invoke_result_t<std::decay_t<F>&>;
    if (HasCurrent("Apply")) {
      if constexpr (std::is_void_v<T>) {
        fn();
        return absl::OkStatus();
      } else {
        return fn();
      }
    }
    Greenlet<T> g = Spawn(std::forward<F>(fn), site);
    const green_internal::EndAtExit end(g);
    return std::move(g).Get();
  }

  // Group::ApplyAsync()
  //
  // As Spawn(), but never blocks: if there is no place, the greenlet waits for one by
  // itself. If `fn` returns, `callback` is called with the result, in a greenlet of its
  // own, unless it is null.
  template <typename F, typename Callback = std::nullptr_t>
  auto ApplyAsync(F&& fn, Callback callback = nullptr,
                  SpawnSite site = SpawnSite::Here()) {
    auto g = green_internal::SpawnInto(*this, std::forward<F>(fn), site);
    green_internal::LinkResult(g, std::move(callback));
    return g;
  }

  // Group::Map()
  //
  // fn(item) for each item, all in greenlets of this group, as many at a time as it lets;
  // returns the results in the order of the items (nothing if `fn` returns nothing). What
  // the first of them throws is thrown, once the others have been killed.
  //
  //   std::vector<Page> pages = pool.Map([](const Url& u) { return Fetch(u); }, urls);
  //
  // Blocks: until all have ended.
  // Kill: throws, once all have been killed and have ended.
  template <typename F, std::ranges::input_range Range>
  auto Map(F fn, Range&& items, SpawnSite site = SpawnSite::Here()) {
    auto results = IMap(std::move(fn), std::forward<Range>(items), {}, site);
    return green_internal::Collect(results);
  }

  // Group::MapAsync()
  //
  // Map() in a greenlet of its own, which gives the results; killing it kills all of it.
  // Copies the items, or moves them in. Does not block.
  template <typename F, std::ranges::input_range Range,
            typename Callback = std::nullptr_t>
  auto MapAsync(F fn, Range&& items, Callback callback = nullptr,
                SpawnSite site = SpawnSite::Here()) {
    auto g = grove::Spawn([this, fn = std::move(fn),
                           items = std::decay_t<Range>(std::forward<Range>(items)),
                           site]() mutable { return Map(std::move(fn), items, site); },
                          site);
    green_internal::LinkResult(g, std::move(callback));
    return g;
  }

  // Group::IMap(), Group::IMapUnordered()
  //
  // As Map(), lazily: the results are an input range, in the order of the items or in
  // that in which they are ready, and work goes on while the caller uses them. See
  // imap.h. An lvalue `items` is referred to, an rvalue moved in.
  //
  //   for (Page& page : pool.IMap(&Fetch, urls, {.max_buffered = 20})) Store(page);
  template <typename F, std::ranges::input_range Range>
  auto IMap(F fn, Range&& items, IMapOptions options = {},
            SpawnSite site = SpawnSite::Here()) {
    return MapResults<F, Range, /*ordered=*/true>(
        this, std::move(fn), std::forward<Range>(items), options, site);
  }
  template <typename F, std::ranges::input_range Range>
  auto IMapUnordered(F fn, Range&& items, IMapOptions options = {},
                     SpawnSite site = SpawnSite::Here()) {
    return MapResults<F, Range, /*ordered=*/false>(
        this, std::move(fn), std::forward<Range>(items), options, site);
  }
};

}  // namespace grove

#endif  // GROVE_GREEN_GROUP_H_
