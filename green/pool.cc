#include "grove/green/pool.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "grove/hub/internal/check.h"

namespace grove {

using green_internal::ListedWaiter;
using green_internal::Place;
using green_internal::Scheduler;

// A place that is waited for; or, if it takes none, that there is one.
class Pool::PlaceOperation final : public green_internal::Operation {
 public:
  PlaceOperation(Pool* pool, bool takes)
      : Operation(&pool->line_), pool_(pool), takes_(takes) {}

  bool Try() override {
    if (pool_->full()) return false;
    pool_->promised_ += takes_;
    return true;
  }
  void Enlist() override {
    Operation::Enlist();
    ++pool_->waiting_;
  }
  void Cancel() override {
    Operation::Cancel();
    --pool_->waiting_;
  }
  std::string Describe() const override {
    return absl::StrCat("a place in a Pool, of whose ", pool_->limit_, " ", pool_->used(),
                        " are taken");
  }
  bool takes() const { return takes_; }

 private:
  Pool* const pool_;
  const bool takes_;
};

Pool::Pool(int64_t size) : limit_(size) {
  GROVE_CHECK(size >= 0, "a Pool of size ", size);
}

Pool::~Pool() {
  GROVE_CHECK(line_.empty() || Scheduler::process_exits(), "a Pool is destroyed while ",
              line_.front()->Who(), " waits for ", line_.front()->Describe());
}

void Pool::Serve() {
  while (auto* first = static_cast<PlaceOperation*>(line_.front())) {
    if (used() >= limit_) return;
    line_.PopFront();
    --waiting_;
    promised_ += first->takes();
    first->Notify();
  }
}

void Pool::Resize(int64_t size) {
  CheckHub("Resize of a Pool");
  GROVE_CHECK(size >= 0, "a Pool is resized to ", size);
  limit_ = size;
  Serve();
}

Place Pool::TakePlace(Deadline deadline, bool may_lend) {
  Scheduler& s = CheckHub("Spawn in a Pool");
  PlaceOperation op(this, /*takes=*/true);
  if (op.Try()) return Place(this, /*lent=*/false);
  if (may_lend && HasCurrent("Spawn in a Pool")) {
    ++lent_;
    return Place(this, /*lent=*/true);
  }
  if (deadline == Deadline::Passed()) return Place();
  op.WaitsFor(s.current());
  op.Enlist();
  return s.ParkUntil(&op, deadline) ? Place(this, /*lent=*/false) : Place();
}

bool Pool::WaitAvailable(Deadline deadline) {
  Scheduler& s = CheckHub("WaitAvailable of a Pool");
  PlaceOperation op(this, /*takes=*/false);
  if (op.Try()) return true;
  if (deadline == Deadline::Passed()) return false;
  op.WaitsFor(s.current());
  op.Enlist();
  return s.ParkUntil(&op, deadline);
}

// A lender's place is counted as its user's, so that neither changes the number: the
// lender is a member that does not run.
void Pool::PlaceUsed(bool lent) {
  if (!lent) --promised_;
}

void Pool::PlaceLeft(bool lent) {
  if (lent) --lent_;
  Serve();
}

void Pool::PlaceUnused(bool lent) {
  --(lent ? lent_ : promised_);
  Serve();
}

void Pool::ForgetPlaces() {
  promised_ = 0;
  lent_ = 0;
}

absl::Status Pool::Full() const {
  return absl::DeadlineExceededError(
      absl::StrCat("the pool is full: ", used(), " of ", limit_, " places are taken"));
}

}  // namespace grove
