#include "grove/green/descriptor.h"

#include <errno.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/sleep.h"
#include "grove/green/testing/main_greenlet_test.h"
#include "grove/green/testing/socket_pair.h"
#include "grove/green/timeout.h"

namespace grove {
namespace {

using ::testing::HasSubstr;

using Pair = SocketPair;

bool IsOpen(int fd) { return fcntl(fd, F_GETFD) >= 0; }

class DescriptorTest : public MainGreenletTest {};

// --- waiting ---

TEST_F(DescriptorTest, IsReadyAtOnce) {
  Pair pair;
  EXPECT_EQ(pair.near.WaitWritable(), WaitResult::kReady);
  pair.Send();
  EXPECT_EQ(pair.near.WaitReadable(), WaitResult::kReady);
  EXPECT_EQ(pair.near.WaitReadable(absl::Seconds(1)), WaitResult::kReady)
      << "level-triggered: what was not read is told again";
  EXPECT_TRUE(HasTaken(absl::ZeroDuration()));
}

TEST_F(DescriptorTest, BlocksUntilItIsReadable) {
  Pair pair;
  Spawn([&] {
    Sleep(absl::Seconds(2));
    pair.Send();
  });
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(pair.near.WaitReadable(), WaitResult::kReady);
    EXPECT_TRUE(HasTaken(absl::Seconds(2)));
  }
}

TEST_F(DescriptorTest, BlocksUntilItIsWritable) {
  Pair pair;
  pair.FillNear();
  Spawn([&] {
    Sleep(absl::Seconds(2));
    pair.DrainFar();
  });
  EXPECT_EQ(pair.near.WaitWritable(), WaitResult::kReady);
  EXPECT_TRUE(HasTaken(absl::Seconds(2)));
}

TEST_F(DescriptorTest, AConversationWakesBothSidesEachTime) {
  // The watchers stay started from wait to wait.
  Pair pair;
  Descriptor far(std::exchange(pair.far, -1));
  const auto talk = [](Descriptor& d, bool begins) {
    return [&d, begins] {
      char c = 'x';
      for (int i = 0; i < 1000; ++i) {
        if (begins || i > 0) {
          ASSERT_EQ(write(d.fd(), &c, 1), 1);
        }
        ASSERT_EQ(d.WaitReadable(), WaitResult::kReady);
        ASSERT_EQ(read(d.fd(), &c, 1), 1) << "woken for nothing in round " << i;
      }
      if (!begins) {
        ASSERT_EQ(write(d.fd(), &c, 1), 1);
      }
    };
  };
  const Greenlet<> a = Spawn(talk(pair.near, true));
  const Greenlet<> b = Spawn(talk(far, false));
  a.Join();
  b.Join();
}

TEST_F(DescriptorTest, ThePeersEndMakesItReadableAndWritable) {
  Pair pair;
  Spawn([&] {
    Sleep(absl::Seconds(1));
    pair.CloseFar();
  });
  EXPECT_EQ(pair.near.WaitReadable(), WaitResult::kReady);
  EXPECT_EQ(pair.near.WaitWritable(), WaitResult::kReady);
  char c;
  EXPECT_EQ(read(pair.near.fd(), &c, 1), 0);
}

TEST_F(DescriptorTest, ReturnsAtItsDeadline) {
  Pair pair;
  EXPECT_EQ(pair.near.WaitReadable(absl::Seconds(2)), WaitResult::kDeadline);
  EXPECT_TRUE(HasTaken(absl::Seconds(2)));
  pair.FillNear();
  EXPECT_EQ(pair.near.WaitWritable(absl::Seconds(2)), WaitResult::kDeadline);
  EXPECT_TRUE(HasTaken(absl::Seconds(4)));
  // And is as good as new.
  pair.Send();
  EXPECT_EQ(pair.near.WaitReadable(absl::Seconds(2)), WaitResult::kReady);
}

TEST_F(DescriptorTest, ClosedBetweenItsDeadlineAndItsTurnItIsClosed) {
  // The caller would else speak of a socket that is gone.
  Pair pair;
  const Greenlet<> closer = Spawn([&] {
    Sleep(absl::Seconds(2));
    pair.near.Close();
  });
  const Greenlet<> waiter = Spawn([&] {
    EXPECT_EQ(pair.near.WaitReadable(absl::Seconds(2)), WaitResult::kClosed);
    EXPECT_EQ(WhoClosed(), "closed");
  });
  waiter.Join();
  EXPECT_TRUE(HasTaken(absl::Seconds(2)));
}

TEST_F(DescriptorTest, WithAPassedDeadlineItDoesNotBlock) {
  Pair pair;
  bool other_ran = false;
  Spawn([&] { other_ran = true; });
  EXPECT_EQ(pair.near.WaitReadable(absl::ZeroDuration()), WaitResult::kDeadline);
  EXPECT_EQ(pair.near.WaitReadable(Deadline::Passed()), WaitResult::kDeadline);
  EXPECT_FALSE(other_ran);
}

TEST_F(DescriptorTest, AKilledWaiterLeavesRoomForTheNext) {
  Pair pair;
  for (int i = 0; i < 3; ++i) {
    const Greenlet<> g = Spawn([&] { pair.near.WaitReadable(); });
    Yield();
    g.Kill();
    EXPECT_TRUE(g.killed());
  }
  pair.Send();
  EXPECT_EQ(pair.near.WaitReadable(), WaitResult::kReady);
}

TEST_F(DescriptorTest, ATimeoutEndsAWait) {
  Pair pair;
  EXPECT_EQ(WithTimeout(absl::Seconds(1), [&] { return pair.near.WaitReadable(); })
                .status()
                .code(),
            absl::StatusCode::kDeadlineExceeded);
  pair.Send();
  EXPECT_EQ(pair.near.WaitReadable(), WaitResult::kReady);
}

TEST_F(DescriptorTest, AWaiterThatIsReadyKeepsItsResultThoughItIsKilled) {
  Pair pair;
  std::optional<WaitResult> result;
  const Greenlet<> g = Spawn([&] {
    result = pair.near.WaitReadable();
    Yield();
    ADD_FAILURE() << "the kill comes with the next blocking call";
  });
  Yield();
  pair.Send();
  // Mail comes after I/O in a turn of the hub: the waiter is ready by then.
  ThisHub().handle().Post([&] { g.KillSoon(); }).IgnoreError();
  g.Join();
  EXPECT_EQ(result, WaitResult::kReady);
  EXPECT_TRUE(g.killed());
}

TEST_F(DescriptorTest, OneMayReadWhileAnotherWrites) {
  Pair pair;
  pair.FillNear();
  std::string order;
  const Greenlet<> reader = Spawn([&] {
    EXPECT_EQ(pair.near.WaitReadable(), WaitResult::kReady);
    order += 'r';
  });
  const Greenlet<> writer = Spawn([&] {
    EXPECT_EQ(pair.near.WaitWritable(), WaitResult::kReady);
    order += 'w';
  });
  Sleep(absl::Seconds(1));
  EXPECT_EQ(order, "");
  pair.Send();
  Sleep(absl::Seconds(1));
  EXPECT_EQ(order, "r");
  pair.DrainFar();
  Sleep(absl::Seconds(1));
  EXPECT_EQ(order, "rw");
}

TEST_F(DescriptorTest, ManyAreWaitedForAtOnce) {
  constexpr int kPairs = 200;
  std::vector<std::unique_ptr<Pair>> pairs;
  std::vector<int> woken;
  for (int i = 0; i < kPairs; ++i) pairs.push_back(std::make_unique<Pair>());
  for (int i = 0; i < kPairs; ++i) {
    Spawn([&, i] {
      EXPECT_EQ(pairs[i]->near.WaitReadable(), WaitResult::kReady);
      woken.push_back(i);
    });
  }
  for (int i = kPairs - 1; i >= 0; --i) {
    Sleep(absl::Milliseconds(1));
    pairs[i]->Send();
  }
  EXPECT_TRUE(JoinHub());
  ASSERT_EQ(woken.size(), size_t{kPairs});
  for (int i = 0; i < kPairs; ++i) EXPECT_EQ(woken[i], kPairs - 1 - i);
}

// --- CountOperation ---

// Or of a thousand clients, now one and now another would wait for two rounds.
TEST_F(DescriptorTest, ManyThatBecomeReadyTogetherRunInTheOrderInWhichTheyDid) {
  constexpr int kMany = 100;
  std::vector<Pair> pairs(kMany);
  std::vector<int> order;
  std::vector<Greenlet<>> readers;
  for (int i = 0; i < kMany; ++i) {
    readers.push_back(Spawn([&, i] {
      pairs[i].near.WaitReadable();
      order.push_back(i);
    }));
  }
  Sleep(absl::Milliseconds(1));  // the loop has been told of all of them
  std::vector<int> sent;
  for (int i = 0; i < kMany; ++i) sent.push_back(i * 37 % kMany);
  for (const int i : sent) pairs[i].Send();
  for (const Greenlet<>& r : readers) r.Join();
  EXPECT_EQ(order, sent);
}

TEST_F(DescriptorTest, OperationsThatSucceedAtOnceLetOthersRunNowAndThen) {
  Pair pair;
  int operations = 0;
  int operations_when_other_ran = -1;
  Spawn([&] { operations_when_other_ran = operations; });
  for (; operations < 200; ++operations) EXPECT_TRUE(pair.near.CountOperation());
  EXPECT_GE(operations_when_other_ran, 0);
  EXPECT_LE(operations_when_other_ran, 64) << "operations_per_turn";
}

TEST_F(DescriptorTest, CountOperationSaysIfTheDescriptorWasClosedMeanwhile) {
  auto pair = std::make_unique<Pair>();
  Spawn([&] { pair.reset(); });
  int counted = 0;
  Descriptor* d = &pair->near;
  // Not to be touched any more once this has said false.
  while (d->CountOperation()) ASSERT_LT(++counted, 1000);
  EXPECT_EQ(pair, nullptr);
  Descriptor none;
  EXPECT_FALSE(none.CountOperation());
}

// --- closing (HB-8, HB-9, test__hub) ---

TEST_F(DescriptorTest, ClosingWakesBothWaitersAndSaysWhoDidIt) {
  Pair pair;
  const int fd = pair.near.fd();
  int closed = 0;
  const auto expect_closed = [&](WaitResult result) {
    EXPECT_EQ(result, WaitResult::kClosed);
    EXPECT_EQ(WhoClosed(), "closed by greenlet 'closer' (#3)");
    ++closed;
  };
  Spawn([&] { expect_closed(pair.near.WaitReadable()); });
  pair.FillNear();
  Spawn([&] { expect_closed(pair.near.WaitWritable(absl::Seconds(10))); });
  const Greenlet<> closer = Spawn({.name = "closer"}, [&] {
    pair.near.Close();
    EXPECT_FALSE(IsOpen(fd)) << "at once";
    EXPECT_EQ(closed, 0) << "Close() does not block";
  });
  EXPECT_TRUE(JoinHub());
  EXPECT_EQ(closed, 2);
  EXPECT_FALSE(pair.near.valid());
  EXPECT_EQ(pair.near.fd(), -1);
  EXPECT_TRUE(HasTaken(absl::ZeroDuration()));
}

TEST_F(DescriptorTest, ClosingInALoopCallbackSaysSo) {
  Pair pair;
  std::string who;
  const Greenlet<> g = Spawn([&] {
    EXPECT_EQ(pair.near.WaitReadable(), WaitResult::kClosed);
    who = WhoClosed();
  });
  Yield();
  ThisHub().RunCallback([&] { pair.near.Close(); });
  g.Join();
  EXPECT_EQ(who, "closed by a loop callback");
}

TEST_F(DescriptorTest, WaitingForAClosedOneReturnsAtOnce) {
  Pair pair;
  pair.near.Close();
  pair.near.Close();
  EXPECT_EQ(pair.near.WaitReadable(), WaitResult::kClosed);
  EXPECT_EQ(pair.near.WaitWritable(absl::Seconds(1)), WaitResult::kClosed);
  Descriptor none;
  EXPECT_FALSE(none.valid());
  EXPECT_EQ(none.WaitReadable(), WaitResult::kClosed);
  EXPECT_EQ(none.Release(), -1);
}

TEST_F(DescriptorTest, MayBeDestroyedWhileAnotherWaits) {
  auto pair = std::make_unique<Pair>();
  bool closed = false;
  const Greenlet<> g = Spawn([&] {
    // The object is gone when this returns.
    closed = pair->near.WaitReadable() == WaitResult::kClosed;
  });
  Yield();
  pair.reset();
  g.Join();
  EXPECT_TRUE(closed);
}

TEST_F(DescriptorTest, ClosedAndReopenedBeforeTheWaiterRunsIsStillClosedForIt) {
  auto pair = std::make_unique<Pair>();
  const int fd = pair->near.fd();
  std::optional<WaitResult> result;
  const Greenlet<> g = Spawn([&] { result = pair->near.WaitReadable(); });
  Yield();
  pair = std::make_unique<Pair>();
  pair.reset();
  pair = std::make_unique<Pair>();
  EXPECT_TRUE(pair->near.fd() == fd || pair->far == fd) << "the number is in use again";
  pair->Send();
  g.Join();
  EXPECT_EQ(result, WaitResult::kClosed);
}

TEST_F(DescriptorTest, ReadyAndThenClosedBeforeTheWaiterRunsIsClosed) {
  // It must not read from a number that may be a stranger's.
  Pair pair;
  std::optional<WaitResult> result;
  const Greenlet<> g = Spawn([&] { result = pair.near.WaitReadable(); });
  Yield();
  pair.Send();
  ThisHub().handle().Post([&] { pair.near.Close(); }).IgnoreError();
  g.Join();
  EXPECT_EQ(result, WaitResult::kClosed);
}

TEST_F(DescriptorTest, ReleaseGivesItUpOpenAndWakesWhoWaits) {
  Pair pair;
  std::optional<WaitResult> result;
  const Greenlet<> g = Spawn([&] { result = pair.near.WaitReadable(); });
  Yield();
  const int fd = pair.near.Release();
  EXPECT_TRUE(IsOpen(fd));
  EXPECT_FALSE(pair.near.valid());
  g.Join();
  EXPECT_EQ(result, WaitResult::kClosed);
  // It can be taken over again.
  Descriptor again(fd);
  pair.Send();
  EXPECT_EQ(again.WaitReadable(), WaitResult::kReady);
}

TEST_F(DescriptorTest, MovesWithItsWaiter) {
  Pair pair;
  const int fd = pair.near.fd();
  std::optional<WaitResult> result;
  const Greenlet<> g = Spawn([&] { result = pair.near.WaitReadable(); });
  Yield();
  Descriptor moved = std::move(pair.near);
  EXPECT_FALSE(pair.near.valid());
  EXPECT_EQ(moved.fd(), fd);
  EXPECT_FALSE(g.ready());
  pair.Send();
  g.Join();
  EXPECT_EQ(result, WaitResult::kReady);
  // Assignment closes what was there.
  Pair other;
  const int other_fd = other.near.fd();
  other.near = std::move(moved);
  EXPECT_FALSE(IsOpen(other_fd));
  EXPECT_EQ(other.near.fd(), fd);
}

TEST_F(DescriptorTest, ClosesItsNumberWhenItEnds) {
  int fd;
  {
    Pair pair;
    fd = pair.near.fd();
    EXPECT_TRUE(IsOpen(fd));
  }
  EXPECT_FALSE(IsOpen(fd));
}

TEST_F(DescriptorTest, OneThatAStrangerClosedIsReadySoThatTheSystemCallTells) {
  Pair pair;
  close(pair.near.fd());
  EXPECT_EQ(pair.near.WaitReadable(), WaitResult::kReady);
  char c;
  EXPECT_EQ(read(pair.near.fd(), &c, 1), -1);
  EXPECT_EQ(errno, EBADF);
  (void)pair.near.Release();  // not ours to close a second time
}

// --- numbers that are used again ---

TEST_F(DescriptorTest, AReusedNumberNeverWakesAStranger) {
  // At each step one of 64 connections is opened, closed, or sent a message that bears
  // its serial number. Whoever reads must find its own, and something each time.
  constexpr int kConnections = 64;
  constexpr int kSteps = 20'000;
  struct Connection {
    explicit Connection(uint32_t s) : serial(s) {}
    ~Connection() { *open = false; }
    Pair pair;
    const uint32_t serial;
    int sent = 0;
    // These may be looked at by the reader when the rest is gone.
    std::shared_ptr<int> received = std::make_shared<int>(0);
    std::shared_ptr<bool> open = std::make_shared<bool>(true);
  };
  std::mt19937 random(2026);
  std::vector<std::unique_ptr<Connection>> connections(kConnections);
  uint32_t next_serial = 1;
  int for_nothing = 0;
  int strangers = 0;
  int closed = 0;
  int opened = 0;
  std::set<int> numbers;
  const auto open = [&](int i) {
    connections[i] = std::make_unique<Connection>(next_serial++);
    ++opened;
    numbers.insert(connections[i]->pair.near.fd());
    Spawn([&, c = connections[i].get(), serial = connections[i]->serial,
           received = connections[i]->received, is_open = connections[i]->open] {
      // It may have been closed before this could start.
      const int fd = *is_open ? c->pair.near.fd() : -1;
      while (fd >= 0) {
        // After kClosed neither `c` nor `fd` may be touched.
        if (c->pair.near.WaitReadable() == WaitResult::kClosed) break;
        uint32_t seen = 0;
        const ssize_t n = read(fd, &seen, sizeof seen);
        if (n != sizeof seen) {
          ++for_nothing;
        } else if (seen != serial) {
          ++strangers;
        } else {
          ++*received;
        }
      }
      ++closed;
    });
  };
  for (int step = 0; step < kSteps; ++step) {
    const int i = random() % kConnections;
    switch (random() % 4) {
      case 0:
        if (connections[i]) {
          connections[i].reset();
        } else {
          open(i);
        }
        break;
      case 1:  // at once, so that the number is used again before anybody runs
        connections[i].reset();
        open(i);
        break;
      case 2:
        if (connections[i]) {
          Connection& c = *connections[i];
          ASSERT_EQ(write(c.pair.far, &c.serial, sizeof c.serial),
                    static_cast<ssize_t>(sizeof c.serial));
          ++c.sent;
        }
        break;
      case 3:
        if (random() % 2) {
          Yield();
        } else {
          Sleep(absl::Microseconds(random() % 5));
        }
        break;
    }
  }
  Sleep(absl::Seconds(1));
  for (const auto& c : connections) {
    if (c == nullptr) continue;
    EXPECT_EQ(*c->received, c->sent) << "connection " << c->serial;
  }
  connections.clear();
  EXPECT_TRUE(JoinHub());
  EXPECT_EQ(for_nothing, 0);
  EXPECT_EQ(strangers, 0);
  EXPECT_EQ(closed, opened);
  EXPECT_LT(numbers.size(), 300u) << "numbers were to be used again";
}

// --- hubs ---

TEST(DescriptorHubTest, MayOutliveItsHub) {
  Descriptor waited;
  Descriptor unwaited;
  int fds[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
  {
    HubScope scope;
    waited = Descriptor(fds[0]);
    EXPECT_EQ(waited.WaitWritable(), WaitResult::kReady);
    unwaited = Descriptor(fds[1]);
  }
  EXPECT_TRUE(IsOpen(fds[0]));
  // There may be another hub by then, with descriptors of its own.
  HubScope scope;
  Pair pair;
  waited.Close();
  EXPECT_FALSE(IsOpen(fds[0]));
  EXPECT_EQ(unwaited.Release(), fds[1]);
  close(fds[1]);
  pair.Send();
  EXPECT_EQ(pair.near.WaitReadable(), WaitResult::kReady);
}

TEST(DescriptorHubTest, EndsWithAHubWhoseGreenletsWaitForIt) {
  int fd;
  {
    ManualClock clock;
    HubScope scope({.clock = &clock});
    auto pair = std::make_shared<Pair>();
    fd = pair->near.fd();
    Spawn([pair] { pair->near.WaitReadable(); });
    pair.reset();
    Yield();
    EXPECT_TRUE(IsOpen(fd));
  }
  EXPECT_FALSE(IsOpen(fd));
}

TEST(DescriptorHubTest, EveryThreadHasItsOwn) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([] {
      // On a hub that nobody asked for, which ends with the thread.
      Pair pair;
      for (int i = 0; i < 100; ++i) {
        pair.Send();
        EXPECT_EQ(pair.near.WaitReadable(), WaitResult::kReady);
        pair.Receive();
      }
    });
  }
  for (std::thread& t : threads) t.join();
}

