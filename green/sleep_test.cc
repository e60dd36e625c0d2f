#include "grove/green/sleep.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <future>
#include <iterator>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "grove/green/descriptor.h"
#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/interrupt.h"
#include "grove/green/testing/main_greenlet_test.h"
#include "grove/green/testing/socket_pair.h"
#include "grove/green/timeout.h"

namespace grove {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

void SleepForEver() { Sleep(absl::InfiniteDuration()); }

class SleepTest : public MainGreenletTest {};

// --- Sleep (TL-6) ---

TEST_F(SleepTest, IsNeverEarly) {
  std::mt19937_64 random(11);
  for (int i = 0; i < 2000; ++i) {
    // From a nanosecond to an hour, evenly over the magnitudes.
    const absl::Duration d =
        absl::Nanoseconds(1 + random() % (1ull << (random() % 42 + 1)));
    const MonotonicNanos before = clock_.Now();
    Sleep(d);
    const absl::Duration took = absl::Nanoseconds(clock_.Now() - before);
    EXPECT_GE(took, d);
    EXPECT_LE(took, d + absl::Microseconds(2));
  }
}

TEST_F(SleepTest, NoneOfManyIsEarlyAndTheyWakeInOrder) {
  std::mt19937_64 random(12);
  MonotonicNanos last_due = 0;
  int woken = 0;
  for (int i = 0; i < 1000; ++i) {
    const MonotonicNanos due = clock_.Now() + 1 + random() % 10'000'000'000;
    Spawn([&, due] {
      SleepUntil(Deadline::At(due));
      EXPECT_GE(clock_.Now(), due);
      EXPECT_GE(due + 1024, last_due) << "two in one slot may be in either order";
      last_due = due;
      ++woken;
    });
  }
  EXPECT_TRUE(JoinHub());
  EXPECT_EQ(woken, 1000);
}

TEST_F(SleepTest, AnHourTakesNoTime) {
  Sleep(absl::Hours(1));
  EXPECT_TRUE(HasTaken(absl::Hours(1)));
}

TEST_F(SleepTest, WakesInTheOrderOfTheMoments) {
  std::vector<int> order;
  for (const int i : {3, 1, 4, 1, 5, 9, 2, 6}) {
    Spawn([&order, i] {
      Sleep(absl::Seconds(i));
      order.push_back(i);
    });
  }
  EXPECT_TRUE(JoinHub());
  EXPECT_THAT(order, ElementsAre(1, 1, 2, 3, 4, 5, 6, 9));
}

TEST_F(SleepTest, OfOneMomentTheFirstToSleepIsTheFirstToWake) {
  std::vector<int> order;
  const Deadline moment = absl::Seconds(1);
  for (int i = 0; i < 100; ++i) {
    Spawn([&order, i, moment] {
      SleepUntil(moment);
      order.push_back(i);
    });
  }
  EXPECT_TRUE(JoinHub());
  ASSERT_EQ(order.size(), 100u);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(order[i], i);
}

TEST_F(SleepTest, ZeroAndLessYield) {
  for (const absl::Duration d :
       {absl::ZeroDuration(), -absl::Seconds(1), -absl::InfiniteDuration()}) {
    bool other_ran = false;
    Spawn([&] { other_ran = true; });
    Sleep(d);
    EXPECT_TRUE(other_ran);
  }
  EXPECT_TRUE(HasTaken(absl::ZeroDuration()));
}

TEST_F(SleepTest, SleepUntilAMomentThatHasPassedReturns) {
  Sleep(absl::Seconds(1));
  SleepUntil(Deadline::At(start_));
  SleepUntil(Deadline::Passed());
  EXPECT_TRUE(HasTaken(absl::Seconds(1)));
}

TEST_F(SleepTest, SleepUntilKeepsAPace) {
  const absl::Duration period = absl::Milliseconds(10);
  Deadline tick = period;
  for (int i = 0; i < 100; ++i) {
    SleepUntil(tick);
    clock_.Advance(absl::Milliseconds(3));  // work, which must not add up
    tick = Deadline::At(tick.when() + absl::ToInt64Nanoseconds(period));
  }
  EXPECT_TRUE(HasTaken(absl::Milliseconds(1003)));
}

TEST_F(SleepTest, ForEverIsAWaitForAKill) {
  const Greenlet<> g = Spawn(&SleepForEver);
  Sleep(absl::Hours(24 * 365 * 10));
  EXPECT_FALSE(g.ready());
  g.Kill();
  EXPECT_TRUE(g.killed());
}

// --- Yield (test__order, TL-6) ---

TEST_F(SleepTest, TwoThatYieldTakeTurns) {
  std::string order;
  for (const char* name : {"1", "2"}) {
    Spawn([&order, name] {
      order += std::string(name) + "A ";
      Yield();
      order += std::string(name) + "B ";
    });
  }
  EXPECT_TRUE(JoinHub());
  EXPECT_EQ(order, "1A 2A 1B 2B ");
}

TEST_F(SleepTest, YieldLetsAllThatIsReadyRunFirst) {
  int ran = 0;
  for (int i = 0; i < 1000; ++i) Spawn([&] { ++ran; });
  Yield();
  EXPECT_EQ(ran, 1000);
}

TEST_F(SleepTest, YieldOfOneThatIsAloneReturns) {
  for (int i = 0; i < 1000; ++i) Yield();
  EXPECT_TRUE(HasTaken(absl::ZeroDuration()));
}

TEST_F(SleepTest, YieldLetsIoTimersAndCallbacksHaveTheirTurn) {
  SocketPair pair;
  bool read = false;
  bool slept = false;
  bool called = false;
  Spawn([&] { read = pair.near.WaitReadable() == WaitResult::kReady; });
  Spawn([&] {
    Sleep(absl::Milliseconds(1));
    slept = true;
  });
  Yield();
  pair.Send();
  ThisHub().RunCallback([&] { called = true; });
  // The loop has to be looked at within so many yields, whatever a slice is worth.
  for (int i = 0; i < 1'000'000 && !(read && slept && called); ++i) {
    clock_.Advance(absl::Microseconds(1));
    Yield();
  }
  EXPECT_TRUE(read);
  EXPECT_TRUE(slept);
  EXPECT_TRUE(called);
}

// --- JoinHub (HB-10, test__hub_join) ---

TEST_F(SleepTest, JoinHubWaitsForAllThereIsToDo) {
  int done = 0;
  Spawn([&] {
    Sleep(absl::Seconds(2));
    ++done;
    Spawn([&] {
      Sleep(absl::Seconds(3));
      ++done;
    });
  });
  SpawnLater(absl::Seconds(1), [&] { ++done; });
  ThisHub().RunCallback([&] { ++done; });
  EXPECT_TRUE(JoinHub());
  EXPECT_EQ(done, 4);
  EXPECT_TRUE(HasTaken(absl::Seconds(5)));
}

TEST_F(SleepTest, JoinHubOfAnIdleHubReturnsAtOnceAndMayBeRepeated) {
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(JoinHub());
    EXPECT_TRUE(JoinHub(absl::Seconds(10)));
    EXPECT_TRUE(HasTaken(absl::Seconds(i)));
    Spawn([] { Sleep(absl::Seconds(1)); });
    EXPECT_TRUE(JoinHub());
  }
}

