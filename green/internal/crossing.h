#ifndef GROVE_GREEN_INTERNAL_CROSSING_H_
#define GROVE_GREEN_INTERNAL_CROSSING_H_

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>

#include "absl/functional/function_ref.h"
#include "grove/green/internal/operation.h"
#include "grove/green/internal/scheduler.h"
#include "grove/hub/deadline.h"

// What a greenlet or a thread does on another hub: by a letter there and one back, both
// of which lie on the stack of who waits, so that nothing is allocated.
namespace grove::green_internal {

// Posts to a hub that may end as soon as it has the letter, and `s` with it. False if it
// has closed its mailbox: the letter was not taken.
bool PostTo(Scheduler* s, Letter* letter);

// What is done on another hub; false if that has ended meanwhile, and this is the thread
// that ends it. It must not block.
using Errand = absl::FunctionRef<void(bool hub_alive)>;

// Has something done on a hub that is not this thread's, and waits for it; not
// interrupted. A thread without a hub needs none. False, without a call, if that hub has
// ended.
bool AskHub(const HubHandle& hub, Errand errand);

// A letter that calls a member function of `Owner`, with whether the hub lives.
template <typename Owner, void (Owner::*function)(bool)>
struct MemberLetter : Letter {
  explicit MemberLetter(Owner* o) : Letter(&Deliver), owner(o) {}
  static void Deliver(Letter* letter, bool hub_alive) {
    (static_cast<MemberLetter*>(letter)->owner->*function)(hub_alive);
  }
  Owner* const owner;
};

// Question
//
// Asked by a greenlet: something that does not block is done on another hub, and waited
// for. Not interrupted.
class Question {
 public:
  Question(Errand errand, Scheduler* asker)
      : errand_(errand), asker_(asker), core_(asker->current()) {}
  Letter* letter() { return &there_; }
  // Once the letter is posted to the hub of that name.
  void AwaitAnswer(const std::string& hub);

 private:
  void OnAsked(bool hub_alive);
  void OnAnswer(bool);

  const Errand errand_;
  Scheduler* const asker_;
  Core* const core_;
  bool answered_ = false;
  MemberLetter<Question, &Question::OnAsked> there_{this};
  MemberLetter<Question, &Question::OnAnswer> back_{this};
};

// ThreadQuestion
//
// The same from a thread that has no hub. No absl::Notification, in which ThreadSanitizer
// sees nothing where Abseil comes as a library.
class ThreadQuestion {
 public:
  explicit ThreadQuestion(Errand errand) : errand_(errand) {}
  Letter* letter() { return &there_; }
  void AwaitAnswer();

 private:
  void OnAsked(bool hub_alive);

  const Errand errand_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool answered_ = false;
  MemberLetter<ThreadQuestion, &ThreadQuestion::OnAsked> there_{this};
};

// Visit
//
// An operation that its caller waits for on another hub. It lies on the caller's stack,
// which stays as it is until the other hub has said its last word: `end_`, which answers
// the request or, if the caller has given up meanwhile, the cancellation.
class Visit : public Observer, public Scheduler::Visitor {
 public:
  // Fulfilled, cancelled because of the deadline or of an interrupt (which is still
  // pending), or the hub there has ended.
  enum class End : uint8_t { kFulfilled, kCancelled, kHubEnded };

  // `host` outlives the visit. The current greenlet of `caller`, this thread's, waits.
  Visit(Operation* op, Scheduler* caller, Scheduler* host)
      : op_(op), caller_(caller), host_(host), core_(caller->current()) {}

  Letter* request() { return &request_; }
  // Once the request is posted, one of them.
  //
  // Waits for its end.
  End Await(Deadline deadline);
  // Waits until nobody there knows of it; not interrupted.
  End Cancel();
  // Its greenlet's hub ends: takes it out of the line there.
  void Abandon();

  // On the other hub:
  void Fulfilled(ListedWaiter*) override;
  void HubEnds() override;
  void Forget() override { op_->Abandon(); }
  std::string Who() const override;
  Wait GetWait() const override {
    const Core* holder = op_->HeldBy();
    return holder ? Wait{core_, Who(), op_->Describe(), holder} : Wait();
  }

 private:
  class VisitWaiter;
  // On the caller's hub: the visit has ended, and nobody is in Await() or Cancel().
  virtual void Ended() {}

  // On the other hub:
  void OnRequest(bool hub_alive);
  void OnCancel(bool);
  void Answer(End end);
  void OnReturn(bool);
  // On the caller's hub:
  void OnAnswer(bool hub_alive);
  void OnCancelAnswer(bool);

  Operation* const op_;
  Scheduler* const caller_;
  Scheduler* const host_;
  Core* const core_;
  bool in_line_ = false;          // there
  End result_ = End::kFulfilled;  // there, before a letter back is posted
  End end_ = End::kFulfilled;     // here
  bool awaited_ = false;          // here: by core_
  bool answered_ = false;         // here
  bool cancelling_ = false;       // here: cancel_ was posted
  bool cancel_answered_ = false;  // here
  MemberLetter<Visit, &Visit::OnRequest> request_{this};
  MemberLetter<Visit, &Visit::OnCancel> cancel_{this};
  MemberLetter<Visit, &Visit::OnAnswer> answer_{this};
  MemberLetter<Visit, &Visit::OnCancelAnswer> cancel_answer_{this};
  MemberLetter<Visit, &Visit::OnReturn> return_{this};
};

}  // namespace grove::green_internal

#endif  // GROVE_GREEN_INTERNAL_CROSSING_H_
