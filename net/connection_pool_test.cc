#include "grove/net/connection_pool.h"

#include <errno.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/sleep.h"
#include "grove/green/status.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/net/testing/memory_listener.h"

namespace grove::net {
namespace {

using ::testing::HasSubstr;
using Code = absl::StatusCode;

// How many exist.
int alive = 0;

// A connection without a network: a number.
class Fake {
 public:
  explicit Fake(int number) : number_(number) { ++alive; }
  Fake(Fake&& other) noexcept : number_(std::exchange(other.number_, 0)) {}
  Fake& operator=(Fake&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  ~Fake() { alive -= number_ != 0; }

  int number() const { return number_; }
  bool broken = false;

 private:
  int number_;
};

using Pool = ConnectionPool<Fake>;
using Lease = Pool::Lease;

class ConnectionPoolTest : public GreenletTest {
 protected:
  void SetUp() override { alive = 0; }
  void TearDown() override { EXPECT_EQ(alive, 0); }

  // Numbers from 1 on; takes connect_time_, and fails if failure_ says so.
  auto Connect() {
    return [this](Deadline) -> absl::StatusOr<Fake> {
      const int number = ++made_;
      if (connect_time_ > absl::ZeroDuration()) Sleep(connect_time_);
      if (!failure_.ok()) return failure_;
      return Fake(number);
    };
  }
  // A greenlet that gets one and returns it.
  static Greenlet<absl::StatusOr<Lease>> Getter(Pool& pool, Deadline deadline = {}) {
    return Spawn([&pool, deadline] { return pool.Get(deadline); });
  }

  int made_ = 0;
  absl::Duration connect_time_;
  absl::Status failure_;
};

GREENLET_TEST_F(ConnectionPoolTest, LendsTheOneThatWasGivenBackLast) {
  Pool pool({.connect = Connect(), .max_size = 3});
  {
    Lease a = *pool.Get();
    Lease b = *pool.Get();
    EXPECT_EQ(a->number(), 1);
    EXPECT_EQ(b->number(), 2);
    a.GiveBack();
    EXPECT_FALSE(a);
    EXPECT_EQ(pool.statistics().idle, 1u);
  }
  EXPECT_EQ((*pool.Get())->number(), 2);
  const ConnectionPoolStatistics s = pool.statistics();
  EXPECT_EQ(s.size, 2u);
  EXPECT_EQ(s.idle, 2u);
  EXPECT_EQ(s.lent, 3u);
  EXPECT_EQ(s.connected, 2u);
}

GREENLET_TEST_F(ConnectionPoolTest, WhoWaitsIsServedInOrder) {
  Pool pool({.connect = Connect(), .max_size = 1});
  std::optional<Lease> lease = *pool.Get();
  std::vector<int> order;
  std::vector<Greenlet<>> waiters;
  for (int i = 0; i < 5; ++i) {
    waiters.push_back(Spawn([&, i] {
      Lease mine = *pool.Get();
      order.push_back(i);
      EXPECT_EQ(mine->number(), 1);
    }));
    Yield();
  }
  while (pool.statistics().waiting < 5) Yield();
  lease.reset();
  for (const Greenlet<>& w : waiters) w.Join();
  if (!seed()) {
    EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4}));
  }
  EXPECT_EQ(made_, 1);
}

GREENLET_TEST_F(ConnectionPoolTest, TheWaitEndsAtItsDeadline) {
  Pool pool({.connect = Connect(), .max_size = 1, .name = "db"});
  Lease lease = *pool.Get();
  const absl::Status late = pool.Get(absl::Seconds(2)).status();
  EXPECT_EQ(late.code(), Code::kDeadlineExceeded);
  EXPECT_THAT(std::string(late.message()), HasSubstr("db: none was free in time"));
  EXPECT_TRUE(HasTaken(absl::Seconds(2)));
  EXPECT_EQ(pool.Get(Deadline::Passed()).status().code(), Code::kDeadlineExceeded);
  EXPECT_EQ(pool.statistics().late, 2u);
  EXPECT_EQ(pool.statistics().waiting, 0u);
}

GREENLET_TEST_F(ConnectionPoolTest, WhatIsDiscardedMakesPlaceForAnother) {
  Pool pool({.connect = Connect(), .max_size = 1});
  Lease lease = *pool.Get();
  const auto waiter = Getter(pool);
  Yield();
  lease.Discard();
  EXPECT_EQ(alive, 0);
  EXPECT_TRUE(waiter.Join());
  EXPECT_EQ(made_, 2);
  EXPECT_EQ(pool.statistics().discarded, 1u);
  EXPECT_EQ(pool.statistics().size, 1u);
}

