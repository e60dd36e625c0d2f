#ifndef GROVE_SYNC_INTERNAL_SHOWN_H_
#define GROVE_SYNC_INTERNAL_SHOWN_H_

#include <atomic>

namespace grove::sync_internal {

// Shown
//
// A part of an object's state that its home hub alone changes, and any thread may look
// at: who sees a change sees also what came before it.
template <typename T>
class Shown {
 public:
  explicit constexpr Shown(T value) : value_(value) {}
  operator T() const {  // NOLINT(google-explicit-constructor)
    return value_.load(std::memory_order_acquire);
  }
  Shown& operator=(T value) {
    value_.store(value, std::memory_order_release);
    return *this;
  }
  Shown& operator+=(T n) { return *this = value_.load(std::memory_order_relaxed) + n; }
  Shown& operator-=(T n) { return *this = value_.load(std::memory_order_relaxed) - n; }
  Shown& operator++() { return *this += 1; }
  Shown& operator--() { return *this -= 1; }

 private:
  std::atomic<T> value_;
};

}  // namespace grove::sync_internal

#endif  // GROVE_SYNC_INTERNAL_SHOWN_H_
