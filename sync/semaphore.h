#ifndef GROVE_SYNC_SEMAPHORE_H_
#define GROVE_SYNC_SEMAPHORE_H_

#include <cstdint>
#include <limits>
#include <string>

#include "grove/hub/deadline.h"
#include "grove/sync/internal/shown.h"
#include "grove/sync/internal/sync_object.h"

namespace grove {

// Semaphore
//
// A number of permits. Named as std::counting_semaphore is.
//
//   Semaphore slots(10);              // at most ten at a time
//   ...
//   Permit permit(slots);             // given back at the end of the scope
//   Fetch(url);
//
// Permits are handed over, first come first served: what is released while others wait is
// theirs, and nobody who comes later gets in between. One who asks for many is not passed
// by those who ask for few.
//
// Threads: any. The state lives on the hub where the semaphore was made, or first used
// (see docs/sync.md): elsewhere, release() does not wait, and the others travel there.
class Semaphore {
 public:
  // Negative is a fatal error.
  explicit Semaphore(int64_t permits = 1)
      : Semaphore(permits, std::numeric_limits<int64_t>::max()) {}
  Semaphore(const Semaphore&) = delete;
  Semaphore& operator=(const Semaphore&) = delete;
  // While others wait for it: a fatal error that names them.
  ~Semaphore() { sync_internal::CheckDestroy(home_, line_, "Semaphore", this); }

  // Semaphore::acquire()
  //
  // Takes a permit, or `n` of them at once.
  //
  // Blocks: until they are there, and those that came before have theirs.
  // Deadline: returns false, and nothing was taken.
  // Kill: throws, and nothing was taken.
  [[gnu::always_inline]] void acquire() {
    sync_internal::Scheduler* s = sync_internal::Scheduler::GetIfExists();
    if (ABSL_PREDICT_FALSE(!home_.Is(s))) {
      AcquireSlow(1, 1, Deadline());
    } else if (permits_ > 0 && line_.empty()) {
      permits_ -= 1;
    } else {
      AcquireOperation op(this, 1, 1);
      sync_internal::Home::WaitInLine(s, &op);
    }
  }
  [[nodiscard]] bool acquire(Deadline deadline) { return AcquireSlow(1, 1, deadline); }
  [[nodiscard]] bool acquire(int64_t n, Deadline deadline) {
    return AcquireSlow(n, n, deadline);
  }

  // Semaphore::try_acquire()
  //
  // Does not wait, but from elsewhere for its home's answer.
  bool try_acquire(int64_t n = 1) { return AcquireSlow(n, n, Deadline::Passed()); }

  // Semaphore::release()
  //
  // Gives `n` permits, taken before or not. Does not block.
  void release(int64_t n = 1) {
    if (ABSL_PREDICT_FALSE(n != 1 || permits_ >= limit_ || !home_.Here())) {
      ReleaseSlow(n);
    } else {
      permits_ += 1;
      if (!line_.empty()) Serve();
    }
  }

  // Semaphore::Wait()
  //
  // Waits until one could be acquired, and takes none: by the time this returns somebody
  // else may have. Contract as acquire().
  bool Wait(Deadline deadline = {}) { return AcquireSlow(1, 0, deadline); }

  // How many permits are left, and whether there is none.
  int64_t available() const { return permits_; }
  bool locked() const { return permits_ <= 0; }

  // One acquisition, as an operation: for Select() and its like.
  class AcquireOperation final : public sync_internal::Operation {
   public:
    AcquireOperation(Semaphore* s, int64_t needs, int64_t takes)
        : Operation(&s->line_), semaphore_(s), needs_(needs), takes_(takes) {}
    bool Try() override {
      if (!semaphore_->line_.empty() || semaphore_->permits_ < needs_) return false;
      semaphore_->permits_ -= takes_;
      return true;
    }
    void Cancel() override {
      Operation::Cancel();
      semaphore_->Serve();  // those behind may ask for less
    }
    void Abandon() override { Operation::Cancel(); }
    void Return() override { semaphore_->release(takes_); }
    std::string Describe() const override;

   private:
    friend class Semaphore;
    Semaphore* const semaphore_;
    const int64_t needs_;
    const int64_t takes_;
  };

