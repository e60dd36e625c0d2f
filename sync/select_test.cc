#include "grove/sync/select.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <array>
#include <atomic>
#include <memory>
#include <optional>
#include <thread>
#include <type_traits>
#include <vector>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/sleep.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/hub/hub.h"
#include "grove/sync/async_result.h"
#include "grove/sync/blocking_call_tests.h"
#include "grove/sync/channel.h"
#include "grove/sync/event.h"
#include "grove/sync/queue.h"
#include "grove/sync/semaphore.h"
#include "grove/sync/sync_test_util.h"

namespace grove {
namespace {

using test_util::Lots;
using test_util::Moved;
using test_util::OnHub;
using test_util::OnThread;
using test_util::Settle;

// Each kind of case, besides one that never is: what every blocking call promises.
struct SelectReceive {
  static constexpr bool kConsumes = true;
  static constexpr bool kAlwaysMakesAHub = true;
  bool Call(Deadline d = {}) {
    ReceiveCase in(channel);
    WaitCase stop(never);
    return Select({stop, in}, d) == 1;
  }
  void Grant() { EXPECT_TRUE(channel.TrySend(1)); }
  Channel<int> channel{1};
  Event never;
};
BLOCKING_CALL_TESTS(SelectReceive);

struct SelectSend {
  static constexpr bool kConsumes = true;
  static constexpr bool kAlwaysMakesAHub = true;
  bool Call(Deadline d = {}) {
    SendCase out(queue, 1);
    WaitCase stop(never);
    return Select({out, stop}, d) == 0;
  }
  void Grant() { EXPECT_TRUE(queue.TryGet()); }
  Queue<int> queue{1, {0}};
  Event never;
};
BLOCKING_CALL_TESTS(SelectSend);

struct SelectWait {
  static constexpr bool kConsumes = true;
  static constexpr bool kAlwaysMakesAHub = true;
  bool Call(Deadline d = {}) {
    WaitCase wait(event);
    ReceiveCase in(never);
    return Select({in, wait}, d) == 1;
  }
  void Grant() { event.Set(); }
  AutoResetEvent event;
  Queue<int> never;
};
BLOCKING_CALL_TESTS(SelectWait);

struct SelectAcquire {
  static constexpr bool kConsumes = true;
  static constexpr bool kAlwaysMakesAHub = true;
  bool Call(Deadline d = {}) {
    AcquireCase acquire(semaphore);
    AcquireCase two(never);
    return Select({two, acquire}, d) == 1;
  }
  void Grant() { semaphore.release(); }
  Semaphore semaphore{0};
  Semaphore never{0};
};
BLOCKING_CALL_TESTS(SelectAcquire);

using Ints = std::vector<int>;

// --- kinds of cases ---

GREENLET_TEST(Select, ReceivesFromChannelsAndQueues) {
  Channel<int> channel;
  Queue<std::unique_ptr<int>> queue;
  ReceiveCase from_channel(channel);
  ReceiveCase from_queue(queue);
  EXPECT_TRUE(queue.TryPut(std::make_unique<int>(7)));
  EXPECT_EQ(Select({from_channel, from_queue}), 1);
  EXPECT_EQ(*from_queue.value(), 7);
  EXPECT_FALSE(from_queue.closed());
  const auto sender = Spawn([&] { return channel.Send(8); });
  EXPECT_EQ(Select({from_channel, from_queue}), 0);  // the same cases once more
  EXPECT_EQ(from_channel.value(), 8);
  EXPECT_TRUE(sender.Get().ok());
}

GREENLET_TEST(Select, SendsToChannelsAndQueuesAndLeavesTheOtherValueAsItWas) {
  Channel<Moved> channel;
  Queue<Moved> queue(1);
  SendCase to_channel(channel, Moved(1));
  SendCase to_queue(queue, Moved(2));
  EXPECT_EQ(Select({to_channel, to_queue}), 1);
  EXPECT_EQ(queue.Get()->value, 2);
  EXPECT_EQ(to_channel.value().value, 1);
  to_queue.set_value(Moved(3));
  EXPECT_TRUE(queue.TryPut(Moved(0)));
  const auto receiver = Spawn([&] { return channel.Receive()->value; });
  EXPECT_EQ(Select({to_queue, to_channel}), 1);
  EXPECT_EQ(*receiver.Get(), 1);
  EXPECT_EQ(to_queue.value().value, 3);
}

GREENLET_TEST(Select, WaitsForEventsAndResults) {
  Event event;
  AsyncResult<int> result;
  WaitCase a(event);
  WaitCase b(result);
  const Greenlet<> g = SpawnLater(absl::Seconds(1), [&] { result.Set(1); });
  EXPECT_EQ(Select({a, b}), 1);
  EXPECT_TRUE(HasTaken(absl::Seconds(1)));
  event.Set();
  EXPECT_EQ(Select({a}), 0);
  EXPECT_TRUE(event.IsSet());
  g.Join();
}

GREENLET_TEST(Select, TakesPermits) {
  Semaphore one(1);
  Semaphore many(0);
  AcquireCase a(one);
  AcquireCase b(many, 3);
  EXPECT_EQ(Select({b, a}), 1);
  EXPECT_EQ(one.available(), 0);
  const auto g = Spawn([&] { return Select({a, b}); });
  Settle();
  many.release(2);
  Settle();
  EXPECT_FALSE(g.ready());
  many.release(2);
  EXPECT_EQ(*g.Get(), 1);
  EXPECT_EQ(many.available(), 1);
  EXPECT_EQ(one.available(), 0);
}

GREENLET_TEST(Select, WaitsForTheEndOfGreenlets) {
  const Greenlet<> slow = Spawn([] { Sleep(absl::Seconds(2)); });
  const Greenlet<> fast = Spawn([] { Sleep(absl::Seconds(1)); });
  JoinCase a(slow);
  JoinCase b(fast);
  EXPECT_EQ(Select({a, b}), 1);
  EXPECT_TRUE(HasTaken(absl::Seconds(1)));
  EXPECT_EQ(Select({b}), 0);  // it has ended
  EXPECT_EQ(Select({a}), 0);
}

GREENLET_TEST(Select, WithoutCasesItWaitsForItsDeadline) {
  EXPECT_EQ(Select({}, absl::Seconds(3)), kSelectTimedOut);
  EXPECT_TRUE(HasTaken(absl::Seconds(3)));
  const Greenlet<> g = Spawn([] { Select({}); });
  Settle();
  g.Kill();
  EXPECT_TRUE(g.killed());
}

// --- which ---

GREENLET_TEST(Select, OfSeveralThatAreReadyEachHasItsTurn) {
  Event a;
  Event b;
  Event c;
  for (Event* e : {&a, &b, &c}) e->Set();
  WaitCase of_a(a);
  WaitCase of_b(b);
  WaitCase of_c(c);
  Ints chosen(3);
  for (int i = 0; i < 30; ++i) ++chosen[Select({of_a, of_b, of_c})];
  EXPECT_EQ(chosen, (Ints{10, 10, 10}));
}

GREENLET_TEST(Select, InOrderTheFirstThatIsReadyIsDone) {
  Queue<int> urgent(kUnbounded, {1, 2});
  Queue<int> other(kUnbounded, {3});
  ReceiveCase a(urgent);
  ReceiveCase b(other);
  const auto next = [&] {
    return Select({a, b}, Deadline::Passed(), SelectOrder::kInOrder);
  };
  EXPECT_EQ(next(), 0);
  EXPECT_EQ(next(), 0);
  EXPECT_EQ(next(), 1);
  EXPECT_EQ(next(), kSelectTimedOut);
}

GREENLET_TEST(Select, DoesOneOnlyAndNoTraceOfTheOthersIsLeft) {
  Channel<int> in;
  Channel<int> out;
  Semaphore semaphore(0);
  Event event;
  const auto g = Spawn([&] {
    ReceiveCase a(in);
    SendCase b(out, 5);
    AcquireCase c(semaphore);
    WaitCase d(event);
    return Select({a, b, c, d}, absl::Hours(1));
  });
  Settle();
  EXPECT_EQ(in.balance(), -1);
  EXPECT_EQ(out.balance(), 1);
  semaphore.release();
  event.Set();
  EXPECT_FALSE(in.TrySend(1));
  EXPECT_FALSE(out.TryReceive());
  EXPECT_EQ(*g.Get(), 2);
  EXPECT_EQ(in.balance(), 0);
  EXPECT_EQ(out.balance(), 0);
  EXPECT_EQ(semaphore.available(), 0);
}

GREENLET_TEST(Select, ADeadlineOrAKillDoesNothing) {
  Semaphore semaphore(0);
  Channel<int> channel;
  AcquireCase a(semaphore, 2);
  ReceiveCase b(channel);
  EXPECT_EQ(Select({a, b}, absl::Seconds(1)), kSelectTimedOut);
  EXPECT_EQ(Select({a, b}, Deadline::Passed()), kSelectTimedOut);
  const auto g = Spawn([&] { return Select({a, b}); });
  Settle();
  // Behind the two permits that it wants.
  const Greenlet<> other = Spawn([&] { semaphore.acquire(); });
  Settle();
  semaphore.release();
  Settle();
  EXPECT_FALSE(other.ready());
  g.Kill();
  EXPECT_TRUE(g.killed());
  other.Join();  // what stood in its way is gone
  EXPECT_EQ(channel.balance(), 0);
}

GREENLET_TEST(Select, OfThoseThatWaitTheOneThatCameFirstIsServed) {
  Channel<int> channel;
  Event never;
  std::vector<Greenlet<int>> all;
  for (int i = 0; i < 4; ++i) {
    all.push_back(Spawn([&] {
      ReceiveCase in(channel);
      WaitCase stop(never);
      return Select({stop, in}) == 1 ? in.value() : -1;
    }));
    Settle();
  }
  all[1].Kill();
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(channel.TrySend(i));
  EXPECT_EQ(*all[0].Get(), 0);
  EXPECT_EQ(*all[2].Get(), 1);
  EXPECT_EQ(*all[3].Get(), 2);
}

// --- closed ---

GREENLET_TEST(Select, AClosedChannelIsReady) {
  Channel<int> in(1);
  Channel<int> out;
  EXPECT_TRUE(in.TrySend(1));
  in.Close();
  out.Close();
  ReceiveCase a(in);
  EXPECT_EQ(Select({a}), 0);
  EXPECT_EQ(a.value(), 1);
  EXPECT_FALSE(a.closed());
  EXPECT_EQ(Select({a}), 0);
  EXPECT_TRUE(a.closed());
  SendCase b(out, 7);
  EXPECT_EQ(Select({b}), 0);
  EXPECT_TRUE(b.closed());
  EXPECT_EQ(b.value(), 7);
}

GREENLET_TEST(Select, IsToldWhenAChannelIsClosedMeanwhile) {
  Channel<int> channel;
  Channel<int> other;
  const auto g = Spawn([&] {
    ReceiveCase in(other);
    SendCase out(channel, 7);
    const int chosen = Select({in, out});
    EXPECT_TRUE(out.closed());
    EXPECT_FALSE(in.closed());
    return chosen;
  });
  Settle();
  channel.Close();
  EXPECT_EQ(*g.Get(), 1);
  EXPECT_EQ(other.balance(), 0);
}

// --- the same object more than once ---

GREENLET_TEST(Select, MaySendToAndReceiveFromOneChannelButNotFromItself) {
  Channel<int> channel;
  const auto both = [&](int value) {
    SendCase out(channel, value);
    ReceiveCase in(channel);
    return Select({out, in}) == 0 ? -1 : in.value();
  };
  const auto a = Spawn([&] { return both(1); });
  Settle();
  EXPECT_FALSE(a.ready());
  const auto b = Spawn([&] { return both(2); });
  Settle();
  // One has sent, and the other has received that.
  ASSERT_TRUE(a.ready() && b.ready());
  EXPECT_TRUE((*a.Get() == -1 && *b.Get() == 1) || (*a.Get() == 2 && *b.Get() == -1));
  EXPECT_EQ(channel.balance(), 0);
}

GREENLET_TEST(Select, SeveralCasesMayBeOfOneObject) {
  Channel<int> channel;
  Event event;
  Semaphore semaphore(0);
  const Greenlet<int> g = Spawn([&] {
    ReceiveCase a(channel);
    ReceiveCase b(channel);
    WaitCase c(event);
    WaitCase d(event);
    AcquireCase e(semaphore);
    AcquireCase f(semaphore);
    for (int i = 0; i < 2; ++i) Select({a, b, c, d, e, f});
    return Select({a, b, c, d, e, f});
  });
  Settle();
  EXPECT_TRUE(channel.TrySend(1));
  Settle();
  semaphore.release(1);
  Settle();
  EXPECT_EQ(semaphore.available(), 0);
  event.Set();
  EXPECT_TRUE(g.Get().ok());
  EXPECT_EQ(channel.balance(), 0);
}

GREENLET_TEST(Select, LeavingALineDoesNotLetAnotherOfItsOwnCasesGoOn) {
  Semaphore semaphore(0);
  Event event;
  for (const bool by_event : {true, false}) {
    const Greenlet<int> g = Spawn([&] {
      AcquireCase many(semaphore, 3);
      AcquireCase one(semaphore);
      WaitCase wait(event);
      return Select({many, one, wait});
    });
    Settle();
    semaphore.release();  // not enough for the first of them
    if (by_event) {
      event.Set();
      EXPECT_EQ(*g.Get(), 2);
    }
    g.Kill();
    EXPECT_EQ(semaphore.available(), 1);
    EXPECT_TRUE(semaphore.try_acquire());
    event.Clear();
  }
}

TEST(SelectDeathTest, OneCaseTwiceIsFatal) {
  EXPECT_DEATH(
      {
        HubScope scope;
        Event event;
        WaitCase wait(event);
        Select({wait, wait}, absl::Milliseconds(1));
      },
      "Select\\(\\) over one case twice: Event 0x");
}

// --- Select() against Select() ---

GREENLET_TEST(Select, TwoThatMeetOnAChannelBothDoTheirPart) {
  Channel<int> channel;
  Event never;
  const auto sender = Spawn([&] {
    SendCase out(channel, 9);
    WaitCase stop(never);
    return Select({stop, out});
  });
  const auto receiver = Spawn([&] {
    ReceiveCase in(channel);
    WaitCase stop(never);
    EXPECT_EQ(Select({in, stop}), 0);
    return in.value();
  });
  EXPECT_EQ(*sender.Get(), 1);
  EXPECT_EQ(*receiver.Get(), 9);
}

GREENLET_TEST(Select, IsServedByOneWhoOnlySendsOrReceives) {
  Channel<Moved> in;
  Channel<Moved> out;
  const auto selects = Spawn([&] {
    ReceiveCase receive(in);
    SendCase send(out, Moved(5));
    EXPECT_EQ(Select({receive, send}), 1);
    EXPECT_EQ(Select({receive, send}), 0);
    return receive.value().value;
  });
  Yield();
  EXPECT_EQ(out.Receive()->value, 5);  // which waits
  EXPECT_TRUE(in.Send(Moved(6)).ok());
  EXPECT_EQ(*selects.Get(), 6);
}

// --- homes ---

GREENLET_TEST(Select, WorksOverTheObjectsOfAnotherHub) {
  Channel<int> in(1);
  Channel<int> out(1);
  Semaphore semaphore(0);
  Event event;
  OnHub([&, home = hub().handle()] {
    ReceiveCase a(in);
    SendCase b(out, 5);
    AcquireCase c(semaphore);
    WaitCase d(event);
    const auto select = [&](Deadline deadline = {}) {
      return Select({a, b, c, d}, deadline, SelectOrder::kInOrder);
    };
    EXPECT_EQ(select(), 1);
    b.set_value(6);
    EXPECT_EQ(select(Deadline::Passed()), kSelectTimedOut);
    EXPECT_EQ(select(absl::Milliseconds(1)), kSelectTimedOut);
    const Greenlet<int> g = Spawn([&] { return select(); });
    Yield();
    EXPECT_FALSE(g.ready());
    EXPECT_TRUE(home.Post([&] { semaphore.release(); }).ok());
    EXPECT_EQ(*g.Get(), 2);
    EXPECT_TRUE(in.TrySend(3));
    EXPECT_EQ(select(), 0);
    EXPECT_EQ(a.value(), 3);
    const Greenlet<> killed = Spawn([&] { select(); });
    Yield();
    killed.Kill();
    EXPECT_TRUE(killed.killed());
    event.Set();
    EXPECT_EQ(select(), 3);
  });
  EXPECT_EQ(in.balance(), 0);
  EXPECT_EQ(out.balance(), 0);
  EXPECT_EQ(semaphore.available(), 0);
  EXPECT_EQ(*out.Receive(), 5);
}

// As a global does that nobody has used yet.
GREENLET_TEST(Select, WhatHasNoHomeGoesWithTheOthers) {
  Channel<int> here(1);
  std::optional<Event> homeless;
  std::thread([&] { homeless.emplace(); }).join();
  OnHub([&] {
    WaitCase wait(*homeless);
    ReceiveCase receive(here);
    EXPECT_EQ(Select({receive, wait}, absl::ZeroDuration()), kSelectTimedOut);
    EXPECT_EQ(Select({wait, receive}, absl::ZeroDuration()), kSelectTimedOut);
    homeless->Set();
    EXPECT_EQ(Select({wait, receive}), 0);
  });
  EXPECT_TRUE(homeless->home().Here());
}

GREENLET_TEST(Select, WorksOnAPlainThread) {
  Queue<int> queue(1);
  Event event;
  OnThread([&] {
    ReceiveCase in(queue);
    WaitCase wait(event);
    EXPECT_TRUE(queue.TryPut(1));
    EXPECT_EQ(Select({in, wait}), 0);
    EXPECT_EQ(Select({in, wait}, absl::Milliseconds(1)), kSelectTimedOut);
  });
}

GREENLET_TEST(Select, OneOfEachSelectThatMeetsOthersBetweenHubsIsDone) {
  Channel<int> channel;
  Channel<int> other;
  const KeepAlive alive(&hub());
  std::atomic<int> sent{0};
  std::atomic<int> received{0};
  std::atomic<int> left{4};
  Event ended;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      {
        HubScope scope;
        for (int i = 0; i < 200; ++i) {
          const Deadline d = absl::Microseconds(100 + i * 7 % 200);
          if (t % 2) {
            SendCase a(channel, 1);
            SendCase b(other, 1);
            if (Select({a, b}, d) >= 0) ++sent;
          } else {
            ReceiveCase a(channel);
            ReceiveCase b(other);
            if (Select({a, b}, d) >= 0) ++received;
          }
        }
      }
      if (--left == 0) ended.Set();
    });
  }
  ended.Wait();
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(sent, received);
  EXPECT_EQ(channel.balance(), 0);
  EXPECT_EQ(other.balance(), 0);
}

