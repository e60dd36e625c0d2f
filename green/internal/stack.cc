#include "grove/green/internal/stack.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <mutex>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "grove/green/internal/process_mutex.h"
#include "grove/green/internal/sanitizer.h"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

namespace grove::green_internal {
namespace {

constexpr int kMaxLog2 = std::countr_zero(kMaxStackSize);

// A region holds stacks of one size. The first is small, later ones
// double: few mappings for many stacks, few addresses for few.
constexpr size_t kFirstRegion = 64;
constexpr size_t kMaxRegionBytes = size_t{1} << 34;
constexpr int kMaxRegions = 4096;

// Of a stack in use: pointers that only a parked greenlet holds are no leaks. What is
// idle is no root, or LeakSanitizer would read gigabytes after hundreds of large stacks.
void AddRoots(Stack stack) {
  SanitizerAddRoots(stack.usable_low(), stack.size() - kGuardSize);
}
void RemoveRoots(Stack stack) {
  SanitizerRemoveRoots(stack.usable_low(), stack.size() - kGuardSize);
}

// From one stack to the next. One page more than a stack: at a distance of a power of two
// the tops of all stacks would share a few sets of the TLB, and each switch among
// thousands would walk the page table (measured: a tenth of an echo server's CPU at
// 1,000 connections).
constexpr size_t Stride(int size_log2) { return (size_t{1} << size_log2) + 4096; }

struct Region {
  char* low;
  size_t bytes;
  int size_log2;
};

class SharedPool {
 public:
  static SharedPool& Get() {
    // Never destroyed: greenlets may outlive main().
    static SharedPool* const pool = new SharedPool;
    return *pool;
  }

  absl::StatusOr<Stack> Take(int log2) {
    std::lock_guard lock(mutex_);
    Class& c = classes_[log2];
    if (!c.idle.empty()) {
      const Stack stack = c.idle.back();
      c.idle.pop_back();
      --idle_;
      AddRoots(stack);
      return stack;
    }
    return Cut(log2, c);
  }

  void Give(Stack stack) {
    // The addresses stay, the memory goes.
    madvise(stack.usable_low(), stack.size() - kGuardSize, MADV_DONTNEED);
    std::lock_guard lock(mutex_);
    RemoveRoots(stack);
    classes_[stack.size_log2].idle.push_back(stack);
    ++idle_;
  }

  StackStats Stats() {
    std::lock_guard lock(mutex_);
    return {cut_, idle_, lightweight_};
  }

  // No lock: regions are only added, and published by the count.
  const Region* FindRegion(const void* address) const {
    const char* p = static_cast<const char*>(address);
    const int n = region_count_.load(std::memory_order_acquire);
    for (int i = 0; i < n; ++i) {
      if (p >= regions_[i].low && p < regions_[i].low + regions_[i].bytes) {
        return &regions_[i];
      }
    }
    return nullptr;
  }

  void DisableLightweightGuards() {
    std::lock_guard lock(mutex_);
    lightweight_ = false;
  }

 private:
  struct Class {
    std::vector<Stack> idle;
    char* region = nullptr;  // that stacks are now cut from
    size_t region_stacks = 0;
    size_t used = 0;
  };

  absl::StatusOr<Stack> Cut(int log2, Class& c) {
    if (c.used == c.region_stacks) {
      if (absl::Status s = AddRegion(log2, c); !s.ok()) return s;
    }
    Stack stack;
    stack.low = c.region + c.used * Stride(log2);
    stack.size_log2 = log2;
    stack.index = static_cast<uint32_t>(c.used);
    if (absl::Status s = Guard(stack); !s.ok()) return s;
    SanitizerAddStack(stack.usable_low(), stack.top());
    AddRoots(stack);
    ++c.used;
    ++cut_;
    return stack;
  }

