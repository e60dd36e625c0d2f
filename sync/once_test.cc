#include "grove/sync/once.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/sleep.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/green/timeout.h"
#include "grove/sync/lock_test_util.h"

namespace grove {
namespace {

using test_util::Dice;
using test_util::JoinAll;
using test_util::kSeeds;
using test_util::OnAnotherHub;
using test_util::OnHubs;
using test_util::OnPlainThread;
using test_util::Stopwatch;

GREENLET_TEST(Once, IsDoneOnceAndThenAtOnce) {
  Once once;
  int calls = 0;
  EXPECT_FALSE(once.done());
  bool other_ran = false;
  const Greenlet<> other = Spawn([&] { other_ran = true; });
  for (int i = 0; i < 3; ++i) once.Call([&] { ++calls; });
  EXPECT_EQ(calls, 1);
  EXPECT_TRUE(once.done());
  EXPECT_FALSE(other_ran) << "that blocked";
  other.Join();
}

GREENLET_TEST(Once, TheOthersWaitUntilItIsDone) {
  Once once;
  bool done = false;
  int calls = 0;
  std::vector<Greenlet<>> greenlets;
  for (int i = 0; i < 10; ++i) {
    greenlets.push_back(Spawn([&] {
      once.Call([&] {
        ++calls;
        Sleep(absl::Seconds(1));
        done = true;
      });
      EXPECT_TRUE(done);
    }));
  }
  Yield();
  EXPECT_FALSE(once.done());
  JoinAll(greenlets);
  EXPECT_EQ(calls, 1);
}

GREENLET_TEST(Once, IfItFailsTheOneThatHasWaitedLongestTries) {
  Once once;
  std::vector<int> tries;
  std::vector<int> threw;
  std::vector<Greenlet<>> greenlets;
  for (int i = 0; i < 5; ++i) {
    greenlets.push_back(Spawn([&, i] {
      Sleep(absl::Milliseconds(i));
      try {
        once.Call([&] {
          tries.push_back(i);
          Sleep(absl::Seconds(1));
          if (i < 2) throw std::runtime_error("not yet");
        });
      } catch (const std::runtime_error&) {
        threw.push_back(i);
      }
    }));
  }
  JoinAll(greenlets);
  EXPECT_EQ(tries, (std::vector<int>{0, 1, 2}));
  EXPECT_EQ(threw, (std::vector<int>{0, 1}));
  EXPECT_TRUE(once.done());
}

GREENLET_TEST(Once, IfItsGreenletIsKilledTheNextOneTries) {
  Once once;
  int calls = 0;
  const auto call = [&] {
    return Spawn([&] {
      once.Call([&] {
        ++calls;
        Sleep(absl::Seconds(1));
      });
    });
  };
  const Greenlet<> first = call();
  Sleep(absl::Milliseconds(1));
  const Greenlet<> second = call();
  const Greenlet<> third = call();
  Sleep(absl::Milliseconds(1));
  first.Kill();
  Sleep(absl::Milliseconds(1));
  EXPECT_EQ(calls, 2);
  second.Join();
  third.Join();
  EXPECT_EQ(calls, 2);
}

GREENLET_TEST(Once, OneThatIsKilledWhileItWaitsLeavesNoTrace) {
  Once once;
  const Greenlet<> first = Spawn([&] { once.Call([] { Sleep(absl::Seconds(2)); }); });
  Yield();
  while (!first.started()) Yield();
  const Greenlet<> killed = Spawn([&] { once.Call([] { ADD_FAILURE(); }); });
  const Greenlet<> late = Spawn([&] {
    EXPECT_FALSE(
        WithTimeout(absl::Seconds(1), [&] { once.Call([] { ADD_FAILURE(); }); }).ok());
  });
  Sleep(absl::Milliseconds(1));
  killed.Kill();
  EXPECT_TRUE(killed.killed());
  late.Join();
  first.Join();
  EXPECT_TRUE(once.done());
}

GREENLET_TEST(Once, OneThatIsKilledInTheTurnInWhichItMayTryPassesThatOn) {
  Once once;
  bool second_began = false;
  const Greenlet<> first = Spawn([&] { once.Call([] { Sleep(absl::Seconds(1)); }); });
  Sleep(absl::Milliseconds(1));
  const Greenlet<> second = Spawn([&] {
    once.Call([&] {
      second_began = true;
      Sleep(absl::Seconds(1));
      ADD_FAILURE() << "went on";
    });
  });
  Sleep(absl::Milliseconds(1));
  const Greenlet<> third = Spawn([&] { once.Call([] {}); });
  Sleep(absl::Milliseconds(1));
  first.RawLink([&](const AnyGreenlet&) { second.KillSoon(); });
  first.KillSoon();
  third.Join();
  second.Join();
  EXPECT_TRUE(once.done());
  EXPECT_TRUE(second.killed());
}

TEST(Once, IsDoneOnceWhateverTheSeed) {
  ForEachSeed(kSeeds, [] {
    Dice dice;
    Once once;
    int running = 0;
    int done = 0;
    std::vector<Greenlet<>> greenlets;
    for (int i = 0; i < 6; ++i) {
      greenlets.push_back(Spawn([&] {
        const auto call = [&] {
          once.Call([&] {
            struct Run {
              explicit Run(int& r) : running(r) { ++running; }
              ~Run() { --running; }
              int& running;
            } run(running);
            EXPECT_EQ(running, 1);
            EXPECT_EQ(done, 0);
            dice.Pause();
            if (dice.Roll(3) == 0) throw std::runtime_error("failed");
            ++done;
          });
          EXPECT_EQ(done, 1);
        };
        dice.Pause();
        try {
          if (dice.Roll(2)) {
            call();
          } else {
            WithTimeout(absl::Microseconds(dice.Roll(20)), call).IgnoreError();
          }
        } catch (const std::runtime_error&) {
        }
      }));
    }
    for (int i = 0; i < 2; ++i) {
      dice.Pause();
      greenlets[dice.Roll(6)].KillSoon();
    }
    JoinAll(greenlets);
    EXPECT_EQ(running, 0);
    EXPECT_EQ(once.done(), done == 1);
    once.Call([&] { ++done; });
    EXPECT_EQ(done, 1);
  });
}

// --- from elsewhere ---

GREENLET_TEST(Once, IsDoneOnceAcrossHubs) {
  for (int i = 0; i < 20; ++i) {
    Once once;
    int calls = 0;  // written once, before all others go on
    const auto call = [&] {
      once.Call([&] {
        Sleep(absl::Microseconds(10));
        ++calls;
      });
      EXPECT_EQ(calls, 1);
    };
    const Greenlet<> here = Spawn(call);
    OnHubs(3, [&](int) {
      const Greenlet<> g = Spawn(call);
      call();
      g.Join();
    });
    here.Join();
    OnPlainThread([&] { EXPECT_TRUE(once.done()); });
  }
}

GREENLET_TEST(Once, IfItFailsElsewhereOrIsKilledThereTheNextOneTries) {
  Once once;
  std::atomic<bool> begun{false};
  const Greenlet<> elsewhere = Spawn([&] {
    OnAnotherHub([&] {
      EXPECT_THROW(once.Call([] { throw 1; }), int);
      const Greenlet<> killed = Spawn([&] {
        once.Call([&] {
          begun = true;
          Sleep(absl::InfiniteDuration());
        });
      });
      while (!begun) Yield();
      killed.Kill();
    });
  });
  while (!begun) Sleep(absl::Microseconds(1));
  bool done = false;
  once.Call([&] { done = true; });
  EXPECT_TRUE(done);
  elsewhere.Join();
}

GREENLET_TEST(Once, KillsElsewhereRaceWithTheNextTry) {
  for (int i = 0; i < 50; ++i) {
    Once once;
    std::atomic<int> done{0};
    const Greenlet<> here = Spawn([&] {
      for (int j = 0; j < 5; ++j) {
        const Greenlet<> g = Spawn([&] { once.Call([&] { Yield(), ++done; }); });
        for (int k = 0; k < j; ++k) Yield();
        g.Kill();
      }
    });
    OnAnotherHub([&] {
      for (int j = 0; j < 5; ++j) {
        const Greenlet<> g = Spawn([&] { once.Call([&] { Yield(), ++done; }); });
        for (int k = 0; k < j; ++k) Sleep(absl::Microseconds(k));
        g.Kill();
      }
    });
    here.Join();
    once.Call([&] { ++done; });
    EXPECT_EQ(done, 1);
  }
}

TEST(Once, OneWithoutAHubAndOneWhoseHubHasEndedWork) {
  Once once;
  EXPECT_FALSE(once.done());
  EXPECT_EQ(Hub::Current(), nullptr);
  int calls = 0;
  for (int i = 0; i < 3; ++i) {
    std::thread([&] {
      const HubScope scope;
      once.Call([&] { ++calls; });
    }).join();
  }
  EXPECT_EQ(calls, 1);
  EXPECT_TRUE(once.done());
  EXPECT_EQ(Hub::Current(), nullptr);
}

// --- what is fatal ---

TEST(OnceDeathTest, CallingItFromWithinIsFatal) {
  EXPECT_DEATH(
      {
        HubScope scope;
        Once once;
        once.Call([&] { once.Call([] {}); });
      },
      "deadlock:\n  greenlet 'main' waits for Once 0x[0-9a-f]+, which greenlet 'main' "
      "does");
  EXPECT_DEATH(
      {
        HubScope scope;
        Once once;
        OnAnotherHub([&] { once.Call([&] { once.Call([] {}); }); });
      },
      "deadlock:\n  a greenlet of hub .hub-0. waits for Once .*: it holds that itself");
}

TEST(OnceDeathTest, DestroyingOneThatIsWaitedForIsFatalAndNamesWhoWaits) {
  EXPECT_DEATH(
      {
        HubScope scope;
        Once once;
        const Greenlet<> one = Spawn([&] { once.Call([] { Sleep(absl::Hours(1)); }); });
        const Greenlet<> two = Spawn({.name = "two"}, [&] { once.Call([] {}); });
        Yield();
        once.~Once();
      },
      "Once 0x[0-9a-f]+ is destroyed while 1 wait for it:\n  greenlet 'two' \\(#2\\)");
}

TEST(OnceDeathTest, CallingItFromWithinIsFatalWhateverTheDeadline) {
  EXPECT_DEATH(
      {
        const HubScope scope;
        Once once;
        WithTimeout(absl::Hours(1), [&] {
          once.Call([&] { once.Call([] {}); });
        }).IgnoreError();
      },
      "it holds that itself");
}

}  // namespace
}  // namespace grove
