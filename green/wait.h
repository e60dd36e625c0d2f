#ifndef GROVE_GREEN_WAIT_H_
#define GROVE_GREEN_WAIT_H_

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <exception>
#include <functional>
#include <initializer_list>
#include <iterator>
#include <limits>
#include <memory>
#include <optional>
#include <ranges>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "grove/green/greenlet.h"
#include "grove/green/internal/multi_wait.h"
#include "grove/green/internal/next_iterator.h"
#include "grove/green/sleep.h"
#include "grove/hub/deadline.h"

// Waiting for many greenlets, or other things, at once.
//
//   std::vector<Greenlet<Page>> fetches = ...;
//   for (Greenlet<Page>& g : IWait(fetches, {.deadline = absl::Seconds(5)})) {
//     Use(g.Get());
//   }
//   KillAll(fetches);  // those that were too slow
//
// A list may name the same greenlet several times; it is then met as many times.
//
// Threads: greenlets may be of any hub, and are killed there; the other Waitables belong to
// the hub of the thread that calls.
namespace grove {

// Any number.
inline constexpr size_t kAll = std::numeric_limits<size_t>::max();

// WaitOptions
struct WaitOptions {
  // Ends the wait, without an error.
  Deadline deadline = {};
  // How many are to be met, at most.
  size_t count = kAll;
};

// JoinAllOptions
struct JoinAllOptions {
  Deadline deadline = {};
  size_t count = kAll;
  // Whether the error of a greenlet that failed is thrown, as soon as it is met.
  bool rethrow = false;
};

// KillAllOptions
struct KillAllOptions {
  // Thrown instead of GreenletExit; the greenlets then count as failed by it.
  std::exception_ptr error = nullptr;
  // Whether to wait for their ends, and for how long.
  bool wait = true;
  Deadline deadline = {};
};

// A range of AnyGreenlet or of Greenlet<T>.
template <typename Range>
concept GreenletRange = std::ranges::input_range<Range> &&
    std::derived_from<std::remove_cvref_t<std::ranges::range_reference_t<Range>>,
                      AnyGreenlet>;

template <GreenletRange Range>
using HandleOf = std::remove_cvref_t<std::ranges::range_reference_t<Range>>;

// EndedGreenlets
//
// What IWait() returns: greenlets as they end, as an input range. `Handle` is what the
// list had: AnyGreenlet or Greenlet<T>. Between two of them the caller may do what it
// likes, and block; what ends meanwhile is kept in order. Leaving early leaves nothing
// behind.
//
// Threads: belongs to the greenlet that made it.
template <typename Handle>
class EndedGreenlets {
 public:
  using value_type = Handle;

  EndedGreenlets(std::vector<Handle> greenlets, WaitOptions options)
      : greenlets_(std::move(greenlets)), options_(options), joins_(greenlets_.size()) {
    for (const Handle& g : greenlets_) joins_.Add(g.core());
    left_ = std::min(options.count, greenlets_.size());
  }

  // EndedGreenlets::Next()
  //
  // The next that has ended; nothing once all have, or `count` of them.
  //
  // Blocks: until one has ended.
  // Deadline: that of the whole; returns nothing.
  // Kill: throws; nothing is lost.
  std::optional<Handle> Next() {
    if (left_ == 0) return std::nullopt;
    const size_t n = joins_.Next(options_.deadline);
    if (n == green_internal::JoinSet::kNone) return std::nullopt;
    --left_;
    // With the handle goes the stack.
    return std::move(greenlets_[n]);
  }

  auto begin() { return green_internal::NextIterator(this); }
  std::default_sentinel_t end() const { return {}; }