TEST_F(SleepTest, JoinHubReturnsFalseAtItsDeadline) {
  Spawn([] { Sleep(absl::Seconds(10)); });
  EXPECT_FALSE(JoinHub(absl::Seconds(2)));
  EXPECT_TRUE(HasTaken(absl::Seconds(2)));
  EXPECT_FALSE(JoinHub(absl::Seconds(2)));
  EXPECT_TRUE(JoinHub(absl::Seconds(100)));
  EXPECT_TRUE(HasTaken(absl::Seconds(10)));
}

TEST_F(SleepTest, JoinHubWaitsForIo) {
  SocketPair pair;
  const Greenlet<> g = Spawn([&] { pair.near.WaitReadable(); });
  EXPECT_FALSE(JoinHub(absl::Seconds(1)));
  pair.Send();
  EXPECT_TRUE(JoinHub());
  EXPECT_TRUE(g.ready());
}

TEST_F(SleepTest, JoinHubLeavesThoseAloneThatWaitForWhatNeverComes) {
  const Greenlet<> stuck = Spawn(&SleepForEver);
  EXPECT_TRUE(JoinHub());
  EXPECT_TRUE(stuck.started());
  EXPECT_FALSE(stuck.ready());
}

TEST_F(SleepTest, JoinHubDoesNotWaitForWhatHasNoRef) {
  bool woke = false;
  Spawn([&] {
    Sleep(absl::Seconds(5), {.ref = false});
    woke = true;
  });
  EXPECT_TRUE(JoinHub());
  EXPECT_TRUE(HasTaken(absl::ZeroDuration()));
  EXPECT_FALSE(woke);
  Sleep(absl::Seconds(10));
  EXPECT_TRUE(woke) << "it sleeps on, for as long as the hub goes on";
}

