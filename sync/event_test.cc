#include "grove/sync/event.h"

#include <gtest/gtest.h>

#include <memory>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/sleep.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/hub/hub.h"
#include "grove/sync/blocking_call_tests.h"
#include "grove/sync/sync_test_util.h"

namespace grove {
namespace {

using test_util::Lots;
using test_util::OnHub;
using test_util::OnThread;
using test_util::Settle;

struct EventWait {
  static constexpr bool kConsumes = false;
  bool Call(Deadline d = {}) { return event.Wait(d); }
  void Grant() { event.Set(); }
  Event event;
};
BLOCKING_CALL_TESTS(EventWait);
BLOCKING_CALL_DEATH_TEST(EventWait, "Event");

struct AutoResetEventWait {
  static constexpr bool kConsumes = true;
  bool Call(Deadline d = {}) { return event.Wait(d); }
  void Grant() { event.Set(); }
  AutoResetEvent event;
};
BLOCKING_CALL_TESTS(AutoResetEventWait);
BLOCKING_CALL_DEATH_TEST(AutoResetEventWait, "AutoResetEvent");

GREENLET_TEST(Event, IsNotSetAtFirstAndStaysSetUntilItIsCleared) {
  Event event;
  EXPECT_FALSE(event.IsSet());
  event.Set();
  event.Set();
  EXPECT_TRUE(event.IsSet());
  EXPECT_TRUE(event.Wait());
  EXPECT_TRUE(event.Wait());
  event.Clear();
  EXPECT_FALSE(event.IsSet());
  EXPECT_FALSE(event.Wait(Deadline::Passed()));
}

GREENLET_TEST(Event, SetAndClearedAtOnceStillWakesAll) {
  for (const int count : {1, 100, 1000}) {
    Event event;
    int woken = 0;
    std::vector<Greenlet<>> waiting;
    for (int i = 0; i < count; ++i) {
      waiting.push_back(Spawn([&] {
        if (event.Wait(absl::Seconds(1))) ++woken;
      }));
    }
    Settle();
    event.Set();
    event.Clear();
    for (const Greenlet<>& g : waiting) g.Join();
    EXPECT_EQ(woken, count);
  }
}

GREENLET_TEST(Event, WhoComesWhileOthersAreBeingWokenComesAfterThem) {
  if (seed()) return;
  Event event;
  std::vector<int> order;
  std::vector<Greenlet<>> waiting;
  for (int i = 0; i < 3; ++i) {
    waiting.push_back(Spawn([&, i] {
      event.Wait();
      order.push_back(i);
    }));
  }
  Settle();
  event.Set();
  waiting.push_back(Spawn([&] {
    event.Wait();
    order.push_back(3);
  }));
  for (const Greenlet<>& g : waiting) g.Join();
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3}));
}

GREENLET_TEST(Event, WhoIsWokenMayDestroyIt) {
  auto event = std::make_unique<Event>();
  const Greenlet<> g = Spawn([&] {
    event->Wait();
    event.reset();
  });
  Settle();
  event->Set();
  g.Join();
}

GREENLET_TEST(AutoResetEvent, SetSeveralTimesWithNobodyWaitingCountsOnce) {
  AutoResetEvent event;
  event.Set();
  event.Set();
  EXPECT_TRUE(event.IsSet());
  EXPECT_TRUE(event.Wait());
  EXPECT_FALSE(event.IsSet());
  EXPECT_FALSE(event.Wait(absl::Seconds(1)));
}

GREENLET_TEST(AutoResetEvent, ClearTakesASetBack) {
  AutoResetEvent event;
  event.Set();
  event.Clear();
  EXPECT_FALSE(event.Wait(Deadline::Passed()));
}

GREENLET_TEST(AutoResetEvent, NobodyOvertakesWhoWasLetGoOn) {
  AutoResetEvent event;
  const Greenlet<bool> first = Spawn([&] { return event.Wait(); });
  Settle();
  event.Set();
  EXPECT_FALSE(event.Wait(Deadline::Passed()));
  EXPECT_TRUE(*first.Get());
}

// --- homes ---

GREENLET_TEST(Event, IsSetAndClearedFromAThreadWithoutMakingAHubThere) {
  Event event;
  AutoResetEvent once;
  OnThread([&] {
    event.Set();
    once.Set();
    EXPECT_EQ(Hub::Current(), nullptr);
  });
  EXPECT_TRUE(event.Wait());
  EXPECT_TRUE(once.Wait());
  OnThread([&] {
    EXPECT_TRUE(event.IsSet());
    event.Clear();
    once.Set();
    once.Clear();
    EXPECT_FALSE(event.Wait(Deadline::Passed()));  // asks: what was sent has arrived
    EXPECT_FALSE(once.Wait(Deadline::Passed()));
    EXPECT_EQ(Hub::Current(), nullptr);
  });
}

