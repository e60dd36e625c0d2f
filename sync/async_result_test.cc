#include "grove/sync/async_result.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <exception>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "grove/green/deadline_scope.h"
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

struct AsyncResultGet {
  static constexpr bool kConsumes = false;
  bool Call(Deadline d = {}) { return result.Get(d).value_or(0) == 7; }
  void Grant() { result.Set(7); }
  AsyncResult<int> result;
};
BLOCKING_CALL_TESTS(AsyncResultGet);
BLOCKING_CALL_DEATH_TEST(AsyncResultGet, "AsyncResult");

struct AsyncResultTake {
  static constexpr bool kConsumes = true;
  bool Call(Deadline d = {}) { return result.Take(d).ok(); }
  void Grant() { result.Set(std::make_unique<int>(7)); }
  AsyncResult<std::unique_ptr<int>> result;
};
BLOCKING_CALL_TESTS(AsyncResultTake);
BLOCKING_CALL_DEATH_TEST(AsyncResultTake, "AsyncResult");

struct AsyncResultWait {
  static constexpr bool kConsumes = false;
  bool Call(Deadline d = {}) { return result.Wait(d); }
  void Grant() { result.Set(); }
  AsyncResult<> result;
};
BLOCKING_CALL_TESTS(AsyncResultWait);
BLOCKING_CALL_DEATH_TEST(AsyncResultWait, "AsyncResult");

std::exception_ptr Error(const char* what) {
  return std::make_exception_ptr(std::runtime_error(what));
}

// --- outcomes ---

