#include "grove/sync/hub_channel.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
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

struct HubChannelReceive {
  static constexpr bool kConsumes = true;
  bool Call(Deadline d = {}) { return channel.Receive(d).ok(); }
  void Grant() { EXPECT_TRUE(channel.TrySend(1)); }
  HubChannel<int> channel{1};
};
BLOCKING_CALL_TESTS(HubChannelReceive);

struct HubChannelSend {
  static constexpr bool kConsumes = true;
  HubChannelSend() { EXPECT_TRUE(channel.TrySend(0)); }
  bool Call(Deadline d = {}) { return channel.Send(1, d).ok(); }
  void Grant() { EXPECT_TRUE(channel.TryReceive()); }
  HubChannel<int> channel{1};
};
BLOCKING_CALL_TESTS(HubChannelSend);

using Ints = std::vector<int>;

// --- on one hub ---

GREENLET_TEST(HubChannel, ItsCapacityIsRoundedUpToAPowerOfTwo) {
  EXPECT_EQ(HubChannel<int>(1).capacity(), 1u);
  EXPECT_EQ(HubChannel<int>(2).capacity(), 2u);
  EXPECT_EQ(HubChannel<int>(5).capacity(), 8u);
}

GREENLET_TEST(HubChannel, HasRoomForItsCapacityAndKeepsItsOrderAsItGoesRound) {
  for (const size_t capacity : {1, 2, 8}) {
    HubChannel<int> channel(capacity);
    int out = 0;
    int in = 0;
    for (int round = 0; round < 5; ++round) {
      while (channel.TrySend(in)) ++in;
      EXPECT_EQ(channel.size(), capacity);
      while (const std::optional<int> value = channel.TryReceive())
        EXPECT_EQ(*value, out++);
      EXPECT_EQ(channel.size(), 0u);
    }
    EXPECT_EQ(in, static_cast<int>(5 * capacity));
    EXPECT_EQ(out, in);
  }
}

