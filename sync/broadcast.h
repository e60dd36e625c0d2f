#ifndef GROVE_SYNC_BROADCAST_H_
#define GROVE_SYNC_BROADCAST_H_

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "grove/hub/deadline.h"
#include "grove/hub/internal/check.h"
#include "grove/sync/internal/sync_object.h"

namespace grove {

// What happens when a value is sent and the slowest subscriber is a whole capacity
// behind.
enum class BroadcastWhenFull {
  kBlock,       // the sender waits for it: nothing is lost
  kDropOldest,  // it misses the oldest value, and learns how many it has missed
};

template <std::copy_constructible T>
class BroadcastSubscription;

// Broadcast
//
// Passes each value to all who have subscribed by then.
//
//   Broadcast<Quote> quotes(64);
//   Spawn([&] {
//     BroadcastSubscription<Quote> mine(quotes);
//     while (absl::StatusOr<Quote> q = mine.Receive(); q.ok()) Show(*q);
//   });
//   quotes.Send(quote).IgnoreError();
//
// Without subscribers, what is sent is dropped.
//
// Errors: Send() on a closed one returns kFailedPrecondition, Receive() once all was
// received kOutOfRange; a deadline that passes kDeadlineExceeded.
//
// Threads: any; see docs/sync.md.
template <std::copy_constructible Value>
class Broadcast {
 public:
  using T = Value;

  // Zero is a fatal error.
  explicit Broadcast(size_t capacity,
                     BroadcastWhenFull when_full = BroadcastWhenFull::kBlock)
      : capacity_(capacity), when_full_(when_full) {
    GROVE_CHECK(capacity > 0, "a Broadcast with no capacity");
  }
  Broadcast(const Broadcast&) = delete;
  Broadcast& operator=(const Broadcast&) = delete;
  // While there are subscriptions, or somebody waits to send: a fatal error.
  ~Broadcast() {
    sync_internal::CheckDestroy(home_, senders_, "Broadcast", this);
    GROVE_CHECK(subscriptions_.empty() || sync_internal::Scheduler::process_exits(),
                sync_internal::NameOf("Broadcast", this), " is destroyed before ",
                subscriptions_.size(), " subscriptions");
  }

  // Broadcast::Send()
  //
  // Blocks: with kBlock, while the slowest subscriber is too far behind.
  // Deadline: returns kDeadlineExceeded; nobody receives it.
  // Kill: throws; nobody receives it.
  absl::Status Send(T value, Deadline deadline = {}) {
    SendOperation op(this, &value);
    if (!home_.Perform(&op, deadline)) {
      return absl::DeadlineExceededError(sync_internal::NameOf("Broadcast", this) +
                                         ": a subscriber is too slow");
    }
    if (op.closed) {
      return absl::FailedPreconditionError(sync_internal::NameOf("Broadcast", this) +
                                           " is closed");
    }
    if (op.error) std::rethrow_exception(op.error);
    return absl::OkStatus();
  }

  // Nothing can be sent any more; what was sent can be received. Does not block.
  void Close() {
    home_.Do([this] {
      closed_ = true;
      while (auto* s = static_cast<SendOperation*>(senders_.PopFront())) {
        s->closed = true;
        s->Notify();
      }
      for (auto* subscription : subscriptions_) subscription->Serve();
    });
  }

  size_t subscribers() {
    size_t n;
    home_.Ask([&] { n = subscriptions_.size(); });
    return n;
  }

 private:
  friend class BroadcastSubscription<T>;

  struct Entry {
    T value;
    size_t readers;  // subscriptions that have not received it
  };

  class SendOperation final : public sync_internal::Operation {
   public:
    SendOperation(Broadcast* b, T* v)
        : Operation(&b->senders_), value(v), broadcast_(b) {}
    bool Try() override {
      closed = broadcast_->closed_;
      if (closed) return true;
      return broadcast_->senders_.empty() && AcceptOrFail();
    }
    // What a value without a move throws in its copy is the sender's.
    bool AcceptOrFail() {
      try {
        return broadcast_->Accept(*value);
      } catch (...) {
        error = std::current_exception();
        return true;
      }
    }
    std::string Describe() const override {
      return "the slowest subscriber of " +
             sync_internal::NameOf("Broadcast", broadcast_);
    }

    T* const value;
    bool closed = false;
    std::exception_ptr error;

   private:
    Broadcast* const broadcast_;
  };

