#ifndef GROVE_SYNC_BLOCKING_CALL_TESTS_H_
#define GROVE_SYNC_BLOCKING_CALL_TESTS_H_

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "absl/time/time.h"
#include "grove/green/greenlet.h"
#include "grove/green/sleep.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/green/timeout.h"
#include "grove/hub/hub.h"
#include "grove/sync/sync_test_util.h"

// What every blocking call of sync/ promises, as tests of any of them:
//
//   struct EventWait {
//     // Whether a grant is used up by one call. If not, it holds for all calls.
//     static constexpr bool kConsumes = false;
//     // The blocking call; whether it was done.
//     bool Call(Deadline d = {}) { return event.Wait(d); }
//     // Lets one call be done that waits or comes next. Does not block.
//     void Grant() { event.Set(); }
//     Event event;
//   };
//   BLOCKING_CALL_TESTS(EventWait);
//   BLOCKING_CALL_DEATH_TEST(EventWait, "Event");
//
// Longer than a header should be, as each test is a function.
namespace grove::test_util {

template <typename Op>
class BlockingCallTest : public GreenletTest {
 protected:
  static Greenlet<bool> SpawnCall(Op& op, Deadline d = {}) {
    return Spawn([&op, d] { return op.Call(d); });
  }
  static bool Done(const Greenlet<bool>& g) {
    return g.ready() && g.Get().value_or(false);
  }

  // That `done` calls were done by one grant, or the grant is still there.
  static void ExpectNothingWasLost(Op& op, int done) {
    const int left = op.Call(Deadline::Passed()) ? 1 : 0;
    if (Op::kConsumes) {
      EXPECT_EQ(done + left, 1);
    } else {
      EXPECT_EQ(left, 1);
    }
  }

  void AtOnce() {
    Op op;
    op.Grant();
    EXPECT_TRUE(op.Call());
    EXPECT_EQ(op.Call(Deadline::Passed()), !Op::kConsumes);
    EXPECT_EQ(Elapsed(), absl::ZeroDuration());
  }

  void Waits() {
    Op op;
    const Greenlet<bool> g = SpawnCall(op);
    const Greenlet<bool> with_deadline = SpawnCall(op, absl::Hours(1));
    Settle();
    EXPECT_FALSE(g.ready());
    EXPECT_FALSE(with_deadline.ready());
    op.Grant();
    Settle();
    EXPECT_TRUE(Done(g) || Done(with_deadline));
    if (Op::kConsumes) op.Grant();
    Settle();
    EXPECT_TRUE(Done(g));
    EXPECT_TRUE(Done(with_deadline));
  }

  void DeadlinePasses() {
    Op op;
    EXPECT_FALSE(op.Call(absl::Seconds(2)));
    EXPECT_TRUE(HasTaken(absl::Seconds(2)));
    op.Grant();
    ExpectNothingWasLost(op, 0);
  }

  void PassedDeadline() {
    Op op;
    EXPECT_FALSE(op.Call(Deadline::Passed()));
    EXPECT_FALSE(op.Call(absl::ZeroDuration()));
    EXPECT_FALSE(op.Call(absl::Seconds(-1)));
    EXPECT_EQ(Elapsed(), absl::ZeroDuration());
  }

  void Killed() {
    Op op;
    const Greenlet<bool> g = SpawnCall(op);
    const Greenlet<bool> with_deadline = SpawnCall(op, absl::Hours(1));
    Settle();
    g.Kill();
    with_deadline.Kill();
    EXPECT_TRUE(g.killed());
    EXPECT_TRUE(with_deadline.killed());
    op.Grant();
    ExpectNothingWasLost(op, 0);
  }

  void KilledAfterTheGrant() {
    for (const Deadline d : {Deadline(), Deadline(absl::Hours(1))}) {
      Op op;
      const Greenlet<bool> g = SpawnCall(op, d);
      Settle();
      op.Grant();
      g.Kill();
      ExpectNothingWasLost(op, Done(g) ? 1 : 0);
    }
  }

