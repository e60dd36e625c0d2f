#include "grove/sync/gate.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
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
using test_util::OnPlainThreads;
using test_util::Stopwatch;

GREENLET_TEST(Gate, OneInWhichNobodyIsClosesAtOnce) {
  Gate gate;
  bool other_ran = false;
  const Greenlet<> other = Spawn([&] { other_ran = true; });
  EXPECT_FALSE(gate.closed());
  EXPECT_TRUE(gate.Enter());
  EXPECT_EQ(gate.inside(), 1);
  gate.Leave();
  EXPECT_TRUE(gate.Close());
  EXPECT_TRUE(gate.Close(absl::ZeroDuration())) << "again";
  EXPECT_TRUE(gate.closed());
  EXPECT_FALSE(gate.Enter());
  EXPECT_EQ(gate.inside(), 0);
  EXPECT_FALSE(other_ran) << "that blocked";
  other.Join();
}

GREENLET_TEST(Gate, CloseWaitsForThoseInsideAndNobodyEntersMeanwhile) {
  Gate gate;
  const Stopwatch watch;
  const auto pass = [&](absl::Duration time) {
    return Spawn([&gate, time] {
      GatePass pass(gate);
      EXPECT_TRUE(pass);
      Sleep(time);
    });
  };
  const Greenlet<> one = pass(absl::Seconds(1));
  const Greenlet<> two = pass(absl::Seconds(2));
  while (gate.inside() < 2) Yield();
  const Greenlet<> also = Spawn([&] { EXPECT_TRUE(gate.Close(absl::Hours(1))); });
  const Greenlet<> late = Spawn([&] {
    Sleep(absl::Seconds(1.5));
    GatePass pass(gate);
    EXPECT_FALSE(pass);
  });
  EXPECT_TRUE(gate.Close());
  EXPECT_TRUE(watch.Shows(absl::Seconds(2)));
  also.Join();
  late.Join();
  one.Join();
  two.Join();
}

GREENLET_TEST(Gate, ClosesSoonWithoutWaiting) {
  Gate gate;
  EXPECT_TRUE(gate.Enter());
  gate.CloseSoon();
  EXPECT_FALSE(gate.Enter());
  EXPECT_EQ(gate.inside(), 1);
  gate.Leave();
}

GREENLET_TEST(Gate, PastItsDeadlineOrKilledItIsClosed) {
  Gate first;
  EXPECT_TRUE(first.Enter());
  const Stopwatch watch;
  EXPECT_FALSE(first.Close(absl::Seconds(1)));
  EXPECT_TRUE(watch.Shows(absl::Seconds(1)));
  EXPECT_FALSE(first.Enter());
  first.Leave();
  Gate second;
  EXPECT_TRUE(second.Enter());
  EXPECT_FALSE(second.Close(absl::ZeroDuration()));
  EXPECT_FALSE(second.Enter());
  second.Leave();
  Gate third;
  EXPECT_TRUE(third.Enter());
  const Greenlet<> killed = Spawn([&] { third.Close(); });
  const Greenlet<> killed_soon = Spawn([&] { third.Close(); });
  Sleep(absl::Seconds(1));
  killed.Kill();
  killed_soon.KillSoon();
  killed_soon.Join();
  EXPECT_TRUE(killed.killed());
  EXPECT_FALSE(third.Enter());
  EXPECT_FALSE(WithTimeout(absl::Seconds(1), [&] { third.Close(); }).ok());
  third.Leave();
  EXPECT_TRUE(third.Close());
}

GREENLET_TEST(Gate, OneThatIsKilledInTheTurnOfTheEndHasClosedIt) {
  Gate gate;
  EXPECT_TRUE(gate.Enter());
  bool closed = false;
  const Greenlet<> killed = Spawn([&] {
    closed = gate.Close();
    Yield();
    ADD_FAILURE() << "went on";
  });
  Sleep(absl::Seconds(1));
  gate.Leave();
  killed.KillSoon();
  killed.Join();
  EXPECT_TRUE(closed);
}

GREENLET_TEST(Gate, AKilledGreenletLeavesWithItsPass) {
  Gate gate;
  const Greenlet<> killed = Spawn([&] {
    GatePass pass(gate);
    Sleep(absl::InfiniteDuration());
  });
  while (gate.inside() == 0) Yield();
  killed.KillSoon();
  EXPECT_TRUE(gate.Close());
  EXPECT_EQ(gate.inside(), 0);
  killed.Join();
}

