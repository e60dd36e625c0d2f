#include "grove/sync/channel.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <thread>
#include <utility>
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
using test_util::Moved;
using test_util::OnHub;
using test_util::OnThread;
using test_util::Settle;

struct ChannelReceive {
  static constexpr bool kConsumes = true;
  bool Call(Deadline d = {}) { return channel.Receive(d).ok(); }
  void Grant() { EXPECT_TRUE(channel.TrySend(1)); }
  Channel<int> channel{1};
};
BLOCKING_CALL_TESTS(ChannelReceive);
BLOCKING_CALL_DEATH_TEST(ChannelReceive, "Channel");

struct ChannelSend {
  static constexpr bool kConsumes = true;
  ChannelSend() { EXPECT_TRUE(channel.TrySend(0)); }
  bool Call(Deadline d = {}) { return channel.Send(1, d).ok(); }
  void Grant() { EXPECT_TRUE(channel.TryReceive()); }
  Channel<int> channel{1};
};
BLOCKING_CALL_TESTS(ChannelSend);
BLOCKING_CALL_DEATH_TEST(ChannelSend, "Channel");

using Ints = std::vector<int>;

// --- from hand to hand ---

GREENLET_TEST(Channel, WithoutACapacitySendReturnsOnceSomebodyHasReceived) {
  Channel<int> channel;
  EXPECT_EQ(channel.capacity(), 0u);
  EXPECT_FALSE(channel.TrySend(1));
  EXPECT_FALSE(channel.TryReceive());
  const auto sender = Spawn([&] { return channel.Send(1); });
  Settle();
  EXPECT_FALSE(sender.ready());
  EXPECT_EQ(channel.size(), 0u);
  EXPECT_EQ(channel.TryReceive(), 1);
  EXPECT_TRUE(sender.Get().ok());
}

GREENLET_TEST(Channel, WithoutACapacityASendToOneWhoWaitsDoesNotWait) {
  Channel<int> channel;
  const auto receiver = Spawn([&] { return channel.Receive(); });
  Settle();
  EXPECT_TRUE(channel.TrySend(1));
  EXPECT_FALSE(channel.TrySend(2));  // that one has its value
  EXPECT_EQ(*receiver.Get(), 1);
}

GREENLET_TEST(Channel, SendersAndReceiversAreServedAsTheyArrived) {
  Channel<int> channel;
  std::vector<Greenlet<absl::Status>> senders;
  for (int i = 0; i < 4; ++i) {
    senders.push_back(
        Spawn([&, i] { return channel.Send(i, absl::Hours(i == 2 ? 1 : 9)); }));
    Settle();
  }
  senders[1].Kill();
  Sleep(absl::Hours(2));
  EXPECT_EQ(channel.balance(), 2);
  EXPECT_EQ(*channel.Receive(), 0);
  EXPECT_EQ(*channel.Receive(), 3);
  EXPECT_EQ(senders[2].Get().code(), absl::StatusCode::kDeadlineExceeded);

  std::vector<Greenlet<absl::StatusOr<int>>> receivers;
  for (int i = 0; i < 3; ++i) {
    receivers.push_back(Spawn([&] { return channel.Receive(); }));
    Settle();
  }
  EXPECT_EQ(channel.balance(), -3);
  receivers[1].Kill();
  EXPECT_TRUE(channel.Send(10).ok());
  EXPECT_TRUE(channel.Send(11).ok());
  EXPECT_EQ(*receivers[0].Get(), 10);
  EXPECT_EQ(*receivers[2].Get(), 11);
}

GREENLET_TEST(Channel, AKillInTheTurnOfTheHandOverLosesNoValue) {
  Channel<int> channel;
  const auto receiver = Spawn([&] { return channel.Receive(); });
  Settle();
  EXPECT_TRUE(channel.TrySend(1));
  receiver.Kill();
  EXPECT_EQ(*receiver.Get(), 1);  // it had received

  const auto sender = Spawn([&] { return channel.Send(2); });
  Settle();
  EXPECT_EQ(channel.TryReceive(), 2);
  sender.Kill();
  EXPECT_TRUE(sender.Get().ok());

  const auto killed = Spawn([&] { return channel.Send(3); });
  Settle();
  killed.KillSoon();
  EXPECT_FALSE(channel.TryReceive());  // nobody receives what was not sent
  killed.Join();
  EXPECT_TRUE(killed.killed());
}

// --- with a capacity ---

