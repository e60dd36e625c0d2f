#include "grove/net/caching_resolver.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "grove/green/deadline_scope.h"
#include "grove/green/greenlet.h"
#include "grove/green/sleep.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/green/wait.h"
#include "grove/net/testing/fake_resolver.h"

namespace grove::net {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

// A fake whose generation can be changed.
class ChangingResolver final : public Resolver {
 public:
  absl::StatusOr<Answer> Resolve(const Question& question, Deadline deadline) override {
    return fake.Resolve(question, deadline);
  }
  uint64_t Generation() override { return generation; }
  std::string Describe() const override { return fake.Describe(); }

  FakeResolver fake;
  uint64_t generation = 0;
};

class CachingResolverTest : public GreenletTest {
 protected:
  CachingResolverTest() {
    fake_->AddHost("a.test", {"192.0.2.1"}, absl::Seconds(60));
    fake_->AddHost("b.test", {"192.0.2.2"}, absl::Seconds(60));
    fake_->AddHost("c.test", {"192.0.2.3"}, absl::Seconds(60));
  }

  CachingResolver& Cache(CachingResolverOptions options = {}) {
    cache_ = std::make_unique<CachingResolver>(std::move(inner_), options);
    return *cache_;
  }

  std::unique_ptr<ChangingResolver> inner_ = std::make_unique<ChangingResolver>();
  ChangingResolver* const changing_ = inner_.get();
  FakeResolver* const fake_ = &inner_->fake;
  std::unique_ptr<CachingResolver> cache_;
};

GREENLET_TEST_F(CachingResolverTest, RemembersForAsLongAsTheAnswerSays) {
  CachingResolver& cache = Cache();
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(cache.LookupHost("a.test").ok());
  Sleep(absl::Seconds(59));
  const auto host = cache.LookupHost("A.test");
  ASSERT_TRUE(host.ok());
  EXPECT_EQ(host->addresses[0].ip(), "192.0.2.1");
  EXPECT_EQ(fake_->asks(), 1);
  Sleep(absl::Seconds(2));
  EXPECT_TRUE(cache.LookupHost("a.test").ok());
  EXPECT_EQ(fake_->asks(), 2);
  EXPECT_EQ(cache.statistics().hits, 3u);
  EXPECT_EQ(cache.statistics().misses, 2u);
}

GREENLET_TEST_F(CachingResolverTest, BoundsHowLongAnAnswerIsKept) {
  fake_->AddHost("long.test", {"192.0.2.9"}, absl::InfiniteDuration());
  CachingResolver& cache = Cache({.max_ttl = absl::Minutes(5)});
  EXPECT_TRUE(cache.LookupHost("long.test").ok());
  Sleep(absl::Minutes(6));
  EXPECT_TRUE(cache.LookupHost("long.test").ok());
  EXPECT_EQ(fake_->asks(), 2);
}

GREENLET_TEST_F(CachingResolverTest, AnOldAnswerMayBeOfAnyAge) {
  CachingResolver& cache = Cache({.stale_on_error = absl::InfiniteDuration()});
  EXPECT_TRUE(cache.LookupHost("a.test").ok());
  fake_->Fail("a.test", LookupError(LookupFailure::kUnreachable, "away"));
  Sleep(absl::Hours(24 * 365));
  EXPECT_TRUE(cache.LookupHost("a.test").ok());
  EXPECT_EQ(cache.statistics().stale, 1u);
}

GREENLET_TEST_F(CachingResolverTest, RemembersThatThereIsNothing) {
  const absl::Status gone = LookupError(LookupFailure::kNoSuchName, "gone");
  fake_->Fail("gone.test", WithNegativeTtl(gone, absl::Seconds(20)));
  fake_->Fail("bound.test", WithNegativeTtl(gone, absl::Hours(20)));
  CachingResolver& cache = Cache({.max_negative_ttl = absl::Seconds(60)});
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(LookupFailureOf(cache.LookupHost("gone.test").status()),
              LookupFailure::kNoSuchName);
    EXPECT_TRUE(absl::IsNotFound(cache.LookupHost("bound.test").status()));
  }
  EXPECT_EQ(fake_->asks(), 2);
  Sleep(absl::Seconds(21));
  EXPECT_FALSE(cache.LookupHost("gone.test").ok());
  EXPECT_FALSE(cache.LookupHost("bound.test").ok());
  EXPECT_EQ(fake_->asks("gone.test"), 2);
  EXPECT_EQ(fake_->asks("bound.test"), 1);
  Sleep(absl::Seconds(61));
  EXPECT_FALSE(cache.LookupHost("bound.test").ok());
  EXPECT_EQ(fake_->asks("bound.test"), 2);
}

