#ifndef GROVE_SYNC_QUEUE_H_
#define GROVE_SYNC_QUEUE_H_

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "grove/hub/deadline.h"
#include "grove/hub/internal/check.h"
#include "grove/sync/internal/exchange.h"
#include "grove/sync/internal/ring.h"

// Queues between greenlets:
//
//   Queue<Job> jobs(100);                       // at most 100 wait in it
//   Spawn([&] {
//     for (Job& job : jobs) {                   // until it is shut down and empty
//       Do(job);
//       jobs.TaskDone();
//     }
//   });
//   absl::Status s = jobs.Put(job);             // waits while it is full: backpressure
//   jobs.Join();                                // all jobs are done
//   jobs.Shutdown();
//
// Queue is first in first out, LifoQueue last in first out, and PriorityQueue gives the
// largest first, as std::priority_queue does.
namespace grove {

inline constexpr size_t kUnbounded = std::numeric_limits<size_t>::max();

namespace sync_internal {

template <typename Item>
class FifoStore {
 public:
  using value_type = Item;
  void Push(Item&& item) { items_.Push(std::move(item)); }
  Item Pop() { return items_.Pop(); }
  const Item& Front() const { return items_.Front(); }
  size_t size() const { return items_.size(); }

 private:
  Ring<Item> items_;
};

template <typename Item>
class LifoStore {
 public:
  using value_type = Item;
  void Push(Item item) { items_.push_back(std::move(item)); }
  Item Pop() {
    Item item = std::move(items_.back());
    items_.pop_back();
    return item;
  }
  const Item& Front() const { return items_.back(); }
  size_t size() const { return items_.size(); }

 private:
  std::vector<Item> items_;
};

// A heap, and not std::priority_queue, out of which nothing can be moved.
template <typename Item, typename Compare>
class PriorityStore {
 public:
  using value_type = Item;
  explicit PriorityStore(Compare less = Compare()) : less_(std::move(less)) {}
  void Push(Item item) {
    items_.push_back(std::move(item));
    std::push_heap(items_.begin(), items_.end(), less_);
  }
  Item Pop() {
    std::pop_heap(items_.begin(), items_.end(), less_);
    Item item = std::move(items_.back());
    items_.pop_back();
    return item;
  }
  const Item& Front() const { return items_.front(); }
  size_t size() const { return items_.size(); }

 private:
  Compare less_;
  std::vector<Item> items_;
};

}  // namespace sync_internal

// BasicQueue
//
// What all queues share. Those who wait are served in the order in which they came, on
// both sides: an item that is put while others wait for room comes after theirs.
//
// Errors: Put() after Shutdown() returns kFailedPrecondition, Get() once it is also empty
// kOutOfRange; a deadline that passes kDeadlineExceeded.
//
// Threads: any; see docs/sync.md. From elsewhere each call but Shutdown() and TaskDone()
// waits for the queue's home; for a stream of items between hubs use HubChannel.
template <typename Store>
class BasicQueue {
  using Exchange = sync_internal::Exchange<Store>;

 public:
  using T = typename Store::value_type;
  using GetOperation = typename Exchange::GetOperation;
  using PutOperation = typename Exchange::PutOperation;
  using iterator = sync_internal::ExchangeIterator<Exchange>;

  // A bound of zero is a fatal error: what passes items from hand to hand is a Channel.
  template <typename... Args>
  explicit BasicQueue(size_t max_size = kUnbounded, Args&&... args)
      : exchange_("Queue", CheckedBound(max_size), std::forward<Args>(args)...) {}
  // With some items in it. They count as unfinished.
  BasicQueue(size_t max_size, std::initializer_list<T> items) : BasicQueue(max_size) {
    for (const T& item : items) {
      GROVE_CHECK(TryPut(T(item)), "more items than ", exchange_.Name(), " has room for");
    }
  }
  // While others wait for it: a fatal error that names them.
  ~BasicQueue() = default;

  // BasicQueue::Put()
  //
  // Puts an item. If it fails, `item` was not moved from.
  //
  // Blocks: while the queue is full, or others wait for room.
  // Deadline: returns kDeadlineExceeded.
  // Kill: throws; the item was not put.
  [[gnu::always_inline]] absl::Status Put(T&& item, Deadline deadline = {}) {
    return exchange_.Put(std::move(item), deadline);
  }
  [[gnu::always_inline]] absl::Status Put(const T& item, Deadline deadline = {}) {
    return exchange_.Put(T(item), deadline);
  }
  // Whether there was room. Does not wait, but from elsewhere for its home's answer.
  bool TryPut(T&& item) {
    PutOperation op(&exchange_, &item);
    return exchange_.home().Perform(&op, Deadline::Passed()) && !op.closed;
  }
  bool TryPut(const T& item) { return TryPut(T(item)); }