TEST_F(SleepTest, SeveralMayJoinTheHub) {
  int joined = 0;
  for (int i = 0; i < 3; ++i) {
    Spawn([&] {
      EXPECT_TRUE(JoinHub());
      ++joined;
    });
  }
  Spawn([] { Sleep(absl::Seconds(1)); });
  EXPECT_TRUE(JoinHub());
  Yield();
  EXPECT_EQ(joined, 3);
  EXPECT_TRUE(HasTaken(absl::Seconds(1)));
}

// --- LoopExit (HB-5, HB-6) ---

TEST(LoopExitTest, ReportsWhoWaitsForWhatAndWhereItWasSpawned) {
  ManualClock clock;
  HubScope scope({.name = "lonely", .clock = &clock});
  const Greenlet<> stuck = Spawn({.name = "stuck"}, &SleepForEver);
  const int stuck_line = __LINE__ - 1;
  const Greenlet<> behind = Spawn({.name = "behind"}, [&] { stuck.Join(); });
  const int behind_line = __LINE__ - 1;
  std::string report;
  try {
    behind.Join();
    ADD_FAILURE();
  } catch (const LoopExit& e) {
    report = e.ToString();
  }
  const auto spawned = [](int line) {
    return ", spawned at green/sleep_test.cc:" + std::to_string(line) + ": waits for ";
  };
  EXPECT_THAT(
      report,
      AllOf(HasSubstr("LoopExit: nothing can wake hub 'lonely' any more\n"),
            HasSubstr("greenlet 'main': waits for the end of greenlet 'behind' (#2)\n"),
            HasSubstr("greenlet 'stuck' (#1)" + spawned(stuck_line) +
                      "the end of a sleep that has none\n"),
            HasSubstr("greenlet 'behind' (#2)" + spawned(behind_line) +
                      "the end of greenlet 'stuck' (#1)\n")));
}

TEST_F(SleepTest, AfterALoopExitTheHubGoesOn) {
  const Greenlet<> g = Spawn(&SleepForEver);
  for (int i = 0; i < 3; ++i) {
    EXPECT_THROW(g.Join(), LoopExit);
    Sleep(absl::Seconds(1));
    EXPECT_EQ(*Spawn([] { return 1; }).Get(), 1);
  }
  EXPECT_FALSE(g.ready()) << "only the main greenlet was told";
  EXPECT_TRUE(HasTaken(absl::Seconds(3)));
}

TEST_F(SleepTest, LoopExitComesOnlyWhenNothingIsLeftToHappen) {
  const Greenlet<> g = Spawn(&SleepForEver);
  int ticks = 0;
  Spawn([&] {
    for (; ticks < 5; ++ticks) Sleep(absl::Seconds(1));
  });
  EXPECT_THROW(g.Join(), LoopExit);
  EXPECT_EQ(ticks, 5);
}

TEST_F(SleepTest, LoopExitIsThrownThoughATimerWithoutRefRuns) {
  Spawn([] { Sleep(absl::Hours(1), {.ref = false}); });
  const Greenlet<> g = Spawn(&SleepForEver);
  EXPECT_THROW(g.Join(), LoopExit);
  EXPECT_TRUE(HasTaken(absl::ZeroDuration()));
}