GREENLET_TEST_F(CachingResolverTest, DoesNotRememberWhatIsNotCertain) {
  fake_->Fail("a.test", LookupError(LookupFailure::kServerFailed, "down"));
  CachingResolver& cache = Cache();
  EXPECT_TRUE(absl::IsUnavailable(cache.LookupHost("a.test").status()));
  fake_->Fail("a.test", absl::OkStatus());
  EXPECT_TRUE(cache.LookupHost("a.test").ok());
  EXPECT_EQ(fake_->asks(), 2);
}

GREENLET_TEST_F(CachingResolverTest, DoesNotRememberWhatIsGoodForNoTime) {
  fake_->AddHost("now.test", {"192.0.2.9"}, absl::ZeroDuration());
  CachingResolver& cache = Cache();
  EXPECT_TRUE(cache.LookupHost("now.test").ok());
  EXPECT_TRUE(cache.LookupHost("now.test").ok());
  EXPECT_EQ(fake_->asks(), 2);
  EXPECT_EQ(cache.statistics().entries, 0u);
}

GREENLET_TEST_F(CachingResolverTest, AHundredWhoAskTheSameAreOneQuestion) {
  fake_->Delay("a.test", absl::Seconds(3));
  CachingResolver& cache = Cache();
  std::vector<Greenlet<bool>> asking;
  for (int i = 0; i < 100; ++i) {
    asking.push_back(Spawn([&] { return cache.LookupHost("a.test").ok(); }));
  }
  for (const Greenlet<bool>& g : asking) EXPECT_TRUE(*g.Get());
  EXPECT_EQ(fake_->asks(), 1);
  EXPECT_EQ(cache.statistics().shared, 99u);
  EXPECT_TRUE(HasTaken(absl::Seconds(3)));
}

GREENLET_TEST_F(CachingResolverTest, AKillIsNothingToTheOthers) {
  fake_->Delay("a.test", absl::Seconds(3));
  CachingResolver& cache = Cache();
  const Greenlet<bool> first = Spawn([&] { return cache.LookupHost("a.test").ok(); });
  const Greenlet<bool> second = Spawn([&] { return cache.LookupHost("a.test").ok(); });
  Sleep(absl::Seconds(1));
  first.Kill();
  EXPECT_TRUE(*second.Get());
  EXPECT_EQ(fake_->asks(), 1);
}

GREENLET_TEST_F(CachingResolverTest, TheDeadlineOfWhoBeganItIsNothingToTheOthers) {
  fake_->Delay("a.test", absl::Seconds(3));
  CachingResolver& cache = Cache();
  const Greenlet<> first = Spawn([&] {
    const absl::Status late =
        cache.LookupHost("a.test", {.deadline = absl::Seconds(1)}).status();
    EXPECT_TRUE(absl::IsDeadlineExceeded(late)) << late;
    EXPECT_EQ(LookupFailureOf(late), LookupFailure::kTimeout);
    EXPECT_THAT(std::string(late.message()), HasSubstr("a.test"));
    EXPECT_TRUE(HasTaken(absl::Seconds(1)));
  });
  const Greenlet<> scoped = Spawn([&] {
    const absl::Status late = WithDeadline(
        absl::Seconds(2), [&] { return cache.LookupHost("a.test").status(); });
    EXPECT_TRUE(absl::IsDeadlineExceeded(late)) << late;
  });
  const Greenlet<bool> last = Spawn([&] { return cache.LookupHost("a.test").ok(); });
  EXPECT_TRUE(*last.Get());
  EXPECT_EQ(fake_->asks(), 1);
  JoinAll({first, scoped});
}

