#ifndef GROVE_SYNC_HUB_CHANNEL_H_
#define GROVE_SYNC_HUB_CHANNEL_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <new>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "grove/green/internal/scheduler.h"
#include "grove/hub/deadline.h"
#include "grove/hub/internal/check.h"
#include "grove/sync/internal/cross_line.h"

namespace grove {

// HubChannel
//
// A channel for streams of values between hubs: it has no home, and a value that is sent
// while there is room, or received while there is one, costs neither a lock nor a
// message. Any number may send and receive, on any number of hubs.
//
//   HubChannel<Job> jobs(1024);
//   HubGroup workers({}, [&](int) {
//     for (Job& job : jobs) Do(job);
//   });
//   jobs.Send(job).IgnoreError();
//
// Values of one sender arrive in the order in which it sent them. Those who wait are
// woken in the order in which they came, but somebody who comes just then may be faster.
// A wakeup of a hub that sleeps costs some 20 us: a capacity of hundreds or more lets
// many values go with each.
//
// The ring is the bounded queue of Dmitry Vyukov: a cell carries the number of the turn
// in which it may be written, or read.
//
// Threads: any. A thread without a hub gets one only if it has to wait.
template <typename Value>
class HubChannel {
 public:
  using T = Value;
  class iterator;

  // The capacity is rounded up to a power of two. Zero is a fatal error.
  explicit HubChannel(size_t capacity);
  HubChannel(const HubChannel&) = delete;
  HubChannel& operator=(const HubChannel&) = delete;
  // Not while others use it: a fatal error, if they wait.
  ~HubChannel();

  // HubChannel::Send()
  //
  // Returns kFailedPrecondition if the channel is closed. If it fails, `value` was not
  // moved from.
  //
  // Blocks: while there is no room.
  // Deadline: returns kDeadlineExceeded.
  // Kill: throws; it was not sent.
  absl::Status Send(T&& value, Deadline deadline = {});
  absl::Status Send(const T& value, Deadline deadline = {}) {
    return Send(T(value), deadline);
  }
  // Whether there was room, and it is open. Does not wait, as does none of the following.
  bool TrySend(T&& value) { return Push(value) == Pushed::kYes; }
  bool TrySend(const T& value) { return TrySend(T(value)); }

  // HubChannel::Receive()
  //
  // Returns kOutOfRange once the channel is closed and empty.
  //
  // Blocks: while there is nothing.
  // Deadline: returns kDeadlineExceeded.
  // Kill: throws; nothing was received.
  absl::StatusOr<T> Receive(Deadline deadline = {});
  std::optional<T> TryReceive() {
    std::optional<T> value = Pop();
    if (value) {
      senders_.WakeOne();
      // Whoever was woken for a value behind this one waits again, if this one was not
      // there yet.
      if (receivers_.waiting() > 0 && HasValue()) receivers_.WakeOne();
    }
    return value;
  }

  // Receives until the channel is closed and empty.
  iterator begin() { return iterator(this); }
  iterator end() { return iterator(); }

  // HubChannel::Close()
  //
  // Nothing can be sent any more. What was sent before can be received.
  void Close() {
    tail_.fetch_or(kClosed, std::memory_order_seq_cst);
    senders_.WakeAll();
    receivers_.WakeAll();
  }
  bool closed() const { return tail_.load(std::memory_order_acquire) & kClosed; }

  // Of a moment ago.
  size_t size() const {
    const uint64_t head = head_.load(std::memory_order_relaxed);
    const uint64_t tail = tail_.load(std::memory_order_relaxed) & ~kClosed;
    return tail > head ? static_cast<size_t>(tail - head) : 0;
  }
  size_t capacity() const { return mask_ + 1; }

 private:
  // Else a cell could stay half written for ever.
  static_assert(std::is_nothrow_move_constructible_v<T>,
                "a value's move constructor must not throw");
  static constexpr uint64_t kClosed = uint64_t{1} << 63;
  enum class Pushed { kYes, kFull, kClosed };

  struct Cell {
    // 2 * turn: may be written; 2 * turn + 1: may be read.
    std::atomic<uint64_t> turn{0};
    alignas(T) std::byte value[sizeof(T)];
  };

  uint64_t Turn(uint64_t position) const { return position >> shift_; }
  Pushed Push(T& value);
  std::optional<T> Pop();
  bool HasRoom() const {
    const uint64_t tail = tail_.load(std::memory_order_seq_cst);
    if (tail & kClosed) return true;  // whoever waits is told
    return cells_[tail & mask_].turn.load(std::memory_order_seq_cst) >= 2 * Turn(tail);
  }
  bool HasValue() const {
    const uint64_t head = head_.load(std::memory_order_seq_cst);
    if (AtEnd()) return true;
    return cells_[head & mask_].turn.load(std::memory_order_seq_cst) > 2 * Turn(head);
  }
  // Closed, and all that was sent is received.
  bool AtEnd() const {
    const uint64_t tail = tail_.load(std::memory_order_seq_cst);
    return (tail & kClosed) && head_.load(std::memory_order_seq_cst) == (tail & ~kClosed);
  }

