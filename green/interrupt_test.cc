#include "grove/green/interrupt.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

#include "grove/green/greenlet.h"
#include "grove/green/greenlet_test_util.h"
#include "grove/green/sleep.h"
#include "grove/green/timeout.h"

namespace grove {
namespace {

using test_util::Error;
using test_util::Oops;
using test_util::SleepForEver;
using test_util::YieldsAtItsEnd;
using ::testing::ElementsAre;

class InterruptTest : public test_util::GreenletTestBase {};

// --- Throw (GL-14) ---

TEST_F(InterruptTest, ThrowIsThrownOnce) {
  std::vector<std::string> steps;
  const Greenlet<> g = Spawn([&] {
    try {
      SleepForEver();
    } catch (const std::runtime_error& e) {
      steps.push_back(e.what());
    }
    Sleep(absl::Seconds(1));
    steps.push_back("slept");
  });
  Yield();
  g.Throw(Error("wake up"));
  EXPECT_TRUE(steps.empty()) << "Throw() does not wait";
  EXPECT_TRUE(g.Get().ok());
  EXPECT_THAT(steps, ElementsAre("wake up", "slept"));
}

TEST_F(InterruptTest, ThrowIntoOneThatHasNotStartedEndsIt) {
  bool ran = false;
  const Greenlet<> g = Spawn({.name = "g"}, [&] { ran = true; });
  g.Throw(Error("never mind"));
  EXPECT_TRUE(g.ready());
  EXPECT_THROW((void)g.Get(), std::runtime_error);
  Yield();
  EXPECT_FALSE(ran);
  EXPECT_THAT(reports_, ElementsAre("g: never mind"));
  const Greenlet<> later = SpawnLater(absl::Seconds(1), [&] { ran = true; });
  later.Throw(Error("nor this"));
  EXPECT_TRUE(later.ready());
  Sleep(absl::Seconds(2));
  EXPECT_FALSE(ran);
}

TEST_F(InterruptTest, ThrowIntoOneThatHasEndedHasNoEffect) {
  const Greenlet<int> g = Spawn([] { return 5; });
  g.Join();
  g.Throw(Error("late"));
  EXPECT_EQ(*g.Get(), 5);
}

TEST_F(InterruptTest, ThrowIntoOneThatIsReadyOrRunsWaitsForItsBlockingCall) {
  std::vector<std::string> steps;
  const Greenlet<> g = Spawn([&] {
    try {
      Yield();
    } catch (const std::runtime_error& e) {
      steps.push_back(e.what());
    }
    CurrentGreenlet().Throw(Error("from myself"));
    steps.push_back("went on");
    try {
      Yield();
    } catch (const std::runtime_error& e) {
      steps.push_back(e.what());
    }
    Yield();
    steps.push_back("end");
  });
  Yield();
  g.Throw(Error("from outside"));
  g.Join();
  EXPECT_THAT(steps, ElementsAre("from outside", "went on", "from myself", "end"));
}

TEST_F(InterruptTest, ThrowIntoTheMainGreenletWorks) {
  const AnyGreenlet main = CurrentGreenlet();
  Spawn([main] { main.Throw(std::make_exception_ptr(Oops{9})); });
  EXPECT_THROW(SleepForEver(), Oops);
  Sleep(absl::Seconds(1));
}

// --- destructors and Shield ---

TEST_F(InterruptTest, AKillIsNotThrownWhileTheStackUnwinds) {
  struct Slow {
    std::vector<std::string>* steps;
    ~Slow() {
      steps->push_back("unwinding");
      Sleep(absl::Seconds(1));
      steps->push_back("unwound");
    }
  };
  std::vector<std::string> steps;
  const Greenlet<> g = Spawn([&] {
    try {
      Slow slow{&steps};
      throw Oops{1};
    } catch (const Oops&) {
      steps.push_back("caught");
    }
    Sleep(absl::Seconds(1));
    steps.push_back("not reached");
  });
  Yield();
  EXPECT_THAT(steps, ElementsAre("unwinding"));
  g.Kill();
  EXPECT_THAT(steps, ElementsAre("unwinding", "unwound", "caught"));
  EXPECT_TRUE(g.killed());
  EXPECT_TRUE(HasTaken(absl::Seconds(1))) << "the destructor's sleep was not cut short";
}

TEST_F(InterruptTest, DestructorsOnTheWayOfAKillMayBlock) {
  int ended = 0;
  const Greenlet<> g = Spawn([&] {
    YieldsAtItsEnd a(&ended);
    YieldsAtItsEnd b(&ended);
    SleepForEver();
  });
  Yield();
  g.Kill();
  EXPECT_EQ(ended, 2);
  EXPECT_TRUE(g.killed());
}

TEST_F(InterruptTest, AShieldKeepsAKillPending) {
  std::vector<std::string> steps;
  const Greenlet<> g = Spawn([&] {
    {
      Shield outer;
      {
        Shield inner;
        Sleep(absl::Seconds(1));
        steps.push_back("inner");
      }
      Sleep(absl::Seconds(1));
      Yield();
      CheckInterrupt();
      steps.push_back("outer");
    }
    steps.push_back("no blocking call yet");
    Yield();
    steps.push_back("not reached");
  });
  Yield();
  g.Kill();
  EXPECT_THAT(steps, ElementsAre("inner", "outer", "no blocking call yet"));
  EXPECT_TRUE(g.killed());
  EXPECT_TRUE(HasTaken(absl::Seconds(2)));
}

TEST_F(InterruptTest, AShieldKeepsAThrowPendingToo) {
  std::vector<std::string> steps;
  const Greenlet<> g = Spawn([&] {
    {
      Shield shield;
      Sleep(absl::Seconds(1));
      steps.push_back("shielded");
    }
    try {
      CheckInterrupt();
    } catch (const std::runtime_error& e) {
      steps.push_back(e.what());
    }
  });
  Yield();
  g.Throw(Error("pending"));
  EXPECT_TRUE(g.Get().ok());
  EXPECT_THAT(steps, ElementsAre("shielded", "pending"));
}

TEST_F(InterruptTest, CheckInterruptThrowsWhatIsPending) {
  int rounds = 0;
  const Greenlet<> g = Spawn([&] {
    for (;; ++rounds) {
      CheckInterrupt();
      if (rounds == 3) CurrentGreenlet().KillSoon();
    }
  });
  g.Join();
  EXPECT_EQ(rounds, 4);
  EXPECT_TRUE(g.killed());
}

}  // namespace
}  // namespace grove
