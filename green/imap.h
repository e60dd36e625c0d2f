#ifndef GROVE_GREEN_IMAP_H_
#define GROVE_GREEN_IMAP_H_

#include <cstddef>
#include <exception>
#include <functional>
#include <iterator>
#include <optional>
#include <ranges>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <vector>

#include "grove/green/greenlet.h"
#include "grove/green/internal/members.h"
#include "grove/green/internal/next_iterator.h"
#include "grove/green/internal/outcomes.h"
#include "grove/green/wait.h"
#include "grove/hub/internal/check.h"

namespace grove {

// IMapOptions
struct IMapOptions {
  // How many items may be in work, or finished and not taken, at the same time: what
  // keeps a slow consumer from drowning in results. At least one.
  size_t max_buffered = kAll;
};

// ItemKilled
//
// In the place of a result whose greenlet was killed: by Kill() of the group, say.
class ItemKilled : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// MapResults
//
// What IMap() returns: fn(item) for each item, computed by greenlets of a group, at most
// as many at a time as it lets. It begins when the first result is asked for; from then
// on a greenlet of its own goes through the items. At its end, what it has started is
// killed and joined, so that `fn` and the items may refer to the caller's variables.
//
//   auto pages = pool.IMap(&Fetch, urls);
//   for (;;) {
//     try {
//       std::optional<Page> page = pages.Next();
//       if (!page) break;
//       ...
//     } catch (const FetchError& e) {  // of that item; the next one may be well
//     }
//   }
//
// or simply `for (Page& page : pages)`, which the first error ends. Items of a range that
// keeps them (a vector, not a generator) are passed by reference; others are moved.
//
// If the caller is a member of the group, there is no such greenlet: Next() goes through
// the items, and if there is no free place runs `fn` right here, lest a full pool wait
// for itself.
//
// Threads: the group's hub's; one greenlet at a time.
template <typename Fn, typename Range, bool ordered>
class MapResults {
  using Types = green_internal::MapTypes<Fn, Range>;
  using R = typename Types::Result;
  static constexpr bool kVoid = std::is_void_v<R>;

 public:
  using value_type = R;
  // What Next() returns: bool if there are no values.
  using MaybeResult =
      typename std::conditional_t<kVoid, std::type_identity<bool>,
                                  std::type_identity<std::optional<R>>>::type;

  MapResults(green_internal::Members* members, Fn fn, Range&& items, IMapOptions options,
             SpawnSite site)
      : members_(members),
        fn_(std::move(fn)),
        items_(std::forward<Range>(items)),
        options_(options),
        site_(site),
        outcomes_(members, ordered) {
    GROVE_CHECK(options.max_buffered > 0, "IMap() with room for no result");
    inline_ = members->HasCurrent("IMap");
  }
  MapResults(const MapResults&) = delete;
  MapResults& operator=(const MapResults&) = delete;

  // MapResults::Next()
  //
  // The next result; nothing (or false) once there are no more. Throws what `fn` threw
  // for that item, ItemKilled if it was killed, or, after all others, what going through
  // the items threw. In each case the next call goes on with the next result.
  //
  // Blocks: until there is one.
  // Kill: throws; no result is lost.
  MaybeResult Next() {
    if (inline_) return NextAsMember();
    if (!begun_) {
      begun_ = true;
      producer_.greenlet = Spawn([this] { Produce(); }, site_);
      outcomes_.SetSource(producer_.greenlet.core());
    }
    outcomes_.AwaitReady();
    return outcomes_.ready() ? Take() : End();
  }

  auto begin() requires(!kVoid) { return green_internal::NextIterator(this); }
  std::default_sentinel_t end() const { return {}; }

 private:
  using Held = typename Types::Held;

  R Call(Held& item) {
    if constexpr (Types::kStay) {
      return std::invoke(fn_, item.get());
    } else {
      return std::invoke(fn_, static_cast<typename Types::Argument>(item));
    }
  }

  std::optional<Held> Pull() {
    if (exhausted_) return std::nullopt;
    exhausted_ = true;  // if this throws, there is no more
    if (!at_) {
      at_.emplace(std::ranges::begin(items_));
    } else {
      ++*at_;
    }
    if (*at_ == std::ranges::end(items_)) return std::nullopt;
    std::optional<Held> item(**at_);
    exhausted_ = false;
    return item;
  }

  void StartOne(green_internal::Place place, Held item) {
    outcomes_.Start(
        std::move(place), [this, item = std::move(item)]() mutable { return Call(item); },
        site_);
  }

  void Produce() try {
    while (std::optional<Held> item = Pull()) {
      outcomes_.AwaitRoom(options_.max_buffered);
      StartOne(members_->TakePlace({}, /*may_lend=*/false), *std::move(item));
      green_internal::Scheduler::Get().CountOperation();
    }
  } catch (const GreenletExit&) {
    throw;
  } catch (...) {
    outcomes_.source_error = std::current_exception();
  }

  // A member starts what there is room for; where that is without end, one for each that
  // it takes, and more while none is ready.
  bool MayStart(bool first) const {
    if (outcomes_.open() >= options_.max_buffered) return false;
    return first || options_.max_buffered != kAll || !outcomes_.ready();
  }

  MaybeResult NextAsMember() {
    for (;;) {
      for (bool first = true; MayStart(first); first = false) {
        if (!pulled_) PullAsMember();
        if (!pulled_) break;
        green_internal::Place place = members_->TakePlace(Deadline::Passed(), false);
        if (!place) break;
        StartOne(std::move(place), *std::exchange(pulled_, std::nullopt));
        green_internal::Scheduler::Get().CountOperation();
      }
      if (outcomes_.ready()) return Take();
      if (outcomes_.open() > 0) {
        outcomes_.AwaitEnd();
      } else if (!pulled_) {
        return End();
      } else {
        Held item = *std::exchange(pulled_, std::nullopt);
        if constexpr (kVoid) {
          Call(item);
          return true;
        } else {
          return Call(item);
        }
      }
    }
  }

  void PullAsMember() try { pulled_ = Pull(); } catch (const Interrupt&) {
    throw;
  } catch (...) {
    outcomes_.source_error = std::current_exception();
  }

  MaybeResult Take() {
    if constexpr (kVoid) {
      outcomes_.Take();
      return true;
    } else {
      return outcomes_.Take();
    }
  }

  MaybeResult End() {
    if (outcomes_.source_error) {
      std::rethrow_exception(std::exchange(outcomes_.source_error, nullptr));
    }
    return MaybeResult();
  }

  // Ends the producer, before what it refers to.
  struct Producer {
    ~Producer() { const green_internal::EndAtExit end(std::move(greenlet)); }
    AnyGreenlet greenlet;
  };

  green_internal::Members* const members_;
  Fn fn_;
  Range items_;  // maybe a reference
  const IMapOptions options_;
  const SpawnSite site_;
  std::optional<std::ranges::iterator_t<Range&>> at_;
  std::optional<Held> pulled_;
  bool inline_;
  bool begun_ = false;
  bool exhausted_ = false;
  green_internal::Outcomes<R> outcomes_;
  Producer producer_;
};

namespace green_internal {

// All results, for Map().
template <typename Results>
auto Collect(Results& results) {
  if constexpr (std::is_void_v<typename Results::value_type>) {
    while (results.Next()) {
    }
  } else {
    std::vector<typename Results::value_type> all;
    while (auto result = results.Next()) all.push_back(*std::move(result));
    return all;
  }
}

}  // namespace green_internal
}  // namespace grove

#endif  // GROVE_GREEN_IMAP_H_
