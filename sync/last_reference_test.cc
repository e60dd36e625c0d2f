// Objects whose last reference lies in what was posted: they end on a hub's own stack,
// where nothing may wait, or in the mail that a hub returns at its end.
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>
#include <utility>

#include "absl/status/statusor.h"
#include "grove/green/hub_group.h"
#include "grove/green/hub_scope.h"
#include "grove/green/sleep.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/hub/hub.h"
#include "grove/sync/event.h"
#include "grove/sync/resource_pool.h"

namespace grove {
namespace {

void WaitUntil(const std::atomic<bool>& flag) {
  while (!flag) std::this_thread::yield();
}

GREENLET_TEST(LastReference, IsDroppedByAFunctionThatWasPostedElsewhere) {
  HubGroup group({.hubs = 1, .pin = false});
  auto event = std::make_shared<Event>();
  const std::weak_ptr<Event> left = event;
  std::atomic<bool> dropped = false;
  ASSERT_TRUE(group.handle(0)
                  .Post([event = std::move(event), &dropped]() mutable {
                    event->Set();  // is on its way here
                    event.reset();
                    dropped = true;
                  })
                  .ok());
  WaitUntil(dropped);  // this hub looks at no mail meanwhile
  EXPECT_TRUE(left.expired());
  Yield();  // now it does, and what it finds is for nobody
  group.Drain();
}

GREENLET_TEST(LastReference, IsDroppedWhileItsHomeDoesWhatWasSent) {
  HubGroup group({.hubs = 1, .pin = false});
  for (int i = 0; i < 1000; ++i) {
    auto event = std::make_shared<Event>();
    std::atomic<bool> dropped = false;
    ASSERT_TRUE(group.handle(0)
                    .Post([event = std::move(event), &dropped]() mutable {
                      event->Set();
                      event.reset();
                      dropped = true;
                    })
                    .ok());
    while (!dropped) Yield();
  }
  group.Drain();
}

// A thread with a hub that looks at no mail before it ends. `post` is called meanwhile.
template <typename Make, typename Post>
void AtItsEnd(Make make, Post post) {
  std::atomic<bool> made = false, posted = false;
  HubHandle hub;
  std::thread thread([&] {
    HubScope scope({.name = "ends"});
    hub = ThisHub().handle();
    make();
    made = true;
    WaitUntil(posted);
  });
  WaitUntil(made);
  post(hub);
  posted = true;
  thread.join();
}

TEST(LastReferenceTest, LiesInTheMailThatAHubReturns) {
  std::shared_ptr<Event> event;
  std::weak_ptr<Event> left;
  AtItsEnd([&] { event = std::make_shared<Event>(); },
           [&](const HubHandle& hub) {
             left = event;
             ASSERT_TRUE(hub.Post([event] {}).ok());
             event->Set();  // behind it
             event.reset();
           });
  EXPECT_TRUE(left.expired());
}

TEST(LastReferenceTest, OfAResourceComesBackToAPoolWhoseHomeEnds) {
  using Pool = ResourcePool<std::shared_ptr<int>>;
  const auto resource = std::make_shared<int>(1);
  std::unique_ptr<Pool> pool;
  AtItsEnd(
      [&] {
        pool = std::make_unique<Pool>(Pool::Options{
            .create = [&]() -> absl::StatusOr<std::shared_ptr<int>> { return resource; },
            .max_size = 4});
        const auto one = pool->Get();
        const auto other = pool->Get();
        EXPECT_EQ(resource.use_count(), 3);
      },
      [&](const HubHandle&) { pool->Resize(1); });
  EXPECT_EQ(resource.use_count(), 2);
  pool.reset();
  EXPECT_EQ(resource.use_count(), 1);
}

}  // namespace
}  // namespace grove
