#include "grove/sync/broadcast.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
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

struct BroadcastReceive {
  static constexpr bool kConsumes = true;
  bool Call(Deadline d = {}) { return mine.Receive(d).ok(); }
  void Grant() { EXPECT_TRUE(broadcast.Send(1, Deadline::Passed()).ok()); }
  Broadcast<int> broadcast{1};
  BroadcastSubscription<int> mine{broadcast};
};
BLOCKING_CALL_TESTS(BroadcastReceive);
BLOCKING_CALL_DEATH_TEST(BroadcastReceive, "BroadcastSubscription");

struct BroadcastSend {
  static constexpr bool kConsumes = true;
  BroadcastSend() { EXPECT_TRUE(broadcast.Send(0).ok()); }
  bool Call(Deadline d = {}) { return broadcast.Send(1, d).ok(); }
  void Grant() { EXPECT_TRUE(mine.Receive(Deadline::Passed()).ok()); }
  Broadcast<int> broadcast{1};
  BroadcastSubscription<int> mine{broadcast};
};
BLOCKING_CALL_TESTS(BroadcastSend);

using Ints = std::vector<int>;
using Subscription = BroadcastSubscription<int>;

Ints Drain(Subscription& subscription) {
  Ints all;
  for (;;) {
    const absl::StatusOr<int> value = subscription.Receive(Deadline::Passed());
    if (!value.ok()) return all;
    all.push_back(*value);
  }
}

GREENLET_TEST(Broadcast, EachValueReachesAllThatHaveSubscribedByThen) {
  Broadcast<int> broadcast(8);
  EXPECT_TRUE(broadcast.Send(0).ok());  // nobody hears it
  Subscription early(broadcast);
  EXPECT_TRUE(broadcast.Send(1).ok());
  Subscription late(broadcast);
  EXPECT_TRUE(broadcast.Send(2).ok());
  EXPECT_EQ(broadcast.subscribers(), 2u);
  EXPECT_EQ(Drain(early), (Ints{1, 2}));
  EXPECT_EQ(Drain(late), Ints{2});
}

GREENLET_TEST(Broadcast, WhatAllHaveReceivedTakesNoRoom) {
  Broadcast<int> broadcast(1);
  Subscription mine(broadcast);
  for (int i = 0; i < 5; ++i) {
    const auto receiver = Spawn([&] { return mine.Receive(); });
    Settle();
    EXPECT_TRUE(broadcast.Send(i, absl::Seconds(1)).ok()) << i;
    EXPECT_EQ(*receiver.Get(), i);
  }
}

GREENLET_TEST(Broadcast, ASenderWaitsForTheSlowest) {
  Broadcast<int> broadcast(2);
  Subscription fast(broadcast);
  Subscription slow(broadcast);
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(broadcast.Send(i).ok());
  EXPECT_EQ(Drain(fast), (Ints{0, 1}));
  const auto first = Spawn([&] { return broadcast.Send(2); });
  Settle();
  const auto second = Spawn([&] { return broadcast.Send(3); });
  Settle();
  EXPECT_FALSE(first.ready());
  EXPECT_EQ(*slow.Receive(), 0);
  Settle();
  EXPECT_TRUE(first.ready());
  EXPECT_FALSE(second.ready());
  EXPECT_EQ(Drain(slow), (Ints{1, 2, 3}));
  EXPECT_TRUE(second.Get().ok());
  EXPECT_EQ(Drain(fast), (Ints{2, 3}));
  EXPECT_EQ(slow.missed() + fast.missed(), 0u);
}

GREENLET_TEST(Broadcast, WhoLeavesLetsTheSenderGoOn) {
  Broadcast<int> broadcast(1);
  Subscription stays(broadcast);
  std::optional<Subscription> leaves(broadcast);
  EXPECT_TRUE(broadcast.Send(0).ok());
  const auto sender = Spawn([&] { return broadcast.Send(1); });
  EXPECT_EQ(*stays.Receive(), 0);
  Settle();
  EXPECT_FALSE(sender.ready());
  leaves.reset();
  EXPECT_TRUE(sender.Get().ok());
  EXPECT_EQ(*stays.Receive(), 1);
}