  void KilledBeforeTheGrant() {
    for (const Deadline d : {Deadline(), Deadline(absl::Hours(1))}) {
      Op op;
      const Greenlet<bool> killed = SpawnCall(op, d);
      Settle();
      const Greenlet<bool> next = SpawnCall(op, d);
      Settle();
      killed.KillSoon();
      op.Grant();
      Settle();
      EXPECT_TRUE(killed.killed());
      EXPECT_TRUE(Done(next));
      next.Kill();
    }
  }

  void TimedOutInTheTurnOfTheGrant() {
    for (const bool first : {true, false}) {
      Op op;
      const Deadline when = absl::Seconds(1);
      Greenlet<bool> g;
      if (first) g = SpawnCall(op, when);
      if (first) Settle();
      const Greenlet<> granter = Spawn([&] {
        Sleep(when.Remaining());
        op.Grant();
      });
      if (!first) Settle();
      if (!first) g = SpawnCall(op, when);
      g.Join();
      granter.Join();
      ExpectNothingWasLost(op, Done(g) ? 1 : 0);
    }
  }

  void OuterTimeout() {
    Op op;
    Timeout timeout(absl::Seconds(1));
    try {
      op.Call(absl::Hours(1));
      ADD_FAILURE() << "it was done";
    } catch (const TimeoutExpired& e) {
      EXPECT_EQ(e.scope(), &timeout);
    }
    EXPECT_TRUE(HasTaken(absl::Seconds(1)));
    op.Grant();
    ExpectNothingWasLost(op, 0);
  }

  void InOrder() {
    Op op;
    std::vector<Greenlet<bool>> waiting;
    for (int i = 0; i < 7; ++i) {
      waiting.push_back(SpawnCall(op, i % 3 == 1 ? absl::Hours(1) : Deadline()));
      Settle();
    }
    waiting[0].Kill();
    waiting[3].Kill();
    Sleep(absl::Hours(2));  // now 1 and 4 have timed out
    for (const int i : {2, 5, 6}) {
      EXPECT_FALSE(Op::kConsumes && waiting[i].ready());
      if (Op::kConsumes || i == 2) op.Grant();
      Settle();
      EXPECT_TRUE(Done(waiting[i]));
    }
  }

  void FromAnotherHub() {
    Op op;
    OnHub([&, home = hub().handle()] {
      EXPECT_FALSE(op.Call(Deadline::Passed()));
      EXPECT_FALSE(op.Call(absl::Milliseconds(1)));
      const Greenlet<bool> g = SpawnCall(op);
      Yield();
      EXPECT_FALSE(g.ready());
      EXPECT_TRUE(home.Post([&] { op.Grant(); }).ok());
      g.Join();
      EXPECT_TRUE(Done(g));
    });
  }

  void FromAThread() {
    Op op;
    OnThread([&, home = hub().handle()] {
      EXPECT_FALSE(op.Call(Deadline::Passed()));
      if constexpr (!requires { Op::kAlwaysMakesAHub; }) {
        EXPECT_EQ(Hub::Current(), nullptr);
      }
      EXPECT_TRUE(home.Post([&] { op.Grant(); }).ok());
      EXPECT_TRUE(op.Call());
    });
  }

  void EndedOnAnotherHub() {
    Op op;
    OnHub([&] {
      const Greenlet<bool> g = SpawnCall(op);
      const Greenlet<bool> late = SpawnCall(op, absl::Milliseconds(1));
      Yield();
      g.Kill();
      EXPECT_TRUE(g.killed());
      late.Join();
      EXPECT_FALSE(Done(late));
    });
    op.Grant();
    ExpectNothingWasLost(op, 0);
  }

