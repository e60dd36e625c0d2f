#include "grove/net/libc_resolver.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <memory>
#include <string>

#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/green/thread_pool.h"
#include "grove/sync/event.h"

// That libc looks names up is libc's business, and libc_differential_test's; here is what
// becomes of those who wait.
namespace grove::net {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

class LibcResolverTest : public GreenletTest {
 protected:
  GreenletTestOptions Options() const override {
    GreenletTestOptions options;
    options.clock = Clock::Real();
    options.check_descriptors = false;  // the pool's threads
    return options;
  }
};

Question Hosts(const char* name) { return {Question::Type::kHost, name}; }

GREENLET_TEST_F(LibcResolverTest, ThreadsAskLibc) {
  ThreadPool pool({.name = "dns"});
  ThreadedResolver resolver(&pool);
  // Numeric, which libc answers without anybody's help.
  const auto answer = resolver.Resolve(Hosts("127.0.0.1"), {});
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_THAT(answer->host.addresses, Contains(Address::Loopback(0)));
  EXPECT_EQ(answer->host.ttl, absl::InfiniteDuration());
  EXPECT_GT(pool.size(), 0);
}

GREENLET_TEST_F(LibcResolverTest, BlockingAsksLibcRightHere) {
  BlockingResolver resolver;
  const auto answer = resolver.Resolve(Hosts("127.0.0.1"), {});
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_THAT(answer->host.addresses, Contains(Address::Loopback(0)));
  const absl::Status bad = resolver.Resolve(Hosts("a..b"), {}).status();
  EXPECT_FALSE(bad.ok());
  EXPECT_THAT(std::string(bad.message()), HasSubstr("a..b"));
}

// One thread, which is busy: what is asked cannot begin.
class BusyPoolTest : public GreenletTest {
 protected:
  GreenletTestOptions Options() const override {
    GreenletTestOptions options;
    options.check_descriptors = false;
    options.loop_exit = LoopExitPolicy::kNever;
    return options;
  }
  void SetUp() override {
    pool_ =
        std::make_unique<ThreadPool>(ThreadPoolOptions{.name = "dns", .max_threads = 1});
    busy_ = pool_->Spawn([free = free_.get_future()] { free.wait(); });
  }
  void TearDown() override {
    free_.set_value();
    busy_.Join();
    busy_ = {};
    pool_ = nullptr;
  }
  std::unique_ptr<ThreadPool> pool_;
  std::promise<void> free_;
  PoolTask<void> busy_;
};

GREENLET_TEST_F(BusyPoolTest, ADeadlineEndsTheWait) {
  ThreadedResolver resolver(pool_.get());
  const absl::Status late =
      resolver.Resolve(Hosts("127.0.0.1"), absl::Seconds(5)).status();
  EXPECT_EQ(LookupFailureOf(late), LookupFailure::kTimeout) << late;
  EXPECT_TRUE(HasTaken(absl::Seconds(5)));
  EXPECT_EQ(pool_->unfinished(), 1u);  // it was called off
}

GREENLET_TEST_F(BusyPoolTest, AKillEndsTheWait) {
  ThreadedResolver resolver(pool_.get());
  const Greenlet<> g = Spawn([&] {
    resolver.Resolve(Hosts("127.0.0.1"), {}).IgnoreError();
    ADD_FAILURE() << "the kill was not thrown";
  });
  while (pool_->unfinished() < 2) Yield();
  g.Kill();
  EXPECT_EQ(pool_->unfinished(), 1u);
}

}  // namespace
}  // namespace grove::net