TEST(Gate, NobodyIsInsideOnceItIsClosedWhateverTheSeed) {
  ForEachSeed(kSeeds, [] {
    Dice dice;
    Gate gate;
    int inside = 0;
    bool closing = false;
    std::vector<Greenlet<>> greenlets;
    for (int i = 0; i < 5; ++i) {
      greenlets.push_back(Spawn([&] {
        for (int round = 0; round < 5; ++round) {
          dice.Pause();
          GatePass pass(gate);
          EXPECT_EQ(static_cast<bool>(pass), !closing);
          if (!pass) return;
          struct Inside {
            explicit Inside(int& n) : count(n) { ++count; }
            ~Inside() { --count; }
            int& count;
          } here(inside);
          dice.Pause();
        }
      }));
    }
    for (int i = 0; i < 3; ++i) {
      greenlets.push_back(Spawn([&] {
        for (int round = 0; round < 3; ++round) dice.Pause();
        closing = true;
        if (dice.Roll(2)) {
          gate.Close();
          EXPECT_EQ(inside, 0);
        } else if (gate.Close(absl::Microseconds(dice.Roll(20)))) {
          EXPECT_EQ(inside, 0);
        }
      }));
    }
    dice.Pause();
    greenlets[dice.Roll(8)].KillSoon();
    JoinAll(greenlets);
    EXPECT_TRUE(gate.Close(absl::ZeroDuration()));
  });
}

// --- from elsewhere ---

GREENLET_TEST(Gate, IsPassedAndClosedFromElsewhere) {
  Gate gate;
  std::atomic<int> inside{0};
  std::atomic<int> passed{0};
  const auto pass = [&] {
    GatePass pass(gate);
    if (!pass) return false;
    ++passed;
    ++inside;
    if (Hub::Current()) Yield();
    --inside;
    return true;
  };
  const Greenlet<> threads = Spawn([&] {
    OnPlainThreads(2, [&](int) {
      while (pass()) {
      }
    });
  });
  const Greenlet<> hubs = Spawn([&] {
    OnHubs(2, [&](int) {
      while (pass()) {
      }
    });
  });
  OnAnotherHub([&] {
    while (passed < 100) Sleep(absl::Microseconds(10));
    (void)gate.Close(absl::Microseconds(1));
    EXPECT_TRUE(gate.Close());
    EXPECT_EQ(inside, 0);
    EXPECT_EQ(gate.inside(), 0);
  });
  threads.Join();
  hubs.Join();
  OnPlainThread([&] {
    EXPECT_FALSE(gate.Enter());
    EXPECT_TRUE(gate.Close(absl::ZeroDuration()));
    gate.CloseSoon();
  });
}

// As a service does that one hub ends while another one's greenlets leave it.
GREENLET_TEST(Gate, WhoHasClosedItElsewhereMayDestroyIt) {
  for (int i = 0; i < 100; ++i) {
    auto gate = std::make_unique<Gate>();
    Gate* const mine = gate.get();
    EXPECT_TRUE(mine->Enter());
    const Greenlet<> other = Spawn([&] {
      OnAnotherHub([&] {
        EXPECT_TRUE(gate->Close());
        gate.reset();
      });
    });
    while (!mine->closed()) Sleep(absl::Microseconds(1));
    for (int j = 0; j < i % 5; ++j) Sleep(absl::Microseconds(1));
    mine->Leave();
    other.Join();
  }
}

TEST(Gate, OneWithoutAHubAndOneWhoseHubHasEndedWork) {
  Gate gate;
  EXPECT_TRUE(gate.Enter());
  gate.Leave();
  std::thread([&] {
    const HubScope scope;
    EXPECT_TRUE(gate.Enter());
    gate.Leave();
  }).join();
  EXPECT_TRUE(gate.Enter());
  std::thread([&] {
    const HubScope scope;
    const Greenlet<> closer = Spawn([&] { EXPECT_TRUE(gate.Close()); });
    Yield();
    gate.Leave();
    closer.Join();
  }).join();
  EXPECT_FALSE(gate.Enter());
  EXPECT_EQ(Hub::Current(), nullptr);
}

// --- what is fatal ---

TEST(GateDeathTest, LeavingWhereNobodyIsInsideIsFatal) {
  EXPECT_DEATH(Gate().Leave(), "somebody leaves Gate 0x[0-9a-f]+, in which nobody is");
}

TEST(GateDeathTest, DestroyingOneThatIsUsedIsFatal) {
  EXPECT_DEATH(
      {
        HubScope scope;
        Gate gate;
        (void)gate.Enter();
      },
      "Gate 0x[0-9a-f]+ is destroyed with 1 inside: Close\\(\\) it first");
  EXPECT_DEATH(
      {
        HubScope scope;
        Gate gate;
        (void)gate.Enter();
        const Greenlet<> one = Spawn({.name = "closer"}, [&] { gate.Close(); });
        Yield();
        gate.~Gate();
      },
      "Gate 0x[0-9a-f]+ is destroyed while 1 wait for it:\n  greenlet 'closer' \\(#1\\)");
}

}  // namespace
}  // namespace grove