GREENLET_TEST(Broadcast, WhenTheLastLeavesAllSendersGoOn) {
  Broadcast<int> broadcast(1);
  std::optional<Subscription> only(broadcast);
  std::vector<Greenlet<absl::Status>> senders;
  for (int i = 0; i < 4; ++i) senders.push_back(Spawn([&] { return broadcast.Send(1); }));
  Settle();
  only.reset();
  for (const auto& g : senders) EXPECT_TRUE(g.Get().ok());
  EXPECT_EQ(broadcast.subscribers(), 0u);
}

GREENLET_TEST(Broadcast, WhoIsTooSlowMissesTheOldestAndLearnsHowMany) {
  Broadcast<int> broadcast(2, BroadcastWhenFull::kDropOldest);
  Subscription fast(broadcast);
  Subscription slow(broadcast);
  for (int i = 0; i < 5; ++i) {
    EXPECT_TRUE(broadcast.Send(i, Deadline::Passed()).ok());
    EXPECT_EQ(*fast.Receive(), i);
  }
  EXPECT_EQ(slow.missed(), 3u);
  EXPECT_EQ(Drain(slow), (Ints{3, 4}));
  EXPECT_EQ(fast.missed(), 0u);
  Subscription late(broadcast);
  EXPECT_EQ(late.missed(), 0u);
}

GREENLET_TEST(Broadcast, SeveralMayReceiveFromOneSubscriptionAndAreServedAsTheyArrived) {
  Broadcast<int> broadcast(4);
  Subscription mine(broadcast);
  std::vector<Greenlet<absl::StatusOr<int>>> receivers;
  for (int i = 0; i < 3; ++i) {
    receivers.push_back(Spawn([&] { return mine.Receive(); }));
    Settle();
  }
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(broadcast.Send(i).ok());
  for (int i = 0; i < 3; ++i) EXPECT_EQ(*receivers[i].Get(), i);
}

GREENLET_TEST(Broadcast, TheLastOneToReceiveGetsTheValueItself) {
  struct Counted {
    explicit Counted(int* c) : copies(c) {}
    Counted(const Counted& other) : copies(other.copies) { ++*copies; }
    Counted(Counted&& other) = default;
    Counted& operator=(Counted&&) = default;
    int* copies;
  };
  int copies = 0;
  Broadcast<Counted> broadcast(1);
  BroadcastSubscription<Counted> a(broadcast);
  BroadcastSubscription<Counted> b(broadcast);
  EXPECT_TRUE(broadcast.Send(Counted(&copies)).ok());
  EXPECT_TRUE(a.Receive().ok());
  EXPECT_TRUE(b.Receive().ok());
  EXPECT_EQ(copies, 1);
}

