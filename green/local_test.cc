#include "grove/green/local.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "grove/green/hub_group.h"
#include "grove/green/hub_scope.h"
#include "grove/green/interrupt.h"
#include "grove/green/sleep.h"
#include "grove/green/spawn_hook.h"
#include "grove/green/timeout.h"

namespace grove {
namespace {

// What happened, in order.
std::vector<std::string>* events = nullptr;
void Note(std::string what) { events->push_back(std::move(what)); }
std::string Take() {
  std::string all;
  for (const std::string& e : *events) all += (all.empty() ? "" : " ") + e;
  events->clear();
  return all;
}

// Says when it ends, and where.
struct Noter {
  explicit Noter(std::string n) : name(std::move(n)) {}
  ~Noter() { Note("~" + name); }
  std::string name;
};

class LocalTest : public testing::Test {
 protected:
  LocalTest() { events = &events_; }

  std::vector<std::string> events_;
  ManualClock clock_;
  std::optional<HubScope> scope_{std::in_place, HubOptions{.clock = &clock_}};
};

TEST_F(LocalTest, EachGreenletHasAValueOfItsOwn) {
  GreenletLocal<int> local;
  *local = 1;
  std::vector<Greenlet<>> all;
  for (int i = 0; i < 100; ++i) {
    all.push_back(Spawn([&local, i] {
      EXPECT_EQ(*local, 0);
      *local = i;
      for (int k = 0; k < 3; ++k) {
        Yield();
        EXPECT_EQ(*local, i);
      }
    }));
  }
  for (const Greenlet<>& g : all) g.Join();
  EXPECT_EQ(*local, 1);
}

TEST_F(LocalTest, AChildDoesNotInheritIt) {
  GreenletLocal<std::string> local;
  *local = "mine";
  EXPECT_EQ(*Spawn([&] { return *local; }).Get(), "");
}

TEST_F(LocalTest, IsMadeOnFirstUse) {
  GreenletLocal<std::string> local;
  EXPECT_FALSE(local.Has());
  EXPECT_TRUE(local->empty());
  EXPECT_TRUE(local.Has());
  Spawn([&] { EXPECT_FALSE(local.Has()); }).Join();
}

TEST_F(LocalTest, IsMadeByAFunctionForEachGreenlet) {
  int made = 0;
  GreenletLocal<std::unique_ptr<int>> local(
      [&] { return std::make_unique<int>(++made); });
  EXPECT_EQ(**local, 1);
  EXPECT_EQ(**local, 1);
  EXPECT_EQ(*Spawn([&] { return **local; }).Get(), 2);
  EXPECT_EQ(**local, 1);
}

TEST_F(LocalTest, ATypeNeedNotBeMovableNorDefaultConstructible) {
  struct Fixed {
    explicit Fixed(int v) : value(v) {}
    Fixed(const Fixed&) = delete;
    const int value;
  };
  GreenletLocal<Fixed> local([] { return Fixed(7); });
  EXPECT_EQ(local->value, 7);
}

TEST_F(LocalTest, TheFunctionThatMakesItMayBlock) {
  GreenletLocal<int> local([] {
    Sleep(absl::Seconds(1));
    return 7;
  });
  const Greenlet<int> g = Spawn([&] { return *local; });
  EXPECT_EQ(*local, 7);
  EXPECT_EQ(*g.Get(), 7);
}

TEST_F(LocalTest, AKillWhileItIsBeingMadeMakesNone) {
  GreenletLocal<int> local([] {
    Sleep(absl::InfiniteDuration());
    return 7;
  });
  bool had = true;
  const Greenlet<> g = Spawn([&] {
    try {
      *local = 1;
    } catch (const Interrupt&) {
      had = local.Has();
      throw;
    }
  });
  Yield();
  g.Kill();
  EXPECT_TRUE(g.killed());
  EXPECT_FALSE(had);
}

TEST_F(LocalTest, ATimeoutAroundPassesThroughTheFunctionThatMakesIt) {
  bool slow = true;
  GreenletLocal<int> local([&] {
    if (slow) Sleep(absl::InfiniteDuration());
    return 7;
  });
  EXPECT_EQ(WithTimeout(absl::Seconds(1), [&] { *local = 1; }).code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_FALSE(local.Has());
  slow = false;
  EXPECT_EQ(*local, 7) << "it is tried again";
}

TEST_F(LocalTest, IfMakingItThrowsItIsTriedAgain) {
  int tries = 0;
  GreenletLocal<int> local([&] {
    if (++tries == 1) throw std::runtime_error("x");
    return 7;
  });
  EXPECT_THROW(local.get(), std::runtime_error);
  EXPECT_EQ(*local, 7);
}

TEST_F(LocalTest, ResetDestroysTheCurrentGreenletsAndTheNextUseMakesItAnew) {
  int made = 0;
  GreenletLocal<Noter> local([&] { return Noter(std::to_string(++made)); });
  EXPECT_EQ(local->name, "1");
  Spawn([&] {
    EXPECT_EQ(local->name, "2");
    local.Reset();
    EXPECT_EQ(Take(), "~2");
    EXPECT_FALSE(local.Has());
    EXPECT_EQ(local->name, "3");
  }).Join();
  EXPECT_EQ(Take(), "~3");
  EXPECT_EQ(local->name, "1");
  local.Reset();
  local.Reset();
  EXPECT_EQ(Take(), "~1");
}

// --- when it is destroyed ---

TEST_F(LocalTest, EndsAfterWhatWasCapturedAndBeforeJoinersAndLinksRun) {
  GreenletLocal<Noter> local([] { return Noter("local"); });
  const Greenlet<> g = Spawn([&, captured = std::make_unique<Noter>("captured")] {
    local.get();
    Note("body");
  });
  g.RawLink([](const AnyGreenlet&) { Note("link"); });
  Spawn([&] {
    g.Join();
    Note("joined");
  });
  EXPECT_TRUE(JoinHub());
  EXPECT_EQ(Take(), "body ~captured ~local joined link");
}

TEST_F(LocalTest, WhatWasCapturedMayUseItWhenItEnds) {
  GreenletLocal<Noter> local([] { return Noter("local"); });
  struct User {
    explicit User(GreenletLocal<Noter>* l) : local(l) {}
    User(User&& o) noexcept : local(std::exchange(o.local, nullptr)) {}
    ~User() {
      if (local) Note("uses " + (*local)->name);
    }
    GreenletLocal<Noter>* local;
  };
  Spawn([user = User(&local)] {}).Join();
  EXPECT_EQ(Take(), "uses local ~local");
}

TEST_F(LocalTest, TheLastOneMadeEndsFirst) {
  GreenletLocal<Noter> a([] { return Noter("a"); });
  GreenletLocal<Noter> b([] { return Noter("b"); });
  GreenletLocal<Noter> c([] { return Noter("c"); });
  Spawn([&] {
    b.get();
    c.get();
    a.get();
  }).Join();
  EXPECT_EQ(Take(), "~a ~c ~b");
}

TEST_F(LocalTest, EndsWhenTheGreenletFailsOrIsKilled) {
  SetErrorHandler([](const UnhandledException&) {});
  GreenletLocal<Noter> local([] { return Noter("local"); });
  Spawn([&] {
    local.get();
    throw std::runtime_error("x");
  }).Join();
  EXPECT_EQ(Take(), "~local");
  const Greenlet<> g = Spawn([&] {
    local.get();
    Sleep(absl::InfiniteDuration());
  });
  Yield();
  g.Kill();
  EXPECT_EQ(Take(), "~local");
}

TEST_F(LocalTest, ItsDestructorMayBlockAndIsNotInterrupted) {
  struct Slow {
    ~Slow() {
      Sleep(absl::Seconds(1));
      Note("~slow");
    }
  };
  GreenletLocal<Slow> local;
  const Greenlet<> g = Spawn([&] {
    local.get();
    Sleep(absl::InfiniteDuration());
  });
  Yield();
  g.KillSoon();
  Sleep(absl::Milliseconds(500));
  EXPECT_FALSE(g.ready());
  g.KillSoon();
  g.Join();
  EXPECT_EQ(Take(), "~slow");
}

TEST_F(LocalTest, ADestructorMayMakeAndUseOthers) {
  GreenletLocal<Noter> other([] { return Noter("other"); });
  struct User {
    ~User() { Note("uses " + (*other)->name); }
    GreenletLocal<Noter>* other = nullptr;
  };
  GreenletLocal<User> local;
  Spawn([&] { local->other = &other; }).Join();
  EXPECT_EQ(Take(), "uses other ~other");
}

TEST_F(LocalTest, AResultMayUseItWhenTheGreenletsBlockGoes) {
  // Nobody has a handle: the result ends with the greenlet, which has no locals by then.
  static GreenletLocal<Noter> local([] { return Noter("local"); });
  struct Result {
    Result() = default;
    Result(Result&& o) noexcept : is_last(std::exchange(o.is_last, false)) {}
    ~Result() {
      if (is_last) Note("result has " + local->name);
    }
    bool is_last = true;
  };
  Spawn([] { return Result(); });
  Yield();
  EXPECT_EQ(Take(), "result has local");
  scope_.reset();
  EXPECT_EQ(Take(), "~local") << "it was the hub's own";
}

TEST_F(LocalTest, TheMainGreenletsEndsWithTheHub) {
  GreenletLocal<Noter> local([] { return Noter("local"); });
  local.get();
  scope_.reset();
  EXPECT_EQ(Take(), "~local");
}

TEST_F(LocalTest, TheMainGreenletsMayBlockWhenTheHubEnds) {
  struct Slow {
    ~Slow() {
      const Greenlet<int> g = Spawn([] {
        Sleep(absl::Seconds(1));
        return 7;
      });
      Note("~slow " + std::to_string(*g.Get()));
    }
  };
  GreenletLocal<Slow> local;
  local.get();
  scope_.reset();
  EXPECT_EQ(Take(), "~slow 7");
}

TEST_F(LocalTest, EndsWithTheGreenletLocalIfThatComesFirst) {
  auto local = std::make_unique<GreenletLocal<Noter>>([] { return Noter("local"); });
  local->get().name = "main's";
  const Greenlet<> g = Spawn([&] {
    local->get().name = "g's";
    Sleep(absl::Seconds(1));
  });
  Yield();
  local.reset();
  EXPECT_EQ(Take(), "~g's ~main's");
  g.Join();
  scope_.reset();
  EXPECT_EQ(Take(), "") << "once";
}

TEST_F(LocalTest, OneWhoseDestructorBlocksMayEndWhileItsGreenletLocalDoes) {
  struct Slow {
    ~Slow() {
      Sleep(absl::Seconds(2));
      Note("~slow");
    }
  };
  auto local = std::make_unique<GreenletLocal<Slow>>();
  for (int i = 1; i <= 3; ++i) {
    Spawn([&, i] {
      local->get();
      Sleep(absl::Seconds(i));
    });
  }
  Yield();
  local.reset();
  EXPECT_TRUE(JoinHub());
  EXPECT_EQ(Take(), "~slow ~slow ~slow");
}

TEST_F(LocalTest, ThoseOfEndHooksEndWithTheGreenlet) {
  auto local = std::make_unique<GreenletLocal<Noter>>([] { return Noter("value"); });
  const SpawnHookId hook =
      AddEndHook([&](const AnyGreenlet&) { (*local)->name = "used"; });
  for (int i = 0; i < 3; ++i) {
    Spawn([] {}).Join();
    EXPECT_EQ(Take(), "~used");
  }
  EXPECT_TRUE(RemoveSpawnHook(hook));
  local.reset();
  EXPECT_EQ(Take(), "");
}

TEST_F(LocalTest, ASlotIsUsedAgainAndValuesAreNotMixedUp) {
  for (int i = 0; i < 100; ++i) {
    GreenletLocal<int> a;
    EXPECT_EQ(*a, 0);
    *a = 1;
    GreenletLocal<std::string> b;
    EXPECT_EQ(*b, "");
    *b = "x";
    Spawn([&] {
      EXPECT_EQ(*b, "");
      *b = "y";
    }).Join();
    EXPECT_EQ(*b, "x");
  }
}

TEST_F(LocalTest, OfManyEachGreenletHasOnlyWhatItUses) {
  std::vector<std::unique_ptr<GreenletLocal<int>>> locals;
  for (int i = 0; i < 200; ++i) locals.push_back(std::make_unique<GreenletLocal<int>>());
  std::vector<Greenlet<>> all;
  for (int i = 0; i < 200; ++i) {
    all.push_back(Spawn([&, i] {
      for (int k = 0; k <= i; ++k) **locals[k] = i + k;
      Yield();
      for (int k = 0; k <= i; ++k) EXPECT_EQ(**locals[k], i + k);
      for (int k = i + 1; k < 200; ++k) EXPECT_FALSE(locals[k]->Has());
    }));
  }
  for (const Greenlet<>& g : all) g.Join();
}

TEST_F(LocalTest, TheHubHasItsOwnForWhatItCalls) {
  GreenletLocal<int> local;
  *local = 1;
  int seen = -1;
  ThisHub().RunCallback([&] {
    seen = *local;
    *local = 2;
  });
  Yield();
  EXPECT_EQ(seen, 0);
  EXPECT_EQ(*local, 1);
}

// --- looking inside (LO-2) ---

TEST_F(LocalTest, ForEachLocalNamesWhatAGreenletHas) {
  GreenletLocal<int> number;
  GreenletLocal<std::string> text;
  const int text_line = __LINE__ - 1;
  GreenletLocal<std::string> unused;
  *number = 1;
  const Greenlet<> g = Spawn([&] {
    *number = 2;
    *text = "x";
    Sleep(absl::Seconds(1));
  });
  Yield();
  std::vector<LocalInfo> found;
  ForEachLocal(g, [&](const LocalInfo& info) { found.push_back(info); });
  ASSERT_EQ(found.size(), 2u);
  EXPECT_STREQ(found[0].type, typeid(std::string).name());
  EXPECT_EQ(found[0].made_at.line, text_line);
  EXPECT_STREQ(found[0].made_at.file, "green/local_test.cc");
  EXPECT_EQ(*static_cast<const std::string*>(found[0].value), "x");
  EXPECT_EQ(*static_cast<const int*>(found[1].value), 2);
  g.Join();
  ForEachLocal(g, [&](const LocalInfo&) { ADD_FAILURE() << "it has ended"; });
}

// --- several hubs ---

TEST(LocalOnHubsTest, EachHubsGreenletsHaveTheirOwn) {
  static std::atomic<int> alive{0};
  struct Counted {
    Counted() { alive.fetch_add(1); }
    ~Counted() { alive.fetch_sub(1); }
    int value = 0;
  };
  static GreenletLocal<Counted> local;
  {
    HubScope home;
    HubGroup group({.hubs = 3, .pin = false}, [](int hub) {
      for (int i = 0; i < 100; ++i) {
        Spawn([i, hub] {
          local->value = hub * 1000 + i;
          for (int k = 0; k < 5; ++k) {
            Yield();
            EXPECT_EQ(local->value, hub * 1000 + i);
          }
        });
      }
      local->value = hub;
      JoinHub();
      EXPECT_EQ(local->value, hub);
    });
    group.Join();
  }
  EXPECT_EQ(alive.load(), 0);
}

TEST(LocalOnHubsTest, GreenletLocalsMayComeAndGoOnAllHubsAtOnce) {
  HubScope home;
  HubGroup group({.hubs = 3, .pin = false}, [](int hub) {
    for (int i = 0; i < 200; ++i) {
      GreenletLocal<std::string> local;
      *local = "x";
      const Greenlet<> g = Spawn([&] {
        EXPECT_EQ(*local, "");
        *local = "y";
        Yield();
        EXPECT_EQ(*local, "y");
      });
      Yield();
      if (i % 2 == hub % 2) g.Join();
      if (!g.ready()) g.Kill();
    }
  });
  group.Join();
}

TEST(LocalOnHubsTest, ValuesOfAnotherHubStayUntilTheirGreenletEnds) {
  static std::atomic<int> alive{0};
  struct Counted {
    Counted() { alive.fetch_add(1); }
    ~Counted() { alive.fetch_sub(1); }
  };
  HubScope home;
  auto local = std::make_unique<GreenletLocal<Counted>>();
  std::atomic<bool> made{false};
  std::atomic<bool> gone{false};
  std::thread other([&] {
    HubScope scope;
    local->get();
    made.store(true);
    while (!gone.load()) std::this_thread::yield();
    EXPECT_EQ(alive.load(), 1);
    // In the same slot, and not the same value.
    GreenletLocal<std::string> next;
    EXPECT_FALSE(next.Has());
    *next = "x";
    EXPECT_EQ(alive.load(), 0) << "what was in the way has ended";
    EXPECT_EQ(*next, "x");
    Spawn([&] { EXPECT_EQ(*next, ""); }).Join();
  });
  while (!made.load()) std::this_thread::yield();
  local.reset();
  EXPECT_EQ(alive.load(), 1);
  gone.store(true);
  other.join();
  EXPECT_EQ(alive.load(), 0);
}

TEST(LocalOnHubsTest, OnAThreadWithoutAHubThereIsNoneAndItMakesNoHubToAsk) {
  GreenletLocal<int> local;
  std::thread([&] {
    EXPECT_FALSE(local.Has());
    local.Reset();
    EXPECT_EQ(Hub::Current(), nullptr);
  }).join();
}

TEST(LocalDeathTest, AFunctionThatMakesAValueAndUsesItIsFatal) {
  EXPECT_DEATH(
      {
        HubScope hub;
        static GreenletLocal<int>* local = nullptr;
        int depth = 0;
        GreenletLocal<int> self([&] { return ++depth == 1 ? **local : 1; });
        local = &self;
        self.get();
      },
      "the function that makes the value of the GreenletLocal at .*local_test.cc:.* uses "
      "that GreenletLocal, in greenlet 'main'");
}

TEST(LocalDeathTest, AValueThatMakesItselfAnewForEverIsFatal) {
  EXPECT_DEATH(
      {
        HubScope hub;
        struct Again {
          ~Again() {
            if (local) (*local)->local = local;
          }
          GreenletLocal<Again>* local = nullptr;
        };
        GreenletLocal<Again> local;
        Spawn([&] { local->local = &local; }).Join();
      },
      "destructors of GreenletLocal values of greenlet .* make new ones for ever");
}

TEST(LocalDeathTest, AtTheProcessesEndValuesAreLeftAsTheyAre) {
  EXPECT_EXIT(
      {
        struct Loud {
          ~Loud() { fputs("destroyed\n", stderr); }
        };
        static GreenletLocal<Loud> local;
        local.get();
        Spawn([] {
          local.get();
          Sleep(absl::InfiniteDuration());
        });
        Yield();
        fputs("silence\n", stderr);
        exit(0);
      },
      testing::ExitedWithCode(0), "^silence\n$");
}

}  // namespace
}  // namespace grove
