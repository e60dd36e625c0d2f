#ifndef GROVE_GREEN_INTERNAL_MEMBERS_H_
#define GROVE_GREEN_INTERNAL_MEMBERS_H_

#include <cstddef>
#include <exception>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/optimization.h"
#include "grove/green/greenlet.h"
#include "grove/green/internal/multi_wait.h"
#include "grove/green/internal/own_hub.h"
#include "grove/green/wait.h"
#include "grove/hub/deadline.h"

namespace grove::green_internal {

class Members;

// Place
//
// The right to one more member: what a pool of a limited size gives out. Given back at
// its end unless it was used for one.
class Place {
 public:
  // None, or that of a group without limit.
  Place() = default;
  Place(Members* of, bool lent) : of_(of), lent_(lent) {}
  Place(Place&& other) noexcept
      : of_(std::exchange(other.of_, nullptr)), lent_(other.lent_) {}
  Place& operator=(Place&&) = delete;
  inline ~Place();

  // Whether it is a member's own, who waits until whoever uses it has ended.
  bool lent() const { return lent_; }
  explicit operator bool() const { return of_ != nullptr; }
  // It is in use, and not to be given back.
  void Use() { of_ = nullptr; }

 private:
  Members* of_ = nullptr;
  bool lent_ = false;
};

// Members
//
// What Group and Pool have in common but for their templates: who is in, and what is done
// with all of them. See Group (group.h).
class Members : private Observer {
 public:
  // A member to be, which waits for its place.
  class Arrival {
   public:
    explicit Arrival(Members* of) : of_(of) { ++of_->arriving_; }
    Arrival(Arrival&& other) noexcept : of_(std::exchange(other.of_, nullptr)) {}
    Arrival& operator=(Arrival&&) = delete;
    ~Arrival() { End(); }
    Members* of() const { return of_; }
    void End() {
      if (of_ != nullptr) --std::exchange(of_, nullptr)->arriving_;
    }

   private:
    Members* of_;
  };

  Members(const Members&) = delete;
  Members& operator=(const Members&) = delete;
  // The members run on. While somebody waits for them: a fatal error.
  virtual ~Members();

  // Members::Add()
  //
  // Makes a greenlet a member; no effect if it is one, or has ended. In a pool, takes a
  // place. True, unless the deadline passed first.
  //
  // Blocks: in a Group, never; in a Pool, until there is a place.
  // Deadline: returns false.
  // Kill: throws, and it was not added.
  bool Add(const AnyGreenlet& greenlet, Deadline deadline = {});

  // Members::Discard()
  //
  // It is a member no more, and its place is free. False if it was none.
  bool Discard(const AnyGreenlet& greenlet);

  // Members::Join()
  //
  // Waits until there are no members, for a moment at least. True if that has been so. A
  // member that calls this is a fatal error: it would wait for itself.
  //
  // Blocks: until then.
  // Deadline: returns false.
  // Kill: throws; the members are unaffected.
  bool Join(Deadline deadline = {});

  // Members::JoinOrThrow()
  //
  // As Join(). Then, if one of those who were members when this was called has failed,
  // its error is thrown; of several, that of the one that was longest in.
  bool JoinOrThrow(Deadline deadline = {});

  // Members::Kill()
  //
  // Kills all members, and those that are added until it returns, and waits for their
  // ends. True if there are none left. See KillAll().
  //
  // Blocks: until there are no members, unless `wait` is false.
  // Deadline: returns false; the kills stay in force.
  // Kill: throws; the kills stay in force. A member that calls this is killed, too.
  bool Kill(KillAllOptions options = {});

  // Members::KillOne()
  //
  // Kills a greenlet if it is a member. True if it has ended.
  bool KillOne(const AnyGreenlet& greenlet, KillAllOptions options = {});

  // Who is a member now, longest first: a copy, since members leave while one waits.
  std::vector<AnyGreenlet> Greenlets() const;
  bool Contains(const AnyGreenlet& greenlet) const {
    return Find(greenlet.core()) != nullptr;
  }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

  // Members::full()
  //
  // Whether one more would have to wait. A Group never is.
  virtual bool full() const { return false; }

