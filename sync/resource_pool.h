#ifndef GROVE_SYNC_RESOURCE_POOL_H_
#define GROVE_SYNC_RESOURCE_POOL_H_

#include <cstddef>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "grove/green/greenlet.h"
#include "grove/hub/deadline.h"
#include "grove/hub/internal/check.h"
#include "grove/sync/internal/sync_object.h"

namespace grove {

// ResourcePool
//
// Lends things that are dear to make, and makes them when they are asked for: what
// eventlet's pools.Pool is.
//
//   ResourcePool<std::unique_ptr<Connection>> pool({
//       .create = [] { return Connect("db"); },    // absl::StatusOr<T>; may block
//       .max_size = 4,
//   });
//   auto lease = pool.Get(absl::Seconds(1));
//   if (!lease.ok()) return lease.status();
//   absl::Status s = (**lease)->Query(...);
//   if (!s.ok()) lease->Discard();     // it is not lent again
//
// Those who wait are served in the order in which they came.
//
// Threads: any; see docs/sync.md. `create` runs in the greenlet that asks.
template <typename T>
class ResourcePool {
 public:
  struct Options {
    std::function<absl::StatusOr<T>()> create;
    // How many there may be. Zero is a fatal error.
    size_t max_size = 4;
    // Whether the one that was given back last is lent next, so that those which are
    // needed only at times grow old; else the one that has rested longest.
    bool last_in_first_out = false;
  };
  class Lease;

  explicit ResourcePool(Options options) : options_(std::move(options)) {
    GROVE_CHECK(options_.create != nullptr, "a ResourcePool without create");
    GROVE_CHECK(options_.max_size > 0, "a ResourcePool of at most 0");
    max_size_ = options_.max_size;
  }
  ResourcePool(const ResourcePool&) = delete;
  ResourcePool& operator=(const ResourcePool&) = delete;
  // While something is lent, or somebody waits: a fatal error.
  ~ResourcePool() {
    // What was given back elsewhere may be on its way.
    if (!home_.Here() || count_ != idle_.size()) home_.Settle();
    sync_internal::CheckDestroy(home_, line_, "ResourcePool", this);
    GROVE_CHECK(count_ == idle_.size() || sync_internal::Scheduler::process_exits(),
                sync_internal::NameOf("ResourcePool", this), " is destroyed while ",
                count_ - idle_.size(), " of it are lent");
  }

  // ResourcePool::Get()
  //
  // One that rests, or a new one if there may be more. What `create` fails with is
  // returned, or thrown.
  //
  // Blocks: until there is one; and as `create` does.
  // Deadline: for the wait; returns kDeadlineExceeded.
  // Kill: throws; nothing was lent.
  absl::StatusOr<Lease> Get(Deadline deadline = {});

  // ResourcePool::Resize()
  //
  // With fewer than there are, those that are given back are dropped until it fits. Does
  // not block, but as T's destructor does.
  void Resize(size_t max_size) {
    GROVE_CHECK(max_size > 0, "a ResourcePool of at most 0");
    home_.Do([this, max_size] {
      max_size_ = max_size;
      std::deque<T> dropped;
      while (count_ > max_size_ && !idle_.empty()) {
        dropped.push_back(std::move(idle_.front()));
        idle_.pop_front();
        --count_;
      }
      ServeWithNew();
      for (T& resource : dropped) Drop(std::move(resource));
    });
  }

  // As seen from here: how many exist, rest, could be lent at once; who waits.
  struct Usage {
    size_t count = 0;
    size_t idle = 0;
    size_t free = 0;
    size_t waiting = 0;
  };
  Usage usage() {
    Usage u;
    home_.Ask([&] {
      u = {.count = count_, .idle = idle_.size(), .free = idle_.size(), .waiting = 0};
      if (max_size_ > count_) u.free += max_size_ - count_;
      for (auto* w = line_.front(); w; w = w->next()) ++u.waiting;
    });
    return u;
  }

 private:
  class GetOperation final : public sync_internal::Operation {
   public:
    explicit GetOperation(ResourcePool* p) : Operation(&p->line_), pool_(p) {}
    bool Try() override {
      if (!pool_->line_.empty()) return false;
      if (!pool_->idle_.empty()) {
        resource = pool_->TakeIdle();
        return true;
      }
      if (pool_->count_ >= pool_->max_size_) return false;
      ++pool_->count_;  // the caller makes it
      return true;
    }
    std::string Describe() const override {
      return "one of " + sync_internal::NameOf("ResourcePool", pool_);
    }

