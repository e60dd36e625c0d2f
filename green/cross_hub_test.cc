// Greenlets of one hub, used from another, and from threads without a hub.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <exception>
#include <functional>
#include <future>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "grove/green/call.h"
#include "grove/green/context.h"
#include "grove/green/deadline_scope.h"
#include "grove/green/greenlet.h"
#include "grove/green/hub_group.h"
#include "grove/green/hub_scope.h"
#include "grove/green/sleep.h"
#include "grove/green/timeout.h"
#include "grove/green/wait.h"

namespace grove {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

void SleepForEver() { Sleep(absl::InfiniteDuration()); }

// This test's hub, and one abroad.
class CrossHubTest : public testing::Test {
 protected:
  template <typename F>
  auto SpawnAbroad(F&& fn) {
    return *abroad_->Spawn(0, std::forward<F>(fn));
  }
  const HubHandle& abroad() const { return abroad_->handle(0); }
  // Ends the hub abroad, with whatever is there.
  void EndAbroad() { abroad_->Drain(Deadline::Passed()); }

  HubScope scope_{{.name = "home"}};
  std::unique_ptr<HubGroup> abroad_ =
      std::make_unique<HubGroup>(HubGroupOptions{.hubs = 1, .name = "abroad"});
};

// --- Call ---

TEST_F(CrossHubTest, ACallReturnsWhatTheFunctionReturnsOverThere) {
  std::string on_the_stack = "seen";
  const absl::StatusOr<std::string> r =
      Call(abroad(), [&] { return on_the_stack + " by " + ThisHub().name(); });
  EXPECT_EQ(*r, "seen by abroad-0");
  EXPECT_TRUE(Call(abroad(), [&] { on_the_stack = "changed"; }).ok());
  EXPECT_EQ(on_the_stack, "changed");
}

TEST_F(CrossHubTest, ACallMayBlockAndOthersRunMeanwhile) {
  std::atomic<bool> go{false};
  const Greenlet<absl::StatusOr<int>> call = Spawn([&] {
    return Call(abroad(), [&] {
      while (!go) Yield();
      return 42;
    });
  });
  for (int i = 0; i < 10; ++i) Yield();
  EXPECT_FALSE(call.ready());
  go = true;
  EXPECT_EQ(*call.Get(), 42);
}

TEST_F(CrossHubTest, ResultsMayBeMoveOnlyAndStatusesAreNotNested) {
  EXPECT_EQ(**Call(abroad(), [] { return std::make_unique<int>(7); }), 7);
  const absl::Status s = Call(abroad(), [] { return absl::DataLossError("gone"); });
  EXPECT_EQ(s.code(), absl::StatusCode::kDataLoss);
  const absl::StatusOr<int> n =
      Call(abroad(), []() -> absl::StatusOr<int> { return absl::DataLossError("x"); });
  EXPECT_EQ(n.status().code(), absl::StatusCode::kDataLoss);
}

TEST_F(CrossHubTest, ACallThrowsWhatTheFunctionThrows) {
  testing::internal::CaptureStderr();
  try {
    Call(abroad(), [] { throw std::runtime_error("over there"); }).IgnoreError();
    ADD_FAILURE();
  } catch (const std::runtime_error& e) {
    EXPECT_STREQ(e.what(), "over there");
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "") << "it is not unhandled";
}

TEST_F(CrossHubTest, KillingTheCallerKillsTheCalledAndWaitsForItsEnd) {
  std::atomic<bool> begun{false};
  std::atomic<bool> unwound{false};
  const Greenlet<> caller = Spawn([&] {
    struct AtEnd {
      std::atomic<bool>* set;
      ~AtEnd() {
        for (int i = 0; i < 100; ++i) {
          Shield shield;
          Yield();
        }
        *set = true;
      }
    };
    Call(abroad(), [&] {
      AtEnd at_end{&unwound};
      begun = true;
      SleepForEver();
    }).IgnoreError();
  });
  while (!begun) Yield();
  caller.Kill();
  EXPECT_TRUE(caller.killed());
  EXPECT_TRUE(unwound) << "before the caller was gone, to whose stack it refers";
}

TEST_F(CrossHubTest, ACallPastItsDeadlineKillsTheCalled) {
  std::atomic<bool> begun{false};  // maybe not, on a busy machine
  std::atomic<bool> unwound{false};
  const absl::Status s = Call(
      abroad(),
      [&] {
        begun = true;
        try {
          SleepForEver();
        } catch (const GreenletExit&) {
          unwound = true;
          throw;
        }
      },
      absl::Milliseconds(1));
  EXPECT_EQ(s.code(), absl::StatusCode::kDeadlineExceeded) << s;
  EXPECT_EQ(unwound, begun);
  EXPECT_EQ(Call(
                abroad(), [] {}, Deadline::Passed())
                .code(),
            absl::StatusCode::kDeadlineExceeded);
}

TEST_F(CrossHubTest, WhatACallReturnsInSpiteOfAKillIsNotLost) {
  std::atomic<bool> begun{false};
  bool got = false;
  const Greenlet<> caller = Spawn([&] {
    const absl::StatusOr<int> n = Call(abroad(), [&] {
      begun = true;
      try {
        SleepForEver();
      } catch (const GreenletExit&) {
      }
      return 5;
    });
    got = n.ok() && *n == 5;
    Yield();
    ADD_FAILURE() << "the kill is still pending";
  });
  while (!begun) Yield();
  caller.Kill();
  EXPECT_TRUE(got);
  EXPECT_TRUE(caller.killed());
}

TEST_F(CrossHubTest, ATimeoutScopeEndsACall) {
  EXPECT_EQ(WithTimeout(absl::Milliseconds(1),
                        [&] { Call(abroad(), &SleepForEver).IgnoreError(); })
                .code(),
            absl::StatusCode::kDeadlineExceeded);
}

TEST_F(CrossHubTest, ACallThatSomebodyKillsOverThereIsCancelled) {
  const absl::Status s = Call(abroad(), [] { CurrentGreenlet().Kill(); });
  EXPECT_EQ(s.code(), absl::StatusCode::kCancelled) << s;
  EXPECT_THAT(std::string(s.message()), HasSubstr("of hub 'abroad-0' was killed"));
}

TEST_F(CrossHubTest, ACallOnOnesOwnHubRunsInTheCaller) {
  const AnyGreenlet self = CurrentGreenlet();
  EXPECT_TRUE(*Call(ThisHub().handle(), [&] { return CurrentGreenlet() == self; }));
  EXPECT_EQ(Call(ThisHub().handle(), &SleepForEver, absl::Milliseconds(1)).code(),
            absl::StatusCode::kDeadlineExceeded);
}

// As Spawn() does.
TEST_F(CrossHubTest, WhatACopyOfTheFunctionThrowsIsTheCallers) {
  struct Throws {
    Throws() = default;
    Throws(const Throws&) { throw std::runtime_error("no copy"); }
    void operator()() const {}
  };
  const Throws fn;
  EXPECT_THROW((void)SpawnOn(abroad(), fn), std::runtime_error);
}

TEST_F(CrossHubTest, CallsNestBackAndForth) {
  const HubHandle home = ThisHub().handle();
  std::function<int(int)> bounce = [&](int n) {
    if (n == 0) return 0;
    return 1 + *Call(n % 2 ? abroad() : home, [&] { return bounce(n - 1); });
  };
  EXPECT_EQ(bounce(20), 20);
}

TEST_F(CrossHubTest, AThreadWithoutAHubCallsToo) {
  int n = 0;
  std::thread([&] { n = *Call(abroad(), [] { return 3; }); }).join();
  EXPECT_EQ(n, 3);
}

TEST_F(CrossHubTest, ContextAndDeadlineTravelWithACallAndASpawn) {
  static const ContextKey<std::string> kTrace;
  ContextScope trace(kTrace, "t1");
  EXPECT_EQ(*Call(abroad(), [] { return kTrace.GetOr("none"); }), "t1");
  EXPECT_EQ(*SpawnAbroad([] { return kTrace.GetOr("none"); }).Get(), "t1");
  DeadlineScope soon(absl::Milliseconds(1));
  EXPECT_EQ(SpawnAbroad(&SleepForEver).core()->bounded, true);
}

TEST_F(CrossHubTest, ACallToAHubThatHasEndedIsAnError) {
  EndAbroad();
  const absl::Status s = Call(abroad(), [] { ADD_FAILURE(); });
  EXPECT_EQ(s.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(s.message()), HasSubstr("hub 'abroad-0' has ended"));
}

TEST_F(CrossHubTest, ACallToAHubThatEndsMeanwhileIsCancelled) {
  std::atomic<bool> begun{false};
  const Greenlet<absl::Status> call = Spawn([&] {
    return Call(abroad(), [&] {
      begun = true;
      SleepForEver();
    });
  });
  while (!begun) Yield();
  EndAbroad();
  EXPECT_EQ(call.Get().code(), absl::StatusCode::kCancelled);
}

TEST_F(CrossHubTest, AThousandCallsAtATime) {
  std::vector<Greenlet<absl::StatusOr<int>>> calls;
  for (int i = 0; i < 1000; ++i) {
    calls.push_back(Spawn([this, i] {
      return Call(abroad(), [i] {
        Yield();
        return i;
      });
    }));
  }
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(*calls[i].Get(), i);
}

// --- handles ---

TEST_F(CrossHubTest, JoinAndGetWaitForAGreenletAbroad) {
  std::atomic<bool> go{false};
  const Greenlet<int> g = SpawnAbroad([&] {
    while (!go) Yield();
    return 9;
  });
  EXPECT_FALSE(g.Join(Deadline::Passed()));
  EXPECT_FALSE(g.Join(absl::Milliseconds(1)));
  EXPECT_EQ(g.Get(Deadline::Passed()).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_FALSE(g.ready());
  go = true;
  EXPECT_EQ(*g.Get(), 9);
  EXPECT_TRUE(g.ready());
  EXPECT_TRUE(g.successful());
  EXPECT_TRUE(g.Join()) << "again";
}

TEST_F(CrossHubTest, GetThrowsWhatAGreenletAbroadThrew) {
  const Greenlet<> g = *SpawnOn(abroad(), [] {
    SetErrorHandler([](const UnhandledException&) {});
    throw std::runtime_error("abroad");
  });
  EXPECT_THROW(g.Get().IgnoreError(), std::runtime_error);
  EXPECT_FALSE(g.successful());
  EXPECT_NE(g.exception(), nullptr);
}

TEST_F(CrossHubTest, KillReachesAGreenletAbroad) {
  std::atomic<bool> begun{false};
  const Greenlet<> running = SpawnAbroad([&] {
    begun = true;
    SleepForEver();
  });
  while (!begun) Yield();
  running.Kill();
  EXPECT_TRUE(running.killed());
  EXPECT_EQ(running.Get().code(), absl::StatusCode::kCancelled);
  running.Kill();  // no effect

  const Greenlet<> soon = SpawnAbroad(&SleepForEver);
  soon.KillSoon();
  EXPECT_TRUE(soon.Join());
  EXPECT_TRUE(soon.killed());

  const Greenlet<> with_error = *SpawnOn(abroad(), [] {
    SetErrorHandler([](const UnhandledException&) {});
    SleepForEver();
  });
  std::exception_ptr why = std::make_exception_ptr(std::runtime_error("why"));
  with_error.Kill({.error = std::move(why)});
  EXPECT_THROW(with_error.Get().IgnoreError(), std::runtime_error);
}

TEST_F(CrossHubTest, AKillWithADeadlineWaitsNoLongerAndStaysInForce) {
  std::atomic<bool> begun{false};
  std::atomic<bool> give_in{false};
  const Greenlet<> g = SpawnAbroad([&] {
    Shield shield;
    begun = true;
    while (!give_in) Yield();
  });
  while (!begun) Yield();
  g.Kill({.deadline = absl::Milliseconds(1)});
  EXPECT_FALSE(g.ready());
  give_in = true;
  EXPECT_TRUE(g.Join());
}

TEST_F(CrossHubTest, ThrowReachesAGreenletAbroad) {
  const Greenlet<std::string> g = SpawnAbroad([]() -> std::string {
    try {
      SleepForEver();
    } catch (const std::runtime_error& e) {
      return e.what();
    }
    return "";
  });
  while (!*Call(abroad(), [&] { return g.started(); })) {
  }
  // In two steps: std::runtime_error shares its text with its copies, under a count that
  // ThreadSanitizer does not see, and this one is to be gone before.
  std::exception_ptr error = std::make_exception_ptr(std::runtime_error("sent"));
  g.Throw(std::move(error));
  EXPECT_EQ(*g.Get(), "sent");
}

TEST_F(CrossHubTest, LinksAreCalledOnTheHubThatAskedForThem) {
  std::atomic<bool> go{false};
  const Greenlet<int> g = SpawnAbroad([&] {
    while (!go) Yield();
    return 1;
  });
  std::vector<std::string> calls;
  const auto note = [&](const std::string& what) {
    return [&calls, what](const AnyGreenlet& ended) {
      EXPECT_EQ(ThisHub().name(), "home");
      EXPECT_TRUE(ended.ready());
      calls.push_back(what);
    };
  };
  g.RawLink(note("raw"));
  g.Link([&, n = note("blocking")](const AnyGreenlet& ended) {
    Yield();
    n(ended);
  });
  g.LinkValue(note("value"));
  g.LinkException(note("exception"));
  const LinkId taken_back = g.Link(note("never"));
  EXPECT_TRUE(g.Unlink(taken_back));
  EXPECT_FALSE(g.Unlink(taken_back));
  go = true;
  g.Join();
  while (calls.size() < 3) Yield();
  EXPECT_THAT(calls, UnorderedElementsAre("raw", "blocking", "value"));
  g.RawLink(note("late"));
  while (calls.size() < 4) Yield();
  EXPECT_EQ(calls.back(), "late");
}

TEST_F(CrossHubTest, ALinkOutlivesTheHubOfItsGreenlet) {
  const Greenlet<> g = SpawnAbroad(&SleepForEver);
  int called = 0;
  g.RawLink([&](const AnyGreenlet& ended) {
    EXPECT_TRUE(ended.killed());
    ++called;
  });
  EndAbroad();
  g.RawLink([&](const AnyGreenlet&) { ++called; });
  while (called < 2) Yield();
}

TEST_F(CrossHubTest, AGreenletWhoseHubHasEndedCountsAsEnded) {
  const Greenlet<int> g = SpawnAbroad([] {
    SleepForEver();
    return 1;
  });
  const Greenlet<absl::StatusOr<int>> waiting = Spawn([&] { return g.Get(); });
  Yield();
  EndAbroad();
  EXPECT_TRUE(g.Join());
  EXPECT_EQ(waiting.Get().status().code(), absl::StatusCode::kCancelled);
  g.Kill();
  g.KillSoon();
  g.Throw(std::make_exception_ptr(1));
}

TEST_F(CrossHubTest, AJoinThatIsKilledLeavesNothingOverThere) {
  const Greenlet<> g = SpawnAbroad(&SleepForEver);
  for (int i = 0; i < 20; ++i) {
    const Greenlet<> joiner = Spawn([&] { g.Join(); });
    for (int k = 0; k < i; ++k) Yield();
    joiner.Kill();
    EXPECT_TRUE(joiner.killed());
  }
  EXPECT_TRUE(*Call(abroad(), [&] { return g.core()->joiners.empty(); }));
  g.Kill();
}

TEST_F(CrossHubTest, AThreadWithoutAHubJoinsAndKills) {
  const Greenlet<int> value = SpawnAbroad([] { return 6; });
  const Greenlet<> stuck = SpawnAbroad(&SleepForEver);
  std::thread([&] {
    EXPECT_EQ(*value.Get(), 6);
    stuck.KillSoon();
    EXPECT_EQ(Hub::Current(), nullptr) << "what does not wait needs none";
    EXPECT_TRUE(stuck.Join());
  }).join();
}

TEST_F(CrossHubTest, ThreadsSpawnWithoutAHub) {
  std::vector<std::thread> threads;
  std::atomic<int> sum{0};
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      for (int k = 0; k < 100; ++k) {
        EXPECT_TRUE(SpawnOn(abroad(), [&sum, i] { sum += i; }).ok());
      }
      EXPECT_EQ(Hub::Current(), nullptr);
    });
  }
  for (auto& t : threads) t.join();
  abroad_->Drain();
  EXPECT_EQ(sum, 600);
}

