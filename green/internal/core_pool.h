#ifndef GROVE_GREEN_INTERNAL_CORE_POOL_H_
#define GROVE_GREEN_INTERNAL_CORE_POOL_H_

#include <vector>

namespace grove::green_internal {

// CorePool
//
// Memory for the control blocks of one hub's greenlets, side by side: what wakes and
// switches thousands of them then goes through a few pages, and not through one for each.
// The memory of a pool that ends is used by others, and never given back to the system: a
// block that was freed can still be looked at, by whom a stale address has been left.
//
// Threads: its hub's.
class CorePool {
 public:
  CorePool() = default;
  CorePool(const CorePool&) = delete;
  CorePool& operator=(const CorePool&) = delete;
  ~CorePool();

  // For one Core, aligned to a cache line.
  void* Take() {
    if (free_ == nullptr) Refill();
    FreeBlock* block = free_;
    free_ = block->next;
    return block;
  }
  void Give(void* block) {
    FreeBlock* b = static_cast<FreeBlock*>(block);
    b->next = free_;
    free_ = b;
  }

 private:
  // Where a Core is a Runnable; what a stale address is asked, see Self::core(), stays.
  struct FreeBlock {
    FreeBlock* next;
  };
  void Refill();

  FreeBlock* free_ = nullptr;
  std::vector<void*> chunks_;
};

}  // namespace grove::green_internal

#endif  // GROVE_GREEN_INTERNAL_CORE_POOL_H_