 private:
  std::vector<Handle> greenlets_;
  const WaitOptions options_;
  size_t left_;
  green_internal::JoinSet joins_;  // last: its joins lie in the greenlets
};

// IWait()
//
// Greenlets in the order in which they end; those that have ended already come first, in
// the order of the list.
template <GreenletRange Range>
EndedGreenlets<HandleOf<Range>> IWait(Range&& greenlets, WaitOptions options = {}) {
  std::vector<HandleOf<Range>> handles;
  for (auto&& g : greenlets) handles.push_back(g);
  return {std::move(handles), options};
}
inline EndedGreenlets<AnyGreenlet> IWait(std::initializer_list<AnyGreenlet> greenlets,
                                         WaitOptions options = {}) {
  return {std::vector<AnyGreenlet>(greenlets), options};
}

// JoinAll()
//
// Waits until all greenlets have ended, or `count` of them. Returns those that have, in
// the order of their ends, as IWait() would.
//
// Blocks: until then; without a switch if it is so already.
// Deadline: returns those that have ended until then.
// Kill: throws; the greenlets are unaffected.
template <GreenletRange Range>
std::vector<HandleOf<Range>> JoinAll(Range&& greenlets, JoinAllOptions options = {}) {
  std::vector<HandleOf<Range>> ended;
  auto ends = IWait(greenlets, {.deadline = options.deadline, .count = options.count});
  while (auto g = ends.Next()) {
    if (options.rethrow && g->exception()) std::rethrow_exception(g->exception());
    ended.push_back(*std::move(g));
  }
  return ended;
}
inline std::vector<AnyGreenlet> JoinAll(std::initializer_list<AnyGreenlet> greenlets,
                                        JoinAllOptions options = {}) {
  return JoinAll(std::vector<AnyGreenlet>(greenlets), std::move(options));
}

// KillAll()
//
// Kills all greenlets, at once: of those that have not begun none ever will. Then waits
// for their ends. True if all have ended. If the caller is one of them, its next blocking
// call throws, which is this one if it waits. A main greenlet is killed, but not waited
// for.
//
// Blocks: until all have ended, unless `wait` is false. A greenlet that refuses to end is
// waited for.
// Deadline: returns false; the kills stay in force.
// Kill: throws; the kills stay in force.
bool KillAll(absl::Span<const AnyGreenlet> greenlets, KillAllOptions options = {});
template <GreenletRange Range>
bool KillAll(Range&& greenlets, KillAllOptions options = {}) {
  std::vector<AnyGreenlet> handles;
  for (auto&& g : greenlets) handles.push_back(g);
  return KillAll(absl::MakeConstSpan(handles), std::move(options));
}

// Waitable
//
// Something that becomes ready, for Wait(): a greenlet, by its end, or what another type
// makes of itself. It refers to that, which has to outlive it, and be at home on this
// hub.
//
// For whoever writes such a type: an Operation (green/internal/operation.h) that takes
// nothing when it is done, since Wait() may do it without its caller's learning of it.
//
//   Waitable Event::AsWaitable() { return Waitable::Of<WaitOperation>(this); }
class Waitable {
 public:
  Waitable(AnyGreenlet greenlet);  // NOLINT(google-explicit-constructor)

  template <typename Op, typename... Args>
  static Waitable Of(Args... args) {
    return Waitable(Make([args...] { return std::make_unique<HolderOf<Op>>(args...); }));
  }

  // For Wait(): an operation of its own for each wait.
  struct Holder {
    virtual ~Holder() = default;
    virtual green_internal::Operation* operation() = 0;
  };
  std::unique_ptr<Holder> Begin() const { return make_(); }

 private:
  template <typename Op>
  struct HolderOf final : Holder {
    template <typename... Args>
    explicit HolderOf(Args&&... args) : op(std::forward<Args>(args)...) {}
    green_internal::Operation* operation() override { return &op; }
    Op op;
  };
  using Make = std::function<std::unique_ptr<Holder>()>;
  explicit Waitable(Make make) : make_(std::move(make)) {}

  Make make_;
};

// Wait()
//
// Waits until all objects are ready, or `count` of them. Returns their positions in the
// list, in the order in which they became ready.
//
//   for (size_t i : Wait({greenlet, event.AsWaitable()}, {.count = 1})) ...
//
// Blocks: until then; without a switch if it is so already.
// Deadline: returns those that are ready until then.
// Kill: throws.
std::vector<size_t> Wait(absl::Span<const Waitable> objects, WaitOptions options = {});

// Without objects: JoinHub().
inline bool Wait(Deadline deadline = {}) { return JoinHub(deadline); }

// Idle()
//
// Waits until nothing else is ready to run on this hub: no greenlet, no I/O, no timer, no
// mail. True then. For work that is to be done when there is nothing better to do.
//
// Blocks: until then; at least until the loop was asked once.
// Deadline: returns false.
// Kill: throws.
bool Idle(Deadline deadline = {});

}  // namespace grove

#endif  // GROVE_GREEN_WAIT_H_
