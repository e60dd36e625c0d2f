#include "grove/green/imap.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <list>
#include <memory>
#include <numeric>
#include <ranges>
#include <stdexcept>
#include <string>
#include <vector>

#include "grove/green/greenlet.h"
#include "grove/green/group.h"
#include "grove/green/hub_scope.h"
#include "grove/green/interrupt.h"
#include "grove/green/pool.h"
#include "grove/green/sleep.h"
#include "grove/green/timeout.h"

namespace grove {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

void SleepForEver() { Sleep(absl::InfiniteDuration()); }

int SleepSoLong(int seconds) {
  Sleep(absl::Seconds(seconds));
  return seconds;
}

class IMapTest : public testing::Test {
 protected:
  absl::Duration Elapsed() const { return absl::Nanoseconds(clock_.Now() - start_); }

  ManualClock clock_;
  const MonotonicNanos start_ = clock_.Now();
  HubScope scope_{HubOptions{.clock = &clock_}};
};

// Numbers from 0 to before `end`, each of which can be seen once; `step(n)` comes before
// the next one, n.
template <typename Step>
class Numbers {
 public:
  Numbers(int end, Step step) : end_(end), step_(std::move(step)) {}

  class iterator {
   public:
    using value_type = int;
    using difference_type = std::ptrdiff_t;
    explicit iterator(Numbers* n) : numbers_(n) {}
    int operator*() const { return numbers_->at_; }
    iterator& operator++() {
      numbers_->step_(++numbers_->at_);
      return *this;
    }
    void operator++(int) { ++*this; }
    bool operator==(std::default_sentinel_t) const {
      return numbers_->at_ >= numbers_->end_;
    }

   private:
    Numbers* numbers_;
  };
  iterator begin() { return iterator(this); }
  std::default_sentinel_t end() { return {}; }