TEST(SelectHome, ObjectsWithoutAHomeGetThatOfWhoSelects) {
  Queue<int> queue(1, {1});
  Event event;
  HubScope scope;
  ReceiveCase in(queue);
  WaitCase wait(event);
  EXPECT_EQ(Select({wait, in}), 1);
  const auto g = Spawn([&] { return Select({wait, in}); });
  Yield();
  event.Set();
  EXPECT_EQ(*g.Get(), 0);
}

// Select()s on another hub until the home of its objects has ended, and then makes one of
// them ready, from a thread without a hub.
void SelectBeyondTheEndOfTheHome(bool first) {
  std::optional<Event> event;
  std::optional<Queue<int>> queue;
  std::thread thread;
  HubHandle abroad;
  {
    HubScope scope;
    event.emplace();
    queue.emplace();
    Event waits;
    thread = std::thread([&] {
      HubScope other;
      const Greenlet<> g = Spawn([&] {
        WaitCase wait(*event);
        ReceiveCase in(*queue);
        EXPECT_EQ(Select({wait, in}), first ? 0 : 1);
      });
      Yield();
      abroad = ThisHub().handle();
      waits.Set();
      g.Join();
    });
    waits.Wait();
  }
  // It has been told of the end before this arrives, and has gone on before that runs.
  std::atomic<bool> waits_abroad{false};
  EXPECT_TRUE(abroad.Post([&] { Spawn([&] { waits_abroad = true; }); }).ok());
  while (!waits_abroad) sched_yield();
  if (first) {
    event->Set();
  } else {
    EXPECT_TRUE(queue->TryPut(7));
  }
  thread.join();
}

