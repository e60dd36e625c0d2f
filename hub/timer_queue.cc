#include "grove/hub/timer_queue.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "grove/hub/internal/check.h"

namespace grove {

using hub_internal::TimerLink;

namespace {

void Append(TimerLink* list, TimerLink* link) {
  link->prev = list->prev;
  link->next = list;
  list->prev->next = link;
  list->prev = link;
}

void Remove(TimerLink* link) {
  link->prev->next = link->next;
  link->next->prev = link->prev;
  link->prev = link->next = link;
}

// Moves all of `from` to the empty list `to`.
void Take(TimerLink* from, TimerLink* to) {
  if (from->next == from) return;
  to->next = from->next;
  to->prev = from->prev;
  to->next->prev = to;
  to->prev->next = to;
  from->prev = from->next = from;
}

}  // namespace

Timer::~Timer() {
  if (queue_) queue_->Cancel(this);
}

TimerQueue::~TimerQueue() {
  for (auto& level : slots_) {
    for (TimerLink& list : level) {
      while (list.next != &list) Cancel(static_cast<Timer*>(list.next));
    }
  }
}

void TimerQueue::Arm(Timer* timer, MonotonicNanos when, bool ref) {
  GROVE_CHECK(!timer->queue_, "a timer is armed twice");
  timer->queue_ = this;
  timer->when_ = when;
  timer->ref_ = ref;
  ++armed_;
  referenced_ += ref;
  Insert(timer);
}

void TimerQueue::Insert(Timer* timer) {
  // Rounded up, so that no timer is early; what lies in the past is due at once.
  const uint64_t nanos = std::max<MonotonicNanos>(timer->when_, 0);
  const uint64_t tick = std::max(
      (nanos + (uint64_t{1} << kTickBits) - 1) >> kTickBits, now_tick_);
  // The highest digit (base 64) in which the timer's tick differs from now is its
  // level, and the tick's digit there is its slot.
  const uint64_t differs = tick ^ now_tick_;
  const int level = differs == 0 ? 0 : (63 - std::countl_zero(differs)) / kSlotBits;
  const int slot = (tick >> (level * kSlotBits)) & (kSlots - 1);
  timer->slot_ = level * kSlots + slot;
  used_[level] |= uint64_t{1} << slot;
  Append(&slots_[level][slot], timer);
}

void TimerQueue::Unlink(Timer* timer) {
  TimerLink* next = timer->next;
  const bool last = next == timer->prev;  // only the list's own link is left
  Remove(timer);
  if (last && timer->slot_ != kDue) {
    used_[timer->slot_ / kSlots] &= ~(uint64_t{1} << (timer->slot_ % kSlots));
  }
}

void TimerQueue::Cancel(Timer* timer) {
  if (timer->queue_ == nullptr) return;
  Unlink(timer);
  timer->queue_ = nullptr;
  --armed_;
  referenced_ -= timer->ref_;
}

TimerQueue::Position TimerQueue::Earliest() const {
  // Each level covers what lies beyond all the levels below it.
  for (int level = 0; level < kLevels; ++level) {
    if (used_[level] == 0) continue;
    const int slot = std::countr_zero(used_[level]);
    const int shift = level * kSlotBits;
    const uint64_t above = (now_tick_ >> shift >> kSlotBits) << kSlotBits;
    return {level, slot, (above | slot) << shift};
  }
  return {kLevels, 0, 0};
}

std::optional<MonotonicNanos> TimerQueue::NextLook() const {
  const Position p = Earliest();
  if (p.level == kLevels) return std::nullopt;
  return static_cast<MonotonicNanos>(std::min<uint64_t>(
      p.tick << kTickBits, std::numeric_limits<MonotonicNanos>::max()));
}

void TimerQueue::FireDue(MonotonicNanos now) {
  if (armed_ == 0) {
    now_tick_ = std::max<uint64_t>(now_tick_, now >> kTickBits);
    return;
  }
  const uint64_t tick = std::max<uint64_t>(now_tick_, now >> kTickBits);
  // First collect, then fire: what a function arms waits for the next call, or a timer
  // that arms itself at once would never let go of the hub.
  TimerLink due;
  for (;;) {
    const Position p = Earliest();
    if (p.level == kLevels || p.tick > tick) break;
    used_[p.level] &= ~(uint64_t{1} << p.slot);
    TimerLink list;
    Take(&slots_[p.level][p.slot], &list);
    now_tick_ = std::max(now_tick_, p.tick);
    while (list.next != &list) {
      Timer* timer = static_cast<Timer*>(list.next);
      Remove(timer);
      if (p.level == 0) {
        timer->slot_ = kDue;
        Append(&due, timer);
      } else {
        Insert(timer);
      }
    }
  }
  now_tick_ = tick;
  while (due.next != &due) {
    Timer* timer = static_cast<Timer*>(due.next);
    Remove(timer);
    timer->queue_ = nullptr;
    --armed_;
    referenced_ -= timer->ref_;
    timer->fire_(timer);
  }
}

}  // namespace grove
