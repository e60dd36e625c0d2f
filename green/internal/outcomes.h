#ifndef GROVE_GREEN_INTERNAL_OUTCOMES_H_
#define GROVE_GREEN_INTERNAL_OUTCOMES_H_

#include <concepts>
#include <cstddef>
#include <exception>
#include <functional>
#include <iterator>
#include <list>
#include <optional>
#include <ranges>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "grove/green/greenlet.h"
#include "grove/green/internal/lone_waiter.h"
#include "grove/green/internal/members.h"
#include "grove/green/internal/multi_wait.h"
#include "grove/green/interrupt.h"

namespace grove::green_internal {

// The ItemKilled of a greenlet. See imap.h.
std::exception_ptr KilledError(const Core* core);

// Ends all of `greenlets`, shielded.
void EndAll(const std::vector<AnyGreenlet>& greenlets);

// What is passed to the function of a Map(), and what it returns. `Range` is a reference
// for one that the caller keeps. (No std::views: clang 14 and libstdc++ 12 differ over
// them.)
template <typename Fn, typename Range>
struct MapTypes {
  using Reference = std::ranges::range_reference_t<Range&>;
  // Items that stay where they are need not be copied.
  static constexpr bool kStay =
      std::ranges::forward_range<Range&> && std::is_lvalue_reference_v<Reference>;
  using Value = std::ranges::range_value_t<Range&>;
  using Held = std::conditional_t<
      kStay, std::reference_wrapper<std::remove_reference_t<Reference>>, Value>;
  // `fn` gets items that do not stay as rvalues, or as lvalues if it wants those.
  using Argument =
      std::conditional_t<kStay, Reference,
                         std::conditional_t<std::invocable<Fn&, Value>, Value&&, Value&>>;
  using Result = std::remove_cvref_t<std::invoke_result_t<Fn&, Argument>>;
};

// Outcomes
//
// Greenlets of a group that one consumer takes the results of: in the order in which they
// were started or in that in which they end. What Map() and GreenPile stand on. At its
// end, those that have not ended are killed and joined.
//
// A result lies here, not in its greenlet, whose stack is free as soon as it has ended.
//
// Threads: the group's hub's.
template <typename R>
class Outcomes final : private Observer {
 public:
  using Stored = std::conditional_t<std::is_void_v<R>, std::monostate, R>;

  Outcomes(Members* members, bool ordered) : members_(members), ordered_(ordered) {}
  Outcomes(const Outcomes&) = delete;
  Outcomes& operator=(const Outcomes&) = delete;
  ~Outcomes() {
    source_.Stop();
    if (running_ == 0) return;
    std::vector<AnyGreenlet> left;
    for (const Item& item : items_) {
      if (item.target()) left.push_back(AnyGreenlet::FromCore(item.target(), true));
    }
    EndAll(left);
  }

  // Starts fn() as a member. What it throws is for the consumer, and not reported.
  template <typename F>
  void Start(Place place, F&& fn, SpawnSite site) {
    if (spare_.empty()) spare_.emplace_front();
    Item* item = &spare_.front();
    AnyGreenlet g = Spawn(
        [item, fn = std::forward<F>(fn)]() mutable {
          try {
            if constexpr (std::is_void_v<R>) {
              fn();
              item->result.emplace();
            } else {
              item->result.emplace(fn());
            }
          } catch (const GreenletExit&) {
            throw;
          } catch (...) {
            item->error = std::current_exception();
          }
        },
        site);
    items_.splice(items_.end(), spare_, spare_.begin());
    item->self = std::prev(items_.end());
    ++running_;
    item->Start(g.core(), this);
    members_->Admit(g.core(), std::move(place));
  }

  // What Start() has started and Take() has not taken, and how many of those run.
  size_t open() const { return items_.size(); }
  size_t running() const { return running_; }

  // Whether there is one to be taken.
  bool ready() const {
    return ordered_ ? !items_.empty() && !items_.front().target() : !done_.empty();
  }

  // The next result. Throws what its function threw.
  Stored Take() {
    Item* item = ordered_ ? &items_.front() : static_cast<Item*>(done_.PopFront());
    // Taken out first: also if the move throws, it has been taken.
    std::list<Item> taken;
    taken.splice(taken.begin(), items_, item->self);
    const absl::Cleanup use_again = [this, item, &taken] {
      item->result.reset();
      spare_.splice(spare_.begin(), taken);
    };
    room_.Wake();
    if (item->error) std::rethrow_exception(std::exchange(item->error, nullptr));
    return *std::move(item->result);
  }

  // The greenlet that starts them; until it has ended there may be more.
  void SetSource(Core* core) { source_.Start(core, this); }
  bool has_source() const { return source_.target() != nullptr; }
  // Why there is no more, if not for want of items.
  std::exception_ptr source_error;

  // Waits for the consumer, until there is one to be taken, or will be none.
  //
  // Blocks: until then. Kill: throws; nothing is lost.
  void AwaitReady() {
    (void)consumer_.Await(
        [this] { return ready() || (!has_source() && items_.empty()); });
  }
  // Until one more has ended, or one can be taken.
  void AwaitEnd() {
    const size_t ends = ends_;
    (void)consumer_.Await([this, ends] { return ready() || ends_ != ends; });
  }
  // Waits for whoever starts them, until fewer than `limit` are open.
  void AwaitRoom(size_t limit) {
    (void)room_.Await([this, limit] { return open() < limit; });
  }

 private:
  struct Item final : EndWatch {
    std::optional<Stored> result;
    std::exception_ptr error;
    typename std::list<Item>::iterator self;
  };
  class Consumer final : public LoneWaiter {
    std::string Describe() const override { return "the next result of a group"; }
  };
  class Room final : public LoneWaiter {
    std::string Describe() const override {
      return "results of a group to be taken, of which there are enough";
    }
  };

  void Fulfilled(ListedWaiter* w) override {
    if (w == &source_) {
      const Core* core = source_.Take();
      if (core->killed) source_error = KilledError(core);
      if (core->error) source_error = core->error;
    } else {
      Item* item = static_cast<Item*>(w);
      const Core* core = item->Take();
      --running_;
      ++ends_;
      if (!item->result && !item->error) {
        item->error = core->error ? core->error : KilledError(core);
      }
      if (!ordered_) done_.PushBack(item);
    }
    consumer_.Wake();
  }
  std::string Who() const override { return "the consumer of results"; }

  Members* const members_;
  const bool ordered_;
  std::list<Item> items_;  // in the order of their starts
  std::list<Item> spare_;
  WaiterList done_;  // in the order of their ends, if that matters
  size_t running_ = 0;
  size_t ends_ = 0;
  EndWatch source_;
  Consumer consumer_;
  Room room_;
};

}  // namespace grove::green_internal

#endif  // GROVE_GREEN_INTERNAL_OUTCOMES_H_
