#include "grove/green/dag_pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <ostream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/interrupt.h"
#include "grove/green/sleep.h"
#include "grove/green/timeout.h"

namespace grove {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

using Dag = DagPool<std::string, std::string>;
using Keys = std::vector<std::string>;

// "key(a b)", its inputs in the order in which they came.
std::string Join(const std::string& key, Dag::Items& inputs) {
  std::string out = key + "(";
  for (auto& [k, value] : inputs) {
    if (out.back() != '(') out += " ";
    out += value;
  }
  return out + ")";
}

std::string Fail(const std::string&, Dag::Items&) { throw std::runtime_error("boom"); }

class DagPoolTest : public testing::Test {
 protected:
  absl::Duration Elapsed() const { return absl::Nanoseconds(clock_.Now() - start_); }

  ManualClock clock_;
  const MonotonicNanos start_ = clock_.Now();
  HubScope scope_{HubOptions{.clock = &clock_}};
};

std::string What(Dag& pool, const std::string& key) {
  try {
    return pool[key];
  } catch (const PropagateError& e) {
    return e.what();
  }
}

TEST_F(DagPoolTest, ComputesFromWhatIsComputed) {
  Dag pool;
  // In any order, also before what they depend on.
  ASSERT_TRUE(pool.Spawn("d", {"b", "c"}, &Join).ok());
  ASSERT_TRUE(pool.Spawn("b", {"a"}, &Join).ok());
  ASSERT_TRUE(pool.Spawn("c", {"a"}, &Join).ok());
  ASSERT_TRUE(pool.Spawn("a", {}, &Join).ok());
  EXPECT_EQ(pool["d"], "d(b(a()) c(a()))");
  EXPECT_THAT(pool.Keys(), ElementsAre("a", "b", "c", "d"));
  EXPECT_EQ(pool.running(), 0u);
}

TEST_F(DagPoolTest, PreloadedAndPostedValuesCountAsComputed) {
  Dag pool{{"a", "1"}, {"b", "2"}};
  ASSERT_TRUE(pool.Spawn("x", {"a", "b", "c"}, &Join).ok());
  Yield();
  EXPECT_THAT(pool.WaitingFor("x"), ElementsAre("c"));
  ASSERT_TRUE(pool.Post("c", "3").ok());
  EXPECT_EQ(pool["x"], "x(1 2 3)");
}

TEST_F(DagPoolTest, TakesAMapOfValuesOver) {
  std::map<int, std::unique_ptr<int>> values;
  values[1] = std::make_unique<int>(10);
  DagPool<int, std::unique_ptr<int>> pool(std::move(values));
  EXPECT_EQ(*pool[1], 10);
}

TEST_F(DagPoolTest, InputsComeAsTheyBecomeReady) {
  Dag pool;
  ASSERT_TRUE(pool.Spawn("x", {"a", "b", "c"}, &Join).ok());
  for (const char* key : {"c", "a", "b"}) {
    Sleep(absl::Seconds(1));
    ASSERT_TRUE(pool.Post(key, key).ok());
  }
  EXPECT_EQ(pool["x"], "x(c a b)");
}

TEST_F(DagPoolTest, GreenletsStartBeforeTheirInputsAreThere) {
  Dag pool;
  bool started = false;
  ASSERT_TRUE(pool.Spawn("x", {"a"},
                         [&](const std::string&, Dag::Items& inputs) {
                           started = true;
                           return inputs.All().at("a") + "!";
                         })
                  .ok());
  Yield();
  EXPECT_TRUE(started);
  ASSERT_TRUE(pool.Post("a", "hey").ok());
  EXPECT_EQ(pool["x"], "hey!");
}

TEST_F(DagPoolTest, SpawnManySpawnsAll) {
  Dag pool;
  ASSERT_TRUE(pool.SpawnMany({{"a", {}}, {"b", {"a"}}, {"c", {"a", "b"}}}, &Join).ok());
  EXPECT_EQ(pool["c"], "c(a() b(a()))");
  const absl::Status again = pool.SpawnMany({{"b", {}}, {"c", {}}, {"d", {}}}, &Join);
  EXPECT_EQ(again.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(again.message(), HasSubstr("b, c"));
  EXPECT_THAT(pool.Keys(), ElementsAre("a", "b", "c"));
  EXPECT_EQ(pool.running(), 0u);
}

TEST_F(DagPoolTest, AKeyIsUsedOnce) {
  Dag pool{{"ready", "1"}};
  ASSERT_TRUE(pool.Spawn("runs", {"never"}, &Join).ok());
  for (const char* key : {"ready", "runs"}) {
    EXPECT_EQ(pool.Spawn(key, {}, &Join).code(), absl::StatusCode::kAlreadyExists);
    EXPECT_EQ(pool.Post(key, "2").code(), absl::StatusCode::kAlreadyExists);
  }
  EXPECT_EQ(pool.Post("runs", "2", {.replace = true}).code(),
            absl::StatusCode::kAlreadyExists);
  EXPECT_TRUE(pool.Post("ready", "2", {.replace = true}).ok());
  EXPECT_EQ(pool["ready"], "2");
  // One that was only waited for is free.
  EXPECT_FALSE(pool.Get("later", Deadline::Passed()).ok());
  EXPECT_TRUE(pool.Post("later", "x").ok());
}

TEST_F(DagPoolTest, AGreenletMayPostItsOwnValueBeforeItEnds) {
  Dag pool;
  ASSERT_TRUE(pool.Spawn("a", {},
                         [&](const std::string& key, Dag::Items&) {
                           EXPECT_TRUE(pool.Post(key, "early").ok());
                           Sleep(absl::Seconds(5));
                           return "late";
                         })
                  .ok());
  EXPECT_EQ(pool["a"], "early");
  EXPECT_LT(Elapsed(), absl::Seconds(1));
  EXPECT_THAT(pool.RunningKeys(), ElementsAre("a"));
  Sleep(absl::Seconds(6));
  EXPECT_EQ(pool["a"], "early");
}

// --- waiting ---

TEST_F(DagPoolTest, WaitReturnsTheValuesOfSomeKeysOrOfAll) {
  Dag pool{{"a", "1"}, {"z", "26"}};
  ASSERT_TRUE(pool.Spawn("b", {"a"}, &Join).ok());
  EXPECT_THAT(*pool.Wait({"a", "b"}), ElementsAre(Pair("a", "1"), Pair("b", "b(1)")));
  EXPECT_THAT(*pool.Wait({"a", "a"}), ElementsAre(Pair("a", "1")));
  EXPECT_THAT(*pool.Wait({}), IsEmpty());
  EXPECT_EQ(pool.WaitAll()->size(), 3u);
  EXPECT_EQ(pool.Available().size(), 3u);
}

TEST_F(DagPoolTest, WaitAndGetReturnOnTheDeadline) {
  Dag pool{{"a", "1"}};
  EXPECT_EQ(pool.Wait({"a", "b"}, absl::Seconds(1)).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(pool.Get("b", absl::Seconds(1)).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(*pool.Get("a", Deadline::Passed()), "1");
  EXPECT_LT(Elapsed(), absl::Seconds(3));
}

TEST_F(DagPoolTest, WaitsAreKilledWhileTheyBlock) {
  Dag pool;
  const auto one = Spawn([&] { pool["never"]; });
  const auto many = Spawn([&] { pool.Wait({"never", "neither"}).IgnoreError(); });
  Yield();
  EXPECT_THAT(green_internal::Scheduler::Get().Report(),
              HasSubstr("key 'never' of a DagPool"));
  one.Kill();
  many.Kill();
  EXPECT_TRUE(one.killed() && many.killed());
  EXPECT_FALSE(WithTimeout(absl::Seconds(1), [&] { pool["never"]; }).ok());
}

TEST_F(DagPoolTest, WaitEachGoesThroughKeysAsTheyBecomeReady) {
  Dag pool;
  for (const int s : {3, 1, 2}) {
    ASSERT_TRUE(pool.Spawn(std::to_string(s), {},
                           [s](const std::string& key, Dag::Items&) {
                             Sleep(absl::Seconds(s));
                             return key;
                           })
                    .ok());
  }
  Keys order;
  for (auto& [key, value] : pool.WaitEach()) order.push_back(value);
  EXPECT_THAT(order, ElementsAre("1", "2", "3"));
  order.clear();
  for (auto& [key, value] : pool.WaitEach({"1", "never"}, absl::Seconds(1))) {
    order.push_back(key);
  }
  EXPECT_THAT(order, ElementsAre("1"));
}

TEST_F(DagPoolTest, SuccessesAndFailuresCanBeWaitedForApart) {
  Dag pool{{"a", "1"}};
  ASSERT_TRUE(pool.Spawn("bad", {"a"}, &Fail).ok());
  ASSERT_TRUE(pool.Spawn("worse", {"bad"}, &Join).ok());
  ASSERT_TRUE(pool.Spawn("good", {"a"}, &Join).ok());
  Keys good, bad;
  for (auto& [key, value] : pool.WaitEachSuccess()) good.push_back(key);
  for (auto& [key, error] : pool.WaitEachFailure()) bad.push_back(key);
  EXPECT_THAT(good, UnorderedElementsAre("a", "good"));
  EXPECT_THAT(bad, UnorderedElementsAre("bad", "worse"));
  int errors = 0, values = 0;
  auto each = pool.WaitEach();
  for (int i = 0; i < 4; ++i) {
    try {
      values += each.Next().has_value();
    } catch (const PropagateError&) {
      ++errors;
    }
  }
  EXPECT_FALSE(each.Next().has_value());
  EXPECT_EQ(values, 2);
  EXPECT_EQ(errors, 2);
}

// --- failures ---

TEST_F(DagPoolTest, AFailureNamesTheKeysItCameThrough) {
  Dag pool;
  ASSERT_TRUE(pool.Spawn("a", {}, &Fail).ok());
  ASSERT_TRUE(pool.Spawn("b", {"a"}, &Join).ok());
  ASSERT_TRUE(pool.Spawn("c", {"b"}, &Join).ok());
  EXPECT_EQ(What(pool, "c"),
            "key 'c' failed: key 'b' failed: key 'a' failed: std::runtime_error: boom");
  EXPECT_THROW(pool.Wait({"a"}).IgnoreError(), PropagateError);
  try {
    pool.Get("c").IgnoreError();
    FAIL();
  } catch (const PropagateError& c) {
    EXPECT_EQ(c.key(), "c");
    try {
      std::rethrow_exception(c.cause());
    } catch (const PropagateError& b) {
      EXPECT_EQ(b.key(), "b");
    }
  }
}

TEST_F(DagPoolTest, AFailureOfAnInputCanBeHandled) {
  Dag pool{{"good", "1"}};
  ASSERT_TRUE(pool.Spawn("bad", {}, &Fail).ok());
  ASSERT_TRUE(pool.Spawn("x", {"bad", "good"},
                         [](const std::string&, Dag::Items& inputs) {
                           std::string out;
                           for (int i = 0; i < 2; ++i) {
                             try {
                               out += inputs.Next()->value;
                             } catch (const PropagateError& e) {
                               out += "no " + e.key() + ";";
                             }
                           }
                           return out;
                         })
                  .ok());
  EXPECT_EQ(pool["x"], "no bad;1");
}

TEST_F(DagPoolTest, FailuresAreNotReportedAsUnhandled) {
  int reported = 0;
  SetErrorHandler([&](const UnhandledException&) { ++reported; });
  Dag pool;
  ASSERT_TRUE(pool.Spawn("a", {}, &Fail).ok());
  EXPECT_THROW(pool["a"], PropagateError);
  EXPECT_EQ(reported, 0);
}

TEST_F(DagPoolTest, AKilledKeyHasFailed) {
  Dag pool;
  ASSERT_TRUE(pool.Spawn("started", {"never"}, &Join).ok());
  Yield();
  ASSERT_TRUE(pool.Spawn("fresh", {}, &Join).ok());
  ASSERT_TRUE(pool.Spawn("x", {"started"}, &Join).ok());
  EXPECT_TRUE(pool.Kill("fresh").ok());
  EXPECT_TRUE(pool.Kill("started").ok());
  EXPECT_THAT(What(pool, "x"), HasSubstr("key 'x' failed: key 'started' failed"));
  EXPECT_THAT(What(pool, "fresh"), HasSubstr("was killed"));
  EXPECT_EQ(pool.Kill("started").code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(pool.Kill("unknown").code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(pool.Spawn("fresh", {}, &Join).code(), absl::StatusCode::kAlreadyExists);
  EXPECT_TRUE(pool.Post("fresh", "after all", {.replace = true}).ok());
  EXPECT_EQ(pool["fresh"], "after all");
}

TEST_F(DagPoolTest, KillReturnsOnTheDeadline) {
  Dag pool;
  ASSERT_TRUE(pool.Spawn("stubborn", {},
                         [](const std::string&, Dag::Items&) {
                           Shield shield;
                           Sleep(absl::Seconds(10));
                           return "done";
                         })
                  .ok());
  Yield();
  EXPECT_EQ(pool.Kill("stubborn", absl::Seconds(1)).code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(pool["stubborn"], "done");
}

// --- looking inside ---

TEST_F(DagPoolTest, SaysWhoRunsAndWaitsForWhat) {
  Dag pool{{"a", "1"}};
  ASSERT_TRUE(pool.Spawn("b", {"a", "x", "y"}, &Join).ok());
  ASSERT_TRUE(pool.Spawn("c", {"a"},
                         [](const std::string&, Dag::Items&) {
                           Sleep(absl::Seconds(1));
                           return "";
                         })
                  .ok());
  Yield();
  EXPECT_EQ(pool.running(), 2u);
  EXPECT_THAT(pool.RunningKeys(), ElementsAre("b", "c"));
  EXPECT_EQ(pool.waiting(), 1u);
  EXPECT_THAT(pool.WaitingFor("b"), ElementsAre("x", "y"));
  EXPECT_THAT(pool.WaitingFor("c"), IsEmpty());
  EXPECT_THAT(pool.WaitingFor("unknown"), IsEmpty());
  ASSERT_TRUE(pool.Post("x", "").ok());
  EXPECT_THAT(pool.WaitingFor("b"), ElementsAre("y"));
  EXPECT_THAT(pool.Keys(), ElementsAre("a", "x"));
}

TEST_F(DagPoolTest, ItsEndEndsWhatRuns) {
  {
    Dag pool;
    ASSERT_TRUE(pool.Spawn("a", {"never"}, &Join).ok());
    ASSERT_TRUE(pool.Spawn("b", {"a"}, &Join).ok());
    Yield();
  }
  EXPECT_EQ(LiveGreenlets(), 0u);
}

struct Point {
  int x, y;
  auto operator<=>(const Point&) const = default;
  friend std::ostream& operator<<(std::ostream& out, const Point& p) {
    return out << p.x << "/" << p.y;
  }
};

TEST_F(DagPoolTest, KeysAreWhatHasAnOrderAndAName) {
  DagPool<Point, int> points;
  using Items = DagPool<Point, int>::Items;
  ASSERT_TRUE(points
                  .Spawn({1, 2}, {},
                         [](const Point&, Items&) -> int { throw std::logic_error("x"); })
                  .ok());
  try {
    points[{1, 2}];
    FAIL();
  } catch (const PropagateError& e) {
    EXPECT_EQ(e.key(), "1/2");
  }
  DagPool<int, std::unique_ptr<int>> owners;
  ASSERT_TRUE(owners.Post(1, std::make_unique<int>(5)).ok());
  EXPECT_EQ(*owners[1], 5);
}

TEST_F(DagPoolTest, ALongChainWorks) {
  DagPool<int, int> pool;
  for (int i = 1000; i > 0; --i) {
    ASSERT_TRUE(
        pool.Spawn(i, {i - 1},
                   [](int key, auto& inputs) { return inputs.Next()->value + key; })
            .ok());
  }
  ASSERT_TRUE(pool.Post(0, 0).ok());
  EXPECT_EQ(pool[1000], 500500);
}

// First of all: ThreadSanitizer takes a hub for a thread, and forks none with several.
TEST(DagPoolForeignDeathTest, UseOnAnotherHubIsFatal) {
  EXPECT_DEATH(
      {
        HubScope scope({.name = "home"});
        Dag pool;
        pool.Post("a", "1").IgnoreError();
        std::thread([&] { pool["a"]; }).join();
      },
      "the use of a DagPool that belongs to hub 'home'");
}

using DagPoolDeathTest = DagPoolTest;

TEST_F(DagPoolDeathTest, DestructionWhileSomebodyWaitsIsFatal) {
  EXPECT_DEATH(
      {
        auto pool = std::make_unique<Dag>();
        Spawn([&] { (*pool)["never"]; });
        Yield();
        pool.reset();
      },
      "a DagPool is destroyed while greenlet .* waits for its key 'never'");
}

}  // namespace
}  // namespace grove
