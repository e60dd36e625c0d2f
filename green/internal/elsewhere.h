#ifndef GROVE_GREEN_INTERNAL_ELSEWHERE_H_
#define GROVE_GREEN_INTERNAL_ELSEWHERE_H_

#include <cstdint>
#include <exception>
#include <optional>
#include <string>

#include "absl/functional/any_invocable.h"
#include "grove/green/greenlet.h"
#include "grove/green/internal/core.h"
#include "grove/green/internal/crossing.h"
#include "grove/green/internal/operation.h"
#include "grove/hub/deadline.h"

// What is done to greenlets of other hubs, to which the caller has handles: those keep
// the greenlet's scheduler alive as well.
namespace grove::green_internal {

// Waits for the end of the greenlet, or of its hub. A thread without a hub gets one.
// Contract as Join().
bool JoinElsewhere(Core* core, Deadline deadline);

// These are on their way when the call returns. What happens to a greenlet whose hub has
// ended is nothing.
void KillElsewhere(Core* core, std::exception_ptr error);
void ThrowElsewhere(Core* core, std::exception_ptr error);

// `fn` is called on this thread's hub, on its stack if `raw`, else in a greenlet.
uint64_t AddLinkElsewhere(Core* core, LinkOn on, bool raw,
                          absl::AnyInvocable<void(Core*)> fn);
// Whether the link will not be called.
bool RemoveLinkElsewhere(Core* core, uint64_t id);

// ForeignJoin
//
// The wait for the end of a greenlet of another hub, together with other things: the end
// is watched for over there from Enlist() on.
//
// Threads: its hub's. Made and destroyed by the same greenlet; the destructor may wait
// for that other hub's next turn.
class ForeignJoin final : public Operation {
 public:
  explicit ForeignJoin(Core* target)
      : Operation(&line_), target_(target), there_(target), visit_(this) {}
  ForeignJoin(const ForeignJoin&) = delete;
  ForeignJoin& operator=(const ForeignJoin&) = delete;
  ~ForeignJoin() {
    if (watching_) visit_.Cancel();
  }

  bool Try() override { return over_ || target_->finished; }
  void Enlist() override;
  void Abandon() override {
    if (watching_) visit_.Abandon();
  }
  std::string Describe() const override { return there_.Describe(); }

 private:
  class Watch final : public Visit {
   public:
    explicit Watch(ForeignJoin* join)
        : Visit(&join->there_, &Scheduler::Get(), join->target_->scheduler),
          join_(join) {}

   private:
    void Ended() override { join_->IsOver(); }
    ForeignJoin* const join_;
  };

  void IsOver();

  WaiterList line_;  // of one
  Core* const target_;
  JoinOperation there_;
  Watch visit_;
  bool watching_ = false;
  std::optional<KeepAlive> alive_;  // while watching_: the end comes by mail
  bool over_ = false;
};

}  // namespace grove::green_internal

#endif  // GROVE_GREEN_INTERNAL_ELSEWHERE_H_