    std::optional<T> resource;

   private:
    ResourcePool* const pool_;
  };

  // --- at home ---
  T TakeIdle() {
    const bool last = options_.last_in_first_out;
    T resource = std::move(last ? idle_.back() : idle_.front());
    last ? idle_.pop_back() : idle_.pop_front();
    return resource;
  }
  void GiveBack(T resource) {
    if (count_ > max_size_) {
      --count_;
      Drop(std::move(resource));
    } else if (auto* w = static_cast<GetOperation*>(line_.PopFront())) {
      w->resource.emplace(std::move(resource));
      w->Notify();
    } else {
      idle_.push_back(std::move(resource));
    }
  }
  // Its end may block, which in a callback it must not.
  static void Drop(T resource) {
    auto* const s = sync_internal::Scheduler::GetIfExists();
    if (s == nullptr || !s->on_loop_stack() || s->hub().mailbox_closed()) return;
    Spawn([dropped = std::move(resource)] {});
  }
  // One has gone, or will not be made.
  void Forget() {
    --count_;
    ServeWithNew();
  }
  void ServeWithNew() {
    while (count_ < max_size_) {
      auto* w = static_cast<GetOperation*>(line_.PopFront());
      if (w == nullptr) return;
      ++count_;
      w->Notify();
    }
  }

  const Options options_;
  size_t max_size_;
  size_t count_ = 0;  // that exist, or are being made
  std::deque<T> idle_;
  sync_internal::WaiterList line_;
  sync_internal::Home home_;  // last: what is on its way arrives first
};

// Lease
//
// One that is lent; given back at its end. Moves, and does not copy.
template <typename T>
class ResourcePool<T>::Lease {
 public:
  Lease(Lease&& other) noexcept
      : pool_(std::exchange(other.pool_, nullptr)),
        resource_(std::move(other.resource_)) {}
  Lease& operator=(Lease&& other) noexcept {
    GiveBack();
    pool_ = std::exchange(other.pool_, nullptr);
    resource_ = std::move(other.resource_);
    return *this;
  }
  ~Lease() { GiveBack(); }

  T& operator*() { return *resource_; }
  T* operator->() { return &*resource_; }

  // It is dropped, and not lent again. Does not block, but as T's destructor does.
  void Discard() {
    ResourcePool* pool = std::exchange(pool_, nullptr);
    if (pool == nullptr) return;
    resource_.reset();
    pool->home_.Do([pool] { pool->Forget(); });
  }
  // Before its end. Does not block; one too many is dropped, as T's destructor does.
  void GiveBack() {
    ResourcePool* pool = std::exchange(pool_, nullptr);
    if (pool == nullptr) return;
    pool->home_.Do([pool, resource = std::move(*resource_)]() mutable {
      pool->GiveBack(std::move(resource));
    });
    resource_.reset();
  }

 private:
  friend class ResourcePool;
  Lease(ResourcePool* pool, T resource) : pool_(pool), resource_(std::move(resource)) {}
  ResourcePool* pool_;
  std::optional<T> resource_;
};

template <typename T>
absl::StatusOr<typename ResourcePool<T>::Lease> ResourcePool<T>::Get(Deadline deadline) {
  GetOperation op(this);
  if (!home_.Perform(&op, deadline)) {
    return absl::DeadlineExceededError(sync_internal::NameOf("ResourcePool", this) +
                                       ": none was free in time");
  }
  if (op.resource) return Lease(this, *std::move(op.resource));
  // Not to be counted, if it is not made after all.
  struct Reserved {
    ~Reserved() {
      if (pool) pool->home_.Do([p = pool] { p->Forget(); });
    }
    ResourcePool* pool;
  } reserved{this};
  absl::StatusOr<T> made = options_.create();
  if (!made.ok()) return made.status();
  reserved.pool = nullptr;
  return Lease(this, *std::move(made));
}

}  // namespace grove

#endif  // GROVE_SYNC_RESOURCE_POOL_H_
