#include "grove/green/dump.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "grove/green/greenlet.h"
#include "grove/green/sleep.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/sync/mutex.h"
#include "grove/sync/rw_lock.h"

// What dumps say of locks.
namespace grove {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class LockDumpTest : public GreenletTest {
 protected:
  // The symbolizer keeps the files of the program open.
  GreenletTestOptions Options() const override { return {.check_descriptors = false}; }
};

GREENLET_TEST_F(LockDumpTest, MarkACycleOfTwoMutexes) {
  Mutex left;
  Mutex right;
  // Without deadlines the second one's lock would be a fatal error.
  const auto lock_both = [](Mutex& first, Mutex& second) {
    first.lock();
    Yield();
    EXPECT_FALSE(second.try_lock_until(absl::Hours(1)));
    first.unlock();
  };
  const auto a = Spawn({.name = "a"}, [&] { lock_both(left, right); });
  const auto b = Spawn({.name = "b"}, [&] { lock_both(right, left); });
  const auto outside = Spawn({.name = "outside"}, [&] {
    left.lock();
    left.unlock();
  });
  Sleep(absl::Minutes(1));
  const std::string dump = DumpHub();
  ASSERT_THAT(dump, HasSubstr("\ncycle:\n"));
  const std::string cycles = dump.substr(dump.find("\ncycle:\n"));
  const std::string cycle = cycles.substr(0, cycles.find("\nspawn tree:"));
  EXPECT_THAT(cycle, HasSubstr("\n  greenlet 'a' (#"));
  EXPECT_THAT(cycle, HasSubstr("\n  greenlet 'b' (#"));
  EXPECT_THAT(cycle, HasSubstr(" waits for Mutex "));
  EXPECT_EQ(std::count(cycle.begin(), cycle.end(), '\n'), 3);  // and one cycle only
  a.Join();
  b.Join();
  outside.Join();
}

GREENLET_TEST_F(LockDumpTest, WithoutACycleNoneIsMarked) {
  Mutex mutex;
  RWLock rw;
  mutex.lock();
  rw.lock();
  const auto a = Spawn([&] {
    mutex.lock();
    mutex.unlock();
  });
  const auto b = Spawn([&] {
    rw.lock_shared();
    rw.unlock_shared();
  });
  Yield();
  const std::string dump = DumpHub();
  EXPECT_THAT(dump, HasSubstr("waits for Mutex"));
  EXPECT_THAT(dump, HasSubstr("waits for RWLock"));
  EXPECT_THAT(dump, Not(HasSubstr("cycle")));
  rw.unlock();
  mutex.unlock();
  a.Join();
  b.Join();
}

}  // namespace
}  // namespace grove