TEST_F(SleepTest, LoopExitOfADeadlockNamesBothWhoWaitForEachOther) {
  Greenlet<> a;
  Greenlet<> b;
  a = Spawn({.name = "a"}, [&] { b.Join(); });
  b = Spawn({.name = "b"}, [&] { a.Join(); });
  std::string report;
  try {
    a.Join();
  } catch (const LoopExit& e) {
    report = e.ToString();
  }
  EXPECT_THAT(report, AllOf(HasSubstr("waits for the end of greenlet 'a' (#1)"),
                            HasSubstr("waits for the end of greenlet 'b' (#2)")));
}

// join() returns a moment before the kernel has forgotten the thread.
void JoinAndForget(std::thread& thread) {
  thread.join();
  // The sanitizer has a thread of its own.
  while (std::distance(std::filesystem::directory_iterator("/proc/self/task"), {}) >
         1 + GROVE_TSAN) {
    sched_yield();
  }
}

// A thread that does nothing until it is told to.
class IdleThread {
 public:
  IdleThread() : thread_([this] { go_.get_future().wait(); }) {}
  ~IdleThread() {
    go_.set_value();
    JoinAndForget(thread_);
  }

 private:
  std::promise<void> go_;
  std::thread thread_;
};

TEST(LoopExitTest, WithPolicyAlwaysItComesThoughAnotherThreadCouldPost) {
  ManualClock clock;
  HubScope scope({.clock = &clock, .loop_exit = LoopExitPolicy::kAlways});
  IdleThread other;
  const Greenlet<> g = Spawn(&SleepForEver);
  EXPECT_THROW(g.Join(), LoopExit);
}

TEST(LoopExitTest, WithPolicyAlwaysAKeepAliveHoldsItBack) {
  ManualClock clock;
  HubScope scope({.clock = &clock, .loop_exit = LoopExitPolicy::kAlways});
  const Greenlet<> g = Spawn(&SleepForEver);
  KeepAlive alive(&ThisHub());
  std::promise<void> waits;
  // The main greenlet waits by the time the thread posts.
  Spawn([&] { waits.set_value(); });
  std::thread poster([&, handle = ThisHub().handle()] {
    waits.get_future().wait();
    EXPECT_TRUE(handle.Post([&] { g.KillSoon(); }).ok());
  });
  EXPECT_TRUE(g.Join());
  JoinAndForget(poster);
}

TEST(LoopExitTest, WhenUncertainTheHubWaitsForTheOtherThread) {
  ManualClock clock;
  HubScope scope({.clock = &clock});
  const Greenlet<> g = Spawn(&SleepForEver);
  std::promise<void> waits;
  Spawn([&] { waits.set_value(); });
  std::thread poster([&, handle = ThisHub().handle()] {
    waits.get_future().wait();
    EXPECT_TRUE(handle.Post([&] { g.KillSoon(); }).ok());
  });
  EXPECT_TRUE(g.Join());
  JoinAndForget(poster);
  // Now that the process has one thread again, it is certain.
  const Greenlet<> h = Spawn(&SleepForEver);
  EXPECT_THROW(h.Join(), LoopExit);
}

struct KillLetter : Letter {
  KillLetter() : Letter(&OnDeliver) {}
  static void OnDeliver(Letter* letter, bool) {
    static_cast<KillLetter*>(letter)->target.KillSoon();
  }
  AnyGreenlet target;
};
KillLetter* signal_letter = nullptr;
HubHandle* signal_target = nullptr;

TEST(LoopExitTest, WithPolicyNeverTheHubWaitsForEver) {
  // In a process of one thread, it is a signal handler that ends this.
  ManualClock clock;
  HubScope scope({.clock = &clock, .loop_exit = LoopExitPolicy::kNever});
  const Greenlet<> g = Spawn(&SleepForEver);
  KillLetter letter;
  letter.target = g;
  HubHandle handle = ThisHub().handle();
  signal_letter = &letter;
  signal_target = &handle;
  struct sigaction action {};
  action.sa_handler = [](int) { signal_target->PostLetter(signal_letter); };
  struct sigaction before;
  ASSERT_EQ(sigaction(SIGALRM, &action, &before), 0);
  itimerval soon{};
  soon.it_value.tv_usec = 1000;
  ASSERT_EQ(setitimer(ITIMER_REAL, &soon, nullptr), 0);
  EXPECT_TRUE(g.Join());
  EXPECT_TRUE(g.killed());
  sigaction(SIGALRM, &before, nullptr);
}