  // BasicQueue::Get()
  //
  // Takes the next item.
  //
  // Blocks: while there is none.
  // Deadline: returns kDeadlineExceeded.
  // Kill: throws; no item was taken.
  [[gnu::always_inline]] absl::StatusOr<T> Get(Deadline deadline = {}) {
    return exchange_.Get(deadline);
  }
  // As Put() and TryPut().
  std::optional<T> TryGet() {
    GetOperation op(&exchange_);
    if (!exchange_.home().Perform(&op, Deadline::Passed())) return std::nullopt;
    return std::move(op.item);
  }

  // BasicQueue::Peek()
  //
  // A copy of what Get() would take. Contract as Get().
  absl::StatusOr<T> Peek(Deadline deadline = {}) requires std::copy_constructible<T> {
    return exchange_.Peek(deadline);
  }

  // Gets items until the queue is shut down and empty.
  iterator begin() { return iterator(&exchange_); }
  iterator end() { return iterator(); }

  // BasicQueue::TaskDone()
  //
  // What was got is done: call it once for each item. More often is a fatal error. Does
  // not block.
  void TaskDone() {
    exchange_.home().Do([this] {
      GROVE_CHECK(exchange_.unfinished() > 0, "TaskDone() of ", exchange_.Name(),
                  ", which has no unfinished tasks");
      exchange_.Finish(1);
    });
  }

  // BasicQueue::Join()
  //
  // Waits until TaskDone() was called for all that was put. True then.
  //
  // Blocks: until then. Deadline: returns false. Kill: throws.
  bool Join(Deadline deadline = {}) {
    typename Exchange::JoinOperation op(&exchange_);
    return exchange_.home().Perform(&op, deadline);
  }

  // BasicQueue::Shutdown()
  //
  // Nothing can be put any more, and those who wait to put fail. What is there can still
  // be got; with `drop` it is dropped, and counts as done. Does not block.
  void Shutdown(bool drop = false) { exchange_.Close(drop); }

  // As seen from here: at home exact, from elsewhere when the answer was on its way.
  size_t size() {
    return Look([](Exchange& x) { return x.store().size(); });
  }
  bool empty() { return size() == 0; }
  bool full() {
    return Look([](Exchange& x) { return x.store().size() >= x.bound(); });
  }
  bool is_shut_down() {
    return Look([](Exchange& x) { return x.closed(); });
  }
  int64_t unfinished_tasks() {
    return Look([](Exchange& x) { return x.unfinished(); });
  }
  size_t waiting_to_get() {
    return Look([](Exchange& x) { return x.CountWaiting(/*getters=*/true); });
  }
  size_t waiting_to_put() {
    return Look([](Exchange& x) { return x.CountWaiting(/*getters=*/false); });
  }
  size_t max_size() {
    return Look([](Exchange& x) { return x.bound(); });
  }
  // A larger one lets those in who wait for room. Does not block.
  void set_max_size(size_t max_size) {
    CheckedBound(max_size);
    exchange_.home().Do([this, max_size] { exchange_.set_bound(max_size); });
  }

  // For the layers above, and for Select().
  Exchange& exchange() { return exchange_; }

 private:
  template <typename F>
  auto Look(F look) {
    decltype(look(exchange_)) seen;
    exchange_.home().Ask([&] { seen = look(exchange_); });
    return seen;
  }
  static size_t CheckedBound(size_t max_size) {
    GROVE_CHECK(max_size > 0, "a queue of at most 0 items: use a Channel");
    GROVE_CHECK(max_size == kUnbounded || max_size <= kUnbounded / 2,
                "a queue of at most ", static_cast<int64_t>(max_size), " items");
    return max_size;
  }

  Exchange exchange_;
};

template <typename T>
using Queue = BasicQueue<sync_internal::FifoStore<T>>;
// gevent's name for it: every queue counts its tasks.
template <typename T>
using JoinableQueue = Queue<T>;
template <typename T>
using LifoQueue = BasicQueue<sync_internal::LifoStore<T>>;
template <typename T, typename Compare = std::less<T>>
using PriorityQueue = BasicQueue<sync_internal::PriorityStore<T, Compare>>;

}  // namespace grove

#endif  // GROVE_SYNC_QUEUE_H_