TEST(DescriptorHubTest, IsLeftByAThreadThatEndsWhileAGreenletWaits) {
  // Nothing unwinds that greenlet: its descriptor stays open.
  int far = -1;
  std::thread([&] {
    auto pair = std::make_unique<Pair>();
    far = std::exchange(pair->far, -1);
    Spawn([pair = std::move(pair)] { pair->near.WaitReadable(); });
    Yield();
  }).join();
  EXPECT_EQ(write(far, "x", 1), 1) << "the other end is still there";
  close(far);
}

// --- misuse ---

TEST(DescriptorDeathTest, TwoReadersAreFatalAndNamed) {
  EXPECT_DEATH(
      {
        HubScope scope;
        Pair pair;
        Spawn({.name = "first"}, [&] { pair.near.WaitReadable(); });
        Spawn({.name = "second"}, [&] { pair.near.WaitReadable(); });
        Sleep(absl::Seconds(1));
      },
      "fd [0-9]+ is waited for by two greenlets to read: greenlet 'first' \\(#1\\) and "
      "greenlet 'second' \\(#2\\)");
}

TEST(DescriptorDeathTest, TwoWritersAreFatalAndNamed) {
  EXPECT_DEATH(
      {
        HubScope scope;
        Pair pair;
        pair.FillNear();
        Spawn({.name = "first"}, [&] { pair.near.WaitWritable(); });
        Spawn({.name = "second"}, [&] { pair.near.WaitWritable(absl::Seconds(1)); });
        Sleep(absl::Seconds(1));
      },
      "to write: greenlet 'first' \\(#1\\) and greenlet 'second' \\(#2\\)");
}

TEST(DescriptorDeathTest, UseOnAnotherThreadIsFatal) {
  EXPECT_DEATH(
      {
        HubScope scope;
        Pair pair;
        std::thread([&] { pair.near.WaitReadable(); }).join();
      },
      "fd [0-9]+ is used on a thread that is not its hub's");
  EXPECT_DEATH(
      {
        HubScope scope;
        Pair pair;
        std::thread([&] { pair.near.Close(); }).join();
      },
      "fd [0-9]+ is closed on a thread that is not its hub's");
}

TEST(DescriptorDeathTest, WaitingAfterTheHubHasEndedIsFatal) {
  EXPECT_DEATH(
      {
        Descriptor d;
        {
          HubScope scope;
          int fds[2];
          if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) != 0) _exit(1);
          d = Descriptor(fds[0]);
        }
        HubScope another;
        d.WaitReadable();
      },
      "its hub has ended");
}

TEST(DescriptorDeathTest, ANegativeNumberIsFatal) {
  EXPECT_DEATH(
      {
        HubScope scope;
        Descriptor d(-1);
      },
      "a Descriptor of fd -1");
}

}  // namespace
}  // namespace grove