GREENLET_TEST(AsyncResult, GetReturnsTheValueToAllAndLateIsAStatus) {
  AsyncResult<std::string> result;
  EXPECT_FALSE(result.ready());
  EXPECT_EQ(result.Get(absl::Seconds(1)).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  const auto get = [&] { return result.Get(); };
  const Greenlet<absl::StatusOr<std::string>> a = Spawn(get);
  const Greenlet<absl::StatusOr<std::string>> b = Spawn(get);
  Settle();
  result.Set("value");
  EXPECT_EQ(*a.Get(), "value");
  EXPECT_EQ(*b.Get(), "value");
  EXPECT_TRUE(result.ready());
  EXPECT_TRUE(result.successful());
  EXPECT_EQ(result.exception(), nullptr);
}

GREENLET_TEST(AsyncResult, SetTakesWhatConvertsToTheValue) {
  AsyncResult<double> number;
  number.Set(1);
  EXPECT_EQ(*number.Get(), 1.0);
  AsyncResult<std::vector<int>> list;
  list.Set({1, 2});
  EXPECT_EQ(list.Get()->size(), 2u);
}

GREENLET_TEST(AsyncResult, GetThrowsAnExceptionAndWaitDoesNot) {
  AsyncResult<int> result;
  const Greenlet<> g =
      Spawn([&] { EXPECT_THROW((void)result.Get(), std::runtime_error); });
  const Greenlet<bool> w = Spawn([&] { return result.Wait(); });
  Settle();
  result.SetException(Error("no"));
  g.Join();
  EXPECT_TRUE(*w.Get());
  EXPECT_TRUE(result.ready());
  EXPECT_FALSE(result.successful());
  EXPECT_NE(result.exception(), nullptr);
  EXPECT_THROW((void)result.Take(), std::runtime_error);
  EXPECT_THROW((void)result.Take(), std::runtime_error);  // what fails is not taken
}

GREENLET_TEST(AsyncResult, GetReturnsAStatusThatWasSet) {
  AsyncResult<> result;
  result.SetStatus(absl::NotFoundError("nobody"));
  EXPECT_EQ(result.Get(), absl::NotFoundError("nobody"));
  EXPECT_TRUE(result.Wait());
  EXPECT_FALSE(result.successful());
}

GREENLET_TEST(AsyncResult, SetOnceMoreHasTheNewOutcomeFromThenOn) {
  AsyncResult<int> result;
  result.Set(1);
  EXPECT_EQ(*result.Get(), 1);
  result.SetException(Error("no"));
  EXPECT_THROW((void)result.Get(), std::runtime_error);
  result.Set(2);
  EXPECT_EQ(*result.Get(), 2);
  EXPECT_EQ(result.exception(), nullptr);
}

GREENLET_TEST(AsyncResult, WhoWaitedHasTheOutcomeThatEndedItsWait) {
  AsyncResult<int> result;
  const auto g = Spawn([&] { return result.Get(); });
  Settle();
  result.Set(1);
  result.Set(2);
  EXPECT_EQ(*g.Get(), 1);
  EXPECT_EQ(*result.Get(), 2);
}

GREENLET_TEST(AsyncResult, ATakenValueIsNotThereAnyMore) {
  AsyncResult<Moved> result;
  result.Set(Moved(3));
  EXPECT_EQ(result.Take()->value, 3);
  EXPECT_FALSE(result.ready());
  EXPECT_FALSE(result.Wait(absl::Seconds(1)));
}

GREENLET_TEST(AsyncResult, OneOfManyTakersGetsTheValueAndAllGettersBeforeIt) {
  AsyncResult<int> result;
  const auto get = Spawn([&] { return result.Get(); });
  Settle();
  const auto take = Spawn([&] { return result.Take(); });
  Settle();
  const auto late = Spawn([&] { return result.Take(absl::Seconds(1)); });
  Settle();
  result.Set(5);
  EXPECT_EQ(*get.Get(), 5);
  EXPECT_EQ(*take.Get(), 5);
  EXPECT_EQ(late.Get().status().code(), absl::StatusCode::kDeadlineExceeded);
}

GREENLET_TEST(AsyncResult, TheOutcomeArrivesAlsoIfTheObjectIsGoneByThen) {
  auto result = std::make_unique<AsyncResult<std::string>>();
  const auto g = Spawn([r = result.get()] { return r->Get(); });
  Settle();
  result->Set("value");
  result.reset();
  EXPECT_EQ(*g.Get(), "value");
}

// --- as the target of a link ---

GREENLET_TEST(AsyncResult, TakesOverAGreenletsValue) {
  AsyncResult<std::string> result;
  const Greenlet<std::string> g = Spawn([] { return std::string("value"); });
  g.Link(std::ref(result));
  EXPECT_EQ(*result.Get(), "value");
  AsyncResult<> nothing;
  const Greenlet<> h = Spawn([] {});
  h.RawLink(std::ref(nothing));
  EXPECT_TRUE(nothing.Get().ok());
}

GREENLET_TEST(AsyncResult, TakesOverAGreenletsException) {
  SetErrorHandler([](const UnhandledException&) {});
  AsyncResult<int> result;
  const Greenlet<int> g = Spawn([]() -> int { throw std::runtime_error("no"); });
  g.Link(std::ref(result));
  EXPECT_THROW((void)result.Get(), std::runtime_error);
  SetErrorHandler({});
}

GREENLET_TEST(AsyncResult, TakesOverThatAValueCannotBeCopied) {
  struct Value {
    Value() = default;
    Value(const Value&) { throw std::runtime_error("no copy"); }
    Value(Value&&) = default;
    Value& operator=(const Value&) = default;
    Value& operator=(Value&&) = default;
  };
  AsyncResult<Value> result;
  const Greenlet<Value> g = Spawn([] { return Value(); });
  g.Link(std::ref(result));
  EXPECT_THROW((void)result.Take(), std::runtime_error);
}

GREENLET_TEST(AsyncResult, TakesOverThatAGreenletWasKilled) {
  AsyncResult<int> result;
  const Greenlet<int> g = Spawn({.name = "victim"}, [] {
    Sleep(absl::InfiniteDuration());
    return 1;
  });
  g.Link(std::ref(result));
  Settle();
  g.Kill();
  EXPECT_EQ(result.Get().status(),
            absl::CancelledError("greenlet 'victim' (#3) was killed"));
}

// --- homes ---

GREENLET_TEST(AsyncResult, IsSetFromAThreadWithoutMakingAHubThere) {
  AsyncResult<std::string> value;
  AsyncResult<> status;
  AsyncResult<int> exception;
  OnThread([&] {
    EXPECT_FALSE(value.ready());
    value.Set("far");
    status.SetStatus(absl::AbortedError("far"));
    exception.SetException(Error("far"));
    EXPECT_TRUE(value.successful());
    EXPECT_EQ(*value.Get(Deadline::Passed()), "far");
    EXPECT_NE(exception.exception(), nullptr);
    EXPECT_EQ(Hub::Current(), nullptr);
  });
  EXPECT_EQ(*value.Get(), "far");
  EXPECT_EQ(status.Get(), absl::AbortedError("far"));
  EXPECT_THROW((void)exception.Get(), std::runtime_error);
}

GREENLET_TEST(AsyncResult, AMoveOnlyValueTravelsBetweenHubs) {
  AsyncResult<std::unique_ptr<int>> there;
  AsyncResult<std::unique_ptr<int>> back;
  const Greenlet<> g = Spawn([&] {
    std::unique_ptr<int> value = *there.Take();
    ++*value;
    back.Set(std::move(value));
  });
  OnHub([&] {
    there.Set(std::make_unique<int>(41));
    EXPECT_EQ(**back.Take(), 42);
  });
  g.Join();
}

TEST(AsyncResultHome, MadeAndSetBeforeThereIsAHubItCanBeReadOnSeveralOneAfterTheOther) {
  AsyncResult<int> result;
  result.Set(1);
  EXPECT_TRUE(result.ready());
  EXPECT_EQ(*result.Get(Deadline::Passed()), 1);
  EXPECT_EQ(Hub::Current(), nullptr);
  for (int i = 1; i <= 3; ++i) {
    HubScope scope;
    EXPECT_EQ(*result.Get(), i);
    const auto g = Spawn([&] { return result.Wait(); });
    Yield();
    result.Set(i + 1);
    EXPECT_TRUE(*g.Get());
  }
}

// --- misuse ---

TEST(AsyncResultDeathTest, WhatIsNoOutcomeIsFatal) {
  EXPECT_DEATH(AsyncResult<>().SetStatus(absl::OkStatus()), "it has no value");
  EXPECT_DEATH(AsyncResult<>().SetException(nullptr), "SetException\\(\\) of nothing");
}

TEST(AsyncResultDeathTest, ALinkToAGreenletOfAnotherTypeIsFatal) {
  EXPECT_DEATH(
      {
        HubScope scope;
        AsyncResult<std::string> result;
        const Greenlet<int> g = Spawn({.name = "seven"}, [] { return 7; });
        g.RawLink(std::ref(result));
        (void)result.Get();
      },
      "greenlet 'seven' does not return what the AsyncResult");
}

// --- any order ---

TEST(AsyncResultSeeds, EachValueIsTakenOnce) {
  ForEachSeed(1000, [] {
    Lots lots;
    AsyncResult<int> result;
    int next = 0;
    std::vector<int> taken;
    std::vector<Greenlet<>> takers;
    for (int i = 0; i < 4; ++i) {
      takers.push_back(Spawn([&] {
        for (int n = 0; n < 4; ++n) {
          if (lots.OneIn(3)) {
            const absl::StatusOr<int> seen = result.Get(lots.SomeDeadline());
            EXPECT_LT(seen.value_or(-1), next);
          } else {
            const absl::StatusOr<int> mine = result.Take(lots.SomeDeadline());
            if (mine.ok()) taken.push_back(*mine);
          }
          Sleep(absl::Microseconds(lots.Below(2)));
        }
      }));
    }
    for (int i = 0; i < 15; ++i) {
      Sleep(absl::Microseconds(lots.Below(3)));
      if (lots.OneIn(5)) takers[lots.Below(4)].KillSoon();
      if (!result.ready()) result.Set(next++);
    }
    for (const Greenlet<>& g : takers) g.Kill();
    if (const auto left = result.Take(Deadline::Passed()); left.ok()) {
      taken.push_back(*left);
    }
    ASSERT_EQ(static_cast<int>(taken.size()), next);
    // One who is woken may run later than the next who takes.
    std::sort(taken.begin(), taken.end());
    for (int i = 0; i < next; ++i) EXPECT_EQ(taken[i], i);
  });
}

GREENLET_TEST(AsyncResult, TakesOverThatAGreenletRanOutOfItsTime) {
  AsyncResult<> result;
  WithDeadline(absl::Seconds(1), [&] {
    Spawn([] { Sleep(absl::Hours(1)); }).RawLink(std::ref(result));
  }).IgnoreError();
  EXPECT_TRUE(absl::IsDeadlineExceeded(result.Get()));
}

// No GREENLET_TEST: what never ends is never freed.
TEST(AsyncResultHome, TakesOverThatAHubEndedBeforeItsGreenlet) {
  const HubScope scope;
  AsyncResult<int> result;
  AnyGreenlet left;
  OnThread([&] {
    left = Spawn([] {
      Sleep(absl::Hours(1));
      return 1;
    });
    Yield();
  });
  left.RawLink(std::ref(result));
  EXPECT_TRUE(absl::IsCancelled(result.Get().status()));
}

}  // namespace
}  // namespace grove
