#ifndef GROVE_HUB_TIMER_QUEUE_H_
#define GROVE_HUB_TIMER_QUEUE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "grove/hub/clock.h"

namespace grove {

class TimerQueue;

namespace hub_internal {
struct TimerLink {
  TimerLink* prev = this;
  TimerLink* next = this;
};
}  // namespace hub_internal

// Timer
//
// Calls a function once, on the hub's stack, when a moment has come. Intrusive: arming
// and cancelling allocate nothing and cost a few nanoseconds however many are armed.
// Destroying an armed timer cancels it.
//
// Threads: those of its queue's hub only.
class Timer : private hub_internal::TimerLink {
 public:
  using Fire = void (*)(Timer*);

  explicit Timer(Fire fire) : fire_(fire) {}
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  ~Timer();

  bool armed() const { return queue_ != nullptr; }

  // Timer::when()
  //
  // The moment that it was last armed for.
  MonotonicNanos when() const { return when_; }

 private:
  friend class TimerQueue;

  const Fire fire_;
  MonotonicNanos when_ = 0;
  TimerQueue* queue_ = nullptr;
  uint16_t slot_ = 0;
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
  size_t referenced() const { return referenced_; }

 private:
  static constexpr int kTickBits = 10;  // 1.024 us
  static constexpr int kSlotBits = 6;
  static constexpr int kSlots = 1 << kSlotBits;
  static constexpr int kLevels = (64 - kTickBits) / kSlotBits;
  static constexpr uint16_t kDue = 0xffff;  // in no slot, but about to fire

  void Insert(Timer* timer);
  void Unlink(Timer* timer);
  // The lowest level that has timers, and its first slot in use; level kLevels: none.
  struct Position {
    int level;
    int slot;
    uint64_t tick;  // at which that slot begins
  };
  Position Earliest() const;

  uint64_t now_tick_ = 0;
  size_t armed_ = 0;
  size_t referenced_ = 0;
  std::array<uint64_t, kLevels> used_{};
  std::array<std::array<hub_internal::TimerLink, kSlots>, kLevels> slots_;
};

}  // namespace grove

#endif  // GROVE_HUB_TIMER_QUEUE_H_