  void RacesOnAnotherHub() {
    Op op;
    if (!Op::kConsumes) GTEST_SKIP() << "a grant is for all";
    OnHub([&, home = hub().handle()] {
      for (int i = 0; i < 300; ++i) {
        const Deadline d = i % 2 ? Deadline() : Deadline(absl::Microseconds(i % 60));
        const Greenlet<bool> g = SpawnCall(op, d);
        Yield();
        EXPECT_TRUE(home.Post([&] { op.Grant(); }).ok());
        for (int spin = 0; spin < i * 7 % 500; ++spin) asm volatile("");
        if (i % 2) g.Kill();
        g.Join();
        // This asks the object's home, where the grant has arrived before.
        int done = Done(g) ? 1 : 0;
        while (op.Call(i % 3 ? Deadline::Passed() : Deadline(absl::Microseconds(1)))) {
          ++done;
        }
        if (done == 0 && op.Call(absl::Seconds(30))) ++done;  // what has no home
        ASSERT_EQ(done, 1) << "in round " << i;
      }
    });
  }
};

// In a hub that dies: somebody waits, and what it waits for is destroyed.
template <typename Op>
void DestroyWhileSomebodyWaits() {
  HubScope scope;
  auto op = std::make_unique<Op>();
  const Greenlet<bool> g =
      Spawn({.name = "the waiter"}, [op = op.get()] { return op->Call(); });
  Yield();
  op.reset();
}

}  // namespace grove::test_util

#define BLOCKING_CALL_TESTS(Op)                                                          \
  using Op##Test = ::grove::test_util::BlockingCallTest<Op>;                             \
  GREENLET_TEST_F(Op##Test, IsDoneAtOnceIfItCanBe) { AtOnce(); }                         \
  GREENLET_TEST_F(Op##Test, WaitsUntilItCanBeDone) { Waits(); }                          \
  GREENLET_TEST_F(Op##Test, ADeadlineEndsTheWait) { DeadlinePasses(); }                  \
  GREENLET_TEST_F(Op##Test, APassedDeadlineDoesNotWait) { PassedDeadline(); }            \
  GREENLET_TEST_F(Op##Test, AKillEndsTheWaitAndLeavesNoTrace) { Killed(); }              \
  GREENLET_TEST_F(Op##Test, AKillAfterTheGrantLosesNothing) { KilledAfterTheGrant(); }   \
  GREENLET_TEST_F(Op##Test, TheGrantGoesToTheNextAfterAKill) { KilledBeforeTheGrant(); } \
  GREENLET_TEST_F(Op##Test, ADeadlineInTheTurnOfTheGrantLosesNothing) {                  \
    TimedOutInTheTurnOfTheGrant();                                                       \
  }                                                                                      \
  GREENLET_TEST_F(Op##Test, AnOuterTimeoutPassesThrough) { OuterTimeout(); }             \
  GREENLET_TEST_F(Op##Test, ThoseThatWaitAreServedInTheirOrder) { InOrder(); }           \
  GREENLET_TEST_F(Op##Test, IsWaitedForOnAnotherHub) { FromAnotherHub(); }               \
  GREENLET_TEST_F(Op##Test, IsWaitedForOnAThread) { FromAThread(); }                     \
  GREENLET_TEST_F(Op##Test, AnEndOnAnotherHubLeavesNoTrace) { EndedOnAnotherHub(); }     \
  GREENLET_TEST_F(Op##Test, EndsOnAnotherHubThatRaceWithGrantsLoseNothing) {             \
    RacesOnAnotherHub();                                                                 \
  }                                                                                      \
  static_assert(true)

// `type`: how messages call the object.
#define BLOCKING_CALL_DEATH_TEST(Op, type)                                             \
  TEST(Op##DeathTest, DestroyingItMeanwhileIsFatalAndNamesWhoWaits) {                  \
    EXPECT_DEATH(                                                                      \
        ::grove::test_util::DestroyWhileSomebodyWaits<Op>(),                           \
        type " 0x[0-9a-f]+ is destroyed while 1 wait for it:.*greenlet 'the waiter'"); \
  }                                                                                    \
  static_assert(true)

#endif  // GROVE_SYNC_BLOCKING_CALL_TESTS_H_
