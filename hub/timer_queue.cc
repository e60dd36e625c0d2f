#include "grove/hub/timer_queue.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "grove/hub/internal/check.h"

namespace grove {

using hub_internal::TimerNode;

namespace {

constexpr size_t kChunk = 256;

void Append(TimerNode* list, TimerNode* node) {
  node->prev = list->prev;
  node->next = list;
  list->prev->next = node;
  list->prev = node;
}

void Remove(TimerNode* node) {
  node->prev->next = node->next;
  node->next->prev = node->prev;
}

// Moves all of `from` to the end of `to`.
void TakeAll(TimerNode* from, TimerNode* to) {
  if (from->next == from) return;
  from->next->prev = to->prev;
  to->prev->next = from->next;
  from->prev->next = to;
  to->prev = from->prev;
  from->prev = from->next = from;
}

}  // namespace

Timer::~Timer() {
  if (armed()) queue_->Cancel(this);
}

TimerQueue::~TimerQueue() {
  for (auto& level : slots_) {
    for (TimerNode& list : level) {
      while (list.next != &list) Cancel(list.next->timer);
    }
  }
}

TimerNode* TimerQueue::TakeNode() {
  if (free_ == nullptr) {
    chunks_.push_back(std::make_unique<TimerNode[]>(kChunk));
    for (size_t i = 0; i < kChunk; ++i) GiveNode(&chunks_.back()[i]);
  }
  TimerNode* node = free_;
  free_ = node->next;
  return node;
}

void TimerQueue::GiveNode(TimerNode* node) {
  node->next = free_;
  free_ = node;
}

void TimerQueue::Arm(Timer* timer, MonotonicNanos when, bool ref) {
  GROVE_CHECK(!timer->armed(), "a timer is armed twice");
  TimerNode* node = TakeNode();
  node->when = when;
  node->timer = timer;
  timer->queue_ = this;
  timer->node_ = node;
  timer->when_ = when;
  timer->ref_ = ref;
  ++armed_;
  referenced_ += ref;
  Insert(node);
}

void TimerQueue::Insert(TimerNode* node) {
  // Rounded up, so that no timer is early; what lies in the past is due at once.
  const uint64_t nanos = std::max<MonotonicNanos>(node->when, 0);
  const uint64_t tick =
      std::max((nanos + (uint64_t{1} << kTickBits) - 1) >> kTickBits, now_tick_);
  // The highest digit (base 64) in which the timer's tick differs from now is its
  // level, and the tick's digit there is its slot.
  const uint64_t differs = tick ^ now_tick_;
  const int level = differs == 0 ? 0 : (63 - std::countl_zero(differs)) / kSlotBits;
  const int slot = (tick >> (level * kSlotBits)) & (kSlots - 1);
  used_[level] |= uint64_t{1} << slot;
  Append(&slots_[level][slot], node);
}

void TimerQueue::Disarm(Timer* timer) {
  GiveNode(timer->node_);
  timer->node_ = nullptr;
  --armed_;
  referenced_ -= timer->ref_;
}

void TimerQueue::Cancel(Timer* timer) {
  if (!timer->armed()) return;
  Remove(timer->node_);
  Disarm(timer);
}

void TimerQueue::CancelAllBut(absl::FunctionRef<bool(const Timer*)> keep) {
  for (auto& level : slots_) {
    for (TimerNode& list : level) {
      TimerNode* next;
      for (TimerNode* node = list.next; node != &list; node = next) {
        next = node->next;
        if (!keep(node->timer)) Cancel(node->timer);
      }
    }
  }
}

TimerQueue::Position TimerQueue::Earliest() const {
  // Each level covers what lies beyond all the levels below it.
  for (int level = 0; level < kLevels; ++level) {
    while (used_[level] != 0) {
      const int slot = std::countr_zero(used_[level]);
      const TimerNode& list = slots_[level][slot];
      if (list.next == &list) {  // all were cancelled
        used_[level] &= used_[level] - 1;
        continue;
      }
      const int shift = level * kSlotBits;
      const uint64_t above = (now_tick_ >> shift >> kSlotBits) << kSlotBits;
      return {level, slot, (above | slot) << shift};
    }
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
  const uint64_t tick = std::max<uint64_t>(now_tick_, now >> kTickBits);
  // First collect, then fire: what a function arms waits for the next call, or a timer
  // that arms itself at once would never let go of the hub.
  TimerNode due;
  while (armed_ > 0) {
    const Position p = Earliest();
    if (p.level == kLevels || p.tick > tick) break;
    used_[p.level] &= ~(uint64_t{1} << p.slot);
    now_tick_ = std::max(now_tick_, p.tick);
    TimerNode* slot = &slots_[p.level][p.slot];
    if (p.level == 0) {
      TakeAll(slot, &due);
      continue;
    }
    TimerNode list;
    TakeAll(slot, &list);
    while (list.next != &list) {
      TimerNode* node = list.next;
      Remove(node);
      Insert(node);
    }
  }
  now_tick_ = tick;
  while (due.next != &due) {
    TimerNode* node = due.next;
    Timer* timer = node->timer;
    // Those lie on cold stacks.
    __builtin_prefetch(node->next->timer);
    Remove(node);
    Disarm(timer);
    timer->fire_(timer);
  }
}

}  // namespace grove
