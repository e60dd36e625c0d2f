#include "grove/green/greenlet.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <exception>
#include <functional>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "grove/green/hub_scope.h"
#include "grove/green/interrupt.h"
#include "grove/green/sleep.h"
#include "grove/green/timeout.h"

namespace grove {
namespace {

using ::testing::ElementsAre;
using ::testing::ExitedWithCode;
using ::testing::HasSubstr;

struct Oops {
  int value = 0;
};

std::exception_ptr Error(const std::string& what) {
  return std::make_exception_ptr(std::runtime_error(what));
}

std::string What(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& e) {
    return e.what();
  } catch (const Interrupt& e) {
    return e.ToString();
  } catch (...) {
    return "something else";
  }
}

// Sets a flag when it ends: for what lies on a stack, or is captured.
class Witness {
 public:
  explicit Witness(bool* ended) : ended_(ended) {}
  Witness(Witness&& other) noexcept : ended_(std::exchange(other.ended_, nullptr)) {}
  ~Witness() {
    if (ended_) *ended_ = true;
  }

 private:
  bool* ended_;
};

void SleepForEver() { Sleep(absl::InfiniteDuration()); }

// A hub on a virtual clock, whose errors are kept instead of printed.
class GreenletTest : public testing::Test {
 protected:
  GreenletTest() {
    SetErrorHandler([this](const UnhandledException& e) {
      reports_.push_back(e.greenlet.name() + ": " + What(e.error));
    });
  }

  // To 10 us: each timer is rounded up to its slot of a microsecond.
  bool HasTaken(absl::Duration expected) const {
    const absl::Duration elapsed = absl::Nanoseconds(clock_.Now() - start_);
    return elapsed >= expected && elapsed <= expected + absl::Microseconds(10);
  }

