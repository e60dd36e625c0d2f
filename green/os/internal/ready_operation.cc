#include "grove/green/os/internal/ready_operation.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "grove/hub/internal/check.h"
#include "grove/hub/internal/per_thread.h"

namespace grove::green_internal {
namespace {

// Those in line on this thread's hub. If the hub ends without unwinding its greenlets,
// their watchers have to be stopped before its loop goes.
constinit thread_local hub_internal::PerThread<ReadyOperation*> in_line;
constinit thread_local hub_internal::PerThread<Scheduler*> watched;

}  // namespace

void ReadyOperation::Enlist() {
  Scheduler& s = Scheduler::Get();
  if (watched != &s) {
    watched = &s;
    s.AtEnd([] {
      watched = nullptr;
      while (in_line != nullptr) in_line->Stop();
    });
  }
  watcher_.Set(
      &s.hub().loop(), fd_, events_,
      [](void* self, int) {
        auto* op = static_cast<ReadyOperation*>(self);
        op->Stop();
        op->Notify();
      },
      this);
  GROVE_CHECK(watcher_.Start(), "fd ", fd_, " is waited for, and is not open");
  hub_ = &s.hub();
  hub_->AddWaker();
  previous_ = nullptr;
  next_ = in_line;
  if (next_) next_->previous_ = this;
  in_line = this;
}

void ReadyOperation::Stop() {
  if (hub_ == nullptr) return;
  std::exchange(hub_, nullptr)->RemoveWaker();
  watcher_.Stop();
  (previous_ ? previous_->next_ : in_line.get()) = next_;
  if (next_) next_->previous_ = previous_;
}

void ReadyOperation::StopAllInChild() {
  while (in_line != nullptr) in_line->Stop();
}

std::string ReadyOperation::Describe() const {
  return absl::StrCat("fd ", fd_, events_ == kReadable ? " readable" : " writable");
}

}  // namespace grove::green_internal