TEST(SelectHome, WhenTheHomeEndsAllItsObjectsBelongToWhoSelects) {
  for (int i = 0; i < 20; ++i) {
    SelectBeyondTheEndOfTheHome(/*first=*/true);
    SelectBeyondTheEndOfTheHome(/*first=*/false);
  }
}

TEST(SelectDeathTest, TheEndOfAnotherHubsGreenletIsFatal) {
  EXPECT_DEATH(
      {
        HubScope scope({.name = "home"});
        const Greenlet<> g = Spawn([] {});
        std::thread([&] {
          HubScope other({.name = "abroad"});
          JoinCase join(g);
          Select({join});
        }).join();
      },
      "Select of greenlet #1 of hub 'home', .* from hub 'abroad'");
}

TEST(SelectDeathTest, ObjectsOfSeveralHubsAreFatal) {
  EXPECT_DEATH(
      {
        HubScope scope;
        Event here;
        std::thread([&] {
          HubScope other;
          Event there;
          WaitCase a(here);
          WaitCase b(there);
          Select({a, b});
        }).join();
      },
      "Select\\(\\) over objects of several hubs");
}

TEST(SelectDeathTest, DestroyingWhatIsSelectedNamesWhoDoes) {
  EXPECT_DEATH(test_util::DestroyWhileSomebodyWaits<SelectReceive>(),
               "is destroyed while 1 wait for it:.*greenlet 'the waiter'");
}