GREENLET_TEST_F(ConnectionPoolTest, AFailureIsReturnedAndTakesNoPlace) {
  Pool pool({.connect = Connect(), .max_size = 1});
  connect_time_ = absl::Seconds(1);
  failure_ = absl::UnavailableError("no route");
  // The second waits for the place of the first, and tries by itself.
  auto first = Getter(pool);
  auto second = Getter(pool);
  EXPECT_EQ(std::move(first).Get().status(), failure_);
  EXPECT_EQ(std::move(second).Get().status(), failure_);
  EXPECT_TRUE(HasTaken(absl::Seconds(2)));
  failure_ = absl::OkStatus();
  EXPECT_TRUE(pool.Get().ok());
  EXPECT_EQ(pool.statistics().failed, 2u);
  EXPECT_EQ(pool.statistics().size, 1u);
}

GREENLET_TEST_F(ConnectionPoolTest, WhatConnectThrowsIsThrown) {
  Pool pool({.connect = [](Deadline) -> absl::StatusOr<Fake> {
               throw std::runtime_error("bad");
             },
             .max_size = 1});
  EXPECT_THROW((void)pool.Get(), std::runtime_error);
  EXPECT_EQ(pool.statistics().size, 0u);
}

GREENLET_TEST_F(ConnectionPoolTest, AKillInLineAndOneWhileConnectingLoseNothing) {
  Pool pool({.connect = Connect(), .max_size = 1});
  connect_time_ = absl::Seconds(1);
  const auto connecting = Getter(pool);
  const auto in_line = Getter(pool);
  const auto last = Getter(pool);
  Sleep(absl::Milliseconds(1));
  EXPECT_EQ(pool.statistics().waiting, 2u);
  in_line.Kill();
  EXPECT_EQ(pool.statistics().waiting, 1u);
  connecting.Kill();
  EXPECT_EQ(pool.statistics().waiting, 0u);
  last.Join();
  EXPECT_EQ(pool.statistics().connected, 1u);
}

// Given one, and killed before it could run.
GREENLET_TEST_F(ConnectionPoolTest, AKillThatComesWithALeaseGivesItBack) {
  Pool pool({.connect = Connect(), .max_size = 1});
  std::optional<Lease> lease = *pool.Get();
  auto waiter = Getter(pool);
  while (pool.statistics().waiting == 0) Yield();
  lease.reset();
  waiter.Kill();
  waiter = {};
  EXPECT_EQ(pool.statistics().idle, 1u);
  EXPECT_EQ(pool.statistics().size, 1u);
}

// Or the next borrower would read the answer to its question.
GREENLET_TEST_F(ConnectionPoolTest, ABorrowerThatIsKilledLeavesNothingHalfUsed) {
  Pool pool({.connect = Connect(), .max_size = 1});
  for (const bool used : {true, false}) {
    bool has_one = false;
    const Greenlet<> borrower = Spawn([&] {
      Lease lease = *pool.Get();
      if (used) lease->broken = true;
      has_one = true;
      Sleep(absl::InfiniteDuration());
    });
    while (!has_one) Yield();
    borrower.Kill();
    EXPECT_EQ(pool.statistics().size, used ? 0u : 1u);
  }
  // One that was caught before its end has nothing to do with it.
  try {
    throw std::runtime_error("of something else");
  } catch (const std::runtime_error&) {
    (*pool.Get())->broken = false;
  }
  EXPECT_EQ(pool.statistics().idle, 1u);
}

GREENLET_TEST_F(ConnectionPoolTest, IdleOnesAreDroppedAtTheirTime) {
  Pool pool({.connect = Connect(), .max_size = 3, .idle_timeout = absl::Seconds(10)});
  std::optional<Lease> a = *pool.Get();
  std::optional<Lease> b = *pool.Get();
  a.reset();
  Sleep(absl::Seconds(6));
  b.reset();
  EXPECT_EQ(alive, 2);
  Sleep(absl::Seconds(5));
  EXPECT_EQ(alive, 1);
  Sleep(absl::Seconds(6));
  EXPECT_EQ(alive, 0);
  EXPECT_EQ(pool.statistics().expired, 2u);
  EXPECT_EQ(pool.statistics().size, 0u);
}

GREENLET_TEST_F(ConnectionPoolTest, ALifeIsLimitedAndEachOnesDiffers) {
  Pool pool({.connect = Connect(), .max_size = 10, .max_lifetime = absl::Seconds(100)});
  {
    std::vector<Lease> all;
    for (int i = 0; i < 10; ++i) all.push_back(*pool.Get());
  }
  Sleep(absl::Seconds(89));
  EXPECT_EQ(alive, 10);
  Sleep(absl::Seconds(6));
  EXPECT_GT(alive, 0);
  EXPECT_LT(alive, 10);
  // Lent ones go when they are given back.
  std::optional<Lease> lent = *pool.Get();
  Sleep(absl::Seconds(10));
  EXPECT_EQ(alive, 1);
  lent.reset();
  EXPECT_EQ(alive, 0);
}

