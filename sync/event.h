#ifndef GROVE_SYNC_EVENT_H_
#define GROVE_SYNC_EVENT_H_

#include <string>

#include "grove/hub/deadline.h"
#include "grove/sync/internal/shown.h"
#include "grove/sync/internal/sync_object.h"

namespace grove {

// Event
//
// Something that has happened, or not yet. Once it is set, all that wait go on, and
// nobody waits any more until it is cleared.
//
//   Event ready;
//   Spawn([&] { Prepare(); ready.Set(); });
//   if (!ready.Wait(absl::Seconds(5))) { ... }
//
// Set() makes all that wait ready to run, in the order in which they came, before it
// returns: whoever comes later comes after them.
//
// Threads: any; see docs/sync.md. From elsewhere Set() and Clear() do not wait.
class Event {
 public:
  Event() = default;
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  // While somebody waits for it: a fatal error that names them.
  ~Event() { sync_internal::CheckDestroy(home_, line_, "Event", this); }

  // Does not block.
  void Set() {
    home_.Do([this] {
      set_ = true;
      line_.NotifyAll();
    });
  }
  // Does not block.
  void Clear() {
    home_.Do([this] { set_ = false; });
  }
  bool IsSet() const { return set_; }

  // Event::Wait()
  //
  // True if it is set, or was set at any time during the wait.
  //
  // Blocks: until then. At once, without a switch, if it is set.
  // Deadline: returns false.
  // Kill: throws.
  [[gnu::always_inline]] bool Wait(Deadline deadline = {}) {
    sync_internal::Scheduler* s = sync_internal::Scheduler::GetIfExists();
    WaitOperation op(this);
    if (ABSL_PREDICT_FALSE(!home_.Is(s) || !deadline.infinite())) {
      return home_.Perform(&op, deadline);
    }
    if (!set_) sync_internal::Home::WaitInLine(s, &op);
    return true;
  }

  class WaitOperation final : public sync_internal::Operation {
   public:
    explicit WaitOperation(Event* e) : Operation(&e->line_), event_(e) {}
    bool Try() override { return event_->set_; }
    std::string Describe() const override {
      return sync_internal::NameOf("Event", event_);
    }

   private:
    Event* const event_;
  };

  // For Wait() on its home hub.
  Waitable AsWaitable() { return sync_internal::MakeWaitable<WaitOperation>(this); }

  // For the layers above.
  sync_internal::Home& home() { return home_; }

 private:
  sync_internal::Shown<bool> set_{false};
  sync_internal::WaiterList line_;
  sync_internal::Home home_;  // last: what is on its way arrives first
};

// AutoResetEvent
//
// As Event, but each Set() lets one waiter go on: the one that has waited longest, or the
// next that comes. Several Set() with nobody waiting count as one.
class AutoResetEvent {
 public:
  AutoResetEvent() = default;
  AutoResetEvent(const AutoResetEvent&) = delete;
  AutoResetEvent& operator=(const AutoResetEvent&) = delete;
  ~AutoResetEvent() { sync_internal::CheckDestroy(home_, line_, "AutoResetEvent", this); }

  void Set() {
    home_.Do([this] {
      if (sync_internal::ListedWaiter* w = line_.PopFront()) {
        w->Notify();
      } else {
        set_ = true;
      }
    });
  }
  void Clear() {
    home_.Do([this] { set_ = false; });
  }
  bool IsSet() const { return set_; }

  // Contract as Event::Wait(). A Set() that was meant for one whose deadline has passed,
  // or who was killed, goes to the next.
  bool Wait(Deadline deadline = {}) {
    WaitOperation op(this);
    return home_.Perform(&op, deadline);
  }

  class WaitOperation final : public sync_internal::Operation {
   public:
    explicit WaitOperation(AutoResetEvent* e) : Operation(&e->line_), event_(e) {}
    bool Try() override {
      if (!event_->set_) return false;
      event_->set_ = false;
      return true;
    }
    void Return() override { event_->Set(); }
    std::string Describe() const override {
      return sync_internal::NameOf("AutoResetEvent", event_);
    }

   private:
    AutoResetEvent* const event_;
  };

  // For the layers above.
  sync_internal::Home& home() { return home_; }

 private:
  sync_internal::Shown<bool> set_{false};
  sync_internal::WaiterList line_;
  sync_internal::Home home_;  // last: what is on its way arrives first
};

}  // namespace grove

#endif  // GROVE_SYNC_EVENT_H_
