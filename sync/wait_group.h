#ifndef GROVE_SYNC_WAIT_GROUP_H_
#define GROVE_SYNC_WAIT_GROUP_H_

#include <cstdint>
#include <string>

#include "grove/hub/deadline.h"
#include "grove/hub/internal/check.h"
#include "grove/sync/internal/shown.h"
#include "grove/sync/internal/sync_object.h"

namespace grove {

// WaitGroup
//
// A count of what is still to be done; Wait() waits for none. May be used again and
// again.
//
//   WaitGroup pending;
//   for (const Url& url : urls) {
//     pending.Add();
//     Spawn([&] { Fetch(url); pending.Done(); });
//   }
//   pending.Wait();
//
// Threads: any; see docs/sync.md. From elsewhere Add() and Done() do not wait.
class WaitGroup {
 public:
  // Less than none is a fatal error, here and in Add().
  explicit WaitGroup(int64_t count = 0) : count_(0) { Add(count); }
  WaitGroup(const WaitGroup&) = delete;
  WaitGroup& operator=(const WaitGroup&) = delete;
  // While somebody waits for it: a fatal error that names them.
  ~WaitGroup() { sync_internal::CheckDestroy(home_, line_, "WaitGroup", this); }

  // Do not block.
  void Add(int64_t n = 1) {
    home_.Do([this, n] {
      GROVE_CHECK(count_ + n >= 0, sync_internal::NameOf("WaitGroup", this), " of ",
                  count_ + 0, " is told that ", -n, " are done");
      count_ += n;
      if (count_ == 0) line_.NotifyAll();
    });
  }
  void Done(int64_t n = 1) { Add(-n); }

  int64_t count() const { return count_; }

  // WaitGroup::Wait()
  //
  // Waits until the count is, or was since, zero. True then.
  //
  // Blocks: until then. Deadline: returns false. Kill: throws.
  bool Wait(Deadline deadline = {}) {
    if (home_.Here() && count_ == 0) return true;
    WaitOperation op(this);
    return home_.Perform(&op, deadline);
  }

  class WaitOperation final : public sync_internal::Operation {
   public:
    explicit WaitOperation(WaitGroup* g) : Operation(&g->line_), group_(g) {}
    bool Try() override { return group_->count_ == 0; }
    std::string Describe() const override {
      return sync_internal::NameOf("WaitGroup", group_) + ", of which " +
             std::to_string(group_->count_) + " are left";
    }

   private:
    WaitGroup* const group_;
  };

  // For Wait() on its home hub.
  Waitable AsWaitable() { return sync_internal::MakeWaitable<WaitOperation>(this); }

  // For the layers above.
  sync_internal::Home& home() { return home_; }

 private:
  sync_internal::Shown<int64_t> count_;
  sync_internal::WaiterList line_;
  sync_internal::Home home_;  // last: what is on its way arrives first
};

// Latch
//
// A count that goes down to zero, once. Named as std::latch is.
//
// Threads: any, as WaitGroup.
class Latch {
 public:
  using WaitOperation = WaitGroup::WaitOperation;

  // Negative is a fatal error, as is counting down further than to zero.
  explicit Latch(int64_t count) : group_(count) {}

  // Does not block.
  void count_down(int64_t n = 1) { group_.Done(n); }
  bool try_wait() const { return group_.count() == 0; }

  // Blocks: until the count is zero. Deadline: returns false. Kill: throws.
  bool wait(Deadline deadline = {}) { return group_.Wait(deadline); }
  // Both. The count stays down if the wait fails.
  bool arrive_and_wait(Deadline deadline = {}) {
    count_down();
    return wait(deadline);
  }

  // For the layers above.
  sync_internal::Home& home() { return group_.home(); }
  Waitable AsWaitable() { return group_.AsWaitable(); }

 private:
  WaitGroup group_;
};

}  // namespace grove

#endif  // GROVE_SYNC_WAIT_GROUP_H_