GREENLET_TEST(HubChannel, ASendThatFailsLeavesTheValueAsItWas) {
  HubChannel<Moved> channel(1);
  Moved value(7);
  EXPECT_TRUE(channel.Send(Moved(0)).ok());
  EXPECT_FALSE(channel.TrySend(std::move(value)));
  EXPECT_FALSE(channel.Send(std::move(value), absl::Seconds(1)).ok());
  const Greenlet<> killed = Spawn([&] { channel.Send(std::move(value)).IgnoreError(); });
  Settle();
  killed.Kill();
  channel.Close();
  EXPECT_EQ(channel.Send(std::move(value)).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_FALSE(channel.TrySend(std::move(value)));
  EXPECT_EQ(value.value, 7);
  EXPECT_EQ(value.moves, 0);
}

GREENLET_TEST(HubChannel, AClosedOneCanBeReceivedFromUntilItIsEmpty) {
  HubChannel<int> channel(4);
  EXPECT_TRUE(channel.Send(1).ok());
  EXPECT_FALSE(channel.closed());
  channel.Close();
  channel.Close();
  EXPECT_TRUE(channel.closed());
  EXPECT_EQ(channel.size(), 1u);
  EXPECT_EQ(channel.Send(2).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(*channel.Receive(), 1);
  EXPECT_EQ(channel.Receive().status().code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(channel.Receive(absl::Seconds(1)).status().code(),
            absl::StatusCode::kOutOfRange);
  EXPECT_FALSE(channel.TryReceive());
}

GREENLET_TEST(HubChannel, CloseEndsAllWaits) {
  HubChannel<int> full(1);
  HubChannel<int> empty(1);
  EXPECT_TRUE(full.TrySend(0));
  std::vector<Greenlet<absl::Status>> senders;
  std::vector<Greenlet<absl::StatusOr<int>>> receivers;
  for (int i = 0; i < 3; ++i) {
    senders.push_back(Spawn([&] { return full.Send(1); }));
    receivers.push_back(Spawn([&] { return empty.Receive(); }));
  }
  Settle();
  full.Close();
  empty.Close();
  for (const auto& g : senders) {
    EXPECT_EQ(g.Get().code(), absl::StatusCode::kFailedPrecondition);
  }
  for (const auto& g : receivers) {
    EXPECT_EQ(g.Get().status().code(), absl::StatusCode::kOutOfRange);
  }
}

GREENLET_TEST(HubChannel, IsIteratedToItsEndAndDestroysWhatIsLeft) {
  const auto value = std::make_shared<int>(1);
  {
    HubChannel<std::shared_ptr<int>> channel(4);
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(channel.Send(value).ok());
    channel.Close();
    int n = 0;
    for (const std::shared_ptr<int>& v : channel) n += *v;
    EXPECT_EQ(n, 3);
    HubChannel<std::shared_ptr<int>> left(4);
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(left.Send(value).ok());
  }
  EXPECT_EQ(value.use_count(), 1);
}

// --- someone is slow to put a value in, or to take it out ---

// One whose move, when it is value `slow`, stops until it may go on.
struct Slow {
  explicit Slow(int v) : value(v) {}
  Slow(Slow&& other) noexcept : value(other.value) {
    if (value != slow) return;
    slow = 0;
    stopped = true;
    while (!go_on) sched_yield();
  }
  static void Reset(int v) {
    slow = v;
    stopped = false;
    go_on = false;
  }
  static void AwaitStop() {
    while (!stopped) sched_yield();
  }
  int value;
  static inline std::atomic<int> slow;
  static inline std::atomic<bool> stopped;
  static inline std::atomic<bool> go_on;
};

GREENLET_TEST(HubChannel, WhoIsWokenTooSoonIsWokenAgainOnceTheValueInFrontIsThere) {
  HubChannel<Slow> channel(4);
  const auto receive = [&] { return channel.Receive().value().value; };
  const Greenlet<int> first = Spawn(receive);
  const Greenlet<int> second = Spawn(receive);
  Settle();
  Slow::Reset(1);
  const KeepAlive alive(&hub());
  std::thread sender([&] {
    Slow value(1);
    EXPECT_TRUE(channel.TrySend(std::move(value)));
  });
  Slow::AwaitStop();
  EXPECT_TRUE(channel.TrySend(Slow(2)));  // behind the other: wakes `first` for nothing
  Settle();
  Slow::go_on = true;
  sender.join();
  EXPECT_TRUE(first.Join(absl::Hours(1)));
  EXPECT_TRUE(second.Join(absl::Hours(1)));
  first.Kill();
  second.Kill();
}

GREENLET_TEST(HubChannel, WhoIsWokenTooSoonIsWokenAgainOnceTheRoomInFrontIsThere) {
  HubChannel<Slow> channel(2);
  EXPECT_TRUE(channel.TrySend(Slow(1)));
  EXPECT_TRUE(channel.TrySend(Slow(2)));
  const auto send = [&] { EXPECT_TRUE(channel.Send(Slow(3)).ok()); };
  const Greenlet<> first = Spawn(send);
  const Greenlet<> second = Spawn(send);
  Settle();
  Slow::Reset(1);
  const KeepAlive alive(&hub());
  std::thread receiver([&] { EXPECT_EQ(channel.TryReceive()->value, 1); });
  Slow::AwaitStop();
  EXPECT_EQ(channel.TryReceive()->value, 2);
  Settle();
  Slow::go_on = true;
  receiver.join();
  EXPECT_TRUE(first.Join(absl::Hours(1)));
  EXPECT_TRUE(second.Join(absl::Hours(1)));
  first.Kill();
  second.Kill();
}

GREENLET_TEST(HubChannel, AllReceiversSeeTheEndAfterAValueThatWasStillOnItsWay) {
  HubChannel<Slow> channel(4);
  int values = 0;
  int ends = 0;
  std::vector<Greenlet<>> receivers;
  for (int i = 0; i < 4; ++i) {
    receivers.push_back(Spawn([&] { ++(channel.Receive().ok() ? values : ends); }));
  }
  Settle();
  Slow::Reset(1);
  const KeepAlive alive(&hub());
  std::thread sender([&] {
    Slow value(1);
    EXPECT_TRUE(channel.TrySend(std::move(value)));
  });
  Slow::AwaitStop();
  channel.Close();
  Settle();
  EXPECT_EQ(ends, 0);  // there is one to come
  Slow::go_on = true;
  sender.join();
  for (const Greenlet<>& g : receivers) EXPECT_TRUE(g.Join(absl::Hours(1)));
  EXPECT_EQ(values, 1);
  EXPECT_EQ(ends, 3);
  for (const Greenlet<>& g : receivers) g.Kill();
}

// --- between hubs ---

GREENLET_TEST(HubChannel, WhatDoesNotWaitMakesNoHub) {
  HubChannel<int> channel(2);
  OnThread([&] {
    EXPECT_TRUE(channel.Send(1).ok());
    EXPECT_TRUE(channel.TrySend(2));
    EXPECT_FALSE(channel.Send(3, Deadline::Passed()).ok());
    EXPECT_EQ(*channel.Receive(), 1);
    EXPECT_EQ(channel.TryReceive(), 2);
    EXPECT_FALSE(channel.Receive(Deadline::Passed()).ok());
    channel.Close();
    EXPECT_FALSE(channel.Receive().ok());
    EXPECT_EQ(Hub::Current(), nullptr);
  });
}

// Senders and receivers on hubs of their own, or on threads. What each receiver gets of
// each sender is in order, and together they get all.
void SendAndReceive(int senders, int receivers, size_t capacity, bool hubs) {
  constexpr int kValues = 2'000;
  HubChannel<std::pair<int, int>> channel(capacity);
  std::atomic<int> sending{senders};
  std::mutex mutex;
  std::vector<std::vector<int>> all(senders);
  std::vector<std::thread> threads;
  for (int s = 0; s < senders; ++s) {
    threads.emplace_back([&, s] {
      std::optional<HubScope> scope;
      if (hubs) scope.emplace();
      for (int i = 0; i < kValues; ++i) EXPECT_TRUE(channel.Send({s, i}).ok());
      if (--sending == 0) channel.Close();
    });
  }
  for (int r = 0; r < receivers; ++r) {
    threads.emplace_back([&] {
      std::optional<HubScope> scope;
      if (hubs) scope.emplace();
      std::vector<std::vector<int>> mine(senders);
      for (const auto& [sender, value] : channel) {
        EXPECT_TRUE(mine[sender].empty() || mine[sender].back() < value);
        mine[sender].push_back(value);
      }
      std::lock_guard lock(mutex);
      for (int s = 0; s < senders; ++s) {
        all[s].insert(all[s].end(), mine[s].begin(), mine[s].end());
      }
    });
  }
  for (std::thread& t : threads) t.join();
  for (Ints& values : all) {
    ASSERT_EQ(values.size(), static_cast<size_t>(kValues));
    std::sort(values.begin(), values.end());
    for (int i = 0; i < kValues; ++i) ASSERT_EQ(values[i], i);
  }
}

TEST(HubChannelThreads, AllValuesArriveOnceAndInTheirSendersOrder) {
  for (const size_t capacity : {1, 2, 64}) {
    for (const bool hubs : {false, true}) {
      SendAndReceive(1, 1, capacity, hubs);
      SendAndReceive(3, 1, capacity, hubs);
      SendAndReceive(1, 3, capacity, hubs);
      SendAndReceive(3, 3, capacity, hubs);
    }
  }
}

TEST(HubChannelThreads, CloseUnderLoadLosesNothingThatWasSent) {
  for (int round = 0; round < 50; ++round) {
    HubChannel<int> channel(4);
    std::atomic<int> sent{0};
    std::atomic<int> received{0};
    std::atomic<int> begun{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 3; ++t) {
      threads.emplace_back([&] {
        while (channel.Send(1).ok()) {
          ++sent;
          ++begun;
        }
      });
      threads.emplace_back([&] {
        for ([[maybe_unused]] const int v : channel) ++received;
        EXPECT_FALSE(channel.TryReceive());  // nothing comes after the end
      });
    }
    while (begun < round) sched_yield();
    channel.Close();
    for (std::thread& t : threads) t.join();
    EXPECT_EQ(sent, received);
    EXPECT_EQ(channel.size(), 0u);
  }
}

// Greenlets that are killed and time out while others wake them.
TEST(HubChannelThreads, KillsAndDeadlinesThatRaceWithWakesLoseNothing) {
  HubChannel<int> channel(2);
  std::atomic<int> sent{0};
  std::atomic<int> received{0};
  std::atomic<int> sending{2};
  std::vector<std::thread> threads;
  for (int t = 0; t < 2; ++t) {
    const auto race = [](int i, auto call) {
      const Greenlet<> g =
          Spawn([&] { call(i % 2 ? Deadline() : absl::Microseconds(i % 50)); });
      Yield();
      for (int spin = 0; spin < i * 37 % 3000; ++spin) asm volatile("");
      if (i % 2) g.KillSoon();
      g.Join();
    };
    threads.emplace_back([&] {
      HubScope scope;
      for (int i = 0; i < 1'000; ++i) {
        race(i, [&](Deadline d) { sent += channel.Send(i, d).ok() ? 1 : 0; });
      }
      if (--sending == 0) channel.Close();
    });
    threads.emplace_back([&] {
      HubScope scope;
      for (int i = 0; !channel.closed(); ++i) {
        race(i, [&](Deadline d) { received += channel.Receive(d).ok() ? 1 : 0; });
      }
    });
  }
  for (std::thread& t : threads) t.join();
  for ([[maybe_unused]] const int v : channel) ++received;
  EXPECT_EQ(sent, received);
}

// One value goes round among greenlets of several hubs, each of which is in a hurry: a
// wakeup that went to one that is killed goes on to the next, or the value would stay.
TEST(HubChannelThreads, AWakeupThatCameTooLateIsPassedOn) {
  HubChannel<int> channel(1);
  std::atomic<bool> over{false};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      HubScope scope;
      for (int i = t; !over; ++i) {
        const Greenlet<> g = Spawn([&] {
          const absl::StatusOr<int> value = channel.Receive();
          if (!value.ok()) return;
          if (*value < 300) {
            EXPECT_TRUE(channel.TrySend(*value + 1));
          } else {
            over = true;
            channel.Close();
          }
        });
        for (int spin = 0; spin < i * 37 % 3000; ++spin) asm volatile("");
        if (i % 3 == 0) g.Kill();
        EXPECT_TRUE(g.Join(absl::Seconds(30)));
        g.Kill();
      }
    });
  }
  EXPECT_TRUE(channel.TrySend(0));
  for (std::thread& t : threads) t.join();
}