GREENLET_TEST_F(ConnectionPoolTest, BrokenOnesAreNotLent) {
  std::vector<int> broken = {3, 2};
  Pool pool({.connect = Connect(),
             .is_alive =
                 [&](Fake& f) {
                   Sleep(absl::Seconds(1));
                   for (int b : broken) {
                     if (f.number() == b) return false;
                   }
                   return true;
                 },
             .max_size = 3});
  {
    std::vector<Lease> all;
    for (int i = 0; i < 3; ++i) all.push_back(*pool.Get());
    // 3, 2, 1: the last one is lent first.
    all.erase(all.begin());
    all.clear();
  }
  EXPECT_EQ(pool.statistics().idle, 3u);
  const Lease lease = *pool.Get();
  EXPECT_EQ(const_cast<Lease&>(lease)->number(), 1);
  EXPECT_EQ(pool.statistics().broken, 2u);
  EXPECT_EQ(pool.statistics().size, 1u);
}

GREENLET_TEST_F(ConnectionPoolTest, IfAllAreBrokenANewOneIsMade) {
  Pool pool(
      {.connect = Connect(), .is_alive = [](Fake&) { return false; }, .max_size = 2});
  (void)*pool.Get();
  EXPECT_EQ((*pool.Get())->number(), 2);
  EXPECT_EQ(alive, 1);
}

GREENLET_TEST_F(ConnectionPoolTest, MoreThanMaxIdleAreDropped) {
  Pool pool({.connect = Connect(), .max_size = 5, .max_idle = 2});
  {
    std::vector<Lease> all;
    for (int i = 0; i < 5; ++i) all.push_back(*pool.Get());
  }
  EXPECT_EQ(alive, 2);
  EXPECT_EQ(pool.statistics().surplus, 3u);
}

GREENLET_TEST_F(ConnectionPoolTest, SomeAreMadeInAdvance) {
  failure_ = absl::UnavailableError("not up yet");
  Pool pool({.connect = Connect(), .max_size = 4, .min_idle = 2});
  Sleep(absl::Seconds(100));
  // At 0, 1, 3, 7, 15, 31, 63.
  EXPECT_EQ(made_, 7);
  failure_ = absl::OkStatus();
  Sleep(absl::Seconds(60));
  EXPECT_EQ(pool.statistics().idle, 2u);
  Lease a = *pool.Get();
  Lease b = *pool.Get();
  Sleep(absl::Seconds(1));
  EXPECT_EQ(pool.statistics().idle, 2u);
  Lease c = *pool.Get();
  Sleep(absl::Seconds(1));
  EXPECT_EQ(pool.statistics().size, 4u);
  EXPECT_EQ(pool.statistics().idle, 1u);
  a.Discard();
  Sleep(absl::Seconds(1));
  EXPECT_EQ(pool.statistics().idle, 2u);
}

GREENLET_TEST_F(ConnectionPoolTest, MakingThemInAdvanceSurvivesAnException) {
  bool throws = true;
  Pool pool({.connect = [&, connect = Connect()](Deadline d) -> absl::StatusOr<Fake> {
               if (std::exchange(throws, false)) throw std::runtime_error("once");
               return connect(d);
             },
             .max_size = 4,
             .min_idle = 2});
  Sleep(absl::Seconds(10));
  EXPECT_EQ(pool.statistics().idle, 2u);
}

GREENLET_TEST_F(ConnectionPoolTest, DropIdleForgetsWhatWasMadeBefore) {
  Pool pool({.connect = Connect(), .max_size = 3});
  Lease lent = *pool.Get();
  (void)*pool.Get();
  EXPECT_EQ(alive, 2);
  pool.DropIdle();
  EXPECT_EQ(alive, 1);
  lent.GiveBack();
  EXPECT_EQ(alive, 0);
  EXPECT_EQ((*pool.Get())->number(), 3);
}

GREENLET_TEST_F(ConnectionPoolTest, CloseWaitsForWhatIsLent) {
  Pool pool({.connect = Connect(), .max_size = 2, .min_idle = 1});
  std::optional<Lease> lent = *pool.Get();
  std::optional<Lease> other = *pool.Get();
  const auto waiter = Getter(pool);
  while (pool.statistics().waiting == 0) Yield();
  EXPECT_EQ(pool.Close(absl::Seconds(1)), 2u);
  waiter.Join();
  EXPECT_EQ(pool.Get().status().code(), Code::kFailedPrecondition);
  lent.reset();
  const Greenlet<size_t> close = Spawn([&] { return pool.Close(); });
  Sleep(absl::Seconds(10));
  EXPECT_FALSE(close.ready());
  other.reset();
  EXPECT_EQ(*close.Get(), 0u);
  EXPECT_EQ(alive, 0);
}

