#include "grove/green/internal/stack.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "grove/green/internal/sanitizer.h"

namespace grove::green_internal {
namespace {

using ::testing::ExitedWithCode;
using ::testing::HasSubstr;

// By SIGSEGV, or by what a sanitizer makes of it.
bool DiedOfAFault(int status) {
  if (GROVE_ASAN || GROVE_TSAN) return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV;
}

void Touch(char* address) { *static_cast<volatile char*>(address) = 1; }

TEST(StackCache, ReusesFirstWhatWasGivenBackLast) {
  StackCache cache;
  const Stack a = *cache.Take(kDefaultStackSize);
  const Stack b = *cache.Take(kDefaultStackSize);
  EXPECT_NE(a.low, b.low);
  cache.Give(a);
  cache.Give(b);
  EXPECT_EQ(cache.warm(), 2u);
  EXPECT_EQ(cache.Take(kDefaultStackSize)->low, b.low);
  EXPECT_EQ(cache.TakeDefault().low, a.low);
  EXPECT_EQ(cache.warm(), 0u);
  EXPECT_FALSE(cache.TakeDefault().valid()) << "only Take() asks the shared pool";
  cache.Give(a);
  cache.Give(b);
}

TEST(StackCache, RoundsSizesUpToAPowerOfTwo) {
  StackCache cache;
  const struct {
    size_t asked;
    size_t got;
  } cases[] = {{kMinStackSize, kMinStackSize},
               {kMinStackSize + 1, 2 * kMinStackSize},
               {100'000, 131'072},
               {kDefaultStackSize, kDefaultStackSize},
               {5'000'000, 8'388'608}};
  for (const auto& c : cases) {
    const absl::StatusOr<Stack> stack = cache.Take(c.asked);
    ASSERT_TRUE(stack.ok()) << stack.status();
    EXPECT_EQ(stack->size(), c.got * kStackFactor) << c.asked;
    EXPECT_EQ(stack->top(), stack->low + stack->size());
    EXPECT_EQ(stack->usable_low(), stack->low + kGuardSize);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(stack->low) % 4096, 0u);
    cache.Give(*stack);
  }
}

TEST(StackCache, RefusesSizesBeyondItsBounds) {
  StackCache cache;
  for (const size_t size : {size_t{0}, size_t{1}, kMinStackSize - 1, kMaxStackSize + 1,
                            ~size_t{0}, ~size_t{0} / 2 + 1}) {
    const absl::StatusOr<Stack> stack = cache.Take(size);
    EXPECT_EQ(stack.status().code(), absl::StatusCode::kInvalidArgument) << size;
    EXPECT_THAT(std::string(stack.status().message()),
                HasSubstr("the least is " + std::to_string(kMinStackSize)));
  }
}

TEST(StackCache, TheLargestSizeIsAvailable) {
  // Addresses only: nothing is touched.
  StackCache cache;
  const absl::StatusOr<Stack> stack = cache.Take(kMaxStackSize / kStackFactor);
  ASSERT_TRUE(stack.ok()) << stack.status();
  EXPECT_EQ(stack->size(), kMaxStackSize);
  Touch(stack->usable_low());
  Touch(stack->top() - 1);
  cache.Give(*stack);
}

TEST(StackCache, AllButTheGuardCanBeUsed) {
  StackCache cache;
  for (const size_t size : {kMinStackSize, kDefaultStackSize, size_t{1} << 20}) {
    const Stack stack = *cache.Take(size);
    memset(stack.usable_low(), 0x5a, stack.top() - stack.usable_low());
    EXPECT_EQ(*stack.usable_low(), 0x5a);
    EXPECT_EQ(*(stack.top() - 1), 0x5a);
    cache.Give(stack);
  }
}

TEST(StackCache, KeepsTheLastOneOfAnotherSize) {
  StackCache cache;
  const Stack a = *cache.Take(64 * 1024);
  const Stack b = *cache.Take(64 * 1024);
  cache.Give(a);
  const size_t idle = GetStackStats().idle;
  cache.Give(b);
  EXPECT_EQ(GetStackStats().idle, idle + 1) << "the one before went to the shared pool";
  EXPECT_EQ(cache.Take(64 * 1024)->low, b.low);
  EXPECT_EQ(cache.Take(64 * 1024)->low, a.low) << "and can be had from there";
  cache.Give(a);
  cache.Give(b);
}

TEST(StackCache, KeepsAThousandWarmAndGivesTheRestBack) {
  constexpr size_t kStacks = 1100;
  StackCache cache;
  std::vector<Stack> stacks;
  for (size_t i = 0; i < kStacks; ++i) stacks.push_back(*cache.Take(kDefaultStackSize));
  const size_t idle = GetStackStats().idle;
  for (const Stack& stack : stacks) cache.Give(stack);
  EXPECT_EQ(cache.warm(), 1024u);
  EXPECT_EQ(GetStackStats().idle, idle + kStacks - 1024);
}

TEST(StackCache, GivesAllBackWhenItEnds) {
  const size_t in_use = GetStackStats().cut - GetStackStats().idle;
  {
    StackCache cache;
    std::vector<Stack> stacks;
    for (int i = 0; i < 10; ++i) {
      stacks.push_back(*cache.Take(kDefaultStackSize));
      stacks.push_back(*cache.Take(128 * 1024));
    }
    EXPECT_EQ(GetStackStats().cut - GetStackStats().idle, in_use + 20);
    for (const Stack& stack : stacks) cache.Give(stack);
  }
  EXPECT_EQ(GetStackStats().cut - GetStackStats().idle, in_use);
}

TEST(SharedPool, ReleasesTheMemoryAndKeepsTheAddresses) {
  StackCache cache;
  const Stack stack = *cache.Take(1 << 20);
  memset(stack.usable_low(), 0x5a, stack.top() - stack.usable_low());
  GiveToSharedPool(stack);
  const size_t cut = GetStackStats().cut;
  const Stack again = *cache.Take(1 << 20);
  EXPECT_EQ(again.low, stack.low) << "last in, first out";
  EXPECT_EQ(GetStackStats().cut, cut) << "none was made anew";
  EXPECT_EQ(std::count(again.usable_low(), again.top(), 0),
            again.top() - again.usable_low())
      << "fresh memory reads as zero";
  cache.Give(again);
}

TEST(SharedPool, IsSharedByThreads) {
  // Of a size that no other test uses, so that the idle ones are ours.
  constexpr size_t kSize = 4 << 20;
  char* low = nullptr;
  std::thread([&] {
    StackCache cache;
    const Stack stack = *cache.Take(kSize);
    low = stack.low;
    cache.Give(stack);
  }).join();
  StackCache cache;
  const Stack stack = *cache.Take(kSize);
  EXPECT_EQ(stack.low, low);
  cache.Give(stack);
}

TEST(SharedPool, NeverGivesOneStackToTwoThreads) {
  constexpr int kThreads = 4;
  constexpr int kRounds = 200;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([t] {
      const char mine = static_cast<char>('a' + t);
      for (int round = 0; round < kRounds; ++round) {
        StackCache cache;
        std::vector<Stack> stacks;
        for (int i = 0; i < 8; ++i) {
          stacks.push_back(*cache.Take(i % 2 ? kDefaultStackSize : kMinStackSize));
          *stacks.back().usable_low() = mine;
        }
        for (const Stack& stack : stacks) {
          EXPECT_EQ(*stack.usable_low(), mine);
          cache.Give(stack);
        }
      }
    });
  }
  for (std::thread& t : threads) t.join();
}