  int shift_ = 0;
  uint64_t mask_ = 0;
  std::unique_ptr<Cell[]> cells_;
  // What each side writes is kept apart from what the other does.
  alignas(64) std::atomic<uint64_t> head_{0};
  alignas(64) std::atomic<uint64_t> tail_{0};
  alignas(64) sync_internal::CrossLine senders_;
  alignas(64) sync_internal::CrossLine receivers_;
};

// For a range-based for.
template <typename T>
class HubChannel<T>::iterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = T;
  using difference_type = std::ptrdiff_t;
  using pointer = T*;
  using reference = T&;

  iterator() = default;
  explicit iterator(HubChannel* channel) : channel_(channel) { ++*this; }
  T& operator*() { return *value_; }
  T* operator->() { return &*value_; }
  // Blocks.
  iterator& operator++() {
    absl::StatusOr<T> next = channel_->Receive();
    value_.reset();
    if (next.ok()) value_.emplace(*std::move(next));
    return *this;
  }
  friend bool operator==(const iterator& a, const iterator& b) {
    return a.value_.has_value() == b.value_.has_value();
  }

 private:
  HubChannel* channel_ = nullptr;
  std::optional<T> value_;
};

template <typename T>
HubChannel<T>::HubChannel(size_t capacity) {
  GROVE_CHECK(capacity > 0 && capacity <= (size_t{1} << 40), "a HubChannel of ",
              static_cast<int64_t>(capacity), " values");
  while ((size_t{1} << shift_) < capacity) ++shift_;
  mask_ = (uint64_t{1} << shift_) - 1;
  cells_ = std::make_unique<Cell[]>(mask_ + 1);
}

template <typename T>
HubChannel<T>::~HubChannel() {
  GROVE_CHECK(senders_.waiting() + receivers_.waiting() == 0 ||
                  green_internal::Scheduler::process_exits(),
              "a HubChannel is destroyed while ", senders_.waiting(),
              " wait to send and ", receivers_.waiting(), " to receive");
  while (Pop()) {
  }
}

template <typename T>
typename HubChannel<T>::Pushed HubChannel<T>::Push(T& value) {
  uint64_t tail = tail_.load(std::memory_order_acquire);
  for (;;) {
    if (tail & kClosed) return Pushed::kClosed;
    Cell& cell = cells_[tail & mask_];
    if (cell.turn.load(std::memory_order_acquire) == 2 * Turn(tail)) {
      if (tail_.compare_exchange_weak(tail, tail + 1, std::memory_order_relaxed)) {
        ::new (static_cast<void*>(cell.value)) T(std::move(value));
        cell.turn.store(2 * Turn(tail) + 1, std::memory_order_release);
        receivers_.WakeOne();
        // As in TryReceive().
        if (senders_.waiting() > 0 && HasRoom()) senders_.WakeOne();
        return Pushed::kYes;
      }
    } else {
      const uint64_t seen = tail;
      tail = tail_.load(std::memory_order_acquire);
      if (tail == seen) return Pushed::kFull;
    }
  }
}

template <typename T>
std::optional<T> HubChannel<T>::Pop() {
  uint64_t head = head_.load(std::memory_order_acquire);
  for (;;) {
    Cell& cell = cells_[head & mask_];
    if (cell.turn.load(std::memory_order_acquire) == 2 * Turn(head) + 1) {
      if (head_.compare_exchange_weak(head, head + 1, std::memory_order_relaxed)) {
        T* stored = std::launder(reinterpret_cast<T*>(cell.value));
        std::optional<T> value(std::move(*stored));
        stored->~T();
        cell.turn.store(2 * (Turn(head) + 1), std::memory_order_release);
        return value;
      }
    } else {
      const uint64_t seen = head;
      head = head_.load(std::memory_order_acquire);
      if (head == seen) return std::nullopt;
    }
  }
}

template <typename T>
absl::Status HubChannel<T>::Send(T&& value, Deadline deadline) {
  if (green_internal::Scheduler* s = green_internal::Scheduler::GetIfExists()) {
    s->CountOperation();
  }
  for (;;) {
    switch (Push(value)) {
      case Pushed::kYes:
        return absl::OkStatus();
      case Pushed::kClosed:
        return absl::FailedPreconditionError("the HubChannel is closed");
      case Pushed::kFull:
        if (deadline == Deadline::Passed() ||
            !senders_.Wait([this] { return HasRoom(); }, deadline,
                           "room in a HubChannel")) {
          return absl::DeadlineExceededError("the HubChannel had no room in time");
        }
    }
  }
}

template <typename T>
absl::StatusOr<T> HubChannel<T>::Receive(Deadline deadline) {
  if (green_internal::Scheduler* s = green_internal::Scheduler::GetIfExists()) {
    s->CountOperation();
  }
  for (;;) {
    if (std::optional<T> value = TryReceive()) return *std::move(value);
    if (AtEnd()) {
      receivers_.WakeAll();  // at Close(), a value may have been on its way
      return absl::OutOfRangeError("the HubChannel is closed, and empty");
    }
    if (deadline == Deadline::Passed() ||
        !receivers_.Wait([this] { return HasValue(); }, deadline,
                         "a value of a HubChannel")) {
      return absl::DeadlineExceededError("the HubChannel had no value in time");
    }
  }
}

}  // namespace grove

#endif  // GROVE_SYNC_HUB_CHANNEL_H_
