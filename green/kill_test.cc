#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <exception>
#include <functional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "grove/green/greenlet.h"
#include "grove/green/greenlet_test_util.h"
#include "grove/green/hub_scope.h"
#include "grove/green/interrupt.h"
#include "grove/green/sleep.h"
#include "grove/green/timeout.h"

namespace grove {
namespace {

using test_util::Error;
using test_util::Oops;
using test_util::SleepForEver;
using test_util::What;
using test_util::Witness;
using test_util::YieldsAtItsEnd;
using ::testing::ElementsAre;
using ::testing::ExitedWithCode;

class KillTest : public test_util::GreenletTestBase {};

// --- Kill (GL-13, issues 330 and 607) ---

TEST_F(KillTest, OneKilledBeforeItStartsNeverRuns) {
  bool ran = false;
  bool second_ran = false;
  const Greenlet<int> g = Spawn([&] {
    ran = true;
    return 1;
  });
  const Greenlet<> second = Spawn([&] { second_ran = true; });
  g.Kill();
  EXPECT_TRUE(g.ready()) << "at once";
  EXPECT_FALSE(second_ran) << "that did not block";
  EXPECT_TRUE(g.successful());
  EXPECT_TRUE(g.killed());
  EXPECT_FALSE(g.started());
  EXPECT_EQ(g.Get().status().code(), absl::StatusCode::kCancelled);
  second.Join();
  EXPECT_TRUE(second_ran);
  EXPECT_FALSE(ran);
  EXPECT_FALSE(g.started());
}

TEST_F(KillTest, OneKilledByAnErrorBeforeItStartsHasFailedByIt) {
  bool ran = false;
  const Greenlet<> g = Spawn({.name = "g"}, [&] { ran = true; });
  g.Kill({.error = std::make_exception_ptr(Oops{5})});
  EXPECT_TRUE(g.ready());
  EXPECT_FALSE(g.successful());
  EXPECT_FALSE(g.killed());
  EXPECT_THROW((void)g.Get(), Oops);
  Yield();
  EXPECT_FALSE(ran);
  EXPECT_THAT(reports_, ElementsAre("g: something else"));
}

TEST_F(KillTest, OneKilledBeforeItsTimeNeverRuns) {
  bool ran = false;
  const Greenlet<> g = SpawnLater(absl::Seconds(10), [&] { ran = true; });
  Sleep(absl::Seconds(1));
  g.Kill();
  EXPECT_TRUE(g.ready());
  EXPECT_TRUE(g.killed());
  EXPECT_TRUE(JoinHub());
  EXPECT_TRUE(HasTaken(absl::Seconds(1))) << "its timer is gone";
  EXPECT_FALSE(ran);
}

TEST_F(KillTest, KillThrowsAtTheBlockingCallAndWaitsForTheEnd) {
  std::vector<std::string> steps;
  const Greenlet<> g = Spawn([&] {
    try {
      SleepForEver();
      steps.push_back("not reached");
    } catch (const GreenletExit&) {
      steps.push_back("told");
      Shield shield;
      Sleep(absl::Seconds(1));
      steps.push_back("cleaned up");
      throw;
    }
  });
  Yield();
  g.Kill();
  steps.push_back("Kill() has returned");
  EXPECT_THAT(steps, ElementsAre("told", "cleaned up", "Kill() has returned"));
  EXPECT_TRUE(HasTaken(absl::Seconds(1)));
}

TEST_F(KillTest, KillRunsTheDestructorsOnTheStack) {
  bool ended = false;
  const Greenlet<> g = Spawn([&] {
    Witness local(&ended);
    SleepForEver();
  });
  Yield();
  EXPECT_FALSE(ended);
  g.Kill();
  EXPECT_TRUE(ended);
}

TEST_F(KillTest, KillSoonDoesNotWait) {
  const Greenlet<> g = Spawn(&SleepForEver);
  Yield();
  g.KillSoon();
  EXPECT_FALSE(g.ready());
  EXPECT_TRUE(g.Join());
  EXPECT_TRUE(g.killed());
}

TEST_F(KillTest, KillOfOneThatHasEndedHasNoEffect) {
  const Greenlet<int> g = Spawn([] { return 5; });
  g.Join();
  g.Kill();
  g.Kill({.error = Error("late")});
  g.KillSoon();
  EXPECT_FALSE(g.killed());
  EXPECT_EQ(*g.Get(), 5);
  const Greenlet<> failed = Spawn([] { throw Oops{1}; });
  failed.Join();
  failed.Kill();
  EXPECT_FALSE(failed.killed());
  EXPECT_THROW((void)failed.Get(), Oops);
}

TEST_F(KillTest, KillMayBeRepeated) {
  const Greenlet<> unstarted = Spawn([] {});
  unstarted.Kill();
  unstarted.Kill();
  const Greenlet<> waiting = Spawn(&SleepForEver);
  Yield();
  waiting.KillSoon();
  waiting.KillSoon();
  waiting.Kill();
  EXPECT_TRUE(waiting.killed());
}

TEST_F(KillTest, ErrorsOfTheVictimDoNotComeOutOfKill) {
  const Greenlet<> g = Spawn({.name = "g"}, [] {
    try {
      SleepForEver();
    } catch (const GreenletExit&) {
      throw std::runtime_error("while cleaning up");
    }
  });
  Yield();
  EXPECT_NO_THROW(g.Kill());
  EXPECT_FALSE(g.successful());
  EXPECT_THAT(reports_, ElementsAre("g: while cleaning up"));
}

TEST_F(KillTest, KillOfOneselfThrowsOutOfThatCall) {
  bool went_on = false;
  const Greenlet<> g = Spawn([&] {
    CurrentGreenlet().Kill();
    went_on = true;
  });
  g.Join();
  EXPECT_FALSE(went_on);
  EXPECT_TRUE(g.killed());
}

TEST_F(KillTest, KillSoonOfOneselfIsThrownByTheNextBlockingCall) {
  std::vector<int> steps;
  const Greenlet<> g = Spawn([&] {
    CurrentGreenlet().KillSoon();
    steps.push_back(1);
    Sleep(absl::Seconds(1));
    steps.push_back(2);
  });
  g.Join();
  EXPECT_THAT(steps, ElementsAre(1));
  EXPECT_TRUE(g.killed());
  EXPECT_TRUE(HasTaken(absl::ZeroDuration()));
}

TEST_F(KillTest, AKillOfOneThatYieldsIsThrownByThatYield) {
  int rounds = 0;
  const Greenlet<> g = Spawn([&] {
    for (;; ++rounds) Yield();
  });
  Yield();
  Yield();
  EXPECT_EQ(rounds, 1);
  g.Kill();
  EXPECT_EQ(rounds, 1);
  EXPECT_TRUE(g.killed());
}

TEST_F(KillTest, AKillIsSticky) {
  // Swallowed by catch-alls, it comes again at each blocking call until the end.
  int swallowed = 0;
  const Greenlet<> g = Spawn([&] {
    for (int i = 0; i < 3; ++i) {
      try {
        Sleep(absl::Hours(1));
      } catch (...) {
        ++swallowed;
      }
    }
    Yield();
    ADD_FAILURE() << "not even a Yield() works";
  });
  Yield();
  g.Kill();
  EXPECT_EQ(swallowed, 3);
  EXPECT_TRUE(g.killed());
  EXPECT_TRUE(HasTaken(absl::ZeroDuration()));
}

TEST_F(KillTest, OneThatSwallowsAKillAndReturnsHasItsResult) {
  const Greenlet<int> g = Spawn([] {
    try {
      SleepForEver();
    } catch (const GreenletExit&) {
    }
    return 3;
  });
  Yield();
  g.Kill();
  EXPECT_FALSE(g.killed());
  EXPECT_TRUE(g.successful());
  EXPECT_EQ(*g.Get(), 3);
}

TEST_F(KillTest, AKillIsNotAStdException) {
  static_assert(!std::is_base_of_v<std::exception, Interrupt>);
  bool caught = false;
  const Greenlet<> g = Spawn([&] {
    try {
      SleepForEver();
    } catch (const std::exception&) {
      caught = true;
    }
  });
  Yield();
  g.Kill();
  EXPECT_FALSE(caught);
  EXPECT_TRUE(g.killed());
}

TEST_F(KillTest, KillWithAnErrorThrowsThatAndIsStickyToo) {
  int swallowed = 0;
  const Greenlet<> g = Spawn({.name = "g"}, [&] {
    try {
      SleepForEver();
    } catch (const std::runtime_error& e) {
      EXPECT_STREQ(e.what(), "because");
      ++swallowed;
    }
    SleepForEver();
  });
  Yield();
  g.Kill({.error = Error("because")});
  EXPECT_EQ(swallowed, 1);
  EXPECT_TRUE(g.ready());
  EXPECT_FALSE(g.successful());
  EXPECT_FALSE(g.killed());
  EXPECT_THROW((void)g.Get(), std::runtime_error);
  EXPECT_THAT(reports_, ElementsAre("g: because")) << "once";
}

TEST_F(KillTest, OfTwoKillsTheFirstOneDecides) {
  const Greenlet<> g = Spawn({.name = "g"}, &SleepForEver);
  const Greenlet<> h = Spawn({.name = "h"}, &SleepForEver);
  Yield();
  g.KillSoon(Error("first"));
  g.KillSoon(Error("second"));
  g.Kill();
  h.KillSoon();
  h.Kill({.error = Error("late")});
  EXPECT_EQ(What(g.exception()), "first");
  EXPECT_TRUE(h.killed());
}

TEST_F(KillTest, KillGivesUpAtItsDeadlineAndStaysInForce) {
  bool finished_work = false;
  const Greenlet<> g = Spawn([&] {
    {
      Shield shield;
      Sleep(absl::Seconds(10));
      finished_work = true;
    }
    SleepForEver();
  });
  Yield();
  g.Kill({.deadline = absl::Seconds(2)});
  EXPECT_FALSE(g.ready());
  EXPECT_TRUE(HasTaken(absl::Seconds(2)));
  g.Kill({.deadline = absl::ZeroDuration()});
  EXPECT_FALSE(g.ready());
  EXPECT_TRUE(g.Join());
  EXPECT_TRUE(HasTaken(absl::Seconds(10)));
  EXPECT_TRUE(finished_work);
  EXPECT_TRUE(g.killed());
}

TEST_F(KillTest, AKillerThatIsKilledLeavesItsKillInForce) {
  const Greenlet<> victim = Spawn([] {
    {
      Shield shield;
      Sleep(absl::Seconds(5));
    }
    SleepForEver();
  });
  const Greenlet<> killer = Spawn([&] { victim.Kill(); });
  Yield();
  killer.Kill();
  EXPECT_TRUE(killer.killed());
  EXPECT_FALSE(victim.ready());
  EXPECT_TRUE(victim.Join());
  EXPECT_TRUE(victim.killed());
}

TEST_F(KillTest, TheMainGreenletCanBeKilled) {
  const AnyGreenlet main = CurrentGreenlet();
  Spawn([main] { main.Kill(); });  // which does not wait for its end
  EXPECT_THROW(Sleep(absl::Seconds(1)), GreenletExit);
  EXPECT_THROW(Yield(), GreenletExit) << "sticky here too";
  EXPECT_TRUE(HasTaken(absl::ZeroDuration()));
  // And the scope still ends its hub.
}

TEST_F(KillTest, AllOfManyCanBeKilledAtOnce) {
  int ran = 0;
  int unwound = 0;
  std::vector<Greenlet<>> greenlets;
  const auto body = [&] {
    ++ran;
    try {
      SleepForEver();
    } catch (const GreenletExit&) {
      ++unwound;
      throw;
    }
  };
  for (int i = 0; i < 100; ++i) greenlets.push_back(Spawn(body));
  Yield();
  for (int i = 0; i < 100; ++i) greenlets.push_back(Spawn(body));
  // Those that have not started never do (TL-12).
  for (const auto& g : greenlets) g.KillSoon();
  for (const auto& g : greenlets) EXPECT_TRUE(g.Join());
  EXPECT_EQ(ran, 100);
  EXPECT_EQ(unwound, 100);
}

// In children, since what can go wrong here ends the process.
class KillDeathTest : public testing::Test {
 protected:
  // Runs `body` in a child, on a hub of its own; it exits with what that returns.
  static void RunAndExit(const std::function<int()>& body) {
    alarm(60);  // a hang is a failure, not a wait for the test's time to be over
    ManualClock clock;
    HubScope scope({.clock = &clock});
    _exit(body());
  }
};

TEST_F(KillDeathTest, OneThatHasNotStartedNeverRunsThoughItsCapturesBlockWhenTheyEnd) {
  EXPECT_EXIT(RunAndExit([] {
                static bool ran = false;
                int ended = 0;
                const Greenlet<> g =
                    Spawn([captured = YieldsAtItsEnd(&ended)] { ran = true; });
                g.Kill();
                Yield();
                Yield();
                return ran ? 1 : ended != 1 ? 2 : g.killed() ? 0 : 3;
              }),
              ExitedWithCode(0), "");
}

TEST_F(KillDeathTest, TheKillerIsNotInterruptedWhileTheCapturesOfItsVictimEnd) {
  // The killer is to be killed itself: a destructor must not throw that.
  EXPECT_EXIT(RunAndExit([] {
                int ended = 0;
                const Greenlet<> killer = Spawn([&] {
                  const Greenlet<> g = Spawn([captured = YieldsAtItsEnd(&ended)] {});
                  CurrentGreenlet().KillSoon();
                  g.KillSoon();
                });
                killer.Join();
                return ended == 1 ? 0 : 1;
              }),
              ExitedWithCode(0), "");
}

TEST_F(KillDeathTest, OneThatSwallowsEveryKillDoesNotFreezeTheOthers) {
  // Its own business never to end; but the others, and the deadline of the kill, are
  // not to suffer.
  EXPECT_EXIT(RunAndExit([] {
                static bool stop = false;
                const Greenlet<> stubborn = Spawn([] {
                  while (!stop) {
                    try {
                      Sleep(absl::Seconds(1));
                    } catch (const Interrupt&) {
                    }
                  }
                });
                int rounds = 0;
                Spawn([&] {
                  for (; rounds < 10; ++rounds) Yield();
                  stop = true;
                });
                Yield();
                stubborn.Kill();
                return rounds == 10 ? 0 : 1;
              }),
              ExitedWithCode(0), "");
}

// Its end blocks, which in a callback must not be.
struct Lingers {
  explicit Lingers(bool* e) : ended(e) {}
  Lingers(Lingers&& other) noexcept : ended(std::exchange(other.ended, nullptr)) {}
  ~Lingers() {
    if (ended == nullptr) return;
    Sleep(absl::Seconds(1));
    *ended = true;
  }
  bool* ended;
};

TEST(Kill, InACallbackOfOneThatHasNotBegunMayLeaveWhatBlocks) {
  ManualClock clock;
  const HubScope scope({.clock = &clock});
  bool ended = false;
  const Greenlet<> g =
      SpawnLater(absl::Hours(1), [lingers = Lingers(&ended)] { FAIL() << "runs"; });
  ThisHub().RunCallback([&] { g.KillSoon(); });
  g.Join();
  EXPECT_TRUE(ended);
  EXPECT_TRUE(g.killed());
  EXPECT_FALSE(g.started());
}

TEST(SpawnLater, WithoutAnEndItWaitsToBeKilled) {
  ManualClock clock;
  const HubScope scope({.clock = &clock});
  const Greenlet<> g = SpawnLater(absl::InfiniteDuration(), [] { FAIL() << "runs"; });
  Sleep(absl::Hours(1));
  EXPECT_FALSE(g.started());
  g.Kill();
  EXPECT_TRUE(g.killed());
}

}  // namespace
}  // namespace grove
