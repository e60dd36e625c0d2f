#ifndef GROVE_GREEN_TESTING_GREENLET_TEST_H_
#define GROVE_GREEN_TESTING_GREENLET_TEST_H_

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "absl/functional/function_ref.h"
#include "absl/time/time.h"
#include "grove/green/hub_scope.h"
#include "grove/green/spawn_site.h"
#include "grove/hub/hub.h"

// GoogleTests whose bodies run in greenlets. Each has a fresh hub on a manual clock, on
// which an hour passes in no time; what it leaves behind is a failure, and so is a
// deadlock, at once. docs/testing.md is the guide.
//
//   GREENLET_TEST(Cache, AnEntryExpires) {
//     Cache cache({.ttl = absl::Hours(1)});
//     cache.Put("key", "value");
//     Sleep(absl::Hours(2));
//     EXPECT_EQ(cache.Get("key"), std::nullopt);
//   }
//
// The environment explores the orders in which greenlets could have run:
//
//   GROVE_TEST_SEEDS=1000  each body runs on hubs with the seeds 1 to 1000, until one
//   fails GROVE_TEST_SEED=17     each body runs with that seed, exactly as it did then
//
// A failure names its seed, and the line that replays it.
namespace grove {

namespace testing_internal {
class OpenDescriptors;
}

// GreenletTestOptions
struct GreenletTestOptions {
  // The hub's clock; null: a ManualClock of the test's own.
  Clock* clock = nullptr;
  // By default a hub that has nothing left to wait for is a deadlock. While another
  // thread is to post something, hold a KeepAlive. Where that cannot be done, say kNever:
  // a deadlock is then seen only when the time limit ends the process.
  LoopExitPolicy loop_exit = LoopExitPolicy::kAlways;
  // As in HubOptions.
  absl::Duration slice = absl::Milliseconds(1);
  int operations_per_turn = 64;
  // Of real time, for one run of the body with what belongs to it: the process dies after
  // it, and says which test it was and who waits on what. Decides nothing else.
  absl::Duration time_limit = absl::Seconds(60);
  // Of the greenlet that runs the body; 0 is the default for greenlets.
  size_t stack_size = size_t{1} << 20;
  // Whether descriptors that are left open are a failure. Other threads that open some
  // meanwhile are a reason not to look.
  bool check_descriptors = true;
};

// GreenletTest
//
// The base of fixtures for GREENLET_TEST_F, and the fixture of each GREENLET_TEST.
//
//   class CacheTest : public GreenletTest {
//    protected:
//     void SetUp() override { server_ = Spawn([this] { Serve(); }); }
//     void TearDown() override { server_.Kill(); }
//     Greenlet<> server_;
//   };
//   GREENLET_TEST_F(CacheTest, AnEntryExpires) { ... }
//
// In this order: the fixture is constructed, without a hub; the hub is made; SetUp(), the
// body and TearDown() run, each in a greenlet of its own; what is left is a failure, and
// ended; the hub ends; the fixture is destroyed. So members may be what greenlets refer
// to, and what needs a hub is made in SetUp(). Under several seeds each run has a fixture
// of its own.
//
// After TearDown(), what is ready still runs; time stands still. A failure is then
// - a greenlet that is still alive (it is killed),
// - a waker, watcher or timer that is still registered on the hub,
// - once the fixture is gone, a stack that is still in use: a handle to a greenlet that
//   has ended, somewhere,
// - in the end, a descriptor that is open and was not before.
// So is an exception that leaves one of the three functions, or a kill that ends it; and
// what could never go on, with who waits on what (LoopExit), which ends that function.
//
// Threads: the test's. HubGroups and threads may be started in a body; end them there.
class GreenletTest : public ::testing::Test {
 public:
  ~GreenletTest() override;

 protected:
  GreenletTest();

  // GreenletTest::Options()
  //
  // Asked before each run.
  virtual GreenletTestOptions Options() const { return {}; }

  // The manual clock, unless Options() names another.
  ManualClock& clock() { return clock_; }
  Hub& hub() { return ThisHub(); }
  // What the hub runs with, if anything.
  std::optional<uint64_t> seed() const { return ThisHub().options().seed; }