  // For Wait() on its home hub: until a permit could be acquired; none is taken.
  Waitable AsWaitable() {
    sync_internal::CheckAtHome(home_);
    return Waitable::Of<AcquireOperation>(this, int64_t{1}, int64_t{0});
  }

  // For the layers above. So many can never be acquired: a fatal error.
  sync_internal::Home& home() { return home_; }
  void CheckAcquirable(int64_t n) const;

 protected:
  Semaphore(int64_t permits, int64_t limit);

 private:
  bool AcquireSlow(int64_t needs, int64_t takes, Deadline deadline);
  void ReleaseSlow(int64_t n);
  // Lets through who may go.
  void Serve() {
    while (auto* first = static_cast<AcquireOperation*>(line_.front())) {
      if (first->needs_ > permits_) return;
      permits_ -= first->takes_;
      green_internal::WaitNode* node = line_.PopNode();
      const bool last = line_.empty();
      node->Notify();
      if (last) return;  // see WaiterList::NotifyAll()
    }
  }

  const int64_t limit_;
  sync_internal::Shown<int64_t> permits_;
  sync_internal::WaiterList line_;
  sync_internal::Home home_;  // last: what is on its way arrives first
};

// BoundedSemaphore
//
// A Semaphore that never has more permits than it began with: releasing what was not
// acquired is a fatal error.
class BoundedSemaphore : public Semaphore {
 public:
  explicit BoundedSemaphore(int64_t permits = 1) : Semaphore(permits, permits) {}
};

// DummySemaphore
//
// One that has permits without end, for code that takes a semaphore and is to have no
// limit. Nothing blocks.
class DummySemaphore {
 public:
  void acquire() {}
  [[nodiscard]] bool acquire(Deadline) { return true; }
  [[nodiscard]] bool acquire(int64_t, Deadline) { return true; }
  bool try_acquire(int64_t = 1) { return true; }
  void release(int64_t = 1) {}
  bool Wait(Deadline = {}) { return true; }
  bool locked() const { return false; }
};

// Permit
//
// Holds one permit of a semaphore until the end of a scope.
template <typename S = Semaphore>
class [[nodiscard]] Permit {
 public:
  // Blocks, as acquire() does.
  explicit Permit(S& semaphore) : semaphore_(semaphore) { semaphore_.acquire(); }
  Permit(const Permit&) = delete;
  Permit& operator=(const Permit&) = delete;
  ~Permit() { semaphore_.release(); }

 private:
  S& semaphore_;
};

// CappedSemaphore
//
// A number of permits between none and a limit: acquire() waits at none, and release()
// waits at the limit. For two sides that keep each other in step.
//
// Threads: any, as Semaphore.
class CappedSemaphore {
 public:
  // Fatal unless 0 <= permits <= limit and limit > 0.
  CappedSemaphore(int64_t permits, int64_t limit);
  CappedSemaphore(const CappedSemaphore&) = delete;
  CappedSemaphore& operator=(const CappedSemaphore&) = delete;
  ~CappedSemaphore();

  // Blocks: until there is a permit; until there is room for one.
  // Deadline: return false, and nothing has changed.
  // Kill: throw, and nothing has changed.
  void acquire() { (void)acquire(Deadline()); }
  [[nodiscard]] bool acquire(Deadline deadline);
  void release() { (void)release(Deadline()); }
  [[nodiscard]] bool release(Deadline deadline);
  bool try_acquire() { return acquire(Deadline::Passed()); }
  bool try_release() { return release(Deadline::Passed()); }

  // Permits, less those who wait for one, plus those who wait to give one.
  int64_t balance() const { return permits_ - waiting_to_acquire_ + waiting_to_release_; }
  int64_t available() const { return permits_; }

 private:
  class Step;

  const int64_t limit_;
  sync_internal::Shown<int64_t> permits_;
  sync_internal::Shown<int64_t> waiting_to_acquire_{0};
  sync_internal::Shown<int64_t> waiting_to_release_{0};
  sync_internal::WaiterList acquirers_;
  sync_internal::WaiterList releasers_;
  sync_internal::Home home_;  // last: what is on its way arrives first
};

}  // namespace grove

#endif  // GROVE_SYNC_SEMAPHORE_H_