  absl::Status AddRegion(int log2, Class& c) {
    const int n = region_count_.load(std::memory_order_relaxed);
    if (n == kMaxRegions) {
      return absl::ResourceExhaustedError(
          absl::StrCat("no greenlet stack: all ", kMaxRegions, " regions are in use"));
    }
    const size_t stride = Stride(log2);
    size_t stacks = c.region_stacks ? c.region_stacks * 2 : kFirstRegion;
    stacks = std::clamp<size_t>(stacks, 1, std::max<size_t>(1, kMaxRegionBytes / stride));
    void* region = mmap(nullptr, stacks * stride, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (region == MAP_FAILED) {
      return absl::ResourceExhaustedError(absl::StrCat(
          "no greenlet stack: cannot reserve ", stacks * stride, " bytes of addresses: ",
          strerror(errno), " (limits: RLIMIT_AS, vm.overcommit_memory)"));
    }
    // A huge page would make one touched stack cost as much as 512.
    madvise(region, stacks * stride, MADV_NOHUGEPAGE);
    c.region = static_cast<char*>(region);
    c.region_stacks = stacks;
    c.used = 0;
    regions_[n] = {c.region, stacks * stride, log2};
    region_count_.store(n + 1, std::memory_order_release);
    return absl::OkStatus();
  }

  absl::Status Guard(Stack stack) {
    if (lightweight_) {
      if (madvise(stack.low, kGuardSize, MADV_GUARD_INSTALL) == 0) {
        return absl::OkStatus();
      }
      // EINVAL: an older kernel, or locked memory (mlockall), which cannot have them.
      if (errno != EINVAL) {
        return absl::ResourceExhaustedError(absl::StrCat(
            "no greenlet stack: cannot guard number ", cut_ + 1, ": ", strerror(errno)));
      }
      if (cut_ == 0) lightweight_ = false;
    }
    if (mprotect(stack.low, kGuardSize, PROT_NONE) == 0) return absl::OkStatus();
    return absl::ResourceExhaustedError(absl::StrCat(
        "no greenlet stack: cannot guard number ", cut_ + 1, ": ", strerror(errno),
        errno == ENOMEM ? " (limit: sysctl vm.max_map_count; on this kernel each guard "
                          "takes two mappings, on Linux 6.13 and later none)"
                        : ""));
  }

  ProcessMutex mutex_;
  // LeakSanitizer reads whole regions, and would die of a guard that /proc/self/maps
  // does not show.
  bool lightweight_ = !GROVE_ASAN;
  size_t cut_ = 0;
  size_t idle_ = 0;
  std::array<Class, kMaxLog2 + 1> classes_;
  std::atomic<int> region_count_{0};
  std::array<Region, kMaxRegions> regions_;
};

// Of the stack that a greenlet gets who asks for `size`.
int Log2For(size_t size) {
  return std::bit_width(std::bit_ceil(size * kStackFactor)) - 1;
}

StackCache::Link* LinkOf(Stack stack) {
  return reinterpret_cast<StackCache::Link*>(stack.top() - sizeof(StackCache::Link));
}

}  // namespace

StackCache::StackCache(size_t default_size, size_t max_warm)
    : default_size_(default_size),
      default_log2_(Log2For(default_size)),
      max_warm_(max_warm) {}

absl::StatusOr<Stack> StackCache::Take(size_t size) {
  if (size < kMinStackSize || size > kMaxStackSize / kStackFactor) {
    return absl::InvalidArgumentError(absl::StrCat("a stack of ", size,
                                                   " bytes: the least is ", kMinStackSize,
                                                   ", the most ", kMaxStackSize));
  }
  const uint32_t log2 = Log2For(size);
  if (log2 == default_log2_) {
    if (Stack s = TakeDefault(); s.valid()) return s;
  }
  if (odd_.size_log2 == log2) {
    odd_count_ = 0;
    return std::exchange(odd_, Stack());
  }
  absl::StatusOr<Stack> taken = SharedPool::Get().Take(log2);
  if (taken.ok()) ++held_;
  return taken;
}

void StackCache::Give(Stack stack) {
  // `stack` may be the one that this runs on, so its memory cannot be released now:
  // another one's is.
  if (stack.size_log2 != default_log2_) {
    if (odd_.valid()) GiveBack(odd_);
    odd_ = stack;
    odd_count_ = 1;
    return;
  }
  if (warm_count_ == max_warm_) GiveBack(TakeDefault());
  Link* link = LinkOf(stack);
  SanitizerReuse(link, sizeof *link);
  link->stack = stack;
  link->next = warm_;
  warm_ = link;
  ++warm_count_;
}

// Twice as many, so that those who spawn one at a time do not come here each time.
bool StackCache::ReserveSlow(size_t n) {
  std::vector<Stack> taken;
  while (taken.size() < std::min(2 * n, max_warm_)) {
    absl::StatusOr<Stack> stack = Take(default_size_);
    if (!stack.ok()) break;
    taken.push_back(*stack);
  }
  for (const Stack& stack : taken) Give(stack);
  return taken.size() >= std::min(n, max_warm_);
}

void StackCache::Clear() {
  if (odd_.valid()) GiveBack(std::exchange(odd_, Stack()));
  odd_count_ = 0;
  while (warm_) GiveBack(TakeDefault());
}

void StackCache::GiveBack(Stack stack) {
  GiveToSharedPool(stack);
  if (held_ > 0) --held_;  // a stack may come from elsewhere
}

void ReleaseBelow(Stack stack, const void* sp) {
  // Beneath its stack pointer a function may use 128 bytes more (System V ABI for x86-64,
  // section 3.2.2).
  constexpr uintptr_t kRedZone = 128;
  const uintptr_t page = (reinterpret_cast<uintptr_t>(sp) - kRedZone) & ~uintptr_t{4095};
  char* const low = stack.usable_low();
  char* const end = reinterpret_cast<char*>(page);
  if (end > low) madvise(low, end - low, MADV_DONTNEED);
}

void GiveToSharedPool(Stack stack) { SharedPool::Get().Give(stack); }

StackStats GetStackStats() { return SharedPool::Get().Stats(); }

bool FindStack(const void* address, Stack* stack) {
  const Region* region = SharedPool::Get().FindRegion(address);
  if (region == nullptr) return false;
  const size_t offset = static_cast<const char*>(address) - region->low;
  const size_t stride = Stride(region->size_log2);
  stack->index = static_cast<uint32_t>(offset / stride);
  stack->size_log2 = region->size_log2;
  stack->low = region->low + stack->index * stride;
  return address < stack->top();  // else it lies between two
}

bool FindStackByGuard(const void* address, Stack* stack) {
  return FindStack(address, stack) && address < stack->usable_low();
}

void DisableLightweightGuards() { SharedPool::Get().DisableLightweightGuards(); }

// Of anonymous memory, mincore(2) says which pages there are.
size_t TouchedBytes(Stack stack) {
  const size_t page = static_cast<size_t>(getpagesize());
  std::vector<unsigned char> pages(static_cast<size_t>(stack.top() - stack.usable_low()) /
                                   page);
  if (mincore(stack.usable_low(), pages.size() * page, pages.data()) != 0) return 0;
  size_t touched = 0;
  for (const unsigned char p : pages) touched += p & 1;
  return touched * page;
}

}  // namespace grove::green_internal