TEST(LoopExitTest, APostFromAnotherThreadWakesAHubThatSleeps) {
  HubScope scope;
  const HubHandle handle = ThisHub().handle();
  const AnyGreenlet main = CurrentGreenlet();
  int got = 0;
  std::thread poster([&, handle] {
    for (int i = 0; i < 1000; ++i) {
      EXPECT_TRUE(handle
                      .Post([&] {
                        if (++got == 1000) main.Throw(std::make_exception_ptr(got));
                      })
                      .ok());
    }
  });
  EXPECT_THROW(SleepForEver(), int);
  JoinAndForget(poster);
  EXPECT_EQ(got, 1000);
}

TEST(LoopExitTest, AThreadMakesItsOwnHubWithTheFirstCall) {
  std::thread thread([] {
    EXPECT_EQ(Hub::Current(), nullptr);
    Sleep(absl::Nanoseconds(1));
    EXPECT_NE(Hub::Current(), nullptr);
    EXPECT_EQ(*Spawn([] { return 1; }).Get(), 1);
  });
  JoinAndForget(thread);
}

// Whether a thread of this process sleeps in the kernel.
bool Sleeps(pid_t tid) {
  std::ifstream stat("/proc/self/task/" + std::to_string(tid) + "/stat");
  std::string line;
  std::getline(stat, line);
  const size_t name_end = line.rfind(')');
  return name_end != std::string::npos && line.compare(name_end, 3, ") S") == 0;
}

TEST(LoopExitDeathTest, ItComesWhenTheLastThreadThatCouldPostEndsWithoutAWord) {
  // In a child, with an alarm: what goes wrong here is that nothing ever happens. In one
  // that is executed anew, for in a forked one ThreadSanitizer has an additional thread.
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(
      {
        alarm(60);
        ManualClock clock;
        HubScope scope({.clock = &clock});
        const Greenlet<> g = Spawn(&SleepForEver);
        std::promise<void> waits;
        Spawn([&] { waits.set_value(); });
        std::thread silent([&, main = gettid()] {
          waits.get_future().wait();
          while (!Sleeps(main)) sched_yield();
        });
        try {
          g.Join();
          _exit(1);
        } catch (const LoopExit&) {
          silent.join();
          _exit(0);
        }
      },
      testing::ExitedWithCode(0), "");
}

TEST(LoopExitTest, TheLastPostOfAThreadThatHasEndedIsNotOverlooked) {
  // It may come while the hub finds out that it is the only thread left.
  for (int round = 0; round < 300; ++round) {
    ManualClock clock;
    HubScope scope({.clock = &clock});
    const Greenlet<> g = Spawn(&SleepForEver);
    std::thread poster([&, handle = ThisHub().handle()] {
      handle.Post([&] { g.KillSoon(); }).IgnoreError();
    });
    std::string report;
    try {
      g.Join();
    } catch (const LoopExit& e) {
      report = e.ToString();
    }
    JoinAndForget(poster);
    ASSERT_EQ(report, "") << "round " << round;
  }
}

TEST(LoopExitTest, ATimerThatIsSetAfterAWaitForMailIsNotLate) {
  // The hub has nothing to do but to wait for another thread, whose post sets a timer:
  // that has to fire before a much later one of the loop's own. Real time, but all of the
  // rounds would have to be disturbed for this to fail by accident.
  int in_time = 0;
  for (int round = 0; round < 5 && in_time == 0; ++round) {
    HubScope scope;
    const Greenlet<> g = Spawn(&SleepForEver);
    LoopTimer later(&ThisHub().loop(), absl::Milliseconds(500));
    bool is_later = false;
    std::promise<void> waits;
    Spawn([&] { waits.set_value(); });
    std::thread poster([&, handle = ThisHub().handle(), main = gettid()] {
      waits.get_future().wait();
      while (!Sleeps(main)) sched_yield();
      handle
          .Post([&] {
            later.Start([&] { is_later = true; });
            Spawn([&] {
              Sleep(absl::Milliseconds(10));
              in_time += !is_later;
              g.KillSoon();
            });
          })
          .IgnoreError();
    });
    EXPECT_TRUE(g.Join());
    JoinAndForget(poster);
  }
  EXPECT_EQ(in_time, 1);
}