GREENLET_TEST(Broadcast, AfterCloseWhatWasSentCanBeReceived) {
  Broadcast<int> broadcast(1);
  Subscription behind(broadcast);
  EXPECT_TRUE(broadcast.Send(1).ok());
  const auto sender = Spawn([&] { return broadcast.Send(2); });
  Settle();
  broadcast.Close();
  EXPECT_EQ(sender.Get().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(broadcast.Send(3).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(*behind.Receive(), 1);
  EXPECT_EQ(behind.Receive().status().code(), absl::StatusCode::kOutOfRange);
  Subscription late(broadcast);
  EXPECT_EQ(late.Receive().status().code(), absl::StatusCode::kOutOfRange);
}

GREENLET_TEST(Broadcast, CloseEndsTheWaitOfThoseThatReceive) {
  Broadcast<int> broadcast(1);
  Subscription mine(broadcast);
  const auto a = Spawn([&] { return mine.Receive(); });
  const auto b = Spawn([&] { return mine.Receive(absl::Hours(1)); });
  Settle();
  broadcast.Close();
  EXPECT_EQ(a.Get().status().code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(b.Get().status().code(), absl::StatusCode::kOutOfRange);
}

// --- homes ---

GREENLET_TEST(Broadcast, WhatDoesNotWaitMakesNoHub) {
  Broadcast<std::string> broadcast(2);
  OnThread([&] {
    BroadcastSubscription<std::string> mine(broadcast);
    EXPECT_EQ(broadcast.subscribers(), 1u);
    EXPECT_TRUE(broadcast.Send("a", Deadline::Passed()).ok());
    EXPECT_EQ(*mine.Receive(Deadline::Passed()), "a");
    EXPECT_EQ(mine.missed(), 0u);
    broadcast.Close();
    EXPECT_EQ(Hub::Current(), nullptr);
  });
}

GREENLET_TEST(Broadcast, SubscribersOnOtherHubsReceiveAllInOrder) {
  Broadcast<int> broadcast(3);
  const KeepAlive alive(&hub());
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      HubScope scope;
      Subscription mine(broadcast);
      for (int i = 0; i < 100; ++i) EXPECT_EQ(*mine.Receive(), i);
    });
  }
  while (broadcast.subscribers() < 3) Yield();
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(broadcast.Send(i).ok());
  // Their subscriptions end here, on the broadcast's home.
  while (broadcast.subscribers() > 0) Yield();
  for (std::thread& t : threads) t.join();
}

TEST(BroadcastHome, MadeBeforeThereIsAHubAndUsedOnSeveralOneAfterTheOther) {
  Broadcast<int> broadcast(2);
  Subscription mine(broadcast);
  EXPECT_TRUE(broadcast.Send(0, Deadline::Passed()).ok());
  EXPECT_EQ(Hub::Current(), nullptr);
  for (int i = 0; i < 3; ++i) {
    HubScope scope;
    EXPECT_EQ(*mine.Receive(), i);
    const auto g = Spawn([&] { return mine.Receive(); });
    Yield();
    EXPECT_TRUE(broadcast.Send(7).ok());
    EXPECT_EQ(*g.Get(), 7);
    EXPECT_TRUE(broadcast.Send(i + 1).ok());
  }
}

// --- misuse ---

TEST(BroadcastDeathTest, MisuseIsFatal) {
  EXPECT_DEATH(Broadcast<int>(0), "a Broadcast with no capacity");
  EXPECT_DEATH(
      {
        std::optional<Broadcast<int>> broadcast(1);
        Subscription mine(*broadcast);
        broadcast.reset();
      },
      "Broadcast 0x[0-9a-f]+ is destroyed before 1 subscriptions");
}

TEST(BroadcastDeathTest, AtTheEndOfTheProcessSubscriptionsMayBeLeft) {
  EXPECT_EXIT(
      {
        atexit([] { _exit(3); });
        static Broadcast<int> broadcast(1);
        Spawn([] {
          Subscription mine(broadcast);
          (void)mine.Receive();
        });
        Yield();
        exit(0);
      },
      testing::ExitedWithCode(3), "");
}

// --- any order ---

TEST(BroadcastSeeds, EachSubscriberReceivesWhatWasSentWhileItWasThere) {
  ForEachSeed(1000, [] {
    Lots lots;
    Broadcast<int> broadcast(1 + lots.Below(3));
    int next = 0;
    std::vector<Greenlet<>> subscribers;
    for (int s = 0; s < 3; ++s) {
      subscribers.push_back(Spawn([&] {
        Sleep(absl::Microseconds(lots.Below(5)));
        Subscription mine(broadcast);
        int expected = -1;
        for (int n = 0; n < 8; ++n) {
          const absl::StatusOr<int> value = mine.Receive(lots.SomeDeadline());
          if (!value.ok()) continue;
          EXPECT_TRUE(expected < 0 || *value == expected);
          expected = *value + 1;
          if (lots.OneIn(4)) Sleep(absl::Microseconds(lots.Below(3)));
        }
      }));
    }
    const Greenlet<> sender = Spawn([&] {
      while (next < 12) {
        if (broadcast.Send(next, lots.SomeDeadline()).ok()) ++next;
        Sleep(absl::Microseconds(lots.Below(2)));
      }
    });
    Sleep(absl::Microseconds(lots.Below(20)));
    if (lots.OneIn(2)) subscribers[lots.Below(3)].KillSoon();
    Sleep(absl::Microseconds(50));
    EXPECT_TRUE(sender.ready() || broadcast.subscribers() > 0);
    for (const Greenlet<>& g : subscribers) g.Kill();
    sender.Join();  // nobody holds it up any more
    EXPECT_EQ(next, 12);
  });
}

