#include "grove/hub/timer_queue.h"

#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <vector>

namespace grove {
namespace {

struct TestTimer : Timer {
  explicit TestTimer(std::vector<TestTimer*>* f) : Timer(&OnFire), fired(f) {}
  static void OnFire(Timer* t) {
    TestTimer* self = static_cast<TestTimer*>(t);
    self->fired->push_back(self);
  }
  std::vector<TestTimer*>* fired;
};

TEST(TimerQueue, NeverFiresEarlyAndFiresInOrder) {
  std::mt19937_64 random(7);
  TimerQueue queue;
  std::vector<TestTimer*> fired;
  std::vector<std::unique_ptr<TestTimer>> timers;
  const MonotonicNanos start = 123'456'789'012;
  queue.FireDue(start);
  for (int i = 0; i < 20'000; ++i) {
    timers.push_back(std::make_unique<TestTimer>(&fired));
    // From nothing to two hours, evenly over the magnitudes.
    const MonotonicNanos after = (random() & ((1ull << (random() % 43)) - 1));
    queue.Arm(timers.back().get(), start + after);
  }
  size_t seen = 0;
  MonotonicNanos now = start;
  while (queue.armed() > 0) {
    const MonotonicNanos next = *queue.NextLook();
    EXPECT_LE(next, start + (1ll << 44));
    now = std::max(now, next);
    queue.FireDue(now);
    for (; seen < fired.size(); ++seen) {
      EXPECT_LE(fired[seen]->when(), now) << "fired early";
      // 1.024 us of a slot is all that rounding may add.
      EXPECT_GE(fired[seen]->when() + 1024, now) << "fired late";
    }
  }
  ASSERT_EQ(fired.size(), timers.size());
  for (size_t i = 1; i < fired.size(); ++i) {
    EXPECT_LE(fired[i - 1]->when(), fired[i]->when() + 1024);
  }
  EXPECT_EQ(queue.NextLook(), std::nullopt);
}

TEST(TimerQueue, AgreesWithASortedListUnderRandomArmAndCancel) {
  for (uint32_t seed = 0; seed < 50; ++seed) {
    std::mt19937_64 random(seed);
    TimerQueue queue;
    std::vector<TestTimer*> fired;
    std::vector<std::unique_ptr<TestTimer>> timers;
    for (int i = 0; i < 100; ++i) timers.push_back(std::make_unique<TestTimer>(&fired));
    MonotonicNanos now = 5'000'000'000;
    queue.FireDue(now);
    for (int step = 0; step < 3'000; ++step) {
      TestTimer* t = timers[random() % timers.size()].get();
      switch (random() % 3) {
        case 0:
          if (!t->armed()) queue.Arm(t, now + random() % (1ull << (random() % 36)));
          break;
        case 1:
          queue.Cancel(t);
          break;
        case 2: {
          now += random() % (1ull << (random() % 34));
          std::vector<TestTimer*> must;
          std::vector<TestTimer*> may_not;
          for (auto& timer : timers) {
            if (!timer->armed()) continue;
            if (timer->when() + 1024 <= now) must.push_back(timer.get());
            if (timer->when() > now) may_not.push_back(timer.get());
          }
          fired.clear();
          queue.FireDue(now);
          for (TestTimer* m : must) EXPECT_FALSE(m->armed()) << "seed " << seed;
          for (TestTimer* m : may_not) EXPECT_TRUE(m->armed()) << "seed " << seed;
        }
      }
    }
  }
}

TEST(TimerQueue, ATimerThatArmsItselfWaitsForTheNextCall) {
  struct Again : Timer {
    explicit Again(TimerQueue* q) : Timer(&OnFire), queue(q) {}
    static void OnFire(Timer* t) {
      Again* self = static_cast<Again*>(t);
      ++self->count;
      self->queue->Arm(self, self->when());
    }
    TimerQueue* queue;
    int count = 0;
  };
  TimerQueue queue;
  Again again(&queue);
  queue.Arm(&again, 10);
  queue.FireDue(1'000'000);
  EXPECT_EQ(again.count, 1);
  queue.FireDue(1'000'000);
  EXPECT_EQ(again.count, 2);
}

TEST(TimerQueue, OneThatFiresMayCancelAndDestroyOthersThatAreDue) {
  struct Destroyer : Timer {
    Destroyer() : Timer(&OnFire) {}
    static void OnFire(Timer* t) { static_cast<Destroyer*>(t)->victim.reset(); }
    std::unique_ptr<Timer> victim;
  };
  TimerQueue queue;
  Destroyer destroyer;
  destroyer.victim = std::make_unique<Timer>([](Timer*) { FAIL() << "was destroyed"; });
  Timer other([](Timer*) {});
  queue.Arm(&destroyer, 100);
  queue.Arm(destroyer.victim.get(), 100);
  queue.Arm(&other, 5'000'000'000);
  queue.FireDue(1'000'000);
  EXPECT_EQ(queue.armed(), 1u);
  EXPECT_TRUE(other.armed());
}

TEST(TimerQueue, CountsThoseThatKeepTheHubGoing) {
  TimerQueue queue;
  Timer with([](Timer*) {});
  Timer without([](Timer*) {});
  queue.Arm(&with, 100, /*ref=*/true);
  queue.Arm(&without, 100, /*ref=*/false);
  EXPECT_EQ(queue.armed(), 2u);
  EXPECT_EQ(queue.referenced(), 1u);
  queue.Cancel(&with);
  EXPECT_EQ(queue.referenced(), 0u);
}

TEST(TimerQueueDeathTest, ArmingTwiceIsFatal) {
  TimerQueue queue;
  Timer t([](Timer*) {});
  queue.Arm(&t, 100);
  EXPECT_DEATH(queue.Arm(&t, 200), "armed twice");
}

}  // namespace
}  // namespace grove