  ManualClock clock_;
  const MonotonicNanos start_ = clock_.Now();
  std::vector<std::string> reports_;
  HubScope scope_{HubOptions{.clock = &clock_}};
};

// --- states (GL-2 to GL-8) ---

TEST_F(GreenletTest, DoesNotRunBeforeItsSpawnerWaits) {
  bool ran = false;
  const Greenlet<> g = Spawn([&] { ran = true; });
  EXPECT_FALSE(ran);
  EXPECT_FALSE(g.started());
  EXPECT_FALSE(g.ready());
  EXPECT_FALSE(g.successful());
  EXPECT_FALSE(g.killed());
  EXPECT_EQ(g.exception(), nullptr);
  Yield();
  EXPECT_TRUE(ran);
  EXPECT_TRUE(g.started());
  EXPECT_TRUE(g.ready());
  EXPECT_TRUE(g.successful());
  EXPECT_FALSE(g.killed());
  EXPECT_EQ(g.exception(), nullptr);
}

TEST_F(GreenletTest, IsStartedAndNotReadyWhileItWaits) {
  const Greenlet<> g = Spawn([] { Sleep(absl::Seconds(1)); });
  Yield();
  EXPECT_TRUE(g.started());
  EXPECT_FALSE(g.ready());
  EXPECT_FALSE(g.successful());
  g.Join();
  EXPECT_TRUE(g.ready());
  EXPECT_TRUE(g.successful());
}

TEST_F(GreenletTest, IsReadyAndNotSuccessfulIfItThrew) {
  const Greenlet<> g = Spawn([] { throw Oops{1}; });
  g.Join();
  EXPECT_TRUE(g.ready());
  EXPECT_FALSE(g.successful());
  EXPECT_FALSE(g.killed());
  EXPECT_NE(g.exception(), nullptr);
}

TEST_F(GreenletTest, IsSuccessfulIfItWasKilled) {
  const Greenlet<> g = Spawn(&SleepForEver);
  Yield();
  g.Kill();
  EXPECT_TRUE(g.ready());
  EXPECT_TRUE(g.successful());
  EXPECT_TRUE(g.killed());
  EXPECT_EQ(g.exception(), nullptr);
}

TEST_F(GreenletTest, OneThatThrowsGreenletExitItselfCountsAsKilled) {
  const Greenlet<> g = Spawn([] { throw GreenletExit(); });
  g.Join();
  EXPECT_TRUE(g.killed());
  EXPECT_TRUE(g.successful());
  EXPECT_EQ(g.Get().code(), absl::StatusCode::kCancelled);
  EXPECT_TRUE(reports_.empty());
}

TEST_F(GreenletTest, IsNotReadyWhileItRuns) {
  bool checked = false;
  Spawn([&] {
    const AnyGreenlet self = CurrentGreenlet();
    checked = self.started() && !self.ready() && !self.successful() && !self.killed();
  }).Join();
  EXPECT_TRUE(checked);
}

TEST_F(GreenletTest, RunsInTheOrderOfSpawning) {
  std::vector<int> order;
  for (int i = 0; i < 5; ++i) Spawn([&order, i] { order.push_back(i); });
  Yield();
  EXPECT_THAT(order, ElementsAre(0, 1, 2, 3, 4));
}

TEST_F(GreenletTest, MaySpawnOthers) {
  const Greenlet<int> g = Spawn([] {
    int sum = 0;
    for (int i = 1; i <= 10; ++i) sum += *Spawn([i] { return i; }).Get();
    return sum;
  });
  EXPECT_EQ(*g.Get(), 55);
}

// --- Join ---

TEST_F(GreenletTest, JoinWaitsForTheEnd) {
  const Greenlet<> g = Spawn([] { Sleep(absl::Seconds(3)); });
  EXPECT_TRUE(g.Join());
  EXPECT_TRUE(g.ready());
  EXPECT_TRUE(HasTaken(absl::Seconds(3)));
}

TEST_F(GreenletTest, JoinOfOneThatHasEndedDoesNotBlock) {
  const Greenlet<> g = Spawn([] {});
  g.Join();
  bool other_ran = false;
  Spawn([&] { other_ran = true; });
  EXPECT_TRUE(g.Join());
  EXPECT_TRUE(g.Join(absl::Seconds(1)));
  EXPECT_TRUE(g.Join(absl::ZeroDuration()));
  EXPECT_FALSE(other_ran);
}

TEST_F(GreenletTest, JoinReturnsFalseAtItsDeadline) {
  const Greenlet<> g = Spawn([] { Sleep(absl::Seconds(10)); });
  EXPECT_FALSE(g.Join(absl::Seconds(4)));
  EXPECT_TRUE(HasTaken(absl::Seconds(4)));
  EXPECT_FALSE(g.ready()) << "it goes on";
  EXPECT_TRUE(g.Join(absl::Seconds(7)));
  EXPECT_TRUE(HasTaken(absl::Seconds(10)));
}

TEST_F(GreenletTest, JoinWithAPassedDeadlineDoesNotBlock) {
  bool ran = false;
  const Greenlet<> g = Spawn([&] { ran = true; });
  EXPECT_FALSE(g.Join(absl::ZeroDuration()));
  EXPECT_FALSE(g.Join(-absl::Seconds(1)));
  EXPECT_FALSE(g.Join(Deadline::Passed()));
  EXPECT_FALSE(ran);
  EXPECT_TRUE(g.Join());
}

TEST_F(GreenletTest, ManyMayJoinOneAndAreWokenInOrder) {
  const Greenlet<> g = Spawn([] { Sleep(absl::Seconds(1)); });
  std::vector<int> order;
  std::vector<Greenlet<>> joiners;
  for (int i = 0; i < 5; ++i) {
    joiners.push_back(Spawn([&, i] {
      EXPECT_TRUE(g.Join());
      order.push_back(i);
    }));
  }
  for (const auto& j : joiners) j.Join();
  EXPECT_THAT(order, ElementsAre(0, 1, 2, 3, 4));
}

TEST_F(GreenletTest, AJoinerThatIsKilledLeavesItsTargetAlone) {
  const Greenlet<> target = Spawn([] { Sleep(absl::Seconds(1)); });
  const Greenlet<> first = Spawn([&] { target.Join(); });
  const Greenlet<> second = Spawn([&] { target.Join(); });
  Yield();
  first.Kill();
  EXPECT_TRUE(first.killed());
  EXPECT_FALSE(target.ready());
  EXPECT_TRUE(second.Join());
  EXPECT_TRUE(target.successful());
  EXPECT_FALSE(target.killed());
}

TEST_F(GreenletTest, AKillDoesNotUndoAJoinThatWasGranted) {
  const Greenlet<> target = Spawn([] {});
  bool joined = false;
  const Greenlet<> joiner = Spawn([&] {
    joined = target.Join();
    Yield();
    ADD_FAILURE() << "the next blocking call throws the kill";
  });
  // When the target has ended, the joiner is ready but has not run.
  target.RawLink([&](const AnyGreenlet&) { joiner.KillSoon(); });
  joiner.Join();
  EXPECT_TRUE(joined);
  EXPECT_TRUE(joiner.killed());
}

// --- Get (GL-12) ---

static_assert(std::is_same_v<Greenlet<>::Result, absl::Status>);
static_assert(std::is_same_v<Greenlet<int>::Result, absl::StatusOr<int>>);
static_assert(std::is_same_v<Greenlet<absl::Status>::Result, absl::Status>);
static_assert(std::is_same_v<Greenlet<absl::StatusOr<int>>::Result, absl::StatusOr<int>>);

TEST_F(GreenletTest, GetOfVoidIsOk) {
  EXPECT_TRUE(Spawn([] { Sleep(absl::Seconds(1)); }).Get().ok());
}

TEST_F(GreenletTest, GetReturnsTheValueAsOftenAsAsked) {
  const Greenlet<std::string> g = Spawn([] { return std::string(100, 'x'); });
  EXPECT_EQ(*g.Get(), std::string(100, 'x'));
  EXPECT_EQ(*g.Get(), std::string(100, 'x'));
}

TEST_F(GreenletTest, GetOfAnRvalueMovesTheResultOut) {
  Greenlet<std::unique_ptr<int>> g = Spawn([] { return std::make_unique<int>(42); });
  const absl::StatusOr<std::unique_ptr<int>> result = std::move(g).Get();
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(**result, 42);
}

TEST_F(GreenletTest, GetJoinsErrorsOfTheFunctionAndOfTheGreenlet) {
  EXPECT_TRUE(Spawn([] { return absl::OkStatus(); }).Get().ok());
  EXPECT_EQ(Spawn([] { return absl::NotFoundError("no"); }).Get(),
            absl::NotFoundError("no"));
  const Greenlet<absl::StatusOr<int>> value =
      Spawn([]() -> absl::StatusOr<int> { return 7; });
  EXPECT_EQ(*value.Get(), 7);
  const Greenlet<absl::StatusOr<int>> error =
      Spawn([]() -> absl::StatusOr<int> { return absl::DataLossError("gone"); });
  EXPECT_EQ(error.Get().status(), absl::DataLossError("gone"));
  EXPECT_TRUE(error.successful()) << "it has returned";
}

TEST_F(GreenletTest, GetIsDeadlineExceededAtItsDeadline) {
  const Greenlet<int> g = Spawn({.name = "slow"}, [] {
    Sleep(absl::Seconds(10));
    return 1;
  });
  const absl::StatusOr<int> early = g.Get(absl::Seconds(2));
  EXPECT_EQ(early.status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(std::string(early.status().message()), HasSubstr("greenlet 'slow' (#1)"));
  EXPECT_EQ(g.Get(absl::ZeroDuration()).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(HasTaken(absl::Seconds(2)));
  EXPECT_EQ(*g.Get(), 1);
  EXPECT_EQ(*g.Get(absl::ZeroDuration()), 1) << "it has ended: nothing to wait for";
}

TEST_F(GreenletTest, GetOfAKilledOneIsCancelledAndNamesIt) {
  const Greenlet<int> g = Spawn({.name = "victim"}, [] {
    SleepForEver();
    return 1;
  });
  Yield();
  g.Kill();
  const absl::Status status = g.Get().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
  EXPECT_THAT(std::string(status.message()), HasSubstr("greenlet 'victim' (#1)"));
}

TEST_F(GreenletTest, GetThrowsWhatTheFunctionThrew) {
  const Greenlet<int> g = Spawn([]() -> int {
    Sleep(absl::Seconds(1));
    throw Oops{17};
  });
  for (int i = 0; i < 2; ++i) {
    try {
      (void)g.Get();
      ADD_FAILURE();
    } catch (const Oops& e) {
      EXPECT_EQ(e.value, 17);
    }
  }
}

TEST_F(GreenletTest, TwoMayHandleTheExceptionOfAThirdAtOnce) {
  const Greenlet<> failing = Spawn([] { throw Oops{17}; });
  int handled = 0;
  const auto handle = [&] {
    try {
      (void)failing.Get();
    } catch (const Oops& e) {
      Sleep(absl::Seconds(1));
      EXPECT_EQ(e.value, 17);
      ++handled;
    }
  };
  const Greenlet<> a = Spawn(handle);
  const Greenlet<> b = Spawn(handle);
  a.Join();
  b.Join();
  EXPECT_EQ(handled, 2);
}

TEST_F(GreenletTest, ATimeoutThatLeavesAGreenletIsItsError) {
  const Greenlet<> g = Spawn([] {
    Timeout timeout(absl::Seconds(1));
    SleepForEver();
  });
  EXPECT_THROW((void)g.Get(), TimeoutExpired);
  EXPECT_FALSE(g.successful());
  EXPECT_EQ(reports_.size(), 1u);
}

// --- unhandled exceptions (GL-23, GL-27, HB-12) ---

TEST_F(GreenletTest, AnExceptionIsReportedOnce) {
  const Greenlet<> g = Spawn({.name = "failing"}, [] { throw std::logic_error("bad"); });
  g.Join();
  EXPECT_THROW((void)g.Get(), std::logic_error);
  EXPECT_THROW((void)g.Get(), std::logic_error);
  EXPECT_THAT(reports_, ElementsAre("failing: bad"));
}

TEST_F(GreenletTest, TheHandlerIsGivenTheGreenletAndTheError) {
  AnyGreenlet reported;
  std::exception_ptr error;
  SetErrorHandler([&](const UnhandledException& e) {
    reported = e.greenlet;
    error = e.error;
  });
  const Greenlet<> g = Spawn([] { throw Oops{3}; });
  g.Join();
  EXPECT_EQ(reported, g);
  EXPECT_EQ(error, g.exception());
}

TEST_F(GreenletTest, WithoutAHandlerTheErrorIsALineOnStderr) {
  SetErrorHandler({});
  testing::internal::CaptureStderr();
  Spawn({.name = "noisy"}, [] { throw std::runtime_error("what happened"); }).Join();
  const std::string text = testing::internal::GetCapturedStderr();
  EXPECT_THAT(text, HasSubstr("greenlet 'noisy' (#1)"));
  EXPECT_THAT(text, HasSubstr("spawned at green/greenlet_test.cc:"));
  EXPECT_THAT(text, HasSubstr("std::runtime_error: what happened"));
}

TEST_F(GreenletTest, AHandlerThatThrowsTakesNobodyWithIt) {
  SetErrorHandler([](const UnhandledException&) { throw std::logic_error("me too"); });
  testing::internal::CaptureStderr();
  Spawn([] { throw std::runtime_error("first"); }).Join();
  const std::string text = testing::internal::GetCapturedStderr();
  EXPECT_THAT(text, HasSubstr("me too"));
  EXPECT_THAT(text, HasSubstr("first"));
  EXPECT_EQ(*Spawn([] { return 1; }).Get(), 1);
}

bool handler_ended = false;

TEST_F(GreenletTest, AHandlerMayReplaceItself) {
  // For the first error only. What the handler captured has to live as long as it runs.
  handler_ended = false;
  SetErrorHandler([this, witness = Witness(&handler_ended)](const UnhandledException& e) {
    std::vector<std::string>* reports = &reports_;
    SetErrorHandler(
        [reports](const UnhandledException&) { reports->push_back("second"); });
    EXPECT_FALSE(handler_ended) << "the handler is destroyed while it runs";
    reports->push_back("first: " + What(e.error));
  });
  Spawn([] { throw std::runtime_error("one"); }).Join();
  Spawn([] { throw std::runtime_error("two"); }).Join();
  EXPECT_TRUE(handler_ended);
  EXPECT_THAT(reports_, ElementsAre("first: one", "second"));
}

TEST_F(GreenletTest, AKillIsNotReported) {
  const Greenlet<> g = Spawn(&SleepForEver);
  Yield();
  g.Kill();
  Spawn(&SleepForEver).Kill();
  EXPECT_TRUE(reports_.empty());
}

// --- Kill (GL-13, issues 330 and 607) ---

TEST_F(GreenletTest, OneKilledBeforeItStartsNeverRuns) {
  bool ran = false;
  bool second_ran = false;
  const Greenlet<int> g = Spawn([&] {
    ran = true;
    return 1;
  });
  const Greenlet<> second = Spawn([&] { second_ran = true; });
  g.Kill();
  EXPECT_TRUE(g.ready()) << "at once";
  EXPECT_FALSE(second_ran) << "that did not block";
  EXPECT_TRUE(g.successful());
  EXPECT_TRUE(g.killed());
  EXPECT_FALSE(g.started());
  EXPECT_EQ(g.Get().status().code(), absl::StatusCode::kCancelled);
  second.Join();
  EXPECT_TRUE(second_ran);
  EXPECT_FALSE(ran);
  EXPECT_FALSE(g.started());
}

TEST_F(GreenletTest, OneKilledByAnErrorBeforeItStartsHasFailedByIt) {
  bool ran = false;
  const Greenlet<> g = Spawn({.name = "g"}, [&] { ran = true; });
  g.Kill({.error = std::make_exception_ptr(Oops{5})});
  EXPECT_TRUE(g.ready());
  EXPECT_FALSE(g.successful());
  EXPECT_FALSE(g.killed());
  EXPECT_THROW((void)g.Get(), Oops);
  Yield();
  EXPECT_FALSE(ran);
  EXPECT_THAT(reports_, ElementsAre("g: something else"));
}

TEST_F(GreenletTest, OneKilledBeforeItsTimeNeverRuns) {
  bool ran = false;
  const Greenlet<> g = SpawnLater(absl::Seconds(10), [&] { ran = true; });
  Sleep(absl::Seconds(1));
  g.Kill();
  EXPECT_TRUE(g.ready());
  EXPECT_TRUE(g.killed());
  EXPECT_TRUE(JoinHub());
  EXPECT_TRUE(HasTaken(absl::Seconds(1))) << "its timer is gone";
  EXPECT_FALSE(ran);
}

TEST_F(GreenletTest, KillThrowsAtTheBlockingCallAndWaitsForTheEnd) {
  std::vector<std::string> steps;
  const Greenlet<> g = Spawn([&] {
    try {
      SleepForEver();
      steps.push_back("not reached");
    } catch (const GreenletExit&) {
      steps.push_back("told");
      Shield shield;
      Sleep(absl::Seconds(1));
      steps.push_back("cleaned up");
      throw;
    }
  });
  Yield();
  g.Kill();
  steps.push_back("Kill() has returned");
  EXPECT_THAT(steps, ElementsAre("told", "cleaned up", "Kill() has returned"));
  EXPECT_TRUE(HasTaken(absl::Seconds(1)));
}

TEST_F(GreenletTest, KillRunsTheDestructorsOnTheStack) {
  bool ended = false;
  const Greenlet<> g = Spawn([&] {
    Witness local(&ended);
    SleepForEver();
  });
  Yield();
  EXPECT_FALSE(ended);
  g.Kill();
  EXPECT_TRUE(ended);
}

TEST_F(GreenletTest, KillSoonDoesNotWait) {
  const Greenlet<> g = Spawn(&SleepForEver);
  Yield();
  g.KillSoon();
  EXPECT_FALSE(g.ready());
  EXPECT_TRUE(g.Join());
  EXPECT_TRUE(g.killed());
}

TEST_F(GreenletTest, KillOfOneThatHasEndedHasNoEffect) {
  const Greenlet<int> g = Spawn([] { return 5; });
  g.Join();
  g.Kill();
  g.Kill({.error = Error("late")});
  g.KillSoon();
  EXPECT_FALSE(g.killed());
  EXPECT_EQ(*g.Get(), 5);
  const Greenlet<> failed = Spawn([] { throw Oops{1}; });
  failed.Join();
  failed.Kill();
  EXPECT_FALSE(failed.killed());
  EXPECT_THROW((void)failed.Get(), Oops);
}

TEST_F(GreenletTest, KillMayBeRepeated) {
  const Greenlet<> unstarted = Spawn([] {});
  unstarted.Kill();
  unstarted.Kill();
  const Greenlet<> waiting = Spawn(&SleepForEver);
  Yield();
  waiting.KillSoon();
  waiting.KillSoon();
  waiting.Kill();
  EXPECT_TRUE(waiting.killed());
}

TEST_F(GreenletTest, ErrorsOfTheVictimDoNotComeOutOfKill) {
  const Greenlet<> g = Spawn({.name = "g"}, [] {
    try {
      SleepForEver();
    } catch (const GreenletExit&) {
      throw std::runtime_error("while cleaning up");
    }
  });
  Yield();
  EXPECT_NO_THROW(g.Kill());
  EXPECT_FALSE(g.successful());
  EXPECT_THAT(reports_, ElementsAre("g: while cleaning up"));
}

TEST_F(GreenletTest, KillOfOneselfThrowsOutOfThatCall) {
  bool went_on = false;
  const Greenlet<> g = Spawn([&] {
    CurrentGreenlet().Kill();
    went_on = true;
  });
  g.Join();
  EXPECT_FALSE(went_on);
  EXPECT_TRUE(g.killed());
}

TEST_F(GreenletTest, KillSoonOfOneselfIsThrownByTheNextBlockingCall) {
  std::vector<int> steps;
  const Greenlet<> g = Spawn([&] {
    CurrentGreenlet().KillSoon();
    steps.push_back(1);
    Sleep(absl::Seconds(1));
    steps.push_back(2);
  });
  g.Join();
  EXPECT_THAT(steps, ElementsAre(1));
  EXPECT_TRUE(g.killed());
  EXPECT_TRUE(HasTaken(absl::ZeroDuration()));
}

TEST_F(GreenletTest, AKillOfOneThatYieldsIsThrownByThatYield) {
  int rounds = 0;
  const Greenlet<> g = Spawn([&] {
    for (;; ++rounds) Yield();
  });
  Yield();
  Yield();
  EXPECT_EQ(rounds, 1);
  g.Kill();
  EXPECT_EQ(rounds, 1);
  EXPECT_TRUE(g.killed());
}

TEST_F(GreenletTest, AKillIsSticky) {
  // Swallowed by catch-alls, it comes again at each blocking call until the end.
  int swallowed = 0;
  const Greenlet<> g = Spawn([&] {
    for (int i = 0; i < 3; ++i) {
      try {
        Sleep(absl::Hours(1));
      } catch (...) {
        ++swallowed;
      }
    }
    Yield();
    ADD_FAILURE() << "not even a Yield() works";
  });
  Yield();
  g.Kill();
  EXPECT_EQ(swallowed, 3);
  EXPECT_TRUE(g.killed());
  EXPECT_TRUE(HasTaken(absl::ZeroDuration()));
}

TEST_F(GreenletTest, OneThatSwallowsAKillAndReturnsHasItsResult) {
  const Greenlet<int> g = Spawn([] {
    try {
      SleepForEver();
    } catch (const GreenletExit&) {
    }
    return 3;
  });
  Yield();
  g.Kill();
  EXPECT_FALSE(g.killed());
  EXPECT_TRUE(g.successful());
  EXPECT_EQ(*g.Get(), 3);
}

TEST_F(GreenletTest, AKillIsNotAStdException) {
  static_assert(!std::is_base_of_v<std::exception, Interrupt>);
  bool caught = false;
  const Greenlet<> g = Spawn([&] {
    try {
      SleepForEver();
    } catch (const std::exception&) {
      caught = true;
    }
  });
  Yield();
  g.Kill();
  EXPECT_FALSE(caught);
  EXPECT_TRUE(g.killed());
}

TEST_F(GreenletTest, KillWithAnErrorThrowsThatAndIsStickyToo) {
  int swallowed = 0;
  const Greenlet<> g = Spawn({.name = "g"}, [&] {
    try {
      SleepForEver();
    } catch (const std::runtime_error& e) {
      EXPECT_STREQ(e.what(), "because");
      ++swallowed;
    }
    SleepForEver();
  });
  Yield();
  g.Kill({.error = Error("because")});
  EXPECT_EQ(swallowed, 1);
  EXPECT_TRUE(g.ready());
  EXPECT_FALSE(g.successful());
  EXPECT_FALSE(g.killed());
  EXPECT_THROW((void)g.Get(), std::runtime_error);
  EXPECT_THAT(reports_, ElementsAre("g: because")) << "once";
}

TEST_F(GreenletTest, OfTwoKillsTheFirstOneDecides) {
  const Greenlet<> g = Spawn({.name = "g"}, &SleepForEver);
  const Greenlet<> h = Spawn({.name = "h"}, &SleepForEver);
  Yield();
  g.KillSoon(Error("first"));
  g.KillSoon(Error("second"));
  g.Kill();
  h.KillSoon();
  h.Kill({.error = Error("late")});
  EXPECT_EQ(What(g.exception()), "first");
  EXPECT_TRUE(h.killed());
}

TEST_F(GreenletTest, KillGivesUpAtItsDeadlineAndStaysInForce) {
  bool finished_work = false;
  const Greenlet<> g = Spawn([&] {
    {
      Shield shield;
      Sleep(absl::Seconds(10));
      finished_work = true;
    }
    SleepForEver();
  });
  Yield();
  g.Kill({.deadline = absl::Seconds(2)});
  EXPECT_FALSE(g.ready());
  EXPECT_TRUE(HasTaken(absl::Seconds(2)));
  g.Kill({.deadline = absl::ZeroDuration()});
  EXPECT_FALSE(g.ready());
  EXPECT_TRUE(g.Join());
  EXPECT_TRUE(HasTaken(absl::Seconds(10)));
  EXPECT_TRUE(finished_work);
  EXPECT_TRUE(g.killed());
}

TEST_F(GreenletTest, AKillerThatIsKilledLeavesItsKillInForce) {
  const Greenlet<> victim = Spawn([] {
    {
      Shield shield;
      Sleep(absl::Seconds(5));
    }
    SleepForEver();
  });
  const Greenlet<> killer = Spawn([&] { victim.Kill(); });
  Yield();
  killer.Kill();
  EXPECT_TRUE(killer.killed());
  EXPECT_FALSE(victim.ready());
  EXPECT_TRUE(victim.Join());
  EXPECT_TRUE(victim.killed());
}

TEST_F(GreenletTest, TheMainGreenletCanBeKilled) {
  const AnyGreenlet main = CurrentGreenlet();
  Spawn([main] { main.Kill(); });  // which does not wait for its end
  EXPECT_THROW(Sleep(absl::Seconds(1)), GreenletExit);
  EXPECT_THROW(Yield(), GreenletExit) << "sticky here too";
  EXPECT_TRUE(HasTaken(absl::ZeroDuration()));
  // And the scope still ends its hub.
}

TEST_F(GreenletTest, AllOfManyCanBeKilledAtOnce) {
  int ran = 0;
  int unwound = 0;
  std::vector<Greenlet<>> greenlets;
  const auto body = [&] {
    ++ran;
    try {
      SleepForEver();
    } catch (const GreenletExit&) {
      ++unwound;
      throw;
    }
  };
  for (int i = 0; i < 100; ++i) greenlets.push_back(Spawn(body));
  Yield();
  for (int i = 0; i < 100; ++i) greenlets.push_back(Spawn(body));
  // Those that have not started never do (TL-12).
  for (const auto& g : greenlets) g.KillSoon();
  for (const auto& g : greenlets) EXPECT_TRUE(g.Join());
  EXPECT_EQ(ran, 100);
  EXPECT_EQ(unwound, 100);
}

// What blocks in its destructor, as a stream that says goodbye does.
struct YieldsAtItsEnd {
  explicit YieldsAtItsEnd(int* e) : ended(e) {}
  YieldsAtItsEnd(YieldsAtItsEnd&& other) noexcept
      : ended(std::exchange(other.ended, nullptr)) {}
  ~YieldsAtItsEnd() {
    if (ended == nullptr) return;
    Yield();
    ++*ended;
  }
  int* ended;
};

// In children, since what can go wrong here ends the process.
class KillDeathTest : public testing::Test {
 protected:
  // Runs `body` in a child, on a hub of its own; it exits with what that returns.
  static void RunAndExit(const std::function<int()>& body) {
    alarm(10);  // a hang is a failure, not a wait for the test's time to be over
    ManualClock clock;
    HubScope scope({.clock = &clock});
    _exit(body());
  }
};

TEST_F(KillDeathTest, OneThatHasNotStartedNeverRunsThoughItsCapturesBlockWhenTheyEnd) {
  EXPECT_EXIT(RunAndExit([] {
                static bool ran = false;
                int ended = 0;
                const Greenlet<> g =
                    Spawn([captured = YieldsAtItsEnd(&ended)] { ran = true; });
                g.Kill();
                Yield();
                Yield();
                return ran ? 1 : ended != 1 ? 2 : g.killed() ? 0 : 3;
              }),
              ExitedWithCode(0), "");
}

TEST_F(KillDeathTest, TheKillerIsNotInterruptedWhileTheCapturesOfItsVictimEnd) {
  // The killer is to be killed itself: a destructor must not throw that.
  EXPECT_EXIT(RunAndExit([] {
                int ended = 0;
                const Greenlet<> killer = Spawn([&] {
                  const Greenlet<> g = Spawn([captured = YieldsAtItsEnd(&ended)] {});
                  CurrentGreenlet().KillSoon();
                  g.KillSoon();
                });
                killer.Join();
                return ended == 1 ? 0 : 1;
              }),
              ExitedWithCode(0), "");
}

TEST_F(KillDeathTest, OneThatSwallowsEveryKillDoesNotFreezeTheOthers) {
  // Its own business never to end; but the others, and the deadline of the kill, are
  // not to suffer.
  EXPECT_EXIT(RunAndExit([] {
                static bool stop = false;
                const Greenlet<> stubborn = Spawn([] {
                  while (!stop) {
                    try {
                      Sleep(absl::Seconds(1));
                    } catch (const Interrupt&) {
                    }
                  }
                });
                int rounds = 0;
                Spawn([&] {
                  for (; rounds < 10; ++rounds) Yield();
                  stop = true;
                });
                Yield();
                stubborn.Kill();
                return rounds == 10 ? 0 : 1;
              }),
              ExitedWithCode(0), "");
}

// --- Throw (GL-14) ---

TEST_F(GreenletTest, ThrowIsThrownOnce) {
  std::vector<std::string> steps;
  const Greenlet<> g = Spawn([&] {
    try {
      SleepForEver();
    } catch (const std::runtime_error& e) {
      steps.push_back(e.what());
    }
    Sleep(absl::Seconds(1));
    steps.push_back("slept");
  });
  Yield();
  g.Throw(Error("wake up"));
  EXPECT_TRUE(steps.empty()) << "Throw() does not wait";
  EXPECT_TRUE(g.Get().ok());
  EXPECT_THAT(steps, ElementsAre("wake up", "slept"));
}

TEST_F(GreenletTest, ThrowIntoOneThatHasNotStartedEndsIt) {
  bool ran = false;
  const Greenlet<> g = Spawn({.name = "g"}, [&] { ran = true; });
  g.Throw(Error("never mind"));
  EXPECT_TRUE(g.ready());
  EXPECT_THROW((void)g.Get(), std::runtime_error);
  Yield();
  EXPECT_FALSE(ran);
  EXPECT_THAT(reports_, ElementsAre("g: never mind"));
  const Greenlet<> later = SpawnLater(absl::Seconds(1), [&] { ran = true; });
  later.Throw(Error("nor this"));
  EXPECT_TRUE(later.ready());
  Sleep(absl::Seconds(2));
  EXPECT_FALSE(ran);
}

TEST_F(GreenletTest, ThrowIntoOneThatHasEndedHasNoEffect) {
  const Greenlet<int> g = Spawn([] { return 5; });
  g.Join();
  g.Throw(Error("late"));
  EXPECT_EQ(*g.Get(), 5);
}

TEST_F(GreenletTest, ThrowIntoOneThatIsReadyOrRunsWaitsForItsBlockingCall) {
  std::vector<std::string> steps;
  const Greenlet<> g = Spawn([&] {
    try {
      Yield();
    } catch (const std::runtime_error& e) {
      steps.push_back(e.what());
    }
    CurrentGreenlet().Throw(Error("from myself"));
    steps.push_back("went on");
    try {
      Yield();
    } catch (const std::runtime_error& e) {
      steps.push_back(e.what());
    }
    Yield();
    steps.push_back("end");
  });
  Yield();
  g.Throw(Error("from outside"));
  g.Join();
  EXPECT_THAT(steps, ElementsAre("from outside", "went on", "from myself", "end"));
}

TEST_F(GreenletTest, ThrowIntoTheMainGreenletWorks) {
  const AnyGreenlet main = CurrentGreenlet();
  Spawn([main] { main.Throw(std::make_exception_ptr(Oops{9})); });
  EXPECT_THROW(SleepForEver(), Oops);
  Sleep(absl::Seconds(1));
}

// --- links (GL-15 to GL-18) ---

TEST_F(GreenletTest, AThousandLinksFireInOrder) {
  const Greenlet<> g = Spawn([] {});
  std::vector<int> order;
  for (int i = 0; i < 1000; ++i) {
    if (i % 3 == 0) {
      g.LinkValue([&, i](const AnyGreenlet&) { order.push_back(i); });
    } else {
      g.Link([&, i](const AnyGreenlet&) { order.push_back(i); });
    }
  }
  EXPECT_TRUE(JoinHub());
  ASSERT_EQ(order.size(), 1000u);
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(order[i], i);
}

TEST_F(GreenletTest, AThousandRawLinksFireInOrder) {
  const Greenlet<> g = Spawn([] {});
  std::vector<int> order;
  for (int i = 0; i < 1000; ++i) {
    g.RawLink([&, i](const AnyGreenlet&) { order.push_back(i); });
  }
  EXPECT_TRUE(JoinHub());
  ASSERT_EQ(order.size(), 1000u);
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(order[i], i);
}

TEST_F(GreenletTest, ALinkIsGivenTheGreenletAndRunsInAnotherThatMayBlock) {
  AnyGreenlet given;
  AnyGreenlet ran_in;
  const Greenlet<> g = Spawn([] {});
  g.Link([&](const AnyGreenlet& ended) {
    EXPECT_TRUE(ended.ready());
    given = ended;
    Sleep(absl::Seconds(1));
    ran_in = CurrentGreenlet();
  });
  EXPECT_TRUE(JoinHub());
  EXPECT_EQ(given, g);
  ASSERT_TRUE(ran_in);
  EXPECT_NE(ran_in.id(), g.id());
  EXPECT_NE(ran_in.id(), 0u);
  EXPECT_TRUE(HasTaken(absl::Seconds(1)));
}

TEST_F(GreenletTest, ALinkThatIsAddedAfterTheEndFiresAsWell) {
  const Greenlet<> g = Spawn([] {});
  g.Join();
  std::vector<std::string> order;
  g.Link([&](const AnyGreenlet&) { order.push_back("link"); });
  g.RawLink([&](const AnyGreenlet&) { order.push_back("raw"); });
  EXPECT_TRUE(order.empty()) << "not out of the call that adds it";
  EXPECT_TRUE(JoinHub());
  EXPECT_THAT(order, testing::UnorderedElementsAre("link", "raw"));
  g.RawLink([&](const AnyGreenlet& again) {
    order.push_back("later");
    again.RawLink([&](const AnyGreenlet&) { order.push_back("from a link"); });
  });
  EXPECT_TRUE(JoinHub());
  EXPECT_EQ(order.size(), 4u);
  EXPECT_EQ(order.back(), "from a link");
}

TEST_F(GreenletTest, LinksFireOnceAndAreGone) {
  const Greenlet<> g = Spawn([] {});
  int fired = 0;
  const LinkId id = g.RawLink([&](const AnyGreenlet&) { ++fired; });
  EXPECT_TRUE(JoinHub());
  EXPECT_TRUE(JoinHub());
  EXPECT_EQ(fired, 1);
  EXPECT_FALSE(g.Unlink(id));
}

// How a greenlet ends, and which links have to fire then.
struct Ending {
  const char* name;
  void (*end)(const Greenlet<>&);
  bool fails;
};

TEST_F(GreenletTest, LinksFireAccordingToHowItEnded) {
  static bool throws = false;
  const Ending endings[] = {
      {"returns", [](const Greenlet<>&) {}, false},
      {"throws", [](const Greenlet<>&) { throws = true; }, true},
      {"killed before it starts", [](const Greenlet<>& g) { g.Kill(); }, false},
      {"killed before it starts, by an error",
       [](const Greenlet<>& g) { g.Kill({.error = Error("no")}); }, true},
      {"killed while it waits",
       [](const Greenlet<>& g) {
         Yield();
         g.Kill();
       },
       false},
      {"killed while it waits, by an error",
       [](const Greenlet<>& g) {
         Yield();
         g.Kill({.error = Error("no")});
       },
       true},
      {"something was thrown into it",
       [](const Greenlet<>& g) {
         Yield();
         g.Throw(Error("no"));
       },
       true},
  };
  for (const Ending& ending : endings) {
    for (const bool link_first : {true, false}) {
      throws = false;
      const Greenlet<> g = Spawn([] {
        if (throws) throw Oops{1};
        Sleep(absl::Seconds(1));
      });
      std::multiset<std::string> fired;
      const auto add_links = [&] {
        g.Link([&](const AnyGreenlet&) { fired.insert("always"); });
        g.LinkValue([&](const AnyGreenlet&) { fired.insert("value"); });
        g.LinkException([&](const AnyGreenlet&) { fired.insert("exception"); });
        g.RawLink([&](const AnyGreenlet&) { fired.insert("raw"); });
      };
      if (link_first) add_links();
      ending.end(g);
      g.Join();
      if (!link_first) add_links();
      EXPECT_TRUE(JoinHub());
      EXPECT_THAT(fired, testing::UnorderedElementsAre(
                             "always", "raw", ending.fails ? "exception" : "value"))
          << ending.name << (link_first ? ", linked before" : ", linked after");
      EXPECT_EQ(g.successful(), !ending.fails) << ending.name;
    }
  }
}

TEST_F(GreenletTest, UnlinkTakesALinkBack) {
  const Greenlet<> g = Spawn([] {});
  std::vector<int> fired;
  g.RawLink([&](const AnyGreenlet&) { fired.push_back(1); });
  const LinkId second = g.RawLink([&](const AnyGreenlet&) { fired.push_back(2); });
  g.RawLink([&](const AnyGreenlet&) { fired.push_back(3); });
  EXPECT_TRUE(g.Unlink(second));
  EXPECT_FALSE(g.Unlink(second));
  EXPECT_FALSE(g.Unlink(12345));
  EXPECT_FALSE(Spawn([] {}).Unlink(1)) << "one without any links";
  EXPECT_TRUE(JoinHub());
  EXPECT_THAT(fired, ElementsAre(1, 3));
}

TEST_F(GreenletTest, ALinkMayTakeBackALaterOne) {
  const Greenlet<> g = Spawn([] {});
  std::vector<int> fired;
  LinkId third = 0;
  g.RawLink([&](const AnyGreenlet& ended) {
    fired.push_back(1);
    EXPECT_TRUE(ended.Unlink(third));
  });
  g.RawLink([&](const AnyGreenlet&) { fired.push_back(2); });
  third = g.RawLink([&](const AnyGreenlet&) { fired.push_back(3); });
  EXPECT_TRUE(JoinHub());
  EXPECT_THAT(fired, ElementsAre(1, 2));
}

TEST_F(GreenletTest, WhatALinkThrowsIsReportedAndTheOthersFire) {
  const Greenlet<> g = Spawn({.name = "g"}, [] {});
  int fired = 0;
  g.RawLink([](const AnyGreenlet&) { throw std::runtime_error("raw"); });
  g.Link([](const AnyGreenlet&) { throw std::runtime_error("green"); });
  g.RawLink([&](const AnyGreenlet&) { ++fired; });
  EXPECT_TRUE(JoinHub());
  EXPECT_EQ(fired, 1);
  ASSERT_EQ(reports_.size(), 2u);
  EXPECT_EQ(reports_[0], "g: raw");
  EXPECT_THAT(reports_[1], HasSubstr("green"));
}

TEST_F(GreenletTest, ALinkKeepsTheGreenletThatItIsGiven) {
  std::string name;
  {
    const Greenlet<> g = Spawn({.name = "forgotten"}, [] { Sleep(absl::Seconds(1)); });
    g.Link([&](const AnyGreenlet& ended) {
      Sleep(absl::Seconds(1));
      name = ended.name();
    });
  }
  EXPECT_TRUE(JoinHub());
  EXPECT_EQ(name, "forgotten");
}

// --- what it captures (GL-24) ---

TEST_F(GreenletTest, CapturesEndWithTheFunctionAndNotWithTheHandle) {
  bool ended = false;
  const Greenlet<> g = Spawn([w = Witness(&ended)] { Sleep(absl::Seconds(1)); });
  Yield();
  EXPECT_FALSE(ended);
  bool ended_before_links = false;
  g.RawLink([&](const AnyGreenlet&) { ended_before_links = ended; });
  EXPECT_TRUE(JoinHub());
  EXPECT_TRUE(ended);
  EXPECT_TRUE(ended_before_links);
}

TEST_F(GreenletTest, CapturesOfOneThatNeverRunsEndWhenItIsKilled) {
  bool ended = false;
  bool ended_later = false;
  const Greenlet<> g = Spawn([w = Witness(&ended)] {});
  const Greenlet<> later =
      SpawnLater(absl::Hours(1), [w = Witness(&ended_later)] { FAIL(); });
  g.KillSoon();
  later.KillSoon();
  EXPECT_TRUE(JoinHub());
  EXPECT_TRUE(HasTaken(absl::ZeroDuration()));
  EXPECT_TRUE(ended);
  EXPECT_TRUE(ended_later);
}

TEST_F(GreenletTest, CapturesMayBlockWhenTheyEnd) {
  int ended = 0;
  const Greenlet<> g = Spawn([captured = YieldsAtItsEnd(&ended)] {});
  // Killed in the middle of that: nothing is thrown out of a destructor.
  Yield();
  EXPECT_FALSE(g.ready());
  g.Kill();
  EXPECT_EQ(ended, 1);
  EXPECT_TRUE(g.successful());
}

TEST_F(GreenletTest, MoveOnlyFunctionsAreFine) {
  auto value = std::make_unique<int>(9);
  EXPECT_EQ(*Spawn([v = std::move(value)] { return *v; }).Get(), 9);
}

TEST_F(GreenletTest, MutableFunctionsAreFine) {
  EXPECT_EQ(*Spawn([n = 0]() mutable { return ++n; }).Get(), 1);
}

TEST_F(GreenletTest, TheResultLivesAsLongAsAHandle) {
  bool ended = false;
  {
    const Greenlet<std::shared_ptr<Witness>> g =
        Spawn([&] { return std::make_shared<Witness>(&ended); });
    g.Join();
    const AnyGreenlet other = g;
    EXPECT_FALSE(ended);
  }
  EXPECT_TRUE(ended);
}

// --- names, ids, places (GL-20, GL-21) ---

TEST_F(GreenletTest, HasANameThatCanBeChanged) {
  const Greenlet<> plain = Spawn([] {});
  EXPECT_EQ(plain.name(), "greenlet-1");
  plain.set_name("worker");
  EXPECT_EQ(plain.name(), "worker");
  const Greenlet<> named = Spawn({.name = "named"}, [] {});
  EXPECT_EQ(named.name(), "named");
  EXPECT_EQ(CurrentGreenlet().name(), "main");
  CurrentGreenlet().set_name("boss");
  EXPECT_EQ(CurrentGreenlet().name(), "boss");
}

TEST_F(GreenletTest, HasAnIdOfItsOwnAndKnowsItsParent) {
  EXPECT_EQ(CurrentGreenlet().id(), 0u);
  std::set<uint64_t> ids{0};
  for (int i = 0; i < 10; ++i) {
    const Greenlet<> g = Spawn([] {});
    EXPECT_TRUE(ids.insert(g.id()).second);
    EXPECT_EQ(g.parent_id(), 0u);
    g.Join();
  }
  const Greenlet<uint64_t> outer = Spawn([] {
    const Greenlet<> inner = Spawn([] {});
    EXPECT_EQ(CurrentGreenlet().parent_id(), 0u);
    return inner.parent_id();
  });
  EXPECT_EQ(*outer.Get(), outer.id());
}

TEST_F(GreenletTest, KnowsWhereItWasSpawned) {
  const Greenlet<> g = Spawn([] {});
  const int line = __LINE__ - 1;
  EXPECT_STREQ(g.spawn_site().file, __FILE__);
  EXPECT_EQ(g.spawn_site().line, line);
  const Greenlet<> with_options = Spawn({.name = "x"}, [] {});
  EXPECT_EQ(with_options.spawn_site().line, __LINE__ - 1);
  const Greenlet<> later = SpawnLater(absl::Seconds(1), [] {});
  EXPECT_EQ(later.spawn_site().line, __LINE__ - 1);
}

TEST_F(GreenletTest, CurrentGreenletIsTheOneThatRuns) {
  AnyGreenlet seen;
  const Greenlet<> g = Spawn([&] { seen = CurrentGreenlet(); });
  g.Join();
  EXPECT_EQ(seen, g);
  EXPECT_NE(CurrentGreenlet(), g);
}

// --- handles ---

TEST_F(GreenletTest, HandlesAreCopiedAndMoved) {
  AnyGreenlet none;
  EXPECT_FALSE(none);
  const Greenlet<int> g = Spawn([] { return 1; });
  AnyGreenlet copy = g;
  EXPECT_TRUE(copy);
  EXPECT_EQ(copy, g);
  const AnyGreenlet moved = std::move(copy);
  EXPECT_EQ(moved, g);
  none = moved;
  none = AnyGreenlet(none);
  EXPECT_EQ(none, moved);
  none = AnyGreenlet();
  EXPECT_FALSE(none);
  EXPECT_EQ(*g.Get(), 1);
}

TEST_F(GreenletTest, GoesOnWithoutAnyHandle) {
  int steps = 0;
  Spawn([&] {
    ++steps;
    Sleep(absl::Seconds(1));
    ++steps;
  });
  Spawn([] { throw std::runtime_error("nobody asks"); });
  EXPECT_EQ(LiveGreenlets(), 2u);
  Sleep(absl::Seconds(2));
  EXPECT_EQ(steps, 2);
  EXPECT_EQ(LiveGreenlets(), 0u);
  EXPECT_EQ(reports_.size(), 1u);
}

TEST_F(GreenletTest, HandlesMayBeDroppedBeforeTheStartAndAfterAKill) {
  bool ran = false;
  {
    const Greenlet<> g = Spawn([&] { ran = true; });
    g.KillSoon();
  }
  {
    const Greenlet<> g = SpawnLater(absl::Seconds(1), [&] { ran = true; });
    g.KillSoon();
  }
  Sleep(absl::Seconds(2));
  EXPECT_FALSE(ran);
  EXPECT_EQ(LiveGreenlets(), 0u);
}

// --- SpawnLater (TL-2) ---

TEST_F(GreenletTest, SpawnLaterRunsAtItsTime) {
  MonotonicNanos at = 0;
  const Greenlet<> g = SpawnLater(absl::Seconds(5), [&] { at = clock_.Now(); });
  Sleep(absl::Seconds(4));
  EXPECT_FALSE(g.started());
  EXPECT_TRUE(g.Join());
  EXPECT_GE(at, start_ + 5'000'000'000);
  EXPECT_TRUE(HasTaken(absl::Seconds(5)));
}

TEST_F(GreenletTest, SpawnLaterIsOrderedByTime) {
  std::vector<int> order;
  SpawnLater(absl::Seconds(3), [&] { order.push_back(3); });
  SpawnLater(absl::Seconds(1), [&] { order.push_back(1); });
  SpawnLater(absl::Seconds(2), [&] { order.push_back(2); });
  SpawnLater(absl::ZeroDuration(), [&] { order.push_back(0); });
  SpawnLater(-absl::Seconds(1), [&] { order.push_back(-1); });
  EXPECT_TRUE(JoinHub());
  EXPECT_THAT(order, ElementsAre(0, -1, 1, 2, 3));
}

TEST_F(GreenletTest, SpawnLaterGoesOnWithoutAHandle) {
  bool ran = false;
  SpawnLater(absl::Seconds(1), [&] { ran = true; });
  Sleep(absl::Seconds(2));
  EXPECT_TRUE(ran);
}

TEST_F(GreenletTest, SpawnLaterReturnsAResultAndIsKilledOnceItRuns) {
  EXPECT_EQ(*SpawnLater(absl::Seconds(1), [] { return 4; }).Get(), 4);
  const Greenlet<> g = SpawnLater(absl::Seconds(1), &SleepForEver);
  Sleep(absl::Seconds(2));
  EXPECT_TRUE(g.started());
  g.Kill();
  EXPECT_TRUE(g.killed());
}

// --- destructors and Shield ---

TEST_F(GreenletTest, AKillIsNotThrownWhileTheStackUnwinds) {
  struct Slow {
    std::vector<std::string>* steps;
    ~Slow() {
      steps->push_back("unwinding");
      Sleep(absl::Seconds(1));
      steps->push_back("unwound");
    }
  };
  std::vector<std::string> steps;
  const Greenlet<> g = Spawn([&] {
    try {
      Slow slow{&steps};
      throw Oops{1};
    } catch (const Oops&) {
      steps.push_back("caught");
    }
    Sleep(absl::Seconds(1));
    steps.push_back("not reached");
  });
  Yield();
  EXPECT_THAT(steps, ElementsAre("unwinding"));
  g.Kill();
  EXPECT_THAT(steps, ElementsAre("unwinding", "unwound", "caught"));
  EXPECT_TRUE(g.killed());
  EXPECT_TRUE(HasTaken(absl::Seconds(1))) << "the destructor's sleep was not cut short";
}

TEST_F(GreenletTest, DestructorsOnTheWayOfAKillMayBlock) {
  int ended = 0;
  const Greenlet<> g = Spawn([&] {
    YieldsAtItsEnd a(&ended);
    YieldsAtItsEnd b(&ended);
    SleepForEver();
  });
  Yield();
  g.Kill();
  EXPECT_EQ(ended, 2);
  EXPECT_TRUE(g.killed());
}

TEST_F(GreenletTest, AShieldKeepsAKillPending) {
  std::vector<std::string> steps;
  const Greenlet<> g = Spawn([&] {
    {
      Shield outer;
      {
        Shield inner;
        Sleep(absl::Seconds(1));
        steps.push_back("inner");
      }
      Sleep(absl::Seconds(1));
      Yield();
      CheckInterrupt();
      steps.push_back("outer");
    }
    steps.push_back("no blocking call yet");
    Yield();
    steps.push_back("not reached");
  });
  Yield();
  g.Kill();
  EXPECT_THAT(steps, ElementsAre("inner", "outer", "no blocking call yet"));
  EXPECT_TRUE(g.killed());
  EXPECT_TRUE(HasTaken(absl::Seconds(2)));
}

TEST_F(GreenletTest, AShieldKeepsAThrowPendingToo) {
  std::vector<std::string> steps;
  const Greenlet<> g = Spawn([&] {
    {
      Shield shield;
      Sleep(absl::Seconds(1));
      steps.push_back("shielded");
    }
    try {
      CheckInterrupt();
    } catch (const std::runtime_error& e) {
      steps.push_back(e.what());
    }
  });
  Yield();
  g.Throw(Error("pending"));
  EXPECT_TRUE(g.Get().ok());
  EXPECT_THAT(steps, ElementsAre("shielded", "pending"));
}

TEST_F(GreenletTest, CheckInterruptThrowsWhatIsPending) {
  int rounds = 0;
  const Greenlet<> g = Spawn([&] {
    for (;; ++rounds) {
      CheckInterrupt();
      if (rounds == 3) CurrentGreenlet().KillSoon();
    }
  });
  g.Join();
  EXPECT_EQ(rounds, 4);
  EXPECT_TRUE(g.killed());
}

// --- stacks and numbers ---

[[gnu::noinline]] int UseStack(int kilobytes) {
  volatile char frame[1024];
  frame[0] = static_cast<char>(kilobytes);
  return kilobytes == 0 ? 0 : UseStack(kilobytes - 1) + 1 + frame[0] * 0;
}

TEST_F(GreenletTest, MayHaveAStackOfAnotherSize) {
  EXPECT_EQ(*Spawn({.stack_size = 4 << 20}, [] { return UseStack(3000); }).Get(), 3000);
  EXPECT_EQ(*Spawn({.stack_size = 32 << 10}, [] { return 1; }).Get(), 1);
  EXPECT_EQ(*Spawn({.stack_size = 100'000}, [] { return UseStack(60); }).Get(), 60);
}

TEST_F(GreenletTest, TensOfThousandsAreFine) {
  // Fewer where a sanitizer keeps much for each stack.
  const int n = GROVE_ASAN || GROVE_TSAN ? 500 : 20'000;
  int64_t sum = 0;
  std::vector<Greenlet<int>> greenlets;
  for (int i = 0; i < n; ++i) {
    greenlets.push_back(Spawn([i, &sum] {
      Yield();
      Sleep(absl::Milliseconds(i % 7));
      sum += i;
      return i;
    }));
  }
  EXPECT_EQ(LiveGreenlets(), static_cast<size_t>(n));
  for (int i = 0; i < n; ++i) EXPECT_EQ(*greenlets[i].Get(), i);
  EXPECT_EQ(sum, int64_t{n} * (n - 1) / 2);
  EXPECT_EQ(LiveGreenlets(), 0u);
}

TEST_F(GreenletTest, StacksAreReused) {
  Spawn([] {}).Join();
  const size_t cut = green_internal::GetStackStats().cut;
  for (int i = 0; i < 10'000; ++i) Spawn([] {}).Join();
  EXPECT_EQ(green_internal::GetStackStats().cut, cut);
}

TEST_F(GreenletTest, ThoseThatYieldTakeTurns) {
  int turns[3] = {};
  std::vector<Greenlet<>> greenlets;
  for (int i = 0; i < 3; ++i) {
    greenlets.push_back(Spawn([&turns, i] {
      for (int round = 0; round < 10'000; ++round) {
        ++turns[i];
        Yield();
        // Nobody is ever more than a turn ahead.
        for (int other : turns) EXPECT_LE(std::abs(turns[i] - other), 1);
      }
    }));
  }
  for (const auto& g : greenlets) g.Join();
}

TEST_F(GreenletTest, LoopCallbacksMaySpawnKillAndThrow) {
  const Greenlet<> victim = Spawn(&SleepForEver);
  const Greenlet<> target = Spawn([] { EXPECT_THROW(SleepForEver(), Oops); });
  bool ran = false;
  Yield();
  ThisHub().RunCallback([&] {
    victim.KillSoon();
    target.Throw(std::make_exception_ptr(Oops{1}));
    Spawn([&] { ran = true; });
  });
  EXPECT_TRUE(JoinHub());
  EXPECT_TRUE(victim.killed());
  EXPECT_TRUE(target.successful());
  EXPECT_TRUE(ran);
}

// --- misuse ---

TEST(GreenletDeathTest, JoiningOneselfIsFatal) {
  EXPECT_DEATH(
      {
        HubScope scope;
        Spawn({.name = "narcissus"}, [] { CurrentGreenlet().Join(); }).Join();
      },
      "greenlet 'narcissus' \\(#1\\) joins itself");
}

TEST(GreenletDeathTest, JoiningTheMainGreenletIsFatal) {
  EXPECT_DEATH(
      {
        HubScope scope;
        const AnyGreenlet main = CurrentGreenlet();
        Spawn([main] { main.Join(); }).Join();
      },
      "the main greenlet cannot be joined");
}

TEST(GreenletDeathTest, ThrowingNothingIsFatal) {
  EXPECT_DEATH(
      {
        HubScope scope;
        Spawn([] {}).Throw(nullptr);
      },
      "Throw\\(\\) of nothing");
}

TEST(GreenletDeathTest, UseOnAnotherHubIsFatalAndNamesBoth) {
  const struct {
    const char* operation;
    void (*use)(const Greenlet<>&);
  } cases[] = {
      {"Join", [](const Greenlet<>& g) { g.Join(); }},
      {"Join", [](const Greenlet<>& g) { (void)g.Get(); }},
      {"Kill", [](const Greenlet<>& g) { g.Kill(); }},
      {"Kill", [](const Greenlet<>& g) { g.KillSoon(); }},
      {"Throw", [](const Greenlet<>& g) { g.Throw(Error("x")); }},
      {"Link", [](const Greenlet<>& g) { g.Link([](const AnyGreenlet&) {}); }},
      {"Link", [](const Greenlet<>& g) { g.RawLink([](const AnyGreenlet&) {}); }},
      {"Unlink", [](const Greenlet<>& g) { g.Unlink(1); }},
  };
  for (const auto& c : cases) {
    EXPECT_DEATH(
        {
          HubScope scope({.name = "home"});
          const Greenlet<> g = Spawn(&SleepForEver);
          Yield();
          std::thread([&] {
            HubScope elsewhere({.name = "abroad"});
            c.use(g);
          }).join();
        },
        std::string(c.operation) +
            " of greenlet #1 of hub 'home', spawned at "
            "green/greenlet_test.cc:[0-9]+, from hub 'abroad'")
        << c.operation;
  }
  EXPECT_DEATH(
      {
        HubScope scope({.name = "home"});
        const Greenlet<> g = Spawn([] {});
        std::thread([&] { g.Join(); }).join();
      },
      "Join of greenlet #1 of hub 'home', .* from a thread without a hub");
}

TEST(GreenletDeathTest, AStackThatIsTooSmallIsFatalAndNamesTheBounds) {
  EXPECT_DEATH(
      {
        HubScope scope;
        Spawn({.stack_size = 1}, [] {});
      },
      "a stack of 1 bytes: the least is 32768");
}

TEST(GreenletDeathTest, CurrentGreenletInALoopCallbackIsFatal) {
  EXPECT_DEATH(
      {
        HubScope scope;
        ThisHub().RunCallback([] { CurrentGreenlet(); });
        Yield();
      },
      "CurrentGreenlet\\(\\) in a loop callback");
}

// Calls exit(), and ends by `code` once what a thread has to end has been ended.
void ExitWith(int code) {
  static int the_code;
  the_code = code;
  // Sooner than LeakSanitizer, which does not know the stack that main() runs on.
  atexit([] { _exit(the_code); });
  exit(1);
}

TEST(GreenletDeathTest, ExitMayBeCalledByAGreenletOfAnyThread) {
  // On hubs that nobody asked for: exit() runs the end of the thread that calls it.
  EXPECT_EXIT(Spawn([] { ExitWith(3); }).Join(), ExitedWithCode(3), "");
  EXPECT_EXIT(std::thread([] { Spawn([] { ExitWith(4); }).Join(); }).join(),
              ExitedWithCode(4), "");
}

TEST(GreenletDeathTest, ReturningFromMainNeitherRunsNorUnwindsTheOthers) {
  static bool ended = false;
  EXPECT_EXIT(
      {
        Spawn([] {
          Witness local(&ended);
          SleepForEver();
        });
        Yield();
        Spawn([] { fprintf(stderr, "it ran after all\n"); });
        SpawnLater(absl::Seconds(1), [] {});
        atexit([] { _exit(ended ? 1 : 4); });
        exit(0);
      },
      ExitedWithCode(4), testing::Not(HasSubstr("after all")));
}

}  // namespace
}  // namespace grove