// --- any order ---

// Greenlets send and receive on two channels, acquire and release a semaphore, by
// Select() and without. Each Select() has done one thing or none.
TEST(SelectSeeds, ExactlyOneIsDone) {
  ForEachSeed(1000, [] {
    Lots lots;
    Channel<int> a;
    Channel<int> b(1);
    Semaphore semaphore(1);
    int sent = 0;
    int received = 0;
    int permits = 1;
    std::vector<Greenlet<>> all;
    const auto some_order = [&] {
      return lots.OneIn(2) ? SelectOrder::kFair : SelectOrder::kInOrder;
    };
    for (int g = 0; g < 4; ++g) {
      all.push_back(Spawn([&] {
        for (int n = 0; n < 6; ++n) {
          SendCase send_a(a, 1);
          ReceiveCase receive_a(a);
          SendCase send_b(b, 1);
          ReceiveCase receive_b(b);
          const int n_permits = 1 + lots.Below(2);
          AcquireCase acquire(semaphore, n_permits);
          std::array<SelectCase, 5> cases = {send_a, receive_a, send_b, receive_b,
                                             acquire};
          const int first = lots.Below(5);
          const int count = 1 + lots.Below(5 - first);
          const auto some = absl::MakeConstSpan(cases).subspan(first, count);
          switch (int i = Select(some, lots.SomeDeadline(), some_order());
                  i < 0 ? i : i + first) {
            case 0:
            case 2:
              ++sent;
              break;
            case 1:
            case 3:
              ++received;
              break;
            case 4:
              semaphore.release(n_permits);
              break;
            default:
              break;
          }
        }
      }));
    }
    for (int n = 0; n < 8; ++n) {
      Sleep(absl::Microseconds(lots.Below(4)));
      if (lots.OneIn(4)) all[lots.Below(4)].KillSoon();
      if (lots.OneIn(3)) sent += a.TrySend(1) ? 1 : 0;
      if (lots.OneIn(3)) received += b.TryReceive() ? 1 : 0;
      if (lots.OneIn(3)) {
        semaphore.release();
        ++permits;
      }
    }
    Sleep(absl::Microseconds(100));
    for (const Greenlet<>& g : all) g.Kill();
    EXPECT_EQ(a.balance(), 0);
    EXPECT_EQ(b.balance(), 0);
    EXPECT_EQ(sent, received + static_cast<int>(b.size()));
    EXPECT_EQ(semaphore.available(), permits);
  });
}

static_assert(!std::is_copy_constructible_v<SendCase<Channel<int>>>);
static_assert(!std::is_move_constructible_v<SendCase<Channel<int>>>);

TEST(SelectDeathTest, PermitsThatCannotBeAndGreenletsThatCannotBeJoinedAreFatal) {
  Semaphore semaphore;
  EXPECT_DEATH(AcquireCase(semaphore, -1), "acquiring -1 permits");
  BoundedSemaphore bounded(2);
  EXPECT_DEATH(AcquireCase(bounded, 3), "acquiring 3 permits .* which has 2 at most");
  EXPECT_DEATH(
      {
        const HubScope scope;
        Greenlet<> g = Spawn([&] { Select({JoinCase(CurrentGreenlet())}); });
        g.Join();
      },
      "joins itself");
}

}  // namespace
}  // namespace grove
