#ifndef GROVE_GREEN_INTERNAL_STACK_H_
#define GROVE_GREEN_INTERNAL_STACK_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "absl/status/statusor.h"
#include "grove/hub/internal/relaxed.h"

// Stacks. They are cut from large reserved regions, of which only pages that are touched
// cost memory, and guarded at their low end. Nothing is ever unmapped: a stack that is
// no longer needed is kept for the next greenlet, and beyond a number of those its
// memory, not its addresses, goes back to the system.
//
// Guards are MADV_GUARD_INSTALL where the kernel has it (Linux 6.13): they split no
// mapping, so that a million stacks need a few mappings. Elsewhere they are made by
// mprotect, two mappings each, and vm.max_map_count ends the supply at about 32,000;
// that is an error which says so.
namespace grove::green_internal {

// One stack, from low to high: `guard` bytes that must not be touched, then use.
struct Stack {
  char* low = nullptr;  // of the guard
  uint32_t size_log2 = 0;
  uint32_t index = 0;  // within its region, for colouring

  size_t size() const { return size_t{1} << size_log2; }
  char* top() const { return low + size(); }
  inline char* usable_low() const;
  bool valid() const { return low != nullptr; }
};

// How much of the low end is guarded. More than a page: code that we did not compile
// does not probe each page of a large frame, and would step over a small guard.
inline constexpr size_t kGuardSize = 16 * 1024;

inline char* Stack::usable_low() const { return low + kGuardSize; }

// What a greenlet gets unless it asks for another size, or the setting `stack_size` says
// another; guard included.
inline constexpr size_t kDefaultStackSize = 256 * 1024;
inline constexpr size_t kMinStackSize = 32 * 1024;
inline constexpr size_t kMaxStackSize = size_t{1} << 32;

// StackCache
//
// The stacks that one hub keeps warm, last in first out. Falls back on a pool that all
// hubs share.
//
// Threads: its hub's.
class StackCache {
 public:
  // Of stacks of the default size it keeps up to `max_warm`, which is not 0.
  explicit StackCache(size_t default_size = kDefaultStackSize, size_t max_warm = 1024);
  StackCache(const StackCache&) = delete;
  StackCache& operator=(const StackCache&) = delete;
  ~StackCache() { Clear(); }

  // StackCache::Clear()
  //
  // Gives what it keeps to the pool.
  void Clear();

  // StackCache::Take()
  //
  // A stack of at least `size` bytes (rounded up to a power of two). kResourceExhausted,
  // naming the limit, if the system gives no more; kInvalidArgument for sizes beyond the
  // bounds above.
  absl::StatusOr<Stack> Take(size_t size);

  // StackCache::TakeDefault()
  //
  // As Take(default_size()), but an invalid stack for "ask Take()": the short path of
  // Spawn.
  Stack TakeDefault() {
    if (warm_ == nullptr) return {};
    Link* link = warm_;
    warm_ = link->next;
    --warm_count_;
    return link->stack;
  }

  void Give(Stack stack);

  // StackCache::Reserve()
  //
  // Whether there are `n` more stacks of the default size, which then are kept warm: as
  // long as they are, the answer costs nothing.
  bool Reserve(size_t n) { return warm() >= std::min(n, max_warm_) || ReserveSlow(n); }

  size_t default_size() const { return default_size_; }
  // How many it keeps, and how many it has handed out that did not come back yet. From
  // any thread.
  size_t in_use() const {
    const size_t held = held_;
    const size_t idle = idle_count();
    return held > idle ? held - idle : 0;
  }
  size_t idle_count() const { return warm_count_.FromElsewhere() + odd_count_; }
  size_t warm() const { return warm_count_; }

  // Lies in an idle stack's own top page, which its next user touches first.
  struct Link {
    Link* next;
    Stack stack;
  };

 private:
  bool ReserveSlow(size_t n);
  void GiveBack(Stack stack);

  const size_t default_size_;
  const uint32_t default_log2_;
  const size_t max_warm_;
  Link* warm_ = nullptr;
  hub_internal::Published<size_t> warm_count_{0};
  hub_internal::Relaxed<size_t> odd_count_{0};
  hub_internal::Relaxed<size_t> held_{0};  // taken from the pool, and not given back
  Stack odd_;                              // of another size, the last to end
};

// Releases the memory of what lies below `sp`, to which nothing was pushed that is needed
// still; the addresses stay.
void ReleaseBelow(Stack stack, const void* sp);

// Keeps the stack's addresses and releases its memory. Not for the stack that the caller
// runs on.
void GiveToSharedPool(Stack stack);

// StackStats
//
// Of the whole process.
struct StackStats {
  size_t cut = 0;   // stacks ever made
  size_t idle = 0;  // of those, in the shared pool
  bool lightweight_guards = false;
};
StackStats GetStackStats();

// How many bytes of it have ever been touched, by whole pages, since its memory was last
// given to the system: by those who had it before, too.
size_t TouchedBytes(Stack stack);

// What stack, if any, has this address in its guard. Takes no lock: for signal handlers.
bool FindStackByGuard(const void* address, Stack* stack);
// The stack that contains an address, guard included.
bool FindStack(const void* address, Stack* stack);

// For tests: pretend that the kernel has no MADV_GUARD_INSTALL. Before any stack is cut.
void DisableLightweightGuards();

}  // namespace grove::green_internal

#endif  // GROVE_GREEN_INTERNAL_STACK_H_
