#ifndef GROVE_SYNC_INTERNAL_EXCHANGE_H_
#define GROVE_SYNC_INTERNAL_EXCHANGE_H_

#include <cstddef>
#include <cstdint>
#include <exception>
#include <iterator>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "grove/sync/internal/sync_object.h"

namespace grove::sync_internal {

// Exchange
//
// Where items pass from those who put to those who get: what queues and channels are
// made of. A store of a bounded size lies in between; if its bound is zero, items pass
// from hand to hand. Both sides wait in line, and are served in that order.
//
// A Store has value_type, Push(T), T Pop(), const T& Front() and size().
template <typename Store>
class Exchange {
 public:
  using T = typename Store::value_type;
  // Else an item could get lost half way, and who waits for it with it.
  static_assert(std::is_nothrow_move_constructible_v<T>,
                "an item's move constructor must not throw");

  template <typename... Args>
  explicit Exchange(const char* type, size_t bound, Args&&... args)
      : type_(type), bound_(bound), store_(std::forward<Args>(args)...) {}
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;
  ~Exchange() {
    CheckDestroy(home_, getters_, type_, this);
    CheckDestroy(home_, putters_, type_, this);
    CheckDestroy(home_, joiners_, type_, this);
  }

  class GetOperation final : public Operation {
   public:
    explicit GetOperation(Exchange* x, bool peek = false)
        : Operation(&x->getters_), exchange_(x), peek_(peek) {}
    bool Try() override { return exchange_->Take(*this); }
    void Return() override { exchange_->TakeBack(*this); }
    std::string Describe() const override { return "an item of " + exchange_->Name(); }
    void Reset() {
      item.reset();
      closed = false;
    }

    std::optional<T> item;
    bool closed = false;         // there is none, and none will come
    std::exception_ptr error;    // of the copy, where it was to look only
    const char* type = nullptr;  // of what was closed, and may be no more

   private:
    friend class Exchange;
    // Whoever shows it must not suffer from what the copy throws.
    void See(const T& other) {
      try {
        item.emplace(other);
      } catch (...) {
        error = std::current_exception();
      }
    }
    Exchange* const exchange_;
    const bool peek_;
  };

  class PutOperation final : public Operation {
   public:
    // `item` is moved from once the operation is done, unless `closed`.
    PutOperation(Exchange* x, T* i) : Operation(&x->putters_), item(i), exchange_(x) {}
    bool Try() override { return exchange_->Accept(*this); }
    std::string Describe() const override { return "room in " + exchange_->Name(); }
    void Reset() { closed = false; }

    T* const item;
    bool closed = false;
    const char* type = nullptr;  // see GetOperation

   private:
    Exchange* const exchange_;
  };

  // What fails leaves `item` as it is.
  [[gnu::always_inline]] absl::Status Put(T&& item, Deadline deadline) {
    Scheduler* s = Scheduler::GetIfExists();
    if (ABSL_PREDICT_FALSE(!home_.Is(s) || !deadline.infinite() || closed_)) {
      return PutSlow(item, deadline);
    }
    s->CountOperation();
    if (ABSL_PREDICT_FALSE(closed_)) return ClosedToPut(type_, this);  // meanwhile
    if (!getters_.empty() && HandOver(item)) return absl::OkStatus();
    if (store_.size() >= bound_) {
      PutOperation op(this, &item);
      Home::WaitInLine(s, &op);
      if (ABSL_PREDICT_FALSE(op.closed)) return ClosedToPut(op.type, this);
    } else {
      store_.Push(std::move(item));
      ++unfinished_;
    }
    return absl::OkStatus();
  }

