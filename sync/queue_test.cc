#include "grove/sync/queue.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/sleep.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/hub/hub.h"
#include "grove/sync/blocking_call_tests.h"
#include "grove/sync/sync_test_util.h"

namespace grove {
namespace {

using test_util::Lots;
using test_util::Moved;
using test_util::OnHub;
using test_util::OnThread;
using test_util::Settle;

template <typename Q>
struct Get {
  static constexpr bool kConsumes = true;
  bool Call(Deadline d = {}) { return queue.Get(d).ok(); }
  void Grant() { EXPECT_TRUE(queue.TryPut(1)); }
  Q queue{1};
};
template <typename Q>
struct Put {
  static constexpr bool kConsumes = true;
  bool Call(Deadline d = {}) { return queue.Put(1, d).ok(); }
  void Grant() { EXPECT_TRUE(queue.TryGet()); }
  Q queue{1, {0}};
};

using QueueGet = Get<Queue<int>>;
BLOCKING_CALL_TESTS(QueueGet);
BLOCKING_CALL_DEATH_TEST(QueueGet, "Queue");
using QueuePut = Put<Queue<int>>;
BLOCKING_CALL_TESTS(QueuePut);
BLOCKING_CALL_DEATH_TEST(QueuePut, "Queue");
using LifoQueueGet = Get<LifoQueue<int>>;
BLOCKING_CALL_TESTS(LifoQueueGet);
using LifoQueuePut = Put<LifoQueue<int>>;
BLOCKING_CALL_TESTS(LifoQueuePut);
using PriorityQueueGet = Get<PriorityQueue<int>>;
BLOCKING_CALL_TESTS(PriorityQueueGet);
using PriorityQueuePut = Put<PriorityQueue<int>>;
BLOCKING_CALL_TESTS(PriorityQueuePut);

struct QueuePeek {
  static constexpr bool kConsumes = false;
  bool Call(Deadline d = {}) { return queue.Peek(d).ok(); }
  void Grant() { EXPECT_TRUE(queue.TryPut(1)); }
  Queue<int> queue;
};
BLOCKING_CALL_TESTS(QueuePeek);
BLOCKING_CALL_DEATH_TEST(QueuePeek, "Queue");

struct QueueJoin {
  static constexpr bool kConsumes = false;
  bool Call(Deadline d = {}) { return queue.Join(d); }
  void Grant() { queue.TaskDone(); }
  Queue<int> queue{1, {0}};
};
BLOCKING_CALL_TESTS(QueueJoin);
BLOCKING_CALL_DEATH_TEST(QueueJoin, "Queue");

template <typename Q>
std::vector<typename Q::T> Drain(Q& queue) {
  std::vector<typename Q::T> all;
  while (std::optional<typename Q::T> item = queue.TryGet()) {
    all.push_back(*std::move(item));
  }
  return all;
}

using Ints = std::vector<int>;

// --- order ---

GREENLET_TEST(Queue, IsFirstInFirstOut) {
  Queue<int> queue;
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(queue.Put(i).ok());
  EXPECT_EQ(queue.size(), 100u);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(*queue.Get(), i);
  EXPECT_TRUE(queue.empty());
}

GREENLET_TEST(Queue, KeepsItsOrderWhileItGrowsAndGoesRound) {
  Queue<int> queue;
  int in = 0;
  int out = 0;
  for (int round = 0; round < 50; ++round) {
    for (int i = 0; i < round % 7 + 3; ++i) EXPECT_TRUE(queue.TryPut(in++));
    for (int i = 0; i < round % 5 + 2; ++i) EXPECT_EQ(*queue.Get(), out++);
  }
  while (out < in) EXPECT_EQ(*queue.Get(), out++);
}

GREENLET_TEST(LifoQueue, IsLastInFirstOut) {
  LifoQueue<int> queue(kUnbounded, {1, 2, 3});
  EXPECT_EQ(*queue.Peek(), 3);
  EXPECT_EQ(Drain(queue), (Ints{3, 2, 1}));
}

GREENLET_TEST(PriorityQueue, GivesTheLargestFirstOrByItsOwnOrder) {
  PriorityQueue<int> queue(kUnbounded, {2, 5, 1, 4, 3});
  EXPECT_EQ(*queue.Peek(), 5);
  EXPECT_EQ(Drain(queue), (Ints{5, 4, 3, 2, 1}));
  PriorityQueue<int, std::greater<int>> smallest(kUnbounded, {2, 1, 3});
  EXPECT_EQ(Drain(smallest), (Ints{1, 2, 3}));
  const auto by_last_digit = [](int a, int b) { return a % 10 < b % 10; };
  PriorityQueue<int, std::function<bool(int, int)>> own(3, by_last_digit);
  for (const int i : {13, 21, 12}) EXPECT_TRUE(own.TryPut(i));
  EXPECT_EQ(Drain(own), (Ints{13, 12, 21}));
}

GREENLET_TEST(PriorityQueue, WhoWaitsForRoomComesInByItsRank) {
  PriorityQueue<int> queue(1, {1});
  const Greenlet<> g = Spawn([&] { EXPECT_TRUE(queue.Put(9).ok()); });
  Settle();
  EXPECT_EQ(*queue.Get(), 1);
  EXPECT_EQ(*queue.Get(), 9);
  g.Join();
}

GREENLET_TEST(Queue, ItemsOfThoseThatWaitForRoomComeInAsTheyArrived) {
  Queue<int> queue(1, {0});
  std::vector<Greenlet<>> putters;
  for (int i = 1; i <= 5; ++i) {
    putters.push_back(Spawn([&, i] { EXPECT_TRUE(queue.Put(i).ok()); }));
    Settle();
  }
  EXPECT_EQ(queue.waiting_to_put(), 5u);
  EXPECT_FALSE(queue.TryPut(9));
  putters[2].Kill();
  EXPECT_EQ(Drain(queue), (Ints{0, 1, 2, 4, 5}));
  for (const Greenlet<>& g : putters) g.Join();
}

GREENLET_TEST(Queue, ThoseThatWaitForItemsGetThemAsTheyArrived) {
  Queue<int> queue;
  std::vector<Greenlet<absl::StatusOr<int>>> getters;
  for (int i = 0; i < 5; ++i) {
    getters.push_back(Spawn([&] { return queue.Get(); }));
    Settle();
  }
  EXPECT_EQ(queue.waiting_to_get(), 5u);
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(queue.TryPut(i));
  EXPECT_TRUE(queue.empty());  // each was handed over
  EXPECT_FALSE(queue.TryGet());
  for (int i = 0; i < 5; ++i) EXPECT_EQ(*getters[i].Get(), i);
}

// --- peek ---

GREENLET_TEST(Queue, AnItemServesAllThatPeekAndOneThatGets) {
  Queue<std::string> queue(1);
  const auto peek = [&] { return queue.Peek(); };
  const auto first = Spawn(peek);
  Settle();
  const auto getter = Spawn([&] { return queue.Get(); });
  Settle();
  const auto behind = Spawn(peek);
  Settle();
  EXPECT_TRUE(queue.Put("item").ok());
  EXPECT_EQ(*first.Get(), "item");
  EXPECT_EQ(*getter.Get(), "item");
  Settle();
  EXPECT_FALSE(behind.ready());
  EXPECT_TRUE(queue.Put("next").ok());
  EXPECT_EQ(*behind.Get(), "next");
  EXPECT_EQ(*queue.Get(), "next");
}

GREENLET_TEST(Queue, PeekLetsNobodyIn) {
  Queue<int> queue(1, {0});
  const auto putter = Spawn([&] { return queue.Put(1); });
  Settle();
  EXPECT_EQ(*queue.Peek(), 0);
  Settle();
  EXPECT_FALSE(putter.ready());
  EXPECT_EQ(*queue.Get(), 0);
  EXPECT_TRUE(putter.Get().ok());
}

// --- bounds ---

GREENLET_TEST(Queue, KnowsWhetherItIsFull) {
  Queue<int> queue(2);
  EXPECT_EQ(queue.max_size(), 2u);
  EXPECT_FALSE(queue.full());
  EXPECT_TRUE(queue.TryPut(1));
  EXPECT_TRUE(queue.TryPut(2));
  EXPECT_TRUE(queue.full());
  EXPECT_FALSE(queue.TryPut(3));
  EXPECT_EQ(queue.Put(3, absl::Seconds(1)).code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_FALSE(Queue<int>().full());
}

GREENLET_TEST(Queue, ALargerBoundLetsThoseInThatWait) {
  Queue<int> queue(1, {0});
  std::vector<Greenlet<absl::Status>> putters;
  for (int i = 1; i <= 3; ++i) {
    putters.push_back(Spawn([&, i] { return queue.Put(i); }));
    Settle();
  }
  queue.set_max_size(3);
  EXPECT_EQ(queue.size(), 3u);
  EXPECT_TRUE(putters[1].Get().ok());
  EXPECT_FALSE(putters[2].ready());
  queue.set_max_size(1);  // too many for now
  EXPECT_EQ(*queue.Get(), 0);
  EXPECT_EQ(*queue.Get(), 1);
  EXPECT_FALSE(putters[2].ready());
  EXPECT_EQ(*queue.Get(), 2);
  EXPECT_EQ(*queue.Get(), 3);
}

// --- what fails ---

GREENLET_TEST(Queue, APutThatFailsLeavesTheItemAsItWas) {
  Queue<Moved> queue(1);
  Moved item(7);
  EXPECT_TRUE(queue.Put(Moved(0)).ok());
  EXPECT_FALSE(queue.Put(std::move(item), absl::Seconds(1)).ok());
  EXPECT_FALSE(queue.TryPut(std::move(item)));
  const Greenlet<> killed = Spawn([&] { queue.Put(std::move(item)).IgnoreError(); });
  Settle();
  killed.Kill();
  const Greenlet<> closed = Spawn([&] {
    EXPECT_EQ(queue.Put(std::move(item)).code(), absl::StatusCode::kFailedPrecondition);
  });
  Settle();
  queue.Shutdown();
  closed.Join();
  EXPECT_FALSE(queue.Put(std::move(item)).ok());
  EXPECT_EQ(item.value, 7);
  EXPECT_EQ(item.moves, 0);
}

GREENLET_TEST(Queue, ItemsNeedNoDefaultAndNoCopy) {
  Queue<Moved> fifo(2);
  LifoQueue<Moved> lifo(2);
  const auto less = [](const Moved& a, const Moved& b) { return a.value < b.value; };
  PriorityQueue<Moved, decltype(less)> sorted(2, less);
  for (int i = 1; i <= 2; ++i) {
    EXPECT_TRUE(fifo.Put(Moved(i)).ok());
    EXPECT_TRUE(lifo.Put(Moved(i)).ok());
    EXPECT_TRUE(sorted.Put(Moved(i)).ok());
  }
  EXPECT_EQ(fifo.Get()->value, 1);
  EXPECT_EQ(lifo.Get()->value, 2);
  EXPECT_EQ(sorted.Get()->value, 2);
}

// --- the end ---

GREENLET_TEST(Queue, AfterAShutdownWhatIsThereCanBeGot) {
  Queue<int> queue(kUnbounded, {1, 2});
  EXPECT_FALSE(queue.is_shut_down());
  queue.Shutdown();
  queue.Shutdown();
  EXPECT_TRUE(queue.is_shut_down());
  EXPECT_EQ(queue.Put(3).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_FALSE(queue.TryPut(3));
  EXPECT_EQ(*queue.Get(), 1);
  EXPECT_EQ(*queue.Peek(), 2);
  EXPECT_EQ(*queue.Get(), 2);
  EXPECT_EQ(queue.Get().status().code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(queue.Get(absl::Seconds(1)).status().code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(queue.Peek().status().code(), absl::StatusCode::kOutOfRange);
  EXPECT_FALSE(queue.TryGet());
}

GREENLET_TEST(Queue, AShutdownEndsAllWaits) {
  Queue<int> full(1, {0});
  Queue<int> empty;
  const auto putter = Spawn([&] { return full.Put(1); });
  const auto getter = Spawn([&] { return empty.Get(); });
  const auto peeker = Spawn([&] { return empty.Peek(absl::Hours(1)); });
  Settle();
  full.Shutdown();
  empty.Shutdown();
  EXPECT_EQ(putter.Get().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(getter.Get().status().code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(peeker.Get().status().code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(Drain(full), Ints{0});
}

GREENLET_TEST(Queue, AShutdownThatDropsEndsAJoinAsWell) {
  Queue<std::shared_ptr<int>> queue;
  const auto item = std::make_shared<int>(1);
  EXPECT_TRUE(queue.Put(item).ok());
  EXPECT_TRUE(queue.Put(item).ok());
  const auto join = Spawn([&] { return queue.Join(); });
  Settle();
  queue.Shutdown(/*drop=*/true);
  EXPECT_TRUE(*join.Get());
  EXPECT_EQ(item.use_count(), 1);
  EXPECT_EQ(queue.unfinished_tasks(), 0);
  EXPECT_EQ(queue.Get().status().code(), absl::StatusCode::kOutOfRange);
}

GREENLET_TEST(Queue, WhatIsDroppedAfterAllTasksAreDoneDoesNotCountTwice) {
  Queue<int> queue(kUnbounded, {1, 2});
  queue.TaskDone();  // said too early
  queue.Shutdown(/*drop=*/true);
  EXPECT_EQ(queue.unfinished_tasks(), 0);
  EXPECT_TRUE(queue.Join(absl::Seconds(1)));
}

GREENLET_TEST(Queue, IsIteratedToItsEnd) {
  Queue<int> queue(2);
  const Greenlet<> g = Spawn([&] {
    for (int i = 0; i < 10; ++i) EXPECT_TRUE(queue.Put(i).ok());
    queue.Shutdown();
  });
  Ints all;
  for (const int i : queue) all.push_back(i);
  EXPECT_EQ(all, (Ints{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
  g.Join();
}

// --- tasks ---

GREENLET_TEST(Queue, JoinWaitsUntilAllTasksAreDone) {
  Queue<int> queue(kUnbounded, {1});
  EXPECT_TRUE(queue.Put(2).ok());
  EXPECT_EQ(queue.unfinished_tasks(), 2);
  int done = 0;
  const Greenlet<> worker = Spawn([&] {
    for ([[maybe_unused]] const int i : queue) {
      Sleep(absl::Seconds(1));
      ++done;
      queue.TaskDone();
    }
  });
  EXPECT_FALSE(queue.Join(absl::Milliseconds(1500)));
  EXPECT_EQ(done, 1);
  EXPECT_TRUE(queue.Join());
  EXPECT_EQ(done, 2);
  EXPECT_TRUE(queue.Put(3).ok());
  EXPECT_FALSE(queue.Join(Deadline::Passed()));
  EXPECT_TRUE(queue.Join());
  queue.Shutdown();
  worker.Join();
}

TEST(QueueDeathTest, MisuseIsFatal) {
  EXPECT_DEATH(Queue<int>(0), "a queue of at most 0 items: use a Channel");
  EXPECT_DEATH(Queue<int>(-1 - 1), "a queue of at most -2 items");
  EXPECT_DEATH(Queue<int>(1, {1, 2}), "more items than Queue 0x[0-9a-f]+ has room for");
  EXPECT_DEATH(Queue<int>().TaskDone(), "TaskDone\\(\\) of Queue .* no unfinished tasks");
}

// --- homes ---

GREENLET_TEST(Queue, WhatDoesNotWaitMakesNoHub) {
  Queue<int> queue(2);
  OnThread([&] {
    EXPECT_TRUE(queue.TryPut(1));
    EXPECT_TRUE(queue.Put(2, Deadline::Passed()).ok());
    EXPECT_FALSE(queue.TryPut(3));
    EXPECT_EQ(*queue.Peek(Deadline::Passed()), 1);
    EXPECT_EQ(*queue.TryGet(), 1);
    EXPECT_EQ(queue.size(), 1u);
    queue.TaskDone();
    EXPECT_EQ(queue.unfinished_tasks(), 1);
    queue.set_max_size(1);
    EXPECT_TRUE(queue.full());
    queue.Shutdown();
    EXPECT_TRUE(queue.is_shut_down());
    EXPECT_EQ(Hub::Current(), nullptr);
  });
  EXPECT_EQ(Drain(queue), Ints{2});
}

GREENLET_TEST(Queue, ItemsOfSeveralHubsAndThreadsAllArriveEachSendersInOrder) {
  constexpr int kSenders = 4;
  constexpr int kItems = 100;
  Queue<std::pair<int, int>> queue(3);
  const KeepAlive alive(&hub());
  std::vector<std::thread> senders;
  for (int s = 0; s < kSenders; ++s) {
    senders.emplace_back([&, s] {
      for (int i = 0; i < kItems; ++i) {
        EXPECT_TRUE(queue.Put({s, i}, s % 2 ? Deadline() : absl::Seconds(60)).ok());
      }
    });
  }
  std::vector<int> next(kSenders);
  for (int n = 0; n < kSenders * kItems; ++n) {
    const auto [sender, item] = *queue.Get();
    EXPECT_EQ(item, next[sender]++);
  }
  for (std::thread& t : senders) t.join();
  EXPECT_TRUE(queue.empty());
}

TEST(QueueHome, MadeBeforeThereIsAHubAndUsedOnSeveralOneAfterTheOther) {
  Queue<int> queue(2, {0});
  EXPECT_TRUE(queue.TryPut(1));
  EXPECT_FALSE(queue.TryPut(2));
  EXPECT_EQ(*queue.TryGet(), 0);
  EXPECT_EQ(Hub::Current(), nullptr);
  for (int i = 1; i <= 3; ++i) {
    HubScope scope;
    EXPECT_EQ(*queue.Get(), i);
    const auto g = Spawn([&] { return queue.Get(); });
    Yield();
    EXPECT_TRUE(queue.Put(7).ok());
    EXPECT_EQ(*g.Get(), 7);
    EXPECT_TRUE(queue.Put(i + 1).ok());
  }
  EXPECT_EQ(*queue.TryGet(), 4);
}

TEST(QueueHome, WhoIsWaitingElsewhereIsServedByTheNextHomeWhenTheHomeEnds) {
  std::optional<Queue<int>> queue;
  std::atomic<int> got{0};
  std::vector<std::thread> getters;
  {
    HubScope scope;
    queue.emplace(1);
    for (int i = 0; i < 3; ++i) {
      getters.emplace_back([&] {
        for (int n = 0; n < 50; ++n) {
          EXPECT_TRUE(queue->Get(absl::Seconds(60)).ok());
          ++got;
        }
      });
    }
    for (int i = 0; i < 30; ++i) EXPECT_TRUE(queue->Put(i).ok());
  }
  std::thread putter([&] {
    for (int i = 0; i < 120; ++i) EXPECT_TRUE(queue->Put(i, absl::Seconds(60)).ok());
  });
  putter.join();
  for (std::thread& t : getters) t.join();
  EXPECT_EQ(got, 150);
}

// --- any order ---

// Several put, get, time out and are killed; then the queue is shut down. What was put
// was got once.
template <typename Q>
void PutAndGetInAnyOrder() {
  Lots lots;
  Q queue(1 + lots.Below(3));
  int next = 0;
  Ints put;
  Ints got;
  std::vector<Greenlet<>> all;
  for (int g = 0; g < 3; ++g) {
    all.push_back(Spawn([&] {
      for (int n = 0; n < 6; ++n) {
        const int item = next++;
        if (queue.Put(item, lots.SomeDeadline()).ok()) put.push_back(item);
        if (lots.OneIn(3)) Sleep(absl::Microseconds(1));
      }
    }));
    all.push_back(Spawn([&] {
      for (int n = 0; n < 6; ++n) {
        if (lots.OneIn(4)) (void)queue.Peek(lots.SomeDeadline());
        if (const auto item = queue.Get(lots.SomeDeadline()); item.ok()) {
          got.push_back(*item);
          queue.TaskDone();
        }
        if (lots.OneIn(3)) Sleep(absl::Microseconds(1));
      }
    }));
  }
  for (int n = 0; n < 3; ++n) {
    Sleep(absl::Microseconds(lots.Below(4)));
    if (lots.OneIn(2)) all[lots.Below(6)].KillSoon();
    if (lots.OneIn(4)) queue.set_max_size(1 + lots.Below(3));
  }
  if (lots.OneIn(2)) queue.Shutdown();
  Sleep(absl::Microseconds(100));
  for (const Greenlet<>& g : all) g.Kill();
  EXPECT_EQ(queue.waiting_to_get() + queue.waiting_to_put(), 0u);
  EXPECT_EQ(queue.unfinished_tasks(), static_cast<int64_t>(queue.size()));
  for (const int item : Drain(queue)) got.push_back(item);
  std::sort(put.begin(), put.end());
  std::sort(got.begin(), got.end());
  EXPECT_EQ(put, got);
}

TEST(QueueSeeds, WhatWasPutIsGotOnce) {
  ForEachSeed(1000, &PutAndGetInAnyOrder<Queue<int>>);
}
TEST(LifoQueueSeeds, WhatWasPutIsGotOnce) {
  ForEachSeed(1000, &PutAndGetInAnyOrder<LifoQueue<int>>);
}
TEST(PriorityQueueSeeds, WhatWasPutIsGotOnce) {
  ForEachSeed(1000, &PutAndGetInAnyOrder<PriorityQueue<int>>);
}

TEST(QueueSeeds, ItemsOfOneComeInItsOrder) {
  ForEachSeed(1000, [] {
    Lots lots;
    Queue<std::pair<int, int>> queue(1 + lots.Below(2));
    std::vector<Greenlet<>> putters;
    for (int p = 0; p < 3; ++p) {
      putters.push_back(Spawn([&, p] {
        for (int n = 0; n < 5; ++n) {
          EXPECT_TRUE(
              queue.Put({p, n}, lots.OneIn(2) ? Deadline() : absl::Hours(1)).ok());
        }
      }));
    }
    std::vector<int> next(3);
    for (int n = 0; n < 15; ++n) {
      const auto [putter, item] = *queue.Get();
      EXPECT_EQ(item, next[putter]++);
    }
    for (const Greenlet<>& g : putters) g.Join();
  });
}

TEST(JoinableQueueSeeds, JoinReturnsWhenAllIsDoneAndNotBefore) {
  ForEachSeed(1000, [] {
    Lots lots;
    JoinableQueue<int> queue;
    int undone = 0;
    std::vector<Greenlet<>> workers;
    for (int w = 0; w < 3; ++w) {
      workers.push_back(Spawn([&] {
        for (const int item : queue) {
          if (lots.OneIn(2)) Sleep(absl::Microseconds(1));
          if (item > 0) {  // work that makes more
            ++undone;
            EXPECT_TRUE(queue.Put(item - 1).ok());
          }
          --undone;
          queue.TaskDone();
        }
      }));
    }
    for (int n = 0; n < 3; ++n) {
      ++undone;
      EXPECT_TRUE(queue.Put(static_cast<int>(lots.Below(3))).ok());
    }
    std::vector<Greenlet<>> joiners;
    for (int j = 0; j < 2; ++j) {
      joiners.push_back(Spawn([&] { (void)queue.Join(lots.SomeDeadline()); }));
    }
    joiners[0].KillSoon();
    EXPECT_TRUE(queue.Join());
    EXPECT_EQ(undone, 0);
    queue.Shutdown();
    JoinAll(workers);
    JoinAll(joiners);
    EXPECT_TRUE(queue.empty());
  });
}

// --- items that do more than lie there ---

GREENLET_TEST(Queue, WhoWaitedMayFindItGone) {
  auto queue = std::make_unique<Queue<int>>(1);
  const Greenlet<absl::StatusOr<int>> getter = Spawn([&] { return queue->Get(); });
  Yield();
  queue->Shutdown();
  queue.reset();
  EXPECT_TRUE(absl::IsOutOfRange(getter.Get().status()));
  queue = std::make_unique<Queue<int>>(1);
  ASSERT_TRUE(queue->Put(1).ok());
  const Greenlet<absl::Status> putter = Spawn([&] { return queue->Put(2); });
  Yield();
  queue->Shutdown();
  queue.reset();
  EXPECT_TRUE(absl::IsFailedPrecondition(putter.Get()));
}

// Its end looks at the queue in which it was.
template <typename Q>
struct Nosy {
  Nosy(Q** q, int n) : queue(q), number(n) {}
  Nosy(Nosy&& other) noexcept
      : queue(std::exchange(other.queue, nullptr)), number(other.number) {}
  Nosy& operator=(Nosy&& other) noexcept {
    std::swap(queue, other.queue);
    std::swap(number, other.number);
    return *this;
  }
  ~Nosy() {
    if (queue == nullptr || *queue == nullptr) return;
    while ((*queue)->TryGet()) {
    }
    Yield();
  }
  bool operator<(const Nosy& other) const { return number < other.number; }
  Q** queue;
  int number;
};
struct NosyFifo : Queue<Nosy<NosyFifo>> {};
struct NosyLifo : LifoQueue<Nosy<NosyLifo>> {};
struct NosyPriority : PriorityQueue<Nosy<NosyPriority>> {};

template <typename Q>
void DropNosyItems() {
  Q queue;
  Q* pointer = &queue;
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(queue.Put({&pointer, i}).ok());
  queue.Shutdown(/*drop=*/true);
  EXPECT_EQ(queue.size(), 0u);
  pointer = nullptr;
}

GREENLET_TEST(Queue, ItemsThatAreDroppedMayUseIt) {
  DropNosyItems<NosyFifo>();
  DropNosyItems<NosyLifo>();
  DropNosyItems<NosyPriority>();
}

struct FailsToCopy {
  FailsToCopy() = default;
  FailsToCopy(FailsToCopy&&) noexcept = default;
  FailsToCopy(const FailsToCopy&) { throw std::runtime_error("no copies"); }
};

GREENLET_TEST(Queue, WhatTheCopyThrowsIsForWhoLooks) {
  Queue<FailsToCopy> queue;
  const Greenlet<> looks = Spawn([&] { (void)queue.Peek(); });
  Yield();
  EXPECT_TRUE(queue.Put(FailsToCopy()).ok());
  EXPECT_THROW((void)looks.Get(), std::runtime_error);
  EXPECT_THROW((void)queue.Peek(), std::runtime_error);
  EXPECT_EQ(queue.size(), 1u);
}

}  // namespace
}  // namespace grove