GREENLET_TEST_F(CachingResolverTest, WhenNobodyWaitsAnyMoreItIsCalledOff) {
  fake_->Delay("a.test", absl::InfiniteDuration());
  CachingResolver& cache = Cache();
  const Greenlet<bool> g = Spawn([&] { return cache.LookupHost("a.test").ok(); });
  Sleep(absl::Seconds(1));
  EXPECT_EQ(fake_->waiting(), 1);
  g.Kill();
  Sleep(absl::Seconds(1));
  EXPECT_EQ(fake_->waiting(), 0);
  fake_->Delay("a.test", absl::ZeroDuration());
  EXPECT_TRUE(cache.LookupHost("a.test").ok());
  EXPECT_EQ(fake_->asks(), 2);
}

GREENLET_TEST_F(CachingResolverTest, KeepsWhatWasAskedForLast) {
  CachingResolver& cache = Cache({.max_entries = 2});
  for (const char* name : {"a.test", "b.test", "a.test", "c.test", "a.test"}) {
    EXPECT_TRUE(cache.LookupHost(name).ok());
  }
  EXPECT_EQ(fake_->asks("a.test"), 1);
  EXPECT_EQ(cache.statistics().entries, 2u);
  EXPECT_TRUE(cache.LookupHost("b.test").ok());
  EXPECT_EQ(fake_->asks("b.test"), 2);
}

GREENLET_TEST_F(CachingResolverTest, TellsQuestionsApart) {
  fake_->AddTxt("a.test", "text");
  fake_->AddName("192.0.2.1", "a.test");
  CachingResolver& cache = Cache();
  for (int i = 0; i < 2; ++i) {
    EXPECT_TRUE(cache.LookupHost("a.test").ok());
    EXPECT_TRUE(cache.LookupHost("a.test", {.family = AddressFamily::kV4}).ok());
    EXPECT_FALSE(cache.LookupHost("a.test", {.family = AddressFamily::kV6}).ok());
    EXPECT_THAT(*cache.LookupTxt("a.test"), SizeIs(1));
    EXPECT_THAT(*cache.LookupAddress(*Address::FromIp("192.0.2.1", 80)), SizeIs(1));
  }
  EXPECT_EQ(fake_->asks(), 5);
}

GREENLET_TEST_F(CachingResolverTest, ForgetsWhenSomethingHasChanged) {
  CachingResolver& cache = Cache();
  EXPECT_TRUE(cache.LookupHost("a.test").ok());
  ++changing_->generation;
  EXPECT_TRUE(cache.LookupHost("a.test").ok());
  EXPECT_EQ(fake_->asks(), 2);
}

GREENLET_TEST_F(CachingResolverTest, AnswersThatAreOnTheirWayWhenItChangesAreNotKept) {
  fake_->Delay("a.test", absl::Seconds(3));
  CachingResolver& cache = Cache();
  const Greenlet<bool> old = Spawn([&] { return cache.LookupHost("a.test").ok(); });
  Sleep(absl::Seconds(1));
  ++changing_->generation;
  const Greenlet<bool> young = Spawn([&] { return cache.LookupHost("a.test").ok(); });
  EXPECT_TRUE(*old.Get());
  EXPECT_TRUE(*young.Get());
  EXPECT_EQ(fake_->asks(), 2);
  EXPECT_TRUE(cache.LookupHost("a.test").ok());
  EXPECT_EQ(fake_->asks(), 2);  // what the second one has brought
}

GREENLET_TEST_F(CachingResolverTest, GivesAnOldAnswerForWantOfABetterOne) {
  CachingResolver& cache = Cache({.stale_on_error = absl::Hours(1)});
  EXPECT_TRUE(cache.LookupHost("a.test").ok());
  fake_->Fail("a.test", LookupError(LookupFailure::kServerFailed, "down"));
  Sleep(absl::Minutes(30));
  EXPECT_TRUE(cache.LookupHost("a.test").ok());
  EXPECT_EQ(cache.statistics().stale, 1u);
  Sleep(absl::Hours(1));
  EXPECT_TRUE(absl::IsUnavailable(cache.LookupHost("a.test").status()));
  fake_->Fail("a.test", LookupError(LookupFailure::kNoSuchName, "gone"));
  EXPECT_TRUE(absl::IsNotFound(cache.LookupHost("a.test").status()));
}

}  // namespace
}  // namespace grove::net
