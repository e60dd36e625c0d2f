#include "grove/green/internal/multi_wait.h"

#include "absl/strings/str_cat.h"
#include "grove/hub/internal/check.h"

namespace grove::green_internal {
Operation* MultiWait::Next(Deadline deadline) {
  if (!waiter_.Await([this] { return !done_.empty(); }, deadline)) return nullptr;
  return static_cast<Operation*>(done_.PopFront());
}

void MultiWait::Fulfilled(ListedWaiter* w) {
  Operation* operation = static_cast<Operation*>(w);
  operation->WaitsFor(static_cast<Observer*>(nullptr));
  done_.PushBack(operation);
  waiter_.Wake();
}

void MultiWait::AbandonAll() const {
  for (Operation* o = last_; o != nullptr; o = o->before) {
    if (o->observer() != nullptr) o->Abandon();
  }
}

std::string MultiWait::NextWaiter::Describe() const {
  // What has been fulfilled may exist no more.
  const Operation* last = wait_->last_;
  const size_t more = last == nullptr ? 0 : last->tag;
  if (last == nullptr || last->observer() == nullptr) {
    return absl::StrCat("one of several (", more + 1, ")");
  }
  return more == 0 ? last->Describe()
                   : absl::StrCat("one of ", more + 1, ", the last of which is ",
                                  last->Describe());
}

void JoinSet::Add(Core* core) {
  CheckJoinable(core);
  const size_t tag = joins_.size() + foreign_.size();
  GROVE_CHECK(tag < joins_.capacity(), "a JoinSet is full");
  if (core->scheduler->on_home_thread()) {
    joins_.emplace_back(core);
    wait_.Add(&joins_.back(), tag);
  } else {
    foreign_.push_back(std::make_unique<ForeignJoin>(core));
    wait_.Add(foreign_.back().get(), tag);
  }
}

}  // namespace grove::green_internal