  // Members::WaitAvailable()
  //
  // Waits until there is a free place, and takes none: by the time this returns somebody
  // else may have. A Group always has one.
  //
  // Blocks: until then. Deadline: returns false. Kill: throws.
  virtual bool WaitAvailable(Deadline) { return true; }

  // For those who start members. A place, or none on the deadline; with `may_lend`, a
  // member that finds no free place lends its own. Contract as Pool::Spawn().
  virtual Place TakePlace(Deadline, bool) {
    CheckHub("Spawn in a Group");
    return Place(this, false);
  }
  // Uses `place` for `core`. If it was lent, waits until `core` has ended.
  void Admit(Core* core, Place place);
  // Whether the caller is a member.
  bool HasCurrent(const char* what);

 protected:
  Members() = default;

  // What a limit has to be told: a place was used, its user has left, it was not used.
  virtual void PlaceUsed(bool /*lent*/) {}
  virtual void PlaceLeft(bool /*lent*/) {}
  virtual void PlaceUnused(bool /*lent*/) {}
  virtual void ForgetPlaces() {}

  // This thread's scheduler. A fatal error on another hub than the group's; if that has
  // ended, so have its greenlets, and the group begins anew here.
  Scheduler& CheckHub(const char* what) {
    if (ABSL_PREDICT_FALSE(!hub_.here()) && hub_.gone()) Forget();
    return hub_.Check(what);
  }

 private:
  friend class Place;
  struct Member final : EndWatch {
    Member* previous = nullptr;
    Member* next = nullptr;
    bool lends = false;            // its place, and waits for the end of who has it
    bool lent = false;             // its place is that of
    const Core* lender = nullptr;  // this one
  };

  void Fulfilled(ListedWaiter* w) override;
  std::string Who() const override { return "a group"; }
  Member* Find(const Core* core) const;
  void Leave(Member* member);
  bool WaitUntilEmpty(Deadline deadline);
  void DropNodes();
  void Forget();

  OwnHub hub_;
  size_t size_ = 0;
  int arriving_ = 0;
  Member* first_ = nullptr;
  Member* last_ = nullptr;
  Member* spare_ = nullptr;  // nodes for members to come
  WaiterList joiners_;
  // Kill()s that wait, and what they throw.
  int kills_ = 0;
  std::exception_ptr kill_error_;
};

inline Place::~Place() {
  if (of_ != nullptr) of_->PlaceUnused(lent_);
}

// Kills a greenlet and waits for its end, shielded, at the end of a scope whose variables
// it refers to. No effect if it has ended.
class EndAtExit {
 public:
  explicit EndAtExit(AnyGreenlet g) : greenlet_(std::move(g)) {}
  EndAtExit(const EndAtExit&) = delete;
  EndAtExit& operator=(const EndAtExit&) = delete;
  ~EndAtExit();

 private:
  const AnyGreenlet greenlet_;
};

// A greenlet that runs `fn` as a member once there is a place, for which it waits itself.
template <typename F>
auto SpawnInto(Members& members, F&& fn, SpawnSite site) {
  if (!members.full()) {
    Place place = members.TakePlace(Deadline::Passed(), /*may_lend=*/false);
    if (place) {
      auto g = grove::Spawn(std::forward<F>(fn), site);
      members.Admit(g.core(), std::move(place));
      return g;
    }
  }
  return grove::Spawn(
      [arrival = Members::Arrival(&members),
       fn = std::decay_t<F>(std::forward<F>(fn))]() mutable {
        Members& members = *arrival.of();
        members.Admit(Scheduler::Get().current(), members.TakePlace({}, false));
        arrival.End();
        Scheduler::Get().DeliverPending();  // the group may be about to be killed
        return fn();
      },
      site);
}

// Calls `callback` with what `g` returned, in a greenlet of its own.
template <typename T, typename Callback>
void LinkResult(const Greenlet<T>& g, Callback callback) {
  if constexpr (!std::is_null_pointer_v<Callback>) {
    g.LinkValue([callback = std::move(callback)](const AnyGreenlet& ended) mutable {
      if (ended.killed()) return;
      if constexpr (std::is_void_v<T>) {
        callback();
      } else {
        callback(*ResultOf<T>(ended.core()));
      }
    });
  }
}

}  // namespace grove::green_internal

#endif  // GROVE_GREEN_INTERNAL_MEMBERS_H_
