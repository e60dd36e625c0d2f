#include "grove/green/context.h"

#include <gtest/gtest.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "grove/green/greenlet.h"
#include "grove/green/hub_group.h"
#include "grove/green/hub_scope.h"
#include "grove/green/sleep.h"
#include "grove/green/timeout.h"

namespace grove {
namespace {

const ContextKey<std::string> kTrace;
const ContextKey<std::string> kUser;
const ContextKey<int> kDepth;

std::string Trace() { return kTrace.GetOr("none"); }

class ContextTest : public testing::Test {
 protected:
  ManualClock clock_;
  HubScope scope_{HubOptions{.clock = &clock_}};
};

TEST_F(ContextTest, IsEmptyAtFirst) {
  EXPECT_TRUE(Context::Current().empty());
  EXPECT_EQ(kTrace.Get(), nullptr);
  EXPECT_EQ(kDepth.GetOr(7), 7);
  EXPECT_TRUE(*Spawn([] { return Context::Current().empty(); }).Get());
}

TEST_F(ContextTest, AValueIsInForceUntilItsScopeEnds) {
  {
    ContextScope scope(kTrace, "a");
    EXPECT_EQ(Trace(), "a");
    EXPECT_EQ(kUser.Get(), nullptr);
  }
  EXPECT_EQ(Trace(), "none");
  EXPECT_TRUE(Context::Current().empty());
}

TEST_F(ContextTest, ScopesNestAndHideOneAnother) {
  ContextScope a(kTrace, "a");
  ContextScope user(kUser, "me");
  {
    ContextScope b(kTrace, "b");
    EXPECT_EQ(Trace(), "b");
    EXPECT_EQ(*kUser.Get(), "me");
  }
  EXPECT_EQ(Trace(), "a");
  EXPECT_EQ(*kUser.Get(), "me");
}

TEST_F(ContextTest, AScopeEndsWhenAnExceptionLeavesIt) {
  EXPECT_THROW(
      {
        ContextScope scope(kTrace, "a");
        throw std::runtime_error("x");
      },
      std::runtime_error);
  EXPECT_EQ(Trace(), "none");
}

TEST_F(ContextTest, AScopeEndsWhenItsGreenletIsKilled) {
  std::vector<std::string> seen;
  const Greenlet<> g = Spawn([&] {
    struct Look {
      std::vector<std::string>* seen;
      ~Look() { seen->push_back(Trace()); }
    };
    Look outside{&seen};
    ContextScope scope(kTrace, "a");
    Look inside{&seen};
    Sleep(absl::InfiniteDuration());
  });
  Yield();
  g.Kill();
  EXPECT_EQ(seen, (std::vector<std::string>{"a", "none"}));
}

TEST_F(ContextTest, IsInheritedFromTheSpawnerAsItWasAtTheSpawn) {
  Greenlet<std::string> during;
  Greenlet<std::string> later;
  {
    ContextScope scope(kTrace, "a");
    during = Spawn(&Trace);
    later = SpawnLater(absl::Seconds(1), &Trace);
  }
  const Greenlet<std::string> after = Spawn(&Trace);
  EXPECT_EQ(*during.Get(), "a") << "though the scope had ended when it ran";
  EXPECT_EQ(*later.Get(), "a");
  EXPECT_EQ(*after.Get(), "none");
}

TEST_F(ContextTest, IsInheritedByGrandchildren) {
  ContextScope scope(kTrace, "a");
  EXPECT_EQ(*Spawn([] { return *Spawn(&Trace).Get(); }).Get(), "a");
}

TEST_F(ContextTest, WhatTheChildSetsTheSpawnerDoesNotSee) {
  ContextScope scope(kTrace, "a");
  const Greenlet<> g = Spawn([] {
    ContextScope scope(kTrace, "b");
    Sleep(absl::Seconds(1));
    EXPECT_EQ(Trace(), "b");
  });
  Yield();
  EXPECT_EQ(Trace(), "a");
  g.Join();
  EXPECT_EQ(Trace(), "a");
}

TEST_F(ContextTest, WhatTheSpawnerSetsLaterTheChildDoesNotSee) {
  ContextScope scope(kTrace, "a");
  const Greenlet<> g = Spawn([] {
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(Trace(), "a");
      Yield();
    }
  });
  Yield();
  ContextScope later(kTrace, "b");
  g.Join();
}

TEST_F(ContextTest, BelongsToEachGreenletAcrossSwitches) {
  std::vector<Greenlet<>> all;
  for (int i = 0; i < 100; ++i) {
    all.push_back(Spawn([i] {
      ContextScope scope(kDepth, i);
      for (int k = 0; k < 10; ++k) {
        Yield();
        EXPECT_EQ(*kDepth.Get(), i);
      }
    }));
  }
  for (const Greenlet<>& g : all) g.Join();
}

TEST_F(ContextTest, AChainOfSpawnsThatSetTheSameKeyDoesNotGrow) {
  // The values of all but the last are gone.
  auto witness = std::make_shared<int>(0);
  static const ContextKey<std::shared_ptr<int>> kWitness;
  struct Link {
    static void Run(int left, const std::shared_ptr<int>& witness) {
      ContextScope scope(kWitness, std::shared_ptr<int>(witness));
      if (left == 0) {
        EXPECT_EQ(witness.use_count(), 4)
            << "the test's, the capture's, the value's, and that which it hides";
        return;
      }
      Spawn([left, witness] { Run(left - 1, witness); });
    }
  };
  Spawn([witness] { Link::Run(100, witness); });
  EXPECT_TRUE(JoinHub());
  EXPECT_EQ(witness.use_count(), 1);
}

TEST_F(ContextTest, ValuesAreDestroyedWhenTheLastGreenletThatHasThemEnds) {
  auto value = std::make_shared<int>(1);
  static const ContextKey<std::shared_ptr<int>> kShared;
  Greenlet<> g;
  {
    ContextScope scope(kShared, std::shared_ptr<int>(value));
    g = Spawn([] { Sleep(absl::Seconds(1)); });
  }
  EXPECT_EQ(value.use_count(), 2);
  g.Join();
  EXPECT_EQ(value.use_count(), 1) << "though there is a handle to the greenlet";
}

TEST_F(ContextTest, ValuesAreDestroyedWithAGreenletThatNeverBegan) {
  auto value = std::make_shared<int>(1);
  static const ContextKey<std::shared_ptr<int>> kShared;
  Greenlet<> g;
  {
    ContextScope scope(kShared, std::shared_ptr<int>(value));
    g = Spawn([] {});
  }
  g.Kill();
  EXPECT_EQ(value.use_count(), 1);
}

TEST_F(ContextTest, CanBeCapturedAndRunUnder) {
  Context captured;
  {
    ContextScope scope(kTrace, "a");
    captured = Context::Current();
  }
  EXPECT_EQ(Trace(), "none");
  EXPECT_EQ(*kTrace.In(captured), "a");
  ContextScope user(kUser, "me");
  EXPECT_EQ(captured.Run([] { return Trace(); }), "a");
  EXPECT_EQ(captured.Run([] { return kUser.GetOr("nobody"); }), "nobody")
      << "it replaces the current one";
  EXPECT_EQ(*captured.Run([] { return Spawn(&Trace); }).Get(), "a");
  EXPECT_EQ(*kUser.Get(), "me");
  EXPECT_EQ(Trace(), "none");
}

TEST_F(ContextTest, RunRestoresTheContextWhenItsFunctionThrows) {
  ContextScope scope(kTrace, "a");
  EXPECT_THROW(Context().Run([] { throw std::runtime_error(Trace()); }),
               std::runtime_error);
  EXPECT_EQ(Trace(), "a");
}

TEST_F(ContextTest, WhatTheHubCallsHasAnEmptyOne) {
  ContextScope scope(kTrace, "a");
  std::vector<std::string> seen;
  ThisHub().RunCallback([&] { seen.push_back(Trace()); });
  Spawn([] {}).Link([&](const AnyGreenlet&) { seen.push_back(Trace()); });
  ThisHub()
      .handle()
      .Post([&, context = Context::Current()] {
        context.Run([&] { Spawn([&] { seen.push_back(Trace()); }); });
      })
      .IgnoreError();
  EXPECT_TRUE(JoinHub());
  ASSERT_EQ(seen.size(), 3u);
  EXPECT_EQ(seen[0], "none");
  EXPECT_EQ(seen[1], "none");
  EXPECT_EQ(seen[2], "a") << "unless it was captured";
}

TEST_F(ContextTest, ComparesByIdentity) {
  ContextScope scope(kTrace, "a");
  const Context a = Context::Current();
  EXPECT_EQ(a, Context::Current());
  ContextScope again(kTrace, "a");
  EXPECT_NE(a, Context::Current());
}

TEST(ContextWithoutHubTest, IsEmptyAndMakesNoHub) {
  std::thread([] {
    EXPECT_EQ(kTrace.Get(), nullptr);
    EXPECT_TRUE(Context::Current().empty());
    EXPECT_EQ(Hub::Current(), nullptr);
    ContextScope scope(kTrace, "a");
    EXPECT_EQ(Trace(), "a");
    EXPECT_NE(Hub::Current(), nullptr);
  }).join();
}

TEST(ContextOnHubsTest, TravelsWithWhatIsPosted) {
  // The counts are changed on all threads at once; the last one frees.
  HubScope home;
  auto value = std::make_shared<const std::string>("a");
  static const ContextKey<std::shared_ptr<const std::string>> kShared;
  {
    ContextScope scope(kShared, std::shared_ptr<const std::string>(value));
    HubGroup group({.hubs = 3, .pin = false}, [context = Context::Current()](int) {
      context.Run([] {
        for (int i = 0; i < 100; ++i) {
          Spawn([] {
            for (int k = 0; k < 10; ++k) {
              EXPECT_EQ(**kShared.Get(), "a");
              const Context copy = Context::Current();
              Yield();
            }
          });
        }
      });
      JoinHub();
    });
    group.Join();
  }
  EXPECT_EQ(value.use_count(), 1);
}

TEST(ContextDeathTest, ScopesThatEndInTheWrongOrderAreFatal) {
  EXPECT_DEATH(
      {
        HubScope hub;
        auto a = std::make_unique<ContextScope>(kTrace, "a");
        auto b = std::make_unique<ContextScope>(kTrace, "b");
        a.reset();
      },
      "ContextScopes of greenlet 'main' do not end in the reverse of the order");
}

TEST(ContextDeathTest, AScopeThatAnotherGreenletEndsIsFatal) {
  EXPECT_DEATH(
      {
        HubScope hub;
        auto a = std::make_unique<ContextScope>(kTrace, "a");
        Spawn([&] { a.reset(); }).Join();
      },
      "a ContextScope is ended by another greenlet than made it");
}

}  // namespace
}  // namespace grove