TEST(Stack, StacksDoNotOverlap) {
  StackCache cache;
  std::vector<Stack> stacks;
  for (int i = 0; i < 200; ++i) {
    stacks.push_back(*cache.Take(i % 2 ? kDefaultStackSize : kMinStackSize));
  }
  std::sort(stacks.begin(), stacks.end(),
            [](const Stack& a, const Stack& b) { return a.low < b.low; });
  for (size_t i = 1; i < stacks.size(); ++i) {
    EXPECT_LE(stacks[i - 1].top(), stacks[i].low);
  }
  for (const Stack& stack : stacks) cache.Give(stack);
}

TEST(FindStack, KnowsEveryAddressOfAStack) {
  StackCache cache;
  for (const size_t size : {kMinStackSize, kDefaultStackSize, size_t{2} << 20}) {
    const Stack stack = *cache.Take(size);
    for (const char* address :
         {stack.low, stack.low + kGuardSize - 1, stack.usable_low(), stack.top() - 1}) {
      Stack found;
      ASSERT_TRUE(FindStack(address, &found));
      EXPECT_EQ(found.low, stack.low);
      EXPECT_EQ(found.size(), stack.size());
      EXPECT_EQ(found.index, stack.index);
    }
    // What lies next to it, be it another stack or nothing, is not part of it.
    for (const char* address : {stack.low - 1, stack.top(), stack.top() + 4096}) {
      Stack found;
      if (!FindStack(address, &found)) continue;
      EXPECT_NE(found.low, stack.low) << address - stack.low;
      EXPECT_TRUE(address >= found.low && address < found.top()) << address - stack.low;
    }
    cache.Give(stack);
  }
}