GREENLET_TEST(Channel, WithACapacitySendWaitsOnlyWhenThatManyLieInBetween) {
  Channel<int> channel(2);
  EXPECT_TRUE(channel.Send(1).ok());
  EXPECT_TRUE(channel.Send(2).ok());
  EXPECT_FALSE(channel.TrySend(3));
  EXPECT_EQ(channel.size(), 2u);
  const auto sender = Spawn([&] { return channel.Send(3); });
  Settle();
  for (int i = 1; i <= 3; ++i) EXPECT_EQ(*channel.Receive(), i);
  EXPECT_TRUE(sender.Get().ok());
}

// --- values ---

GREENLET_TEST(Channel, ASendThatFailsLeavesTheValueAsItWas) {
  Channel<Moved> channel;
  Moved value(7);
  EXPECT_FALSE(channel.TrySend(std::move(value)));
  EXPECT_FALSE(channel.Send(std::move(value), absl::Seconds(1)).ok());
  const Greenlet<> killed = Spawn([&] { channel.Send(std::move(value)).IgnoreError(); });
  Settle();
  killed.Kill();
  const Greenlet<> closed = Spawn([&] { channel.Send(std::move(value)).IgnoreError(); });
  Settle();
  channel.Close();
  closed.Join();
  EXPECT_FALSE(channel.TrySend(std::move(value)));
  EXPECT_EQ(value.value, 7);
  EXPECT_EQ(value.moves, 0);
}

GREENLET_TEST(Channel, ValuesNeedNoDefaultAndNoCopy) {
  Channel<Moved> channel;
  const Greenlet<> sender = Spawn([&] { EXPECT_TRUE(channel.Send(Moved(1)).ok()); });
  EXPECT_EQ(channel.Receive()->value, 1);
  sender.Join();
  Channel<std::unique_ptr<int>> pointers(1);
  EXPECT_TRUE(pointers.Send(std::make_unique<int>(2)).ok());
  EXPECT_EQ(**pointers.Receive(), 2);
}

GREENLET_TEST(Channel, WhatNobodyReceivesIsDestroyedWithIt) {
  const auto value = std::make_shared<int>(1);
  {
    Channel<std::shared_ptr<int>> channel(3);
    EXPECT_TRUE(channel.Send(value).ok());
    EXPECT_TRUE(channel.Send(value).ok());
  }
  EXPECT_EQ(value.use_count(), 1);
}

// --- the end ---