// --- many at a time ---

TEST_F(CrossHubTest, WaitsMayMixGreenletsOfSeveralHubs) {
  HubGroup others({.hubs = 2, .pin = false, .name = "others"});
  std::vector<AnyGreenlet> all;
  for (int i = 0; i < 30; ++i) {
    const auto work = [i] {
      for (int k = 0; k < i % 7; ++k) Yield();
    };
    all.push_back(i % 3 == 0 ? Spawn(work) : *others.Spawn(i % 2, work));
  }
  EXPECT_EQ(JoinAll(all).size(), all.size());
  for (const AnyGreenlet& g : all) EXPECT_TRUE(g.ready());

  std::vector<AnyGreenlet> stuck;
  for (int i = 0; i < 9; ++i) {
    stuck.push_back(i % 3 == 0 ? Spawn(&SleepForEver)
                               : *others.Spawn(i % 2, &SleepForEver));
  }
  EXPECT_TRUE(JoinAll(stuck, {.deadline = absl::Milliseconds(1)}).empty());
  const Greenlet<> waiter = Spawn([&] { JoinAll(stuck); });
  Yield();
  waiter.Kill();
  const AnyGreenlet one = *others.Spawn(1, [] {});
  EXPECT_THAT(Wait({stuck[1], one}, {.count = 1}), ElementsAre(1));
  EXPECT_TRUE(KillAll(stuck));
  for (const AnyGreenlet& g : stuck) EXPECT_TRUE(g.killed());
}