TEST(FindStack, TellsTheGuardFromTheRest) {
  StackCache cache;
  const Stack stack = *cache.Take(kDefaultStackSize);
  Stack found;
  EXPECT_TRUE(FindStackByGuard(stack.low, &found));
  EXPECT_EQ(found.low, stack.low);
  EXPECT_TRUE(FindStackByGuard(stack.low + kGuardSize - 1, &found));
  EXPECT_FALSE(FindStackByGuard(stack.usable_low(), &found));
  EXPECT_FALSE(FindStackByGuard(stack.top() - 1, &found));
  cache.Give(stack);
}

TEST(FindStack, DoesNotClaimOtherMemory) {
  int local = 0;
  static int global = 0;
  auto heap = std::make_unique<int>(0);
  Stack found;
  for (const void* address :
       {static_cast<const void*>(&local), static_cast<const void*>(&global),
        static_cast<const void*>(heap.get()), static_cast<const void*>(nullptr)}) {
    EXPECT_FALSE(FindStack(address, &found));
    EXPECT_FALSE(FindStackByGuard(address, &found));
  }
}

TEST(StackDeathTest, EveryByteOfTheGuardFaults) {
  StackCache cache;
  const Stack stack = *cache.Take(kDefaultStackSize);
  for (char* address : {stack.low, stack.low + kGuardSize / 2, stack.usable_low() - 1}) {
    EXPECT_EXIT(Touch(address), DiedOfAFault, "") << address - stack.low;
  }
  EXPECT_EXIT(
      {
        Touch(stack.usable_low());
        _exit(0);
      },
      ExitedWithCode(0), "");
  cache.Give(stack);
}

TEST(StackDeathTest, TheGuardIsStillThereWhenAStackIsReused) {
  StackCache cache;
  const Stack stack = *cache.Take(512 * 1024);
  GiveToSharedPool(stack);  // which releases what it may release
  const Stack again = *cache.Take(512 * 1024);
  ASSERT_EQ(again.low, stack.low);
  EXPECT_EXIT(Touch(again.low), DiedOfAFault, "");
  EXPECT_EXIT(Touch(again.usable_low() - 1), DiedOfAFault, "");
  cache.Give(again);
}