GREENLET_TEST_F(ConnectionPoolTest, AClosedPoolKeepsNothingThatWasBeingMade) {
  Pool pool({.connect = Connect(), .max_size = 2});
  connect_time_ = absl::Seconds(5);
  const auto getter = Getter(pool);
  Sleep(absl::Seconds(1));
  EXPECT_EQ(pool.Close(), 0u);
  EXPECT_TRUE(HasTaken(absl::Seconds(5)));
  getter.Join();
  EXPECT_EQ(alive, 0);
}

// A stream on which something has come while it was idle is not lent again.
GREENLET_TEST(ConnectionPoolOfStreams, AStreamThatHasEndedIsNotLentAgain) {
  MemoryListener listener;
  ConnectionPool<MemoryStream> pool(
      {.connect = [&](Deadline) { return listener.Connect(); }});
  std::vector<MemoryStream> servers;
  for (int i = 0; i < 3; ++i) {
    ConnectionPool<MemoryStream>::Lease lease = *pool.Get();
    if (servers.size() < pool.statistics().connected) {
      servers.push_back(*listener.Accept());
    }
    ASSERT_TRUE(lease->Write("x").ok());
  }
  EXPECT_EQ(pool.statistics().connected, 1u);
  EXPECT_EQ(servers[0].unread(), 3u);
  ASSERT_TRUE(servers[0].ShutdownWrite().ok());
  EXPECT_TRUE(pool.Get().ok());
  EXPECT_EQ(pool.statistics().connected, 2u);
  EXPECT_EQ(pool.statistics().broken, 1u);
  servers.push_back(*listener.Accept());
  ASSERT_TRUE(servers[1].Write("nobody has asked").ok());
  EXPECT_TRUE(pool.Get().ok());
  EXPECT_EQ(pool.statistics().broken, 2u);
}

// Everything at once, in many orders: there are never too many, and none is lost.
TEST(ConnectionPoolSeeds, NeverTooManyAndNoneIsLost) {
  alive = 0;
  ForEachSeed(80, [] {
    std::mt19937 random(static_cast<uint32_t>(*ThisHub().options().seed));
    int number = 0;
    {
      Pool pool({.connect = [&](Deadline) -> absl::StatusOr<Fake> {
                   Sleep(absl::Milliseconds(random() % 5));
                   if (random() % 4 == 0) return absl::UnavailableError("bad luck");
                   return Fake(++number);
                 },
                 .is_alive =
                     [&](Fake&) {
                       Yield();
                       return random() % 8 != 0;
                     },
                 .max_size = 3,
                 .max_idle = 2,
                 .min_idle = 1,
                 .idle_timeout = absl::Milliseconds(4),
                 .max_lifetime = absl::Milliseconds(20)});
      std::vector<Greenlet<>> users;
      for (int i = 0; i < 20; ++i) {
        users.push_back(Spawn([&] {
          for (int n = 0; n < 5; ++n) {
            absl::StatusOr<Lease> lease = pool.Get(absl::Milliseconds(random() % 40));
            EXPECT_LE(alive, 3);
            EXPECT_LE(pool.statistics().size, 3u);
            if (!lease.ok()) continue;
            Sleep(absl::Milliseconds(random() % 3));
            if (random() % 5 == 0) lease->Discard();
          }
        }));
      }
      for (int i = 0; i < 5; ++i) {
        Sleep(absl::Milliseconds(random() % 10));
        users[random() % users.size()].KillSoon();
      }
      for (const Greenlet<>& u : users) u.Join();
      EXPECT_EQ(pool.statistics().waiting, 0u);
      EXPECT_EQ(pool.Close(), 0u);
    }
    EXPECT_EQ(alive, 0);
  });
}

TEST(ConnectionPoolDeathTest, AnotherHubIsAFatalError) {
  EXPECT_DEATH(
      {
        HubScope scope({.name = "home"});
        Pool pool({.connect = [](Deadline) { return Fake(1); }, .name = "db"});
        std::thread([&] {
          HubScope other({.name = "other"});
          (void)pool.Get();
        }).join();
      },
      "ConnectionPool 'db' is used on hub 'other'");
}

TEST(ConnectionPoolDeathTest, ItsEndWhileOneIsLentIsAFatalError) {
  EXPECT_DEATH(
      {
        HubScope scope;
        std::optional<Pool> pool;
        pool.emplace(Pool::Options{.connect = [](Deadline) { return Fake(1); }});
        Lease lease = *pool->Get();
        pool.reset();
      },
      "is destroyed while 1 of it are lent");
}

}  // namespace
}  // namespace grove::net