  [[gnu::always_inline]] absl::StatusOr<T> Get(Deadline deadline) {
    Scheduler* s = Scheduler::GetIfExists();
    if (ABSL_PREDICT_FALSE(!home_.Is(s) || !deadline.infinite())) {
      return GetSlow(deadline, /*peek=*/false);
    }
    s->CountOperation();
    if (store_.size() > 0) {
      absl::StatusOr<T> item(store_.Pop());
      if (!putters_.empty()) Refill();
      return item;
    }
    if (auto* p = static_cast<PutOperation*>(putters_.front())) {  // from hand to hand
      absl::StatusOr<T> item(std::move(*p->item));
      ++unfinished_;
      putters_.PopNode()->Notify();
      return item;
    }
    if (ABSL_PREDICT_FALSE(closed_)) return ClosedToGet(type_, this);
    GetOperation op(this);
    Home::WaitInLine(s, &op);
    if (ABSL_PREDICT_FALSE(op.closed)) return ClosedToGet(op.type, this);
    return *std::move(op.item);
  }

  // What comes next, which stays there.
  absl::StatusOr<T> Peek(Deadline deadline) { return GetSlow(deadline, /*peek=*/true); }

  // Nothing can be put any more. What is there can be got, unless `drop`.
  void Close(bool drop) {
    home_.Do([this, drop] {
      closed_ = true;
      // One by one: to destroy them may be to use the queue.
      while (drop && store_.size() > 0) {
        [[maybe_unused]] const T dropped(store_.Pop());
        // Somebody may have said too early that one was done.
        if (unfinished_ > 0) --unfinished_;
      }
      while (auto* p = static_cast<PutOperation*>(putters_.PopFront())) {
        if (TellClosed(p)) return;
      }
      while (auto* g = static_cast<GetOperation*>(getters_.PopFront())) {
        if (TellClosed(g)) return;
      }
      if (drop) Finish(0);
    });
  }

  // --- tasks: items that were got are unfinished until somebody says so ---
  void Finish(int64_t n) {
    unfinished_ -= n;
    if (unfinished_ == 0) joiners_.NotifyAll();
  }
  class JoinOperation final : public Operation {
   public:
    explicit JoinOperation(Exchange* x) : Operation(&x->joiners_), exchange_(x) {}
    bool Try() override { return exchange_->unfinished_ == 0; }
    std::string Describe() const override {
      return "the last task of " + exchange_->Name();
    }

   private:
    Exchange* const exchange_;
  };

  // --- at home, or in an Ask() ---
  Store& store() { return store_; }
  bool closed() const { return closed_; }
  size_t bound() const { return bound_; }
  int64_t unfinished() const { return unfinished_; }
  void set_bound(size_t bound) {
    bound_ = bound;
    Refill();
  }
  size_t CountWaiting(bool getters) const {
    size_t n = 0;
    for (ListedWaiter* w = (getters ? getters_ : putters_).front(); w; w = w->next()) ++n;
    return n;
  }

  Home& home() { return home_; }
  std::string Name() const { return NameOf(type_, this); }

 private:
  // Whoever has waited may find this destroyed: then its name is all that it uses.
  absl::Status PutSlow(T& item, Deadline deadline) {
    const char* const type = type_;
    PutOperation op(this, &item);
    if (!home_.Perform(&op, deadline)) {
      return absl::DeadlineExceededError(NameOf(type, this) +
                                         ": there was no room in time");
    }
    if (op.closed) return ClosedToPut(type, this);
    return absl::OkStatus();
  }

  absl::StatusOr<T> GetSlow(Deadline deadline, bool peek) {
    const char* const type = type_;
    GetOperation op(this, peek);
    if (!home_.Perform(&op, deadline)) {
      return absl::DeadlineExceededError(NameOf(type, this) +
                                         ": there was no item in time");
    }
    if (op.closed) return ClosedToGet(type, this);
    if (op.error) std::rethrow_exception(op.error);
    return *std::move(op.item);
  }

