#ifndef GROVE_HUB_TIMER_QUEUE_H_
#define GROVE_HUB_TIMER_QUEUE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/functional/function_ref.h"
#include "grove/hub/clock.h"
#include "grove/hub/internal/relaxed.h"

namespace grove {

class Timer;
class TimerQueue;

namespace hub_internal {

// Where an armed timer stands in its queue. Apart from the timer, which lies on the stack
// of a greenlet that sleeps: moving 10,000 of those from one level to the next would
// fetch as many cold pages (6 ms), moving these, which lie side by side, takes 0.2 ms.
struct TimerNode {
  TimerNode* prev = this;
  TimerNode* next = this;
  MonotonicNanos when = 0;
  Timer* timer = nullptr;
};

}  // namespace hub_internal

// Timer
//
// Calls a function once, on the hub's stack, when a moment has come. Arming and
// cancelling cost a few nanoseconds however many are armed, and allocate nothing unless
// more are armed than ever before. Destroying an armed timer cancels it.
//
//   struct Alarm : Timer {
//     Alarm() : Timer([](Timer* t) { static_cast<Alarm*>(t)->Ring(); }) {}
//     void Ring();  // must not block; it may Spawn()
//   };
//   Alarm alarm;
//   ThisHub().timers().Arm(&alarm, ThisHub().Now() + absl::ToInt64Nanoseconds(after));
//
// Threads: those of its queue's hub only.
class Timer {
 public:
  using Fire = void (*)(Timer*);

  explicit Timer(Fire fire) : fire_(fire) {}
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  ~Timer();

  bool armed() const { return node_ != nullptr; }

  // Timer::when()
  //
  // The moment that it was last armed for.
  MonotonicNanos when() const { return when_; }

 private:
  friend class TimerQueue;

  const Fire fire_;
  MonotonicNanos when_ = 0;
  TimerQueue* queue_ = nullptr;  // that it was last armed in
  hub_internal::TimerNode* node_ = nullptr;
  bool ref_ = true;
};

// TimerQueue
//
// The timers of one hub: a hierarchical wheel (Varghese and Lauck, "Hashed and
// Hierarchical Timing Wheels", 1987; scheme 7) of 9 levels with 64 slots each. The
// lowest level's slots are 1.024 us wide, each level's are 64 times wider than those
// below. A timer moves down a level at most once per level in its life, and most are
// cancelled before they move at all.
//
// Timers never fire early: a moment is rounded up to the end of its slot. Those that
// are due in one call fire in the order of their moments, to about a microsecond; those
// of the same slot in the order in which they were armed.
class TimerQueue {
 public:
  TimerQueue() = default;
  TimerQueue(const TimerQueue&) = delete;
  TimerQueue& operator=(const TimerQueue&) = delete;
  ~TimerQueue();

  // TimerQueue::Arm()
  //
  // `timer` will fire once, at `when` or soon after. It must not be armed. `ref` says
  // whether it counts as a reason for the hub to go on (see referenced()).
  void Arm(Timer* timer, MonotonicNanos when, bool ref = true);

  // TimerQueue::Cancel()
  //
  // `timer` will not fire. No effect if it is not armed.
  void Cancel(Timer* timer);

  // TimerQueue::CancelAllBut()
  //
  // Cancels every timer that `keep` does not say true of. Looks at all of them.
  void CancelAllBut(absl::FunctionRef<bool(const Timer*)> keep);

  // TimerQueue::FireDue()
  //
  // Fires what is due at `now`. Functions that fire may arm and cancel any timer,
  // themselves included; what they arm fires in a later call at the earliest.
  void FireDue(MonotonicNanos now);

  // TimerQueue::NextLook()
  //
  // When to call FireDue() next, if any timer is armed: at the next timer's moment, or
  // before it when timers have to move down a level.
  std::optional<MonotonicNanos> NextLook() const;

  size_t armed() const { return armed_; }
  size_t armed_from_elsewhere() const { return armed_.FromElsewhere(); }
  size_t referenced() const { return referenced_; }

 private:
  static constexpr int kTickBits = 10;  // 1.024 us
  static constexpr int kSlotBits = 6;
  static constexpr int kSlots = 1 << kSlotBits;
  static constexpr int kLevels = (64 - kTickBits) / kSlotBits;

  hub_internal::TimerNode* TakeNode();
  void GiveNode(hub_internal::TimerNode* node);
  void Insert(hub_internal::TimerNode* node);
  // The timer is armed no longer; its node has been unlinked.
  void Disarm(Timer* timer);
  // The lowest level that has timers, and its first slot in use; level kLevels: none.
  struct Position {
    int level;
    int slot;
    uint64_t tick;  // at which that slot begins
  };
  Position Earliest() const;

  uint64_t now_tick_ = 0;
  hub_internal::Published<size_t> armed_{0};
  size_t referenced_ = 0;
  // A bit is set if its slot may have timers: cancelling the last one leaves it set.
  mutable std::array<uint64_t, kLevels> used_{};
  std::array<std::array<hub_internal::TimerNode, kSlots>, kLevels> slots_;
  hub_internal::TimerNode* free_ = nullptr;  // by their `next`
  std::vector<std::unique_ptr<hub_internal::TimerNode[]>> chunks_;
};

}  // namespace grove

#endif  // GROVE_HUB_TIMER_QUEUE_H_