// Whether /proc/self/maps has a mapping of exactly these bounds that cannot be touched.
bool MappedWithoutAccess(const char* low, const char* high) {
  char wanted[64];
  snprintf(wanted, sizeof wanted, "%lx-%lx ---p", reinterpret_cast<unsigned long>(low),
           reinterpret_cast<unsigned long>(high));
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    if (line.compare(0, strlen(wanted), wanted) == 0) return true;
  }
  return false;
}

// The tests below change the whole process, so they do it in a child.

TEST(StackDeathTest, WithoutLightweightGuardsTheyAreMadeByMprotect) {
  // Of a size that has no idle stacks which were guarded before.
  constexpr size_t kSize = 16 << 20;
  EXPECT_EXIT(
      {
        DisableLightweightGuards();
        StackCache cache;
        const Stack stack = *cache.Take(kSize);
        Touch(stack.usable_low());
        Touch(stack.top() - 1);
        const bool ok = !GetStackStats().lightweight_guards &&
                        MappedWithoutAccess(stack.low, stack.usable_low());
        _exit(ok ? 0 : 1);
      },
      ExitedWithCode(0), "");
  EXPECT_EXIT(
      {
        DisableLightweightGuards();
        StackCache cache;
        Touch(cache.Take(kSize)->usable_low() - 1);
      },
      DiedOfAFault, "");
}

#if !GROVE_ASAN && !GROVE_TSAN  // their own allocators die first when mappings run out
TEST(StackDeathTest, RunningOutOfMappingsIsAnErrorThatNamesTheLimit) {
  EXPECT_EXIT(
      {
        DisableLightweightGuards();
        StackCache cache;
        absl::StatusOr<Stack> stack = cache.Take(kMinStackSize);
        // Twice as many as any kernel's limit is likely to allow: 2^20 mappings.
        for (int i = 0; i < (1 << 20) && stack.ok(); ++i) {
          stack = cache.Take(kMinStackSize);
        }
        fprintf(stderr, "%s\n", std::string(stack.status().message()).c_str());
        _exit(stack.status().code() == absl::StatusCode::kResourceExhausted ? 0 : 1);
      },
      ExitedWithCode(0),
      "cannot guard number [0-9]+: Cannot allocate memory \\(limit: sysctl "
      "vm.max_map_count");
}
#endif

// Allows this process no more than `more` bytes of addresses beyond what it has.
void LimitAddresses(size_t more) {
  size_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  rlimit limit{};
  limit.rlim_cur = limit.rlim_max = pages * sysconf(_SC_PAGESIZE) + more;
  if (setrlimit(RLIMIT_AS, &limit) != 0) _exit(99);
}

TEST(StackDeathTest, RunningOutOfAddressesIsAnErrorThatNamesTheLimit) {
  constexpr size_t kSize = 32 << 20;  // a region of these is more than what is left
  EXPECT_EXIT(
      {
        LimitAddresses(16 << 20);
        StackCache cache;
        const absl::StatusOr<Stack> stack = cache.Take(kSize);
        fprintf(stderr, "%s\n", std::string(stack.status().message()).c_str());
        _exit(stack.status().code() == absl::StatusCode::kResourceExhausted ? 0 : 1);
      },
      ExitedWithCode(0),
      "no greenlet stack: cannot reserve [0-9]+ bytes of addresses: Cannot allocate "
      "memory \\(limits: RLIMIT_AS, vm.overcommit_memory\\)");
}

TEST(StackDeathTest, AfterRunningOutOfAddressesIdleStacksCanStillBeHad) {
  constexpr size_t kSize = 32 << 20;
  EXPECT_EXIT(
      {
        StackCache cache;
        const Stack stack = *cache.Take(kDefaultStackSize);
        LimitAddresses(16 << 20);
        const bool refused = !cache.Take(kSize).ok();
        cache.Give(stack);
        const absl::StatusOr<Stack> again = cache.Take(kDefaultStackSize);
        _exit(refused && again.ok() && again->low == stack.low ? 0 : 1);
      },
      ExitedWithCode(0), "");
}

}  // namespace
}  // namespace grove::green_internal
