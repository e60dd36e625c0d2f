// Tests that fail, each in one way, for greenlet_test_test.cc to look at.

#include <fcntl.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <memory>
#include <stdexcept>
#include <vector>

#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/interrupt.h"
#include "grove/green/sleep.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/green/testing/socket_pair.h"
#include "grove/green/timeout.h"
#include "grove/hub/loop.h"

namespace grove {
namespace {

// What leaks lives here, so that LeakSanitizer has nothing to say.
struct Kept {
  std::vector<AnyGreenlet> handles;
  std::unique_ptr<KeepAlive> keep_alive;
  std::unique_ptr<LoopTimer> watcher;
  std::unique_ptr<Timer> timer;
};
Kept& kept = *new Kept;

GREENLET_TEST(Leak, Greenlet) {
  auto pair = std::make_shared<SocketPair>();
  Spawn({.name = "reader"}, [pair] { pair->near.WaitReadable(); });
  Spawn({.name = "sleeper"}, [] { Sleep(absl::Minutes(1)); });
  SpawnLater(absl::Hours(1), [] {}).set_name("later");
}

GREENLET_TEST(Leak, GreenletThatYieldsForEver) {
  Spawn({.name = "restless"}, [] {
    for (;;) Yield();
  });
}

GREENLET_TEST(Leak, Stack) {
  for (int i = 0; i < 3; ++i) {
    kept.handles.push_back(Spawn([] {}));
    kept.handles.back().Join();
  }
}

GREENLET_TEST(Leak, Descriptor) { EXPECT_GE(open("/dev/null", O_RDONLY | O_CLOEXEC), 0); }

GREENLET_TEST(Leak, Waker) { kept.keep_alive = std::make_unique<KeepAlive>(&ThisHub()); }

GREENLET_TEST(Leak, Watcher) {
  kept.watcher = std::make_unique<LoopTimer>(&ThisHub().loop(), absl::Hours(1));
  kept.watcher->Start([] {});
}

GREENLET_TEST(Leak, Timer) {
  kept.timer = std::make_unique<Timer>([](Timer*) {});
  ThisHub().timers().Arm(kept.timer.get(), ThisHub().Now() + 3'600'000'000'000);
}

GREENLET_TEST(Deadlock, TwoThatJoinEachOther) {
  Greenlet<> a;
  Greenlet<> b;
  a = Spawn({.name = "first"}, [&] { b.Join(); });
  b = Spawn({.name = "second"}, [&] { a.Join(); });
  struct Unwound {
    ~Unwound() { printf("the body unwinds\n"); }
  } unwound;
  a.Join();
}

class TornDown : public GreenletTest {
 protected:
  void TearDown() override {
    Sleep(absl::Seconds(1));
    printf("torn down\n");
  }
};

GREENLET_TEST_F(TornDown, AfterADeadlock) { Sleep(absl::InfiniteDuration()); }

GREENLET_TEST_F(TornDown, AfterAnException) { throw std::runtime_error("no such thing"); }

GREENLET_TEST_F(TornDown, AfterAFatalFailure) {
  ASSERT_EQ(1, 2);
  printf("not reached\n");
}

class NotSetUp : public TornDown {
 protected:
  void SetUp() override { throw std::runtime_error("no set-up"); }
};

GREENLET_TEST_F(NotSetUp, DoesNotRun) { printf("not reached\n"); }

GREENLET_TEST(Exception, Timeout) {
  Timeout timeout(absl::Seconds(2));
  Sleep(absl::Hours(1));
}

GREENLET_TEST(Exception, Kill) { CurrentGreenlet().Kill(); }

class TooLong : public GreenletTest {
 protected:
  GreenletTestOptions Options() const override {
    return {.time_limit = absl::Seconds(2)};
  }
};

GREENLET_TEST_F(TooLong, WaitsForWhatNeverComes) {
  SocketPair pair;
  Spawn({.name = "reader"}, [&] { pair.near.WaitReadable(); }).Join();
}

GREENLET_TEST_F(TooLong, NeverBlocks) {
  for (;;) (void)ThisHub().HasMail();
}

// Adds to a number by way of a copy, and lets others run in between.
int LostUpdates() {
  int number = 0;
  const auto add = [&] {
    Yield();
    const int copy = number;
    if (copy == 0) Yield();
    number = copy + 1;
  };
  std::vector<Greenlet<>> all;
  // First in, first out this works: the second one starts when the first has ended.
  all.push_back(Spawn(add));
  all.push_back(Spawn([&] {
    for (int i = 0; i < 3; ++i) Yield();
    add();
  }));
  for (const Greenlet<>& g : all) g.Join();
  return 2 - number;
}

GREENLET_TEST(Order, LosesUpdates) { EXPECT_EQ(LostUpdates(), 0); }

TEST(OrderOfSeeds, LosesUpdates) {
  int runs = 0;
  ForEachSeed(1000, [&] {
    ++runs;
    EXPECT_EQ(LostUpdates(), 0);
  });
  printf("%d runs\n", runs);
}

// What each seed leads to.
TEST(OrderOfSeeds, Outcomes) {
  ForEachSeed(200, [&] { printf("%d lost\n", LostUpdates()); });
}

GREENLET_TEST(Order, Outcomes) { printf("%d lost\n", LostUpdates()); }

}  // namespace
}  // namespace grove