  // GreenletTest::Elapsed()
  //
  // The time on the hub's clock since the hub was made.
  absl::Duration Elapsed() const { return absl::Nanoseconds(ThisHub().Now() - start_); }

  // GreenletTest::HasTaken()
  //
  // Whether Elapsed() is `expected`, to 10 us: each timer is rounded up to its slot of a
  // microsecond.
  bool HasTaken(absl::Duration expected) const {
    return Elapsed() >= expected && Elapsed() <= expected + absl::Microseconds(10);
  }

 private:
  // For the macros.
  virtual void SetUpInGreenlet() = 0;
  virtual void BodyInGreenlet() = 0;
  virtual void TearDownInGreenlet() = 0;
  virtual std::unique_ptr<GreenletTest> MakeAnother() const = 0;
  virtual SpawnSite Site() const = 0;

  void TestBody() final;
  void RunOnce(std::optional<uint64_t> seed);

  ManualClock clock_;
  MonotonicNanos start_ = 0;
  SpawnSite site_;
  bool check_descriptors_ = true;
  // Of the object that GoogleTest has made, and not of those for single seeds.
  std::unique_ptr<testing_internal::OpenDescriptors> descriptors_;
  size_t stacks_ = 0;
};

// ForEachSeed()
//
// Runs `body` on fresh hubs with the seeds 1 to `count`, as a GREENLET_TEST's body would
// run, until one of them fails. For tests that are about order. In a plain TEST, since
// there may be no hub on this thread yet.
//
//   TEST(Counter, NoUpdateIsLost) {
//     ForEachSeed(1000, [] {
//       Counter counter;
//       const Greenlet<> a = Spawn([&] { counter.Increment(); });
//       const Greenlet<> b = Spawn([&] { counter.Increment(); });
//       a.Join();
//       b.Join();
//       EXPECT_EQ(counter.value(), 2);
//     });
//   }
//
// GROVE_TEST_SEEDS replaces `count`, and GROVE_TEST_SEED runs that seed alone. The time
// limit is for each seed; open descriptors are looked at once, in the end. What a body
// draws by lot should be seeded by *ThisHub().options().seed.
//
// Blocks: the thread, until all have run.
void ForEachSeed(uint64_t count, absl::FunctionRef<void()> body,
                 const GreenletTestOptions& options = {},
                 SpawnSite site = SpawnSite::Here());

}  // namespace grove

// GREENLET_TEST()
//
// As TEST(). Both may be in one suite.
#define GREENLET_TEST(Suite, Name) \
  GROVE_GREENLET_TEST(Suite, Name, ::grove::GreenletTest, ::testing::Test)

// GREENLET_TEST_F()
//
// As TEST_F(), for a fixture that derives from GreenletTest. Its SetUp() and TearDown()
// must not be private.
#define GREENLET_TEST_F(Fixture, Name) \
  GROVE_GREENLET_TEST(Fixture, Name, Fixture, Fixture)

#define GROVE_GREENLET_TEST(Suite, Name, Base, GtestFixture)                    \
  class Suite##_##Name##_GreenletTest final : public Base {                     \
    /* GoogleTest's own calls, outside of the greenlet. */                      \
    void SetUp() override {}                                                    \
    void TearDown() override {}                                                 \
                                                                                \
    void SetUpInGreenlet() override { Base::SetUp(); }                          \
    void BodyInGreenlet() override;                                             \
    void TearDownInGreenlet() override { Base::TearDown(); }                    \
    ::std::unique_ptr<::grove::GreenletTest> MakeAnother() const override {     \
      return ::std::make_unique<Suite##_##Name##_GreenletTest>();               \
    }                                                                           \
    ::grove::SpawnSite Site() const override { return {__FILE__, __LINE__}; }   \
                                                                                \
    static ::testing::TestInfo* const kInfo;                                    \
  };                                                                            \
  ::testing::TestInfo* const Suite##_##Name##_GreenletTest::kInfo =             \
      ::testing::RegisterTest(                                                  \
          #Suite, #Name, nullptr, nullptr, __FILE__, __LINE__,                  \
          []() -> GtestFixture* { return new Suite##_##Name##_GreenletTest; }); \
  void Suite##_##Name##_GreenletTest::BodyInGreenlet()

#endif  // GROVE_GREEN_TESTING_GREENLET_TEST_H_
