#ifndef GROVE_GREEN_INTERNAL_OWN_HUB_H_
#define GROVE_GREEN_INTERNAL_OWN_HUB_H_

#include "absl/base/optimization.h"
#include "grove/green/internal/scheduler.h"
#include "grove/hub/internal/check.h"

namespace grove::green_internal {

// OwnHub
//
// The hub of an object that belongs to one: that of its first use. When it has ended, the
// object belongs to whoever uses it next.
//
// Threads: its hub's; that is what it checks.
class OwnHub {
 public:
  OwnHub() = default;
  OwnHub(const OwnHub&) = delete;
  OwnHub& operator=(const OwnHub&) = delete;
  ~OwnHub() {
    if (scheduler_ != nullptr) scheduler_->Release();
  }

  // This thread's scheduler. A fatal error on another hub: "Spawn of a Group that belongs
  // to hub 'a', from hub 'b'".
  Scheduler& Check(const char* what) {
    Scheduler* here = Scheduler::GetIfExists();
    if (ABSL_PREDICT_FALSE(here == nullptr || here != scheduler_)) Bind(what);
    return *scheduler_;
  }

  bool here() const {
    return scheduler_ != nullptr && scheduler_ == Scheduler::GetIfExists();
  }

  // Whether the hub has ended, or there never was one.
  bool gone() const { return scheduler_ == nullptr || scheduler_->ended(); }

 private:
  void Bind(const char* what) {
    if (scheduler_ != nullptr) {
      const Scheduler* here = Scheduler::GetIfExists();
      GROVE_CHECK(
          scheduler_->ended(), what, " that belongs to hub '", scheduler_->hub_name(),
          "', from ",
          here ? absl::StrCat("hub '", here->hub_name(), "'") : "a thread without a hub");
      scheduler_->Release();
    }
    scheduler_ = &Scheduler::Get();
    scheduler_->Retain();
  }

  Scheduler* scheduler_ = nullptr;
};

}  // namespace grove::green_internal

#endif  // GROVE_GREEN_INTERNAL_OWN_HUB_H_