  // --- at home ---
  bool Accept(T& value) {
    if (subscriptions_.empty()) return true;
    if (entries_.size() >= capacity_) {
      if (when_full_ == BroadcastWhenFull::kBlock) return false;
      for (auto* subscription : subscriptions_) subscription->MissUntil(base_ + 1);
      DropRead();
    }
    entries_.push_back({std::move(value), subscriptions_.size()});
    for (auto* subscription : subscriptions_) subscription->Serve();
    DropRead();  // all may have waited for it
    return true;
  }
  void DropRead() {
    while (!entries_.empty() && entries_.front().readers == 0) {
      entries_.pop_front();
      ++base_;
    }
  }
  // Some were read: there may be room.
  void ServeSenders() {
    DropRead();
    while (auto* s = static_cast<SendOperation*>(senders_.front())) {
      if (!s->AcceptOrFail()) return;
      senders_.PopFront();
      s->Notify();
    }
  }
  uint64_t end() const { return base_ + entries_.size(); }
  // Of one of its readers. The last one gets the value itself. If the copy throws, it has
  // not been read.
  void Read(uint64_t position, std::optional<T>& to) {
    Entry& entry = entries_[position - base_];
    if (entry.readers > 1) {
      to.emplace(entry.value);
    } else {
      to.emplace(std::move(entry.value));
    }
    --entry.readers;
  }
  void Skip(uint64_t position) { --entries_[position - base_].readers; }

  const size_t capacity_;
  const BroadcastWhenFull when_full_;
  bool closed_ = false;
  uint64_t base_ = 0;  // the position of the first entry
  std::deque<Entry> entries_;
  std::vector<BroadcastSubscription<T>*> subscriptions_;
  sync_internal::WaiterList senders_;
  sync_internal::Home home_;  // last: what is on its way arrives first
};

// BroadcastSubscription
//
// Receives what is sent from its beginning to its end. Must not outlive the Broadcast.
//
// Threads: any, as the Broadcast.
template <std::copy_constructible T>
class BroadcastSubscription {
 public:
  explicit BroadcastSubscription(Broadcast<T>& broadcast) : broadcast_(broadcast) {
    broadcast_.home_.Ask([this] {
      next_ = broadcast_.end();
      broadcast_.subscriptions_.push_back(this);
    });
  }
  BroadcastSubscription(const BroadcastSubscription&) = delete;
  BroadcastSubscription& operator=(const BroadcastSubscription&) = delete;
  // While somebody waits for it: a fatal error that names them.
  ~BroadcastSubscription() {
    broadcast_.home_.Ask([this] {
      sync_internal::CheckDestroy(broadcast_.home_, line_, "BroadcastSubscription", this);
      std::erase(broadcast_.subscriptions_, this);
      MissUntil(broadcast_.end());
      broadcast_.ServeSenders();
    });
  }

  // BroadcastSubscription::Receive()
  //
  // The next value. With kDropOldest, `missed()` says what lay in between.
  //
  // Blocks: while there is none.
  // Deadline: returns kDeadlineExceeded.
  // Kill: throws; the value is received by the next call.
  absl::StatusOr<T> Receive(Deadline deadline = {}) {
    ReceiveOperation op(this);
    if (!broadcast_.home_.Perform(&op, deadline)) {
      return absl::DeadlineExceededError(sync_internal::NameOf("Broadcast", &broadcast_) +
                                         ": nothing was sent in time");
    }
    if (op.error) std::rethrow_exception(op.error);
    if (!op.value) {
      return absl::OutOfRangeError(sync_internal::NameOf("Broadcast", &broadcast_) +
                                   " is closed");
    }
    return *std::move(op.value);
  }

  // How many values were dropped before it received them, since it began.
  uint64_t missed() {
    uint64_t missed;
    broadcast_.home_.Ask([&] { missed = missed_; });
    return missed;
  }

 private:
  friend class Broadcast<T>;

  class ReceiveOperation final : public sync_internal::Operation {
   public:
    explicit ReceiveOperation(BroadcastSubscription* s)
        : Operation(&s->line_), subscription_(s) {}
    bool Try() override {
      Broadcast<T>& b = subscription_->broadcast_;
      if (subscription_->next_ == b.end()) return b.closed_;
      subscription_->ReadInto(*this);
      b.ServeSenders();
      return true;
    }
    std::string Describe() const override {
      return "a value of " +
             sync_internal::NameOf("Broadcast", &subscription_->broadcast_);
    }

    std::optional<T> value;
    std::exception_ptr error;

   private:
    BroadcastSubscription* const subscription_;
  };

  // --- at home ---
  // Whoever sends must not suffer from what a copy throws; its receiver does, and misses
  // the value.
  void ReadInto(ReceiveOperation& r) {
    try {
      broadcast_.Read(next_, r.value);
    } catch (...) {
      r.error = std::current_exception();
      broadcast_.Skip(next_);
    }
    ++next_;
  }
  void Serve() {
    while (auto* r = static_cast<ReceiveOperation*>(line_.front())) {
      if (next_ == broadcast_.end() && !broadcast_.closed_) return;
      line_.PopFront();
      if (next_ != broadcast_.end()) ReadInto(*r);
      r->Notify();
    }
  }
  void MissUntil(uint64_t position) {
    for (; next_ < position; ++missed_) broadcast_.Skip(next_++);
  }

  Broadcast<T>& broadcast_;
  uint64_t next_ = 0;
  uint64_t missed_ = 0;
  sync_internal::WaiterList line_;
};

}  // namespace grove

#endif  // GROVE_SYNC_BROADCAST_H_