  [[gnu::cold]] static absl::Status ClosedToPut(const char* type, const void* x) {
    return absl::FailedPreconditionError(NameOf(type, x) + " is closed");
  }
  [[gnu::cold]] static absl::Status ClosedToGet(const char* type, const void* x) {
    return absl::OutOfRangeError(NameOf(type, x) + " is closed, and empty");
  }
  // True if that was the last who waits, who may destroy this at once on another hub.
  template <typename Op>
  bool TellClosed(Op* op) {
    op->closed = true;
    op->type = type_;
    const bool last = putters_.empty() && getters_.empty() && joiners_.empty();
    op->Notify();
    return last;
  }
  // An item that nobody can use any more.
  void TakeBack(GetOperation& get) {
    if (get.closed || get.peek_ || !get.item) return;
    if (HandOver(*get.item)) {
      --unfinished_;  // it has been counted before
    } else {
      store_.Push(*std::move(get.item));  // behind the others, be it one too many
    }
  }

  bool Accept(PutOperation& put) {
    if (closed_) {
      put.closed = true;
      return true;
    }
    if (HandOver(*put.item)) return true;
    if (store_.size() >= bound_ || !putters_.empty()) return false;
    store_.Push(std::move(*put.item));
    ++unfinished_;
    return true;
  }

  // To whoever waits for an item.
  bool HandOver(T& item) {
    while (green_internal::WaitNode* node = getters_.PopNode()) {
      auto* g = static_cast<GetOperation*>(node->waiter());
      if (Show(*g, item)) continue;
      g->item.emplace(std::move(item));
      ++unfinished_;
      node->Notify();
      return true;
    }
    return false;
  }

  // Whether that was all that it wanted.
  bool Show(GetOperation& get, const T& item) {
    if constexpr (std::is_copy_constructible_v<T>) {
      if (get.peek_) {
        get.See(item);
        get.Notify();
        return true;
      }
    }
    return false;
  }

  bool Take(GetOperation& get) {
    if (store_.size() > 0) {
      if constexpr (std::is_copy_constructible_v<T>) {
        if (get.peek_) {
          get.See(store_.Front());
          return true;
        }
      }
      get.item.emplace(store_.Pop());
      Refill();
      return true;
    }
    if (auto* p = static_cast<PutOperation*>(putters_.front())) {  // from hand to hand
      if constexpr (std::is_copy_constructible_v<T>) {
        if (get.peek_) {
          get.See(*p->item);
          return true;
        }
      }
      get.item.emplace(std::move(*p->item));
      ++unfinished_;
      putters_.PopNode()->Notify();
      return true;
    }
    get.closed = closed_;
    return closed_;
  }

  // There may be room again: the items of those who wait come in, in their order.
  void Refill() {
    while (store_.size() < bound_) {
      auto* p = static_cast<PutOperation*>(putters_.front());
      if (p == nullptr) return;
      store_.Push(std::move(*p->item));
      ++unfinished_;
      putters_.PopNode()->Notify();
    }
  }

  const char* const type_;
  size_t bound_;
  bool closed_ = false;
  int64_t unfinished_ = 0;
  Store store_;
  WaiterList getters_;
  WaiterList putters_;
  WaiterList joiners_;
  Home home_;  // last: what is on its way arrives first
};

// ExchangeIterator
//
// Gets items until there are none and none will come: for a range-based for.
template <typename X>
class ExchangeIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = typename X::T;
  using difference_type = std::ptrdiff_t;
  using pointer = value_type*;
  using reference = value_type&;

  ExchangeIterator() = default;
  explicit ExchangeIterator(X* exchange) : exchange_(exchange) { ++*this; }

  reference operator*() { return *item_; }
  pointer operator->() { return &*item_; }
  // Blocks.
  ExchangeIterator& operator++() {
    absl::StatusOr<value_type> next = exchange_->Get(Deadline());
    if (next.ok()) {
      item_.emplace(*std::move(next));
    } else {
      item_.reset();
    }
    return *this;
  }
  friend bool operator==(const ExchangeIterator& a, const ExchangeIterator& b) {
    return a.item_.has_value() == b.item_.has_value();
  }

 private:
  X* exchange_ = nullptr;
  std::optional<value_type> item_;
};

}  // namespace grove::sync_internal

#endif  // GROVE_SYNC_INTERNAL_EXCHANGE_H_