TEST(BroadcastSeeds, WithDroppingEachValueIsReceivedOrMissed) {
  ForEachSeed(1000, [] {
    Lots lots;
    Broadcast<int> broadcast(1 + lots.Below(3), BroadcastWhenFull::kDropOldest);
    std::vector<Greenlet<>> subscribers;
    for (int s = 0; s < 3; ++s) {
      subscribers.push_back(Spawn([&] {
        Subscription mine(broadcast);
        uint64_t received = 0;
        int last = -1;
        for (absl::StatusOr<int> v = mine.Receive(); v.ok(); v = mine.Receive()) {
          EXPECT_GT(*v, last);
          last = *v;
          ++received;
          Sleep(absl::Microseconds(lots.Below(4)));
        }
        EXPECT_EQ(received + mine.missed(), 20u);
      }));
    }
    Settle();
    for (int i = 0; i < 20; ++i) {
      EXPECT_TRUE(broadcast.Send(i, Deadline::Passed()).ok());
      Sleep(absl::Microseconds(lots.Below(2)));
    }
    broadcast.Close();
    for (const Greenlet<>& g : subscribers) g.Join();
  });
}

struct FailsToCopyTwice {
  FailsToCopyTwice() = default;
  FailsToCopyTwice(FailsToCopyTwice&&) noexcept = default;
  FailsToCopyTwice(const FailsToCopyTwice&) { throw std::runtime_error("no copies"); }
};

// A type that cannot be moved is copied into the Broadcast, wherever its sender is.
GREENLET_TEST(Broadcast, WhatThatCopyThrowsIsForTheSender) {
  struct Refuses {
    Refuses() = default;
    Refuses(const Refuses&) { throw std::runtime_error("no copy"); }
  };
  Broadcast<Refuses> broadcast(1);
  BroadcastSubscription<Refuses> subscription(broadcast);
  EXPECT_THROW(broadcast.Send(Refuses()).IgnoreError(), std::runtime_error);
  OnHub(
      [&] { EXPECT_THROW(broadcast.Send(Refuses()).IgnoreError(), std::runtime_error); });
  OnThread(
      [&] { EXPECT_THROW(broadcast.Send(Refuses()).IgnoreError(), std::runtime_error); });
  EXPECT_TRUE(
      absl::IsDeadlineExceeded(subscription.Receive(Deadline::Passed()).status()));
}

GREENLET_TEST(Broadcast, WhatACopyThrowsIsForItsReceiver) {
  Broadcast<FailsToCopyTwice> broadcast(1);
  BroadcastSubscription<FailsToCopyTwice> first(broadcast);
  BroadcastSubscription<FailsToCopyTwice> second(broadcast);
  const Greenlet<> receiver = Spawn([&] { (void)first.Receive(); });
  Yield();
  EXPECT_TRUE(broadcast.Send({}).ok());
  EXPECT_THROW((void)receiver.Get(), std::runtime_error);
  EXPECT_TRUE(second.Receive().ok()) << "the last one has the value itself";
  EXPECT_TRUE(broadcast.Send({}).ok()) << "there is room again";
}

}  // namespace
}  // namespace grove
