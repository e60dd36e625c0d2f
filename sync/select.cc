#include "grove/sync/select.h"

#include <cstddef>
#include <string>

#include "absl/strings/str_cat.h"
#include "grove/hub/internal/check.h"
#include "grove/hub/internal/per_thread.h"

namespace grove {
namespace {

using sync_internal::Home;
using sync_internal::ListedWaiter;
using sync_internal::Operation;
using sync_internal::Scheduler;

constexpr char kSeveralHubs[] = "Select() over objects of several hubs";

// Whether all objects are known to belong to this hub: nearly always.
inline bool AreHere(absl::Span<const SelectCase> cases, const Scheduler& s) {
  for (const SelectCase& c : cases) {
    if (c.home != nullptr && !c.home->Is(&s)) return false;
  }
  return true;
}

// Whether all objects belong to the same hub, and if it is not this one, the home of one.
// Those that have no home go along with the others.
bool HaveOneHome(absl::Span<const SelectCase> cases, Scheduler& s, Home** away) {
  for (;;) {
    *away = nullptr;
    bool here = false;
    Home* homeless = nullptr;
    for (const SelectCase& c : cases) {
      if (c.home == nullptr || c.home->Is(&s)) {
        here = true;
      } else if (c.home->HasNone()) {
        if (homeless == nullptr || c.home < homeless) homeless = c.home;
      } else if (*away == nullptr) {
        *away = c.home;
      } else if (!(*away)->SameAs(*c.home)) {
        return false;
      }
    }
    if (*away != nullptr) return !here;  // StayTogether() takes them along
    if (homeless == nullptr) return true;
    // In the order of addresses: of several hubs that want the same ones, the first has all.
    (void)homeless->BelongsTo(s);
  }
}

// All the cases as one operation. The first object that fulfils one is the last that
// does: the others are left before anything else runs on their hub.
class SelectOperation final : public Operation, public green_internal::Observer {
 public:
  // `away`: the objects belong to another hub.
  SelectOperation(absl::Span<const SelectCase> cases, size_t first, bool away)
      : Operation(nullptr), cases_(cases), first_(first), away_(away) {}

  int chosen() const { return chosen_; }

  bool Try() override {
    if (away_) StayTogether();
    return TryFrom(first_, cases_.size()) || TryFrom(0, first_);
  }
  void Enlist() override {
    CheckNoneTwice();
    for (const SelectCase& c : cases_) {
      c.operation->WaitsFor(this);
      c.operation->Enlist();
    }
  }
  // The last first: leaving a line may let those behind go on, who must not be ours.
  void Cancel() override {
    for (size_t i = cases_.size(); i > 0; --i) cases_[i - 1].operation->Cancel();
  }
  void Abandon() override {
    for (const SelectCase& c : cases_) c.operation->Abandon();
  }
  // The first case that is given back is the one that was chosen.
  void Return() override { cases_[static_cast<size_t>(chosen_)].operation->Return(); }
  std::string Describe() const override {
    std::string text = "the first of: ";
    const char* separator = "";
    for (const SelectCase& c : cases_) {
      absl::StrAppend(&text, separator, c.operation->Describe());
      separator = "; ";
    }
    return text;
  }

  void Fulfilled(ListedWaiter* w) override {
    const SelectCase* const begin = cases_.data();
    for (const SelectCase* c = begin + cases_.size(); c != begin;) {
      --c;
      if (c->operation == w) {
        chosen_ = static_cast<int>(c - begin);
      } else {
        c->operation->Cancel();
      }
    }
    Notify();
  }
  std::string Who() const override { return ListedWaiter::Who(); }

 private:
  bool TryFrom(size_t i, size_t end) {
    for (const SelectCase* c = cases_.data(); i < end; ++i) {
      if (c[i].operation->Try()) {
        chosen_ = static_cast<int>(i);
        return true;
      }
    }
    return false;
  }
  // Those that had no home come here too; as do all, if the hub of the objects has ended
  // and one of them has brought the operation here.
  void StayTogether() {
    Scheduler* here = Scheduler::GetIfExists();
    for (const SelectCase& c : cases_) {
      GROVE_CHECK(here == nullptr || c.home->BelongsTo(*here), kSeveralHubs);
    }
  }
  void CheckNoneTwice() const {
#ifndef NDEBUG
    for (size_t i = 0; i < cases_.size(); ++i) {
      for (size_t j = 0; j < i; ++j) {
        GROVE_CHECK(cases_[i].operation != cases_[j].operation,
                    "Select() over one case twice: ", cases_[i].operation->Describe());
      }
    }
#endif
  }

  const absl::Span<const SelectCase> cases_;
  const size_t first_;
  const bool away_;
  int chosen_ = kSelectTimedOut;
};

}  // namespace

int Select(absl::Span<const SelectCase> cases, Deadline deadline, SelectOrder order) {
  // Where each hub's next look begins.
  static constinit thread_local hub_internal::PerThread<size_t> turn;
  size_t first = 0;
  if (order == SelectOrder::kFair) {
    // No remainder, for which to divide: that takes as long as three cases.
    size_t& next = turn.get();
    if (next < cases.size()) first = next;
    next = first + 1;
  }
  Scheduler& s = Scheduler::Get();
  Home* away = nullptr;
  if (ABSL_PREDICT_FALSE(!AreHere(cases, s))) {
    // Their hub may end meanwhile: then a second look finds all of them here.
    GROVE_CHECK(HaveOneHome(cases, s, &away) || HaveOneHome(cases, s, &away),
                kSeveralHubs);
  }
  SelectOperation select(cases, first, away != nullptr);
  if (away) {
    (void)away->Perform(&select, deadline);
  } else if (!select.Try()) {
    (void)Home::WaitInLine(&s, &select, deadline);
  }
  return select.chosen();
}

}  // namespace grove
