#include "grove/green/internal/crossing.h"

#include "absl/strings/str_cat.h"
#include "grove/hub/internal/check.h"

namespace grove::green_internal {
namespace {

// What one waits for that is done on another hub.
class AnswerWaiter final : public Waiter {
 public:
  explicit AnswerWaiter(const std::string& hub) : hub_(hub) {}
  void Cancel() override {}
  std::string Describe() const override {
    return absl::StrCat("an answer from hub '", hub_, "'");
  }

 private:
  const std::string& hub_;
};

}  // namespace

// The handle, which is still in use when the hub has the letter, is a copy.
bool PostTo(Scheduler* s, Letter* letter) {
  const HubHandle hub = s->handle();
  return hub.PostLetter(letter);
}

bool AskHub(const HubHandle& hub, Errand errand) {
  Scheduler* here = Scheduler::GetIfExists();
  if (here == nullptr) {
    ThreadQuestion question(errand);
    if (!hub.PostLetter(question.letter())) return false;
    question.AwaitAnswer();
    return true;
  }
  GROVE_CHECK(!here->on_loop_stack(), "hub '", hub.name(),
              "' is asked for an answer in a loop callback of hub '", here->hub_name(),
              "', which would have to wait for it");
  Question question(errand, here);
  if (!hub.PostLetter(question.letter())) return false;
  question.AwaitAnswer(hub.name());
  return true;
}

// --- Question -------------------------------------------------------------------------

void Question::AwaitAnswer(const std::string& hub) {
  const KeepAlive alive(&asker_->hub());
  AnswerWaiter waiter(hub);
  ++core_->shields;
  while (!answered_) asker_->Park(&waiter);
  --core_->shields;
}

void Question::OnAsked(bool hub_alive) {
  errand_(hub_alive);
  PostTo(asker_, &back_);
}

void Question::OnAnswer(bool) {
  answered_ = true;
  asker_->Wake(core_);
}

void ThreadQuestion::AwaitAnswer() {
  std::unique_lock lock(mutex_);
  while (!answered_) changed_.wait(lock);
}

void ThreadQuestion::OnAsked(bool hub_alive) {
  errand_(hub_alive);
  std::lock_guard lock(mutex_);
  answered_ = true;
  changed_.notify_one();
}

// --- Visit ----------------------------------------------------------------------------

class Visit::VisitWaiter final : public Waiter {
 public:
  explicit VisitWaiter(Visit* v) : visit_(v) {}
  void Cancel() override {}
  void Abandon() override { visit_->Abandon(); }
  std::string Describe() const override {
    return absl::StrCat("what belongs to hub '", visit_->host_->hub_name(), "'");
  }
  bool IsHeldElsewhere() const override { return true; }

 private:
  Visit* const visit_;
};

Visit::End Visit::Await(Deadline deadline) {
  if (answered_) return end_;
  const KeepAlive alive(&caller_->hub());
  VisitWaiter waiter(this);
  awaited_ = true;
  if (caller_->ParkQuietly(&waiter, deadline) == Scheduler::ParkEnd::kWoken) return end_;
  return Cancel();
}

// What was granted in time counts.
Visit::End Visit::Cancel() {
  if (answered_) return end_;
  const KeepAlive alive(&caller_->hub());
  VisitWaiter waiter(this);
  awaited_ = true;
  // If the hub there has closed its mailbox, it has answered the request.
  cancelling_ = PostTo(host_, &cancel_);
  ++core_->shields;
  while (cancelling_ ? !cancel_answered_ : !answered_) caller_->Park(&waiter);
  --core_->shields;
  return end_;
}

// Nobody waits for the answer: that hub's thread may be waiting for this one to end. The
// stack, on which this lies, stays where it is.
void Visit::Abandon() {
  if (!answered_ && !cancelling_) cancelling_ = PostTo(host_, &cancel_);
}

void Visit::Fulfilled(ListedWaiter*) {
  host_->RemoveVisitor(this);
  Answer(End::kFulfilled);
}

void Visit::HubEnds() {
  op_->Cancel();
  Answer(End::kHubEnded);
}

std::string Visit::Who() const {
  return absl::StrCat("a greenlet of hub '", caller_->hub_name(), "'");
}

void Visit::OnRequest(bool hub_alive) {
  if (op_->Try()) {
    Answer(End::kFulfilled);
  } else if (!hub_alive) {
    Answer(End::kHubEnded);
  } else {
    in_line_ = true;
    op_->WaitsFor(this);
    op_->Enlist();
    host_->AddVisitor(this);
  }
}

void Visit::OnCancel(bool) {
  if (in_line_) {
    in_line_ = false;
    host_->RemoveVisitor(this);
    op_->Cancel();
    result_ = End::kCancelled;
  }
  PostTo(caller_, &cancel_answer_);
}

void Visit::Answer(End end) {
  in_line_ = false;
  result_ = end;
  // Whoever waited may be gone, with its hub.
  if (!PostTo(caller_, &answer_) && end == End::kFulfilled) op_->Return();
}

void Visit::OnReturn(bool) { op_->Return(); }

void Visit::OnAnswer(bool hub_alive) {
  if (!hub_alive) {
    if (result_ == End::kFulfilled) PostTo(host_, &return_);
    return;
  }
  answered_ = true;
  end_ = result_;
  if (awaited_) {
    caller_->Wake(core_);
  } else {
    Ended();
  }
}

void Visit::OnCancelAnswer(bool) {
  cancel_answered_ = true;
  end_ = result_;
  caller_->Wake(core_);
}

}  // namespace grove::green_internal
