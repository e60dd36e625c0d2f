#include "grove/green/internal/members.h"

#include "absl/strings/str_cat.h"
#include "grove/green/timeout.h"
#include "grove/hub/internal/check.h"

namespace grove::green_internal {
namespace {

class EmptyWaiter final : public ListedWaiter {
 public:
  EmptyWaiter(Core* core, WaiterList* list, size_t size)
      : ListedWaiter(core, list), size_(size) {}
  std::string Describe() const override {
    return absl::StrCat("the end of a group that had ", size_, " greenlets");
  }

 private:
  const size_t size_;
};

}  // namespace

Members::~Members() {
  GROVE_CHECK(joiners_.empty() || Scheduler::process_exits(),
              "a group is destroyed while ", joiners_.front()->Who(),
              " waits until it is empty");
  GROVE_CHECK(arriving_ == 0 || hub_.gone() || Scheduler::process_exits(),
              "a group is destroyed while ", arriving_,
              " of those that were applied wait for a place in it");
  // Once the hub has ended, nobody else looks at what is left of its greenlets.
  if (first_ != nullptr && !hub_.gone()) CheckHub("the end of a Group");
  DropNodes();
}

void Members::DropNodes() {
  while (Member* member = first_) {
    first_ = member->next;
    delete member;
  }
  last_ = nullptr;
  while (Member* member = spare_) {
    spare_ = member->next;
    delete member;
  }
}

// What the greenlets of the hub that has ended would have done, had they gone on.
void Members::Forget() {
  DropNodes();
  size_ = 0;
  arriving_ = 0;
  kills_ = 0;
  kill_error_ = nullptr;
  ForgetPlaces();
}

// Few wait for one greenlet's end, mostly nobody but its group: quicker than a table.
Members::Member* Members::Find(const Core* core) const {
  for (ListedWaiter* w = core->joiners.front(); w; w = w->next()) {
    if (w->observer() == this) return static_cast<Member*>(w);
  }
  return nullptr;
}

bool Members::HasCurrent(const char* what) {
  return Find(CheckHub(what).current()) != nullptr;
}

void Members::Admit(Core* core, Place place) {
  // It may have ended, or been added by somebody else, while this one waited.
  if (core->finished || Find(core) != nullptr) return;
  Member* member = spare_;
  if (member != nullptr) {
    spare_ = member->next;
  } else {
    member = new Member;
  }
  member->lent = place.lent();
  member->lender = nullptr;
  member->lends = false;
  member->next = nullptr;
  member->previous = last_;
  (last_ ? last_->next : first_) = member;
  last_ = member;
  ++size_;
  PlaceUsed(place.lent());
  place.Use();
  member->Start(core, this);
  if (kills_ > 0) core->scheduler->Kill(core, kill_error_);
  if (!place.lent()) return;
  Core* const lender = Scheduler::Get().current();
  if (Member* m = Find(core)) m->lender = lender;
  if (Member* m = Find(lender)) m->lends = true;
  const AnyGreenlet g = AnyGreenlet::FromCore(core, /*add_ref=*/true);
  struct TakeBack {
    ~TakeBack() {
      if (Member* l = members->Find(lender)) l->lends = false;
      Member* m = members->Find(core);
      if (m == nullptr || !m->lent) return;
      // The lender goes on before its time: from now on both count.
      m->lent = false;
      members->PlaceUnused(true);
    }
    Members* members;
    Core* lender;
    Core* core;
  } take_back{this, lender, core};
  g.Join();
}

void Members::Leave(Member* member) {
  (member->previous ? member->previous->next : first_) = member->next;
  (member->next ? member->next->previous : last_) = member->previous;
  const bool lent = member->lent;
  member->next = spare_;
  spare_ = member;
  if (--size_ == 0) {
    while (ListedWaiter* w = joiners_.PopFront()) w->Notify();
  }
  PlaceLeft(lent);
}

void Members::Fulfilled(ListedWaiter* w) {
  Member* member = static_cast<Member*>(w);
  member->Take();
  Leave(member);
}

bool Members::Add(const AnyGreenlet& greenlet, Deadline deadline) {
  CheckHome(greenlet.core(), "Add to a group");
  CheckHub("Add to a Group");
  if (greenlet.ready() || Contains(greenlet)) return true;
  const AnyGreenlet keep = greenlet;
  Place place = TakePlace(deadline, /*may_lend=*/false);
  if (!place) return false;
  Admit(keep.core(), std::move(place));
  return true;
}

bool Members::Discard(const AnyGreenlet& greenlet) {
  CheckHome(greenlet.core(), "Discard from a group");
  Member* member = Find(greenlet.core());
  if (member == nullptr) return false;
  // Its place goes to the one that it was lent to.
  for (Member* m = member->lends ? first_ : nullptr; m; m = m->next) {
    if (!m->lent || m->lender != greenlet.core()) continue;
    m->lent = false;
    PlaceUnused(true);
  }
  member->Stop();
  Leave(member);
  return true;
}

std::vector<AnyGreenlet> Members::Greenlets() const {
  std::vector<AnyGreenlet> all;
  all.reserve(size_);
  for (Member* m = first_; m; m = m->next) {
    all.push_back(AnyGreenlet::FromCore(m->target(), /*add_ref=*/true));
  }
  return all;
}

bool Members::WaitUntilEmpty(Deadline deadline) {
  if (size_ == 0) return true;
  if (deadline == Deadline::Passed()) return false;
  Scheduler& s = CheckHub("Join of a Group");
  EmptyWaiter waiter(s.current(), &joiners_, size_);
  return s.ParkUntil(&waiter, deadline);
}

bool Members::Join(Deadline deadline) {
  GROVE_CHECK(!HasCurrent("Join of a Group"), CurrentGreenlet().core()->Label(),
              " joins a group of which it is a member");
  return WaitUntilEmpty(deadline);
}

bool Members::JoinOrThrow(Deadline deadline) {
  const std::vector<AnyGreenlet> members = Greenlets();
  const bool empty = Join(deadline);
  for (const AnyGreenlet& g : members) {
    if (g.exception()) std::rethrow_exception(g.exception());
  }
  return empty;
}

bool Members::Kill(KillAllOptions options) {
  CheckHub("Kill of a Group");
  if (!options.wait) {
    KillAll(Greenlets(), options);
    return empty();
  }
  struct InForce {
    InForce(Members* m, std::exception_ptr error) : members(m) {
      if (members->kills_++ == 0) members->kill_error_ = std::move(error);
    }
    ~InForce() {
      if (--members->kills_ == 0) members->kill_error_ = nullptr;
    }
    Members* members;
  } in_force(this, options.error);
  KillAll(Greenlets(), {.error = options.error, .wait = false});
  return WaitUntilEmpty(options.deadline);
}

bool Members::KillOne(const AnyGreenlet& greenlet, KillAllOptions options) {
  CheckHome(greenlet.core(), "Kill in a group");
  if (!Contains(greenlet)) return greenlet.ready();
  return KillAll({greenlet}, std::move(options));
}

EndAtExit::~EndAtExit() {
  if (!greenlet_ || greenlet_.ready()) return;
  Shield shield;
  greenlet_.Kill();
}

}  // namespace grove::green_internal
