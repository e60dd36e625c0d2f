#ifndef GROVE_SYNC_INTERNAL_RING_H_
#define GROVE_SYNC_INTERNAL_RING_H_

#include <cstddef>
#include <memory>
#include <utility>

namespace grove::sync_internal {

// Ring
//
// First in, first out. As std::deque, but what goes in and out at a steady pace allocates
// nothing: a deque takes a new block for every 512 bytes.
template <typename T>
class Ring {
 public:
  Ring() = default;
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;
  ~Ring() {
    Clear();
    Allocator().deallocate(items_, capacity_);
  }

  size_t size() const { return size_; }
  const T& Front() const { return items_[first_]; }
  void Push(T&& item) {
    if (size_ == capacity_) Grow();
    std::construct_at(&items_[(first_ + size_) & (capacity_ - 1)], std::move(item));
    ++size_;
  }
  T Pop() {
    T* front = &items_[first_];
    T item = std::move(*front);
    std::destroy_at(front);
    first_ = (first_ + 1) & (capacity_ - 1);
    --size_;
    return item;
  }
  void Clear() {
    while (size_ > 0) Pop();
  }

 private:
  using Allocator = std::allocator<T>;

  void Grow() {
    const size_t capacity = capacity_ == 0 ? 8 : 2 * capacity_;
    T* items = Allocator().allocate(capacity);
    for (size_t i = 0; i < size_; ++i) {
      T* old = &items_[(first_ + i) & (capacity_ - 1)];
      std::construct_at(&items[i], std::move(*old));
      std::destroy_at(old);
    }
    Allocator().deallocate(items_, capacity_);
    items_ = items;
    capacity_ = capacity;
    first_ = 0;
  }

  T* items_ = nullptr;
  size_t capacity_ = 0;  // a power of two, or none
  size_t first_ = 0;
  size_t size_ = 0;
};

}  // namespace grove::sync_internal

#endif  // GROVE_SYNC_INTERNAL_RING_H_
