#ifndef GROVE_GREEN_INTERNAL_INHERITED_H_
#define GROVE_GREEN_INTERNAL_INHERITED_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "grove/hub/deadline.h"

namespace grove::green_internal {

// Inherited
//
// What a greenlet has from the one that spawned it: the deadline and the values in force
// at that moment. Never changed once it is in use: who sets a value makes a new one. So a
// spawn costs a pointer, and a count if there is anything to inherit. There are few
// values: they are looked for from the first to the last, and one that is set again
// replaces the old one, so that chains of spawns do not grow.
//
// Threads: any; the counts are atomic, for the last to let go may be on another thread.
class Inherited {
 public:
  Inherited() = default;
  Inherited(const Inherited& base) : deadline(base.deadline), values_(base.values_) {}
  Inherited& operator=(const Inherited&) = delete;

  Deadline deadline;

  const void* Find(uint64_t key) const {
    for (const Value& v : values_) {
      if (v.key == key) return v.value.get();
    }
    return nullptr;
  }
  // Only while it is being made.
  void Set(uint64_t key, std::shared_ptr<const void> value);

 private:
  friend class InheritedRef;

  struct Value {
    uint64_t key;
    std::shared_ptr<const void> value;
  };

  mutable std::atomic<uint32_t> refs_{1};
  std::vector<Value> values_;
};

// InheritedRef
//
// Holds an Inherited; null where nothing is inherited.
class InheritedRef {
 public:
  InheritedRef() = default;
  InheritedRef(const InheritedRef& other) : block_(other.block_) {
    if (block_) block_->refs_.fetch_add(1, std::memory_order_relaxed);
  }
  InheritedRef(InheritedRef&& other) noexcept
      : block_(std::exchange(other.block_, nullptr)) {}
  InheritedRef& operator=(InheritedRef other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }
  ~InheritedRef() {
    if (block_) Release(block_);
  }

  // What `base` has, with one thing changed.
  static InheritedRef WithValue(const InheritedRef& base, uint64_t key,
                                std::shared_ptr<const void> value);
  static InheritedRef WithDeadline(const InheritedRef& base, Deadline deadline);

  // A key that no other has.
  static uint64_t NewKey();

  const Inherited* get() const { return block_; }
  const Inherited* operator->() const { return block_; }
  explicit operator bool() const { return block_ != nullptr; }
  friend bool operator==(const InheritedRef&, const InheritedRef&) = default;

 private:
  explicit InheritedRef(const Inherited* block) : block_(block) {}
  static void Release(const Inherited* block);

  const Inherited* block_ = nullptr;
};

}  // namespace grove::green_internal

#endif  // GROVE_GREEN_INTERNAL_INHERITED_H_
