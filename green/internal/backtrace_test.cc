#include "grove/green/internal/backtrace.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <string>
#include <vector>

#include "grove/green/greenlet.h"
#include "grove/green/internal/scheduler.h"
#include "grove/green/sleep.h"
#include "grove/green/testing/greenlet_test.h"

namespace grove::green_internal {
namespace {

using ::testing::Contains;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

constexpr int kMax = 100;

[[gnu::noinline]] void Inner() {
  Sleep(absl::InfiniteDuration());
  asm volatile("");
}

[[gnu::noinline]] void Outer(int depth) {
  if (depth > 0) {
    Outer(depth - 1);
  } else {
    Inner();
  }
  asm volatile("");
}

int Compare(const void*, const void*) {
  Inner();
  return 0;
}

// By way of a library that was built without frame pointers, or may have been.
[[gnu::noinline]] void Sort() {
  int numbers[2] = {2, 1};
  qsort(numbers, 2, sizeof(int), &Compare);
  asm volatile("");
}

// Not in braces: two pointers would be a list of them.
std::vector<void*> Unwound(const Core* core) {
  void* pcs[kMax];
  return std::vector<void*>(pcs, pcs + BacktraceOf(core->context, pcs, kMax));
}

std::vector<void*> Framed(const Core* core) {
  void* pcs[kMax];
  const int count =
      FramesOf(core->context, core->stack.usable_low(), core->stack.top(), pcs, kMax);
  return std::vector<void*>(pcs, pcs + count);
}

std::vector<std::string> Symbols(const std::vector<void*>& pcs) {
  std::vector<std::string> symbols;
  for (void* pc : pcs) symbols.push_back(SymbolOf(pc));
  return symbols;
}

class BacktraceTest : public GreenletTest {
 protected:
  // The symbolizer keeps the files of the program open.
  GreenletTestOptions Options() const override { return {.check_descriptors = false}; }
};

const Core* CoreOf(const Greenlet<>& g) { return Scheduler::Get().Find(g.id()); }

GREENLET_TEST_F(BacktraceTest, OfAGreenletThatWaitsLeadsToWhereItBegan) {
  const auto g = Spawn([] { Outer(2); });
  Yield();
  const std::vector<std::string> symbols = Symbols(Unwound(CoreOf(g)));
  EXPECT_THAT(symbols, Contains(HasSubstr("Inner()")).Times(1));
  EXPECT_THAT(symbols, Contains(HasSubstr("Outer()")).Times(3));
  EXPECT_THAT(symbols, Contains(HasSubstr("GreenletMain")).Times(1));
  EXPECT_THAT(symbols.back(), HasSubstr("GreenletMain"));
  EXPECT_THAT(symbols, Contains(HasSubstr("grove::Sleep()")).Times(1));
  g.Kill();
}

GREENLET_TEST_F(BacktraceTest, FramePointersLeadThereToo) {
  const auto g = Spawn([] { Outer(2); });
  Yield();
  EXPECT_THAT(Framed(CoreOf(g)), ElementsAreArray(Unwound(CoreOf(g))));
  g.Kill();
}

GREENLET_TEST_F(BacktraceTest, GoesThroughWhatHasNoFramePointers) {
  const auto g = Spawn([] { Sort(); });
  Yield();
  EXPECT_THAT(Symbols(Unwound(CoreOf(g))), Contains(HasSubstr("Sort()")));
  g.Kill();
}

GREENLET_TEST_F(BacktraceTest, OfTheMainGreenletLeadsToMain) {
  // The test's body is a greenlet of its own; the main one waits for it.
  EXPECT_THAT(Symbols(Unwound(Scheduler::Get().main())), Contains(HasSubstr("main")));
}

GREENLET_TEST_F(BacktraceTest, FramePointersThatLeadAstrayAreNotFollowed) {
  const auto g = Spawn([] { Outer(2); });
  Yield();
  const Core* core = CoreOf(g);
  const Context good = core->context;
  const char* low = core->stack.usable_low();
  const char* top = core->stack.top();
  void* pcs[kMax];
  const auto count = [&](const void* fp) {
    Context bad = good;
    bad.fp = const_cast<void*>(fp);
    return FramesOf(bad, low, top, pcs, kMax);
  };
  EXPECT_GT(count(good.fp), 0);
  EXPECT_EQ(count(top), 0);
  EXPECT_EQ(count(top - 8), 0);
  EXPECT_EQ(count(low), 0);
  EXPECT_EQ(count(static_cast<const char*>(good.fp) + 4), 0);
  EXPECT_EQ(count(reinterpret_cast<void*>(1)), 0);
  g.Kill();
}

GREENLET_TEST_F(BacktraceTest, StopsWhereThereIsNoMoreRoom) {
  const auto g = Spawn([] { Outer(50); });
  Yield();
  const Core* core = CoreOf(g);
  void* pcs[10];
  EXPECT_EQ(BacktraceOf(core->context, pcs, 10), 10);
  EXPECT_EQ(FramesOf(core->context, core->stack.usable_low(), core->stack.top(), pcs, 10),
            10);
  g.Kill();
}

}  // namespace
}  // namespace grove::green_internal
