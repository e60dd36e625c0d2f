#include "grove/green/dump.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "grove/green/call.h"
#include "grove/green/greenlet.h"
#include "grove/green/hub_group.h"
#include "grove/green/sleep.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/green/wait.h"
#include "grove/sync/barrier.h"
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
  const std::string cycle = dump.substr(dump.find("\ncycle:\n") + 1);
  EXPECT_THAT(cycle, HasSubstr("\n  greenlet 'a' (#"));
  EXPECT_THAT(cycle, HasSubstr("\n  greenlet 'b' (#"));
  EXPECT_THAT(cycle, HasSubstr(" waits for Mutex "));
  EXPECT_EQ(std::count(cycle.begin(), cycle.end(), '\n'), 3);  // and one cycle only
  a.Join();
  b.Join();
  outside.Join();
}

// What DumpAll() says from "cycle:" on, once it says so, with those words: hubs make
// their parts one by one.
std::string AwaitCycle(const std::vector<std::string>& words) {
  for (;;) {
    const std::string dump = DumpAll();
    const size_t at = dump.find("cycle:\n");
    if (at == std::string::npos) continue;
    const std::string cycle = dump.substr(at);
    if (std::all_of(words.begin(), words.end(), [&](const std::string& word) {
          return cycle.find(word) != std::string::npos;
        })) {
      return cycle;
    }
  }
}

// Each holds a mutex of its own hub and waits for the other's: neither hub sees the
// circle by itself.
GREENLET_TEST_F(LockDumpTest, MarkACycleOfTwoHubs) {
  HubGroup group({.hubs = 2, .pin = false});
  std::unique_ptr<Mutex> mutexes[2];
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(
        Call(group.handle(i), [&] { mutexes[i] = std::make_unique<Mutex>(); }).ok());
  }
  Barrier both_have_one(2);
  std::vector<Greenlet<void>> greenlets;
  for (int i = 0; i < 2; ++i) {
    const auto lock_both = [&, i] {
      const std::lock_guard own(*mutexes[i]);
      both_have_one.arrive_and_wait();
      const std::lock_guard others(*mutexes[1 - i]);
    };
    greenlets.push_back(
        *SpawnOn(group.handle(i), lock_both, {.name = i == 0 ? "a" : "b"}));
  }
  const std::string cycle =
      AwaitCycle({"\n  greenlet 'a' (#", "\n  greenlet 'b' (#", " waits for Mutex "});
  EXPECT_EQ(std::count(cycle.begin(), cycle.end(), '\n'), 3) << cycle;
  greenlets[0].Kill();
  JoinAll(greenlets);
}

// A call to another hub is waited for by who holds the lock that it wants.
GREENLET_TEST_F(LockDumpTest, MarkACycleThroughACall) {
  HubGroup group({.hubs = 1, .pin = false});
  Mutex mutex;
  const auto a = Spawn({.name = "a"}, [&] {
    const std::lock_guard lock(mutex);
    (void)Call(group.handle(0), [&] { const std::lock_guard same(mutex); });
  });
  const std::string cycle = AwaitCycle(
      {"\n  greenlet 'a' (#", " waits for a call to greenlet ", " waits for Mutex "});
  EXPECT_EQ(std::count(cycle.begin(), cycle.end(), '\n'), 3) << cycle;
  a.Kill();
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