// --- blocking where nothing may block (HB-4) ---

struct CallbackKind {
  const char* name;
  // Lets `fn` run on the hub's stack.
  void (*run)(void (*fn)());
};

const CallbackKind kCallbackKinds[] = {
    {"RunCallback", [](void (*fn)()) { ThisHub().RunCallback(fn); }},
    {"Post", [](void (*fn)()) { ThisHub().handle().Post(fn).IgnoreError(); }},
    {"RawLink",
     [](void (*fn)()) { Spawn([] {}).RawLink([fn](const AnyGreenlet&) { fn(); }); }},
    {"Timer",
     [](void (*fn)()) {
       struct FnTimer : Timer {
         explicit FnTimer(void (*f)())
             : Timer([](Timer* t) { static_cast<FnTimer*>(t)->fn(); }), fn(f) {}
         void (*fn)();
       };
       // Leaked: the process dies of it.
       ThisHub().timers().Arm(new FnTimer(fn), ThisHub().Now());
     }},
};

class BlockingInACallbackDeathTest : public testing::TestWithParam<CallbackKind> {
 protected:
  static void Run(void (*fn)()) {
    ManualClock clock;
    HubScope scope({.name = "here", .clock = &clock});
    GetParam().run(fn);
    Sleep(absl::Seconds(1));
  }
};

INSTANTIATE_TEST_SUITE_P(All, BlockingInACallbackDeathTest,
                         testing::ValuesIn(kCallbackKinds),
                         [](const auto& info) { return info.param.name; });

TEST_P(BlockingInACallbackDeathTest, IsFatalAndNamesTheCall) {
  EXPECT_DEATH(
      Run([] { Sleep(absl::Seconds(3)); }),
      "a blocking call \\(the end of a sleep, in 3s\\) inside a loop callback of "
      "hub 'here'");
  EXPECT_DEATH(Run([] { Yield(); }),
               "a blocking call \\(Yield\\) inside a loop callback of hub 'here'");
  EXPECT_DEATH(Run([] { Sleep(absl::ZeroDuration()); }), "a blocking call \\(Yield\\)");
  EXPECT_DEATH(Run([] { Spawn({.name = "x"}, [] {}).Join(); }),
               "a blocking call \\(the end of greenlet 'x' .*\\) inside a loop callback");
  EXPECT_DEATH(Run([] { Spawn({.name = "x"}, [] {}).Join(absl::Seconds(1)); }),
               "a blocking call \\(the end of greenlet 'x' .*\\) inside a loop callback");
  EXPECT_DEATH(Run([] { JoinHub(); }), "a blocking call \\(.*JoinHub\\)");
  EXPECT_DEATH(Run([] {
                 int fds[2];
                 if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) != 0) _exit(1);
                 Descriptor(fds[0]).WaitReadable();
               }),
               "a blocking call \\(fd [0-9]+ readable\\) inside a loop callback");
}

TEST(LoopExitDeathTest, AMainGreenletThatMayNotBeInterruptedIsFatal) {
  EXPECT_DEATH(
      {
        ManualClock clock;
        HubScope scope({.name = "shielded", .clock = &clock});
        const Greenlet<> g = Spawn({.name = "stuck"}, &SleepForEver);
        Shield shield;
        g.Join();
      },
      "the main greenlet waits for ever.*nothing can wake hub 'shielded'.*'stuck'");
}

TEST(FatalDeathTest, AFatalErrorSaysInWhichGreenletItHappened) {
  EXPECT_DEATH(
      {
        ManualClock clock;
        HubScope scope({.name = "here", .clock = &clock});
        Spawn({.name = "culprit"}, [] { CurrentGreenlet().Join(); }).Join();
      },
      "in greenlet 'culprit' \\(#1\\) of hub 'here'");
  EXPECT_DEATH(
      {
        HubScope scope({.name = "here"});
        ThisHub().RunCallback([] { Yield(); });
        Yield();
      },
      "in a loop callback of hub 'here'");
}

}  // namespace
}  // namespace grove