GREENLET_TEST(Channel, AClosedOneCanBeReceivedFromUntilItIsEmpty) {
  Channel<int> channel(2);
  EXPECT_TRUE(channel.Send(1).ok());
  EXPECT_FALSE(channel.closed());
  channel.Close();
  channel.Close();
  EXPECT_TRUE(channel.closed());
  EXPECT_EQ(channel.Send(2).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_FALSE(channel.TrySend(2));
  EXPECT_EQ(*channel.Receive(), 1);
  EXPECT_EQ(channel.Receive().status().code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(channel.Receive(absl::Seconds(1)).status().code(),
            absl::StatusCode::kOutOfRange);
  EXPECT_FALSE(channel.TryReceive());
}

// A send that could be done at once lets others run now and then: one of them may close.
GREENLET_TEST(Channel, OneThatIsClosedMeanwhileTakesNothing) {
  Channel<int> channel(1'000'000);
  const Greenlet<> closer = Spawn([&] { channel.Close(); });
  absl::Status status;
  int sent = 0;
  while ((status = channel.Send(sent)).ok()) ++sent;
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(channel.size(), static_cast<size_t>(sent));
  closer.Join();
}

GREENLET_TEST(Channel, CloseEndsAllWaits) {
  Channel<int> sending;
  Channel<int> receiving;
  const auto sender = Spawn([&] { return sending.Send(1); });
  const auto receiver = Spawn([&] { return receiving.Receive(absl::Hours(1)); });
  Settle();
  sending.Close();
  receiving.Close();
  EXPECT_EQ(sender.Get().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(receiver.Get().status().code(), absl::StatusCode::kOutOfRange);
}

GREENLET_TEST(Channel, IsIteratedToItsEnd) {
  Channel<std::unique_ptr<int>> channel;
  const Greenlet<> sender = Spawn([&] {
    for (int i = 0; i < 5; ++i) EXPECT_TRUE(channel.Send(std::make_unique<int>(i)).ok());
    channel.Close();
  });
  Ints all;
  for (const std::unique_ptr<int>& i : channel) all.push_back(*i);
  EXPECT_EQ(all, (Ints{0, 1, 2, 3, 4}));
  sender.Join();
}

GREENLET_TEST(Channel, AKillEndsAnIteration) {
  Channel<int> channel;
  const Greenlet<> g = Spawn([&] {
    for ([[maybe_unused]] const int i : channel) ADD_FAILURE();
  });
  Settle();
  g.Kill();
  EXPECT_TRUE(g.killed());
  EXPECT_EQ(channel.balance(), 0);
}

// --- homes ---

GREENLET_TEST(Channel, WhatDoesNotWaitMakesNoHub) {
  Channel<int> channel(1);
  OnThread([&] {
    EXPECT_TRUE(channel.TrySend(1));
    EXPECT_FALSE(channel.TrySend(2));
    EXPECT_EQ(channel.size(), 1u);
    EXPECT_EQ(channel.TryReceive(), 1);
    EXPECT_EQ(channel.balance(), 0);
    channel.Close();
    EXPECT_TRUE(channel.closed());
    EXPECT_EQ(Hub::Current(), nullptr);
  });
}

GREENLET_TEST(Channel, ARendezvousBetweenHubsPassesEachValueOnce) {
  Channel<std::unique_ptr<int>> channel;
  const KeepAlive alive(&hub());
  std::vector<std::thread> senders;
  for (int s = 0; s < 3; ++s) {
    senders.emplace_back([&, s] {
      for (int i = 0; i < 50; ++i) {
        EXPECT_TRUE(channel.Send(std::make_unique<int>(50 * s + i)).ok());
      }
    });
  }
  Ints all;
  for (int i = 0; i < 150; ++i) all.push_back(**channel.Receive());
  for (std::thread& t : senders) t.join();
  std::sort(all.begin(), all.end());
  for (int i = 0; i < 150; ++i) EXPECT_EQ(all[i], i);
}

GREENLET_TEST(Channel, SendersThatAreKilledElsewhereHaveSentOrHaveNot) {
  Channel<int> channel;
  int received = 0;
  const Greenlet<> receiver = Spawn([&] {
    while (channel.Receive().ok()) ++received;
  });
  int sent = 0;
  OnHub([&] {
    for (int i = 0; i < 300; ++i) {
      const Greenlet<> g = Spawn([&] {
        if (channel.Send(i, i % 2 ? Deadline() : absl::Microseconds(i % 50)).ok()) ++sent;
      });
      Yield();
      for (int spin = 0; spin < i * 37 % 3000; ++spin) asm volatile("");
      if (i % 2) g.KillSoon();
      g.Join();
    }
    channel.Close();
  });
  receiver.Join();
  EXPECT_EQ(received, sent);
}

TEST(ChannelHome, MadeBeforeThereIsAHubAndUsedOnSeveralOneAfterTheOther) {
  Channel<int> channel(1);
  EXPECT_TRUE(channel.TrySend(0));
  EXPECT_EQ(Hub::Current(), nullptr);
  for (int i = 0; i < 3; ++i) {
    HubScope scope;
    EXPECT_EQ(*channel.Receive(), i);
    const auto g = Spawn([&] { return channel.Receive(); });
    Yield();
    EXPECT_TRUE(channel.Send(7).ok());
    EXPECT_EQ(*g.Get(), 7);
    EXPECT_TRUE(channel.Send(i + 1).ok());
  }
  EXPECT_EQ(channel.TryReceive(), 3);
}

// --- any order ---

TEST(ChannelSeeds, EachValueThatWasSentIsReceivedOnceAndInItsSendersOrder) {
  ForEachSeed(1000, [] {
    Lots lots;
    Channel<std::pair<int, int>> channel(lots.Below(3));
    Ints sent(3);  // how many of each
    std::vector<std::vector<int>> received(3);
    std::vector<Greenlet<>> all;
    for (int g = 0; g < 3; ++g) {
      all.push_back(Spawn([&, g] {
        for (int n = 0; n < 6; ++n) {
          if (channel.Send({g, sent[g]}, lots.SomeDeadline()).ok()) ++sent[g];
        }
      }));
    }
    // One receives, so that its order is that of the channel.
    all.push_back(Spawn([&] {
      for (int n = 0; n < 20; ++n) {
        if (const auto v = channel.Receive(lots.SomeDeadline()); v.ok()) {
          received[v->first].push_back(v->second);
        }
      }
    }));
    for (int n = 0; n < 4; ++n) {
      Sleep(absl::Microseconds(lots.Below(4)));
      if (lots.OneIn(3)) all[lots.Below(4)].KillSoon();
      if (lots.OneIn(8)) channel.Close();
    }
    Sleep(absl::Microseconds(100));
    for (const Greenlet<>& g : all) g.Kill();
    EXPECT_EQ(channel.balance(), 0);
    while (const auto v = channel.TryReceive()) received[v->first].push_back(v->second);
    for (int g = 0; g < 3; ++g) {
      ASSERT_EQ(static_cast<int>(received[g].size()), sent[g]);
      for (int n = 0; n < sent[g]; ++n) EXPECT_EQ(received[g][n], n);
    }
  });
}

}  // namespace
}  // namespace grove
