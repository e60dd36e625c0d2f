// What a hub that ends, and with it greenlets that were never told, leaves in the lines
// of objects: nothing that is given later is lost to them.
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <thread>

#include "absl/status/statusor.h"
#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/sleep.h"
#include "grove/green/wait.h"
#include "grove/hub/clock.h"
#include "grove/sync/async_result.h"
#include "grove/sync/condition_variable.h"
#include "grove/sync/event.h"
#include "grove/sync/hub_channel.h"
#include "grove/sync/mutex.h"
#include "grove/sync/queue.h"
#include "grove/sync/rw_lock.h"
#include "grove/sync/semaphore.h"
#include "grove/sync/sync_test_util.h"

namespace grove {
namespace {

using test_util::OnThread;
using test_util::Settle;

// No GREENLET_TEST: what never ends is never freed.
class HubEnd : public testing::Test {
 protected:
  ManualClock clock_;
  const HubScope scope_{{.clock = &clock_}};
};

// `wait` stands in line here, from a hub that ends with it. By then `object` says that it
// does: what is asked is answered behind what was sent before.
template <typename Wait, typename Ask>
void LeaveWaiting(Wait wait, Ask ask) {
  OnThread([&] {
    Spawn(wait);
    Yield();
    ask();
  });
}

TEST_F(HubEnd, AnItemGoesToTheNext) {
  Queue<int> queue;
  LeaveWaiting([&] { (void)queue.Get(); },
               [&] { EXPECT_EQ(queue.waiting_to_get(), 1u); });
  ASSERT_TRUE(queue.Put(1).ok());
  EXPECT_EQ(queue.TryGet(), 1);
  Settle();
  EXPECT_EQ(queue.waiting_to_get(), 0u);
}

TEST_F(HubEnd, OnceThisHubKnowsNobodyStandsInLine) {
  Queue<int> queue;
  LeaveWaiting([&] { (void)queue.Get(); },
               [&] { EXPECT_EQ(queue.waiting_to_get(), 1u); });
  Settle();
  EXPECT_EQ(queue.waiting_to_get(), 0u);
}

TEST_F(HubEnd, AnItemGoesToOneWhoWaitsBehind) {
  Queue<int> queue;
  LeaveWaiting([&] { (void)queue.Get(); },
               [&] { EXPECT_EQ(queue.waiting_to_get(), 1u); });
  const Greenlet<absl::StatusOr<int>> live = Spawn([&] { return queue.Get(); });
  Yield();
  ASSERT_TRUE(queue.Put(1).ok());
  EXPECT_EQ(*live.Get(), 1);
}

TEST_F(HubEnd, AnItemThatComesBackIsUnfinishedOnce) {
  const KeepAlive alive(&ThisHub());
  Queue<int> queue;
  std::atomic<bool> stands = false, given = false;
  std::thread thread([&] {
    Spawn([&] { (void)queue.Get(); });
    Yield();
    stands = queue.waiting_to_get() == 1;
    // Ends before it looks at its mail, in which the item is.
    while (!given) std::this_thread::yield();
  });
  while (!stands) Yield();
  ASSERT_TRUE(queue.Put(1).ok());
  const Greenlet<> live = Spawn([&] {
    EXPECT_EQ(*queue.Get(), 1);
    queue.TaskDone();
  });
  Yield();
  given = true;
  live.Join();
  thread.join();
  EXPECT_EQ(queue.unfinished_tasks(), 0);
  EXPECT_TRUE(queue.Join(Deadline::Passed()));
}

TEST_F(HubEnd, AWaitForSeveralThingsIsLeftToo) {
  std::unique_ptr<Event> event, other;
  // Objects of the hub that ends, as Wait() wants them.
  OnThread([&] {
    event = std::make_unique<Event>();
    other = std::make_unique<Event>();
    Spawn([&] { (void)Wait({event->AsWaitable(), other->AsWaitable()}); });
    Yield();
  });
  event.reset();  // a fatal error while somebody waits
  other.reset();
}

TEST_F(HubEnd, APermitComesBack) {
  Semaphore semaphore(0);
  LeaveWaiting([&] { semaphore.acquire(); }, [&] { (void)semaphore.try_acquire(); });
  semaphore.release();
  EXPECT_TRUE(semaphore.try_acquire());
  Settle();
}

TEST_F(HubEnd, ALockComesBack) {
  Mutex mutex;
  mutex.lock();
  LeaveWaiting([&] { mutex.lock(); }, [&] { EXPECT_TRUE(mutex.locked()); });
  mutex.unlock();
  EXPECT_TRUE(mutex.try_lock());
  mutex.unlock();
  RWLock lock;
  lock.lock();
  LeaveWaiting([&] { lock.lock_shared(); }, [&] { EXPECT_FALSE(lock.try_lock()); });
  lock.unlock();
  EXPECT_TRUE(lock.try_lock());
  lock.unlock();
  Settle();
}

TEST_F(HubEnd, ASignalComesBack) {
  AutoResetEvent event;
  LeaveWaiting([&] { event.Wait(); },
               [&] { EXPECT_FALSE(event.Wait(Deadline::Passed())); });
  event.Set();
  EXPECT_TRUE(event.Wait(Deadline::Passed()));
  Settle();
}

TEST_F(HubEnd, AResultThatIsTakenComesBack) {
  AsyncResult<int> result;
  LeaveWaiting([&] { (void)result.Take(); }, [&] { EXPECT_FALSE(result.ready()); });
  result.Set(1);
  EXPECT_EQ(*result.Take(Deadline::Passed()), 1);
  Settle();
}

TEST_F(HubEnd, ANotificationGoesToTheNext) {
  Mutex mutex;
  ConditionVariable changed;
  bool begun = false;
  LeaveWaiting(
      [&] {
        std::unique_lock lock(mutex);
        begun = true;
        changed.wait(lock);
      },
      [&] {
        while (!begun || mutex.locked()) Sleep(absl::Microseconds(100));
      });
  bool notified = false;
  const Greenlet<> live = Spawn([&] {
    std::unique_lock lock(mutex);
    changed.wait(lock);
    notified = true;
  });
  Yield();
  changed.notify_one();
  live.Join();
  EXPECT_TRUE(notified);
}

TEST_F(HubEnd, AValueBetweenHubsGoesToTheNext) {
  HubChannel<int> channel(4);
  OnThread([&] {
    Spawn([&] { (void)channel.Receive(); });
    Yield();
  });
  const Greenlet<absl::StatusOr<int>> live = Spawn([&] { return channel.Receive(); });
  Yield();
  ASSERT_TRUE(channel.Send(1).ok());
  EXPECT_EQ(*live.Get(), 1);
}

// The home's own greenlets end with it, and let nobody else go on in their place who
// does.
TEST(HubEndHome, PermitsAreNotGivenToThoseWhoEndToo) {
  Semaphore* semaphore = nullptr;
  std::thread([&] {
    Yield();  // now there is a hub
    semaphore = new Semaphore(1);
    Spawn([&] { (void)semaphore->acquire(5, Deadline()); });
    Spawn([&] { semaphore->acquire(); });
    Yield();
  }).join();
  EXPECT_TRUE(semaphore->try_acquire());
  delete semaphore;
}

}  // namespace
}  // namespace grove
