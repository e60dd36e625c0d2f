#include "grove/sync/barrier.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "grove/hub/internal/check.h"

namespace grove {

using sync_internal::NameOf;
using sync_internal::Operation;

class Barrier::WaitOperation final : public Operation {
 public:
  explicit WaitOperation(Barrier* b) : Operation(&b->line_), barrier_(b) {}
  bool Try() override {
    if (barrier_->aborted_) {
      aborted = true;
      return true;
    }
    place = barrier_->waiting_;
    if (place + 1 < barrier_->parties_) return false;
    barrier_->Trip();
    return true;
  }
  void Enlist() override {
    Operation::Enlist();
    barrier_->waiting_ += 1;
  }
  void Cancel() override {
    Operation::Cancel();
    if (barrier_->tripping_) return;  // its place stays what it was
    // Those who came later have moved up.
    size_t n = 0;
    for (auto* w = barrier_->line_.front(); w; w = w->next()) {
      static_cast<WaitOperation*>(w)->place = n++;
    }
    barrier_->waiting_ = n;
  }
  std::string Describe() const override {
    return absl::StrCat(NameOf("Barrier", barrier_), ", where ", barrier_->waiting_ + 0,
                        " of ", barrier_->parties_ + 0, " wait");
  }

  size_t place = 0;
  bool aborted = false;

 private:
  Barrier* const barrier_;
};

Barrier::Barrier(size_t parties, std::function<void()> on_trip)
    : on_trip_(std::move(on_trip)), parties_(parties) {
  GROVE_CHECK(parties > 0 && static_cast<int64_t>(parties) > 0, "a barrier for ",
              static_cast<int64_t>(parties));
}

void Barrier::Trip() {
  waiting_ = 0;
  if (on_trip_) {
    tripping_ = true;  // it may kill somebody who waits
    on_trip_();
    tripping_ = false;
  }
  line_.NotifyAll();
}

void Barrier::Break() {
  waiting_ = 0;
  while (auto* w = static_cast<WaitOperation*>(line_.PopFront())) {
    w->aborted = true;
    const bool last = line_.empty();
    w->Notify();
    if (last) return;  // see WaiterList::NotifyAll()
  }
}

absl::StatusOr<size_t> Barrier::Wait(Deadline deadline) {
  WaitOperation op(this);
  if (!home_.Perform(&op, deadline)) {
    return absl::DeadlineExceededError(NameOf("Barrier", this) +
                                       ": not all have come in time");
  }
  if (op.aborted) return absl::AbortedError(NameOf("Barrier", this) + " was aborted");
  return op.place;
}

void Barrier::ArriveAndDrop() {
  home_.Do([this] {
    GROVE_CHECK(parties_ > 1, "the last one leaves ", NameOf("Barrier", this));
    parties_ -= 1;
    if (waiting_ == parties_) Trip();
  });
}

void Barrier::Abort() {
  home_.Do([this] {
    aborted_ = true;
    Break();
  });
}

void Barrier::Reset() {
  home_.Do([this] {
    aborted_ = false;
    Break();
  });
}

}  // namespace grove