// What was accepted and not delivered when its hub ended: nothing of it has run, and who
// waits is told. No hub ever looks at its mail here.
TEST(CrossHubEndTest, ACallThatWasNotDeliveredIsToldSo) {
  const HubScope here;
  std::atomic<bool> ran{false};
  std::promise<HubHandle> up;
  std::promise<void> end;
  std::thread thread([&] {
    const HubScope abroad;
    up.set_value(ThisHub().handle());
    end.get_future().wait();  // blocks the thread, and the hub with it
  });
  const HubHandle abroad = up.get_future().get();
  const Greenlet<absl::Status> call =
      Spawn([&] { return Call(abroad, [&] { ran = true; }); });
  const Greenlet<absl::StatusOr<Greenlet<>>> spawn =
      Spawn([&] { return SpawnOn(abroad, [&] { ran = true; }); });
  Yield();
  ASSERT_TRUE(abroad.Post([&] { ran = true; }).ok()) << "it is still there";
  end.set_value();
  thread.join();
  EXPECT_EQ(call.Get().code(), absl::StatusCode::kFailedPrecondition) << call.Get();
  const absl::Status spawned = spawn.Get().status();
  EXPECT_EQ(spawned.code(), absl::StatusCode::kFailedPrecondition) << spawned;
  EXPECT_FALSE(ran);
}

TEST_F(CrossHubTest, AWaitEndsWithTheHubOfWhatItWaitsFor) {
  const Greenlet<> g = SpawnAbroad(&SleepForEver);
  const Greenlet<> waiter = Spawn([&] { JoinAll({g}); });
  Yield();
  EndAbroad();
  EXPECT_TRUE(waiter.Join());
  EXPECT_EQ(Wait({g}, {}).size(), 1u) << "and so does one that begins later";
}

}  // namespace
}  // namespace grove
