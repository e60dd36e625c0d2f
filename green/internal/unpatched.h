#ifndef GROVE_GREEN_INTERNAL_UNPATCHED_H_
#define GROVE_GREEN_INTERNAL_UNPATCHED_H_

#include "grove/green/internal/scheduler.h"

namespace grove::green_internal {

// Unpatched
//
// While one exists, what this greenlet calls of libc is libc's, whatever has been
// patched: for grove's own threads, which must not become greenlets.
class Unpatched {
 public:
  Unpatched() {
    if (Scheduler* s = Scheduler::GetIfExists()) ++(core_ = s->current())->unpatched;
  }
  Unpatched(const Unpatched&) = delete;
  Unpatched& operator=(const Unpatched&) = delete;
  ~Unpatched() {
    if (core_ != nullptr) --core_->unpatched;
  }

 private:
  Core* core_ = nullptr;
};

}  // namespace grove::green_internal

#endif  // GROVE_GREEN_INTERNAL_UNPATCHED_H_