 private:
  const int end_;
  Step step_;
  int at_ = 0;
};

// A step that fails before the number n.
template <typename Error>
auto FailBefore(int n) {
  return [n](int next) {
    if (next == n) throw Error("no more");
  };
}

std::vector<int> Count(int begin, int end) {
  std::vector<int> all(end - begin);
  std::iota(all.begin(), all.end(), begin);
  return all;
}

template <typename Results>
auto ToVector(Results&& results) {
  std::vector<typename std::remove_reference_t<Results>::value_type> all;
  for (auto& r : results) all.push_back(std::move(r));
  return all;
}

// --- order ---

TEST_F(IMapTest, IMapKeepsTheOrderOfTheItems) {
  Pool pool(3);
  EXPECT_THAT(ToVector(pool.IMap(&SleepSoLong, std::vector{3, 1, 2, 1})),
              ElementsAre(3, 1, 2, 1));
}

TEST_F(IMapTest, IMapUnorderedGivesWhatIsReady) {
  Pool pool(3);
  EXPECT_THAT(ToVector(pool.IMapUnordered(&SleepSoLong, std::vector{4, 1, 2, 1})),
              ElementsAre(1, 2, 1, 4));
  EXPECT_LE(Elapsed(), absl::Seconds(5));
}

TEST_F(IMapTest, MapKeepsTheOrder) {
  Group group;
  EXPECT_THAT(group.Map(&SleepSoLong, std::vector{3, 1, 2}), ElementsAre(3, 1, 2));
  EXPECT_LE(Elapsed(), absl::Seconds(4));
}

TEST_F(IMapTest, OfNothingIsEmpty) {
  Pool pool(2);
  EXPECT_THAT(pool.Map(&SleepSoLong, std::vector<int>()), IsEmpty());
  EXPECT_THAT(ToVector(pool.IMap(&SleepSoLong, std::vector<int>())), IsEmpty());
  EXPECT_THAT(ToVector(pool.IMapUnordered(&SleepSoLong, std::vector<int>())), IsEmpty());
  pool.Map([](int) {}, std::vector<int>());
}

TEST_F(IMapTest, ManyItemsInASmallPool) {
  for (const int64_t size : {int64_t{1}, int64_t{7}, Pool::kUnlimited}) {
    Pool pool(size);
    std::vector<int> in(1000);
    std::iota(in.begin(), in.end(), 0);
    EXPECT_EQ(pool.Map(
                  [](int i) {
                    if (i % 3 == 0) Yield();
                    return i;
                  },
                  in),
              in);
  }
}

// --- types ---

TEST_F(IMapTest, TakesAnyRange) {
  Group group;
  const auto twice = [](int i) { return 2 * i; };
  EXPECT_THAT(group.Map(twice, std::list<int>{1, 2}), ElementsAre(2, 4));
#if !defined(__clang__) || __clang_major__ >= 16  // which do not take libstdc++'s views
  EXPECT_THAT(group.Map(twice, std::views::iota(1, 4)), ElementsAre(2, 4, 6));
#endif
  const int array[] = {5, 6};
  EXPECT_THAT(group.Map(twice, array), ElementsAre(10, 12));
  Numbers numbers(3, [](int) {});
  EXPECT_THAT(group.Map(twice, numbers), ElementsAre(0, 2, 4));
}

TEST_F(IMapTest, ItemsOfAContainerAreNotCopied) {
  Group group;
  std::vector<std::unique_ptr<int>> items;
  for (int i = 0; i < 3; ++i) items.push_back(std::make_unique<int>(i));
  EXPECT_THAT(group.Map([](std::unique_ptr<int>& p) { return p.get(); }, items),
              ElementsAre(items[0].get(), items[1].get(), items[2].get()));
  EXPECT_THAT(
      group.Map([](const std::unique_ptr<int>& p) { return *p; }, std::move(items)),
      ElementsAre(0, 1, 2));
}

TEST_F(IMapTest, ResultsMayBeMoveOnly) {
  Group group;
  const auto results =
      group.Map([](int i) { return std::make_unique<int>(i); }, Count(0, 3));
  EXPECT_EQ(*results[2], 2);
}

TEST_F(IMapTest, FunctionsMayReturnNothing) {
  Pool pool(2);
  int sum = 0;
  pool.Map([&](int i) { sum += i; }, std::vector{1, 2, 3});
  auto results = pool.IMap([&](int i) { sum += i; }, std::vector{4, 5});
  EXPECT_TRUE(results.Next());
  EXPECT_TRUE(results.Next());
  EXPECT_FALSE(results.Next());
  EXPECT_EQ(sum, 15);
  EXPECT_TRUE(pool.MapAsync([&](int i) { sum += i; }, std::vector{5}).Get().ok());
  EXPECT_EQ(sum, 20);
}

TEST_F(IMapTest, MembersAreFunctionsToo) {
  Group group;
  EXPECT_THAT(group.Map(&std::string::size, std::vector<std::string>{"a", "bcd"}),
              ElementsAre(1, 3));
}

// --- laziness and back-pressure (PL-10) ---

TEST_F(IMapTest, NothingRunsBeforeTheFirstResultIsAskedFor) {
  Pool pool(2);
  bool ran = false;
  auto results = pool.IMap([&](int i) { return ran = true, i; }, std::vector{1, 2});
  Sleep(absl::Seconds(1));
  EXPECT_FALSE(ran);
  EXPECT_EQ(results.Next(), 1);
}

TEST_F(IMapTest, WorkGoesOnWhileTheCallerUsesAResult) {
  Pool pool(1);
  auto results = pool.IMap(&SleepSoLong, std::vector{1, 1, 1, 1});
  EXPECT_EQ(results.Next(), 1);
  Sleep(absl::Seconds(10));
  const absl::Duration before = Elapsed();
  while (results.Next()) {
  }
  EXPECT_EQ(Elapsed(), before) << "all were ready";
}

TEST_F(IMapTest, MaxBufferedBoundsWhatIsStartedAndNotTaken) {
  for (const bool ordered : {true, false}) {
    for (const size_t limit : {1, 2, 3, 5}) {
      Pool pool(10);
      size_t started = 0, taken = 0;
      const auto work = [&](int i) {
        ++started;
        EXPECT_LE(started - taken, limit);
        Yield();
        return i;
      };
      const auto consume = [&](auto results) {
        while (results->Next()) {
          ++taken;
          Sleep(absl::Seconds(1));
          EXPECT_EQ(started, std::min<size_t>(taken + limit, 10)) << "and goes that far";
        }
      };
      const auto items = Count(0, 10);
      using Options = IMapOptions;
      if (ordered) {
        auto results = pool.IMap(work, items, Options{.max_buffered = limit});
        consume(&results);
      } else {
        auto results = pool.IMapUnordered(work, items, Options{.max_buffered = limit});
        consume(&results);
      }
      EXPECT_EQ(taken, 10u);
    }
  }
}

TEST_F(IMapTest, AnEndlessRangeIsUsedAsFarAsNeeded) {
  Pool pool(2);
  int sum = 0;
  Numbers endless(std::numeric_limits<int>::max(), [](int) {});
  for (const int i : pool.IMap([](int n) { return n; }, endless, {.max_buffered = 4})) {
    if (i == 10) break;
    sum += i;
  }
  EXPECT_EQ(sum, 45);
  EXPECT_TRUE(pool.empty());
}

TEST_F(IMapTest, AMembersEndlessRangeIsUsedAsFarAsNeeded) {
  Group group;
  Numbers endless(std::numeric_limits<int>::max(), [](int) {});
  int taken = 0;
  const auto g = group.Spawn([&] {
    for (const int i : group.IMap([](int n) { return n; }, endless)) {
      EXPECT_EQ(i, taken);
      if (++taken == 10) break;
    }
  });
  EXPECT_TRUE(g.Join(absl::Minutes(1)));
  EXPECT_EQ(taken, 10);
  EXPECT_LT(group.size(), 10'000u);
}

TEST_F(IMapTest, SeveralShareAPool) {
  Pool pool(2);
  int now = 0, most = 0;
  const auto work = [&](int i) {
    most = std::max(most, ++now);
    Sleep(absl::Seconds(1));
    --now;
    return i;
  };
  auto a = pool.IMap(work, Count(0, 10)), b = pool.IMap(work, Count(10, 20));
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(a.Next(), i);
    EXPECT_EQ(b.Next(), i + 10);
  }
  EXPECT_EQ(most, 2);
}

TEST_F(IMapTest, ARangeMayBlock) {
  Pool pool(2);
  Numbers slow(3, [](int) { Sleep(absl::Seconds(1)); });
  EXPECT_THAT(pool.Map([](int i) { return i; }, slow), ElementsAre(0, 1, 2));
}

// --- errors ---

int FailAtTwo(int i) {
  Sleep(absl::Milliseconds(1));
  if (i == 2) throw std::runtime_error("two");
  return i;
}

TEST_F(IMapTest, AnErrorIsThrownAtItsPlaceAndTheRestFollows) {
  for (const int64_t size : {1, 2, 10}) {
    Pool pool(size);
    auto results = pool.IMap(&FailAtTwo, Count(0, 5));
    EXPECT_EQ(results.Next(), 0);
    EXPECT_EQ(results.Next(), 1);
    EXPECT_THROW(results.Next(), std::runtime_error);
    EXPECT_EQ(results.Next(), 3);
    EXPECT_EQ(results.Next(), 4);
    EXPECT_EQ(results.Next(), std::nullopt);
    EXPECT_EQ(results.Next(), std::nullopt);
  }
}

TEST_F(IMapTest, AnIteratorGoesOnBehindAnError) {
  Pool pool(2);
  auto results = pool.IMap(&FailAtTwo, Count(1, 4));
  auto at = results.begin();
  EXPECT_EQ(*at, 1);
  EXPECT_THROW(++at, std::runtime_error);
  ++at;
  EXPECT_EQ(*at, 3);
  ++at;
  EXPECT_TRUE(at == results.end());
}

TEST_F(IMapTest, UnorderedErrorsComeAsTheyAreReady) {
  Pool pool(5);
  auto results = pool.IMapUnordered(&FailAtTwo, Count(0, 5));
  int good = 0, bad = 0;
  for (int i = 0; i < 5; ++i) {
    try {
      good += results.Next().has_value();
    } catch (const std::runtime_error&) {
      ++bad;
    }
  }
  EXPECT_EQ(good, 4);
  EXPECT_EQ(bad, 1);
  EXPECT_EQ(results.Next(), std::nullopt);
}

TEST_F(IMapTest, AResultWhoseCopyThrowsHasBeenTaken) {
  struct Copied {
    explicit Copied(int i) : n(i) {}
    Copied(const Copied& other) : n(other.n) {
      if (n == -2) throw std::runtime_error("no copy");
    }
    int n;
  };
  Group group;
  for (const bool ordered : {true, false}) {
    const std::vector<int> items = {1, 2, 3};
    // Made in its place; what takes it out copies it.
    const auto make = [](int i) { return Copied(i == 2 ? -2 : i); };
    std::vector<int> seen;
    const auto take_all = [&](auto results) {
      for (;;) {
        try {
          const auto next = results.Next();
          if (!next) return;
          seen.push_back(next->n);
        } catch (const std::runtime_error&) {
          seen.push_back(0);
        }
      }
    };
    if (ordered) {
      take_all(group.IMap(make, items));
    } else {
      take_all(group.IMapUnordered(make, items));
    }
    EXPECT_THAT(seen, ElementsAre(1, 0, 3));
  }
}

TEST_F(IMapTest, MapThrowsTheFirstErrorAndEndsTheRest) {
  Pool pool(3);
  EXPECT_THROW(pool.Map(
                   [](int i) {
                     if (i == 1) throw std::runtime_error("one");
                     SleepSoLong(i == 0 ? 1 : 1000);
                   },
                   Count(0, 3)),
               std::runtime_error);
  EXPECT_LT(Elapsed(), absl::Seconds(2));
  EXPECT_TRUE(pool.empty());
  EXPECT_THROW(*pool.MapAsync(&FailAtTwo, std::vector{2}).Get(), std::runtime_error);
}

TEST_F(IMapTest, AnErrorOfTheItemsReachesTheConsumerBehindTheOthers) {
  for (const bool ordered : {true, false}) {
    Pool pool(2);
    const auto check = [&](auto& results) {
      EXPECT_TRUE(results.Next());
      EXPECT_TRUE(results.Next());
      EXPECT_TRUE(results.Next());
      try {
        results.Next();
        FAIL();
      } catch (const std::runtime_error& e) {
        EXPECT_STREQ(e.what(), "no more");
      }
      EXPECT_FALSE(results.Next()) << "once";
    };
    Numbers numbers(3, FailBefore<std::runtime_error>(3));
    if (ordered) {
      auto results = pool.IMap(&SleepSoLong, numbers);
      check(results);
    } else {
      auto results = pool.IMapUnordered(&SleepSoLong, numbers);
      check(results);
    }
  }
  Group group;
  Numbers bad(1, FailBefore<std::logic_error>(1));
  EXPECT_THROW(group.Map([](int i) { return i; }, bad), std::logic_error);
}

TEST_F(IMapTest, ErrorsAreNotReportedAsUnhandled) {
  int reported = 0;
  SetErrorHandler([&](const UnhandledException&) { ++reported; });
  Pool pool(2);
  EXPECT_THROW(pool.Map(&FailAtTwo, std::vector{2}), std::runtime_error);
  EXPECT_EQ(reported, 0);
}

// --- kills ---

TEST_F(IMapTest, ResultsOfKilledItemsAreErrors) {
  Pool pool(2);
  Spawn([&] {
    Sleep(absl::Seconds(1));
    for (const AnyGreenlet& g : pool.Greenlets()) g.KillSoon();
  });
  auto results = pool.IMap(
      [](int i) {
        Sleep(i < 2 ? absl::InfiniteDuration() : absl::ZeroDuration());
        return i;
      },
      Count(0, 4));
  try {
    results.Next();
    FAIL();
  } catch (const ItemKilled& e) {
    EXPECT_THAT(e.what(), HasSubstr("was killed"));
  }
  EXPECT_THROW(results.Next(), ItemKilled);
  EXPECT_EQ(results.Next(), 2);
  EXPECT_EQ(results.Next(), 3);
  EXPECT_EQ(results.Next(), std::nullopt);
}

TEST_F(IMapTest, AKillOfThePoolAlsoKillsWhatIsStartedMeanwhile) {
  Pool pool(2);
  Spawn([&] {
    Sleep(absl::Seconds(1));
    pool.Kill();
  });
  auto results = pool.IMap([](int) { SleepForEver(); }, Count(0, 5));
  for (int i = 0; i < 5; ++i) EXPECT_THROW(results.Next(), ItemKilled);
  EXPECT_FALSE(results.Next());
}

TEST_F(IMapTest, LeavingEarlyEndsWhatWasStarted) {
  Pool pool(3);
  int alive = 0;
  struct Alive {
    explicit Alive(int* count) : n(count) { ++*n; }
    ~Alive() { --*n; }
    int* n;
  };
  for (const int i : pool.IMap(
           [&](int n) {
             const Alive a(&alive);
             if (n > 0) SleepForEver();
             return n;
           },
           Count(0, 100))) {
    EXPECT_EQ(i, 0);
    EXPECT_GT(alive, 0);
    break;
  }
  EXPECT_EQ(alive, 0);
  EXPECT_TRUE(pool.empty());
  EXPECT_EQ(pool.waiting(), 0);
  EXPECT_EQ(LiveGreenlets(), 0u);
}

TEST_F(IMapTest, AKillOfTheConsumerEndsAll) {
  Pool pool(2);
  const auto consumer = Spawn([&] {
    pool.Map([](int) { SleepForEver(); }, std::vector{1, 2, 3});
  });
  Sleep(absl::Seconds(1));
  EXPECT_EQ(pool.size(), 2u);
  consumer.Kill();
  EXPECT_TRUE(consumer.killed());
  EXPECT_EQ(LiveGreenlets(), 0u);
  const auto async = pool.MapAsync([](int) { SleepForEver(); }, std::vector{1, 2, 3});
  Sleep(absl::Seconds(1));
  async.Kill();
  EXPECT_EQ(LiveGreenlets(), 0u);
}

TEST_F(IMapTest, AnOutersTimeoutPassesThroughAndEndsAll) {
  Pool pool(2);
  const auto status = WithTimeout(absl::Seconds(1), [&] {
    pool.Map([](int) { SleepForEver(); }, std::vector{1, 2, 3});
  });
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(LiveGreenlets(), 0u);
}

TEST_F(IMapTest, AfterATimeoutTheResultsAreStillThere) {
  Pool pool(2);
  auto results = pool.IMap(&SleepSoLong, std::vector{5, 1});
  EXPECT_FALSE(WithTimeout(absl::Seconds(1), [&] { results.Next(); }).ok());
  EXPECT_EQ(results.Next(), 5);
  EXPECT_EQ(results.Next(), 1);
}

TEST_F(IMapTest, AWorkerThatRefusesToEndIsWaitedFor) {
  Pool pool(1);
  {
    auto results = pool.IMap(
        [](int) {
          Shield shield;
          Sleep(absl::Seconds(10));
          return 1;
        },
        std::vector{1});
    EXPECT_FALSE(WithTimeout(absl::Seconds(1), [&] { results.Next(); }).ok());
  }
  EXPECT_GE(Elapsed(), absl::Seconds(10));
}

// --- a member that maps over its own pool ---

TEST_F(IMapTest, AMemberOfAFullPoolMayMap) {
  for (const int64_t size : {1, 2, 5}) {
    Pool pool(size);
    int now = 0, most = 0;
    const auto work = [&](int i) {
      most = std::max(most, ++now);
      Sleep(absl::Milliseconds(1));
      --now;
      return i;
    };
    std::vector<Greenlet<std::vector<int>>> all;
    for (int i = 0; i < 10; ++i) {
      all.push_back(pool.Spawn([&] {
        return pool.Map(work, std::vector{1, 2, 3, 4, 5, 6});
      }));
    }
    for (auto& g : all) EXPECT_THAT(*g.Get(), ElementsAre(1, 2, 3, 4, 5, 6));
    EXPECT_LE(most, size);
    EXPECT_TRUE(pool.empty());
  }
}

TEST_F(IMapTest, AMemberMapsSideBySideWhileThereIsRoom) {
  Pool pool(10);
  pool.Spawn([&] {
        EXPECT_THAT(pool.Map(&SleepSoLong, std::vector{3, 2, 1}), ElementsAre(3, 2, 1));
        EXPECT_THAT(ToVector(pool.IMapUnordered(&SleepSoLong, std::vector{3, 1, 2})),
                    ElementsAre(1, 2, 3));
      })
      .Join();
  EXPECT_LT(Elapsed(), absl::Seconds(7));
}

TEST_F(IMapTest, ForAMemberToo) {
  Pool pool(1);
  const auto g = pool.Spawn([&] {
    auto results = pool.IMap(&FailAtTwo, Count(1, 4), {.max_buffered = 1});
    EXPECT_EQ(results.Next(), 1);
    EXPECT_THROW(results.Next(), std::runtime_error);
    EXPECT_EQ(results.Next(), 3);
    EXPECT_EQ(results.Next(), std::nullopt);
    Numbers bad(2, FailBefore<std::logic_error>(2));
    auto more = pool.IMap([](int) {}, bad);
    EXPECT_TRUE(more.Next());
    EXPECT_TRUE(more.Next());
    EXPECT_THROW(more.Next(), std::logic_error);
    EXPECT_FALSE(more.Next());
  });
  g.Join();
  EXPECT_TRUE(g.successful());
}

// --- MapAsync (PL-9) ---

TEST_F(IMapTest, MapAsyncDoesNotBlockAndCallsBack) {
  Pool pool(2);
  std::vector<int> got;
  const auto g = pool.MapAsync(&SleepSoLong, std::vector{2, 1},
                               [&](const std::vector<int>& all) { got = all; });
  EXPECT_EQ(Elapsed(), absl::ZeroDuration());
  EXPECT_THAT(*g.Get(), ElementsAre(2, 1));
  JoinHub();
  EXPECT_THAT(got, ElementsAre(2, 1));
}

using IMapDeathTest = IMapTest;

TEST_F(IMapDeathTest, RoomForNoResultIsFatal) {
  Pool pool(1);
  EXPECT_DEATH(pool.IMap(&SleepSoLong, std::vector{1}, {.max_buffered = 0}),
               "with room for no result");
}

}  // namespace
}  // namespace grove