GREENLET_TEST(Event, ManyThreadsSetAndManyHubsWait) {
  Event event;
  const KeepAlive alive(&hub());
  std::vector<std::thread> threads;
  std::atomic<int> woken{0};
  Event all;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      HubScope scope;
      const Greenlet<> a = Spawn([&] { woken += event.Wait() ? 1 : 0; });
      const Greenlet<> b = Spawn([&] { woken += event.Wait() ? 1 : 0; });
      a.Join();
      b.Join();
      if (woken == 8) all.Set();
    });
  }
  for (int i = 0; i < 2; ++i) threads.emplace_back([&] { event.Set(); });
  all.Wait();
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(woken, 8);
}

TEST(EventHome, MadeBeforeThereIsAHubItBelongsToTheFirstThatUsesIt) {
  Event event;
  AutoResetEvent once;
  event.Set();
  event.Clear();
  once.Set();
  EXPECT_EQ(Hub::Current(), nullptr);
  HubScope scope;
  EXPECT_FALSE(event.Wait(Deadline::Passed()));
  EXPECT_TRUE(once.Wait());
  const Greenlet<> g = Spawn([&] { event.Wait(); });
  Yield();
  event.Set();
  g.Join();
}

TEST(EventHome, OneWhoseHubHasEndedBelongsToTheNext) {
  Event event;
  AutoResetEvent once;
  for (int i = 0; i < 3; ++i) {
    HubScope scope;
    const Greenlet<> a = Spawn([&] { event.Wait(); });
    const Greenlet<> b = Spawn([&] { once.Wait(); });
    Yield();
    std::thread([&] {
      event.Set();
      once.Set();
    }).join();
    a.Join();
    b.Join();
    event.Clear();
  }
  event.Set();  // now there is none
  EXPECT_TRUE(event.IsSet());
}

TEST(EventHome, WhoWaitsOnAnotherHubGoesOnWaitingWhenTheHomeEnds) {
  std::unique_ptr<Event> event;
  std::thread waiter;
  {
    HubScope scope;
    event = std::make_unique<Event>();
    Event waits;
    waiter = std::thread([&] {
      HubScope other;
      const Greenlet<> g = Spawn([&] { EXPECT_TRUE(event->Wait()); });
      Yield();
      waits.Set();  // behind the other letter
      g.Join();
    });
    waits.Wait();
  }
  event->Set();
  waiter.join();
}

// --- any order ---

TEST(EventSeeds, EachWaiterSeesEachSetThatItWaitedFor) {
  ForEachSeed(1000, [] {
    Lots lots;
    Event event;
    int sets = 0;
    bool over = false;
    std::vector<Greenlet<>> waiting;
    for (int i = 0; i < 4; ++i) {
      waiting.push_back(Spawn([&] {
        while (!over) {
          const int before = sets;
          const bool was_set = event.IsSet();
          if (event.Wait(lots.SomeDeadline())) {
            EXPECT_TRUE(was_set || sets > before);
          } else {
            EXPECT_FALSE(was_set);
          }
          Sleep(absl::Microseconds(1));
        }
      }));
    }
    for (int i = 0; i < 10; ++i) {
      Sleep(absl::Microseconds(lots.Below(3)));
      if (lots.OneIn(3)) waiting[lots.Below(4)].Kill();
      ++sets;
      event.Set();
      if (lots.OneIn(2)) event.Clear();
    }
    over = true;
    event.Set();
    for (const Greenlet<>& g : waiting) g.Join();
  });
}

TEST(EventSeeds, NoSetOfAnAutoResetEventIsLostOrGivenTwice) {
  ForEachSeed(1000, [] {
    Lots lots;
    AutoResetEvent event;
    int sets = 0;
    int got = 0;
    std::vector<Greenlet<>> waiting;
    for (int i = 0; i < 4; ++i) {
      waiting.push_back(Spawn([&] {
        for (int n = 0; n < 4; ++n) {
          if (event.Wait(lots.SomeDeadline())) ++got;
          Sleep(absl::Microseconds(1));
        }
      }));
    }
    for (int i = 0; i < 20; ++i) {
      Sleep(absl::Microseconds(lots.Below(3)));
      if (lots.OneIn(5)) waiting[lots.Below(4)].KillSoon();
      if (!event.IsSet()) {
        event.Set();
        ++sets;
      }
    }
    for (const Greenlet<>& g : waiting) g.Kill();
    if (event.Wait(Deadline::Passed())) ++got;
    EXPECT_EQ(got, sets);
  });
}

}  // namespace
}  // namespace grove