// --- misuse ---

TEST(HubChannelDeathTest, MisuseIsFatal) {
  EXPECT_DEATH(HubChannel<int>(0), "a HubChannel of 0 values");
  EXPECT_DEATH(
      {
        HubScope scope;
        auto channel = std::make_unique<HubChannel<int>>(1);
        Spawn([c = channel.get()] { (void)c->Receive(); });
        Yield();
        channel.reset();
      },
      "a HubChannel is destroyed while 0 wait to send and 1 to receive");
}

TEST(HubChannelDeathTest, AtTheEndOfTheProcessWaitersMayBeLeft) {
  EXPECT_EXIT(
      {
        atexit([] { _exit(3); });
        static HubChannel<int> channel(1);
        Spawn([] { (void)channel.Receive(); });
        Yield();
        exit(0);
      },
      testing::ExitedWithCode(3), "");
}

// --- any order ---

TEST(HubChannelSeeds, EachValueThatWasSentIsReceivedOnceAndInItsSendersOrder) {
  ForEachSeed(1000, [] {
    Lots lots;
    HubChannel<std::pair<int, int>> channel(1 + lots.Below(4));
    Ints sent(3);
    std::vector<std::vector<int>> received(3);
    std::vector<Greenlet<>> all;
    for (int g = 0; g < 3; ++g) {
      all.push_back(Spawn([&, g] {
        for (int n = 0; n < 6; ++n) {
          if (channel.Send({g, sent[g]}, lots.SomeDeadline()).ok()) ++sent[g];
        }
      }));
      all.push_back(Spawn([&] {
        for (int n = 0; n < 6; ++n) {
          if (const auto v = channel.Receive(lots.SomeDeadline()); v.ok()) {
            received[v->first].push_back(v->second);
          }
        }
      }));
    }
    for (int n = 0; n < 4; ++n) {
      Sleep(absl::Microseconds(lots.Below(4)));
      if (lots.OneIn(3)) all[lots.Below(6)].KillSoon();
      if (lots.OneIn(8)) channel.Close();
    }
    Sleep(absl::Microseconds(100));
    for (const Greenlet<>& g : all) g.Kill();
    while (const auto v = channel.TryReceive()) received[v->first].push_back(v->second);
    for (int g = 0; g < 3; ++g) {
      ASSERT_EQ(static_cast<int>(received[g].size()), sent[g]);
      for (int n = 0; n < sent[g]; ++n) EXPECT_EQ(received[g][n], n);
    }
  });
}

}  // namespace
}  // namespace grove
