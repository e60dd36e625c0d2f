#ifndef GROVE_HUB_INTERNAL_RELAXED_H_
#define GROVE_HUB_INTERNAL_RELAXED_H_

#include <atomic>

namespace grove::hub_internal {

// Relaxed
//
// A variable that one hub's thread alone changes, and that any thread may look at: at
// home as cheap as a plain variable, and elsewhere a value that was true a moment ago.
template <typename T>
class Relaxed {
 public:
  explicit constexpr Relaxed(T value) : value_(value) {}
  operator T() const {  // NOLINT(google-explicit-constructor)
    return value_.load(std::memory_order_relaxed);
  }
  T operator->() const { return *this; }
  Relaxed& operator=(T value) {
    value_.store(value, std::memory_order_relaxed);
    return *this;
  }
  Relaxed& operator+=(T n) { return *this = *this + n; }
  Relaxed& operator-=(T n) { return *this = *this - n; }
  Relaxed& operator++() { return *this += 1; }
  Relaxed& operator--() { return *this -= 1; }

 private:
  std::atomic<T> value_;
};

// Published
//
// As Relaxed, for what the hottest paths read and write: its owner's reads are plain, so
// that the compiler may join them with others, and whoever else looks says so.
template <typename T>
class Published {
 public:
  explicit constexpr Published(T value) : value_(value) {}
  // At home.
  operator T() const { return value_; }  // NOLINT(google-explicit-constructor)
  T operator->() const { return value_; }
  Published& operator=(T value) {
    __atomic_store_n(&value_, value, __ATOMIC_RELAXED);
    return *this;
  }
  Published& operator++() { return *this = value_ + 1; }
  Published& operator--() { return *this = value_ - 1; }

  // From any thread.
  T FromElsewhere() const { return __atomic_load_n(&value_, __ATOMIC_RELAXED); }

 private:
  T value_;
};

}  // namespace grove::hub_internal

#endif  // GROVE_HUB_INTERNAL_RELAXED_H_
