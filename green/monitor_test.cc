#include "grove/green/monitor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <future>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "grove/green/dump.h"
#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/internal/sanitizer.h"
#include "grove/green/monitor_test_util.h"
#include "grove/green/sleep.h"
#include "grove/green/thread_pool.h"
#include "grove/hub/clock.h"

namespace grove {
namespace {

using test_util::HubThread;
using test_util::Stall;
using test_util::ThreadPipe;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// A monitor without a thread, on a clock of its own, and what it tells.
class MonitorTest : public ::testing::Test {
 protected:
  static MonitorOptions Options(Clock* clock) {
    // The limit is one that no machine is too slow for.
    return {.stack_limit = absl::Seconds(60), .clock = clock};
  }

  MonitorTest() {
    monitor_.Subscribe([this](const MonitorEvent& event) {
      if (const auto* blocked = std::get_if<EventLoopBlocked>(&event)) {
        stalls_.push_back(*blocked);
      }
    });
  }

  // What a thread would do in the course of `time`.
  void LookFor(absl::Duration time) {
    monitor_.CheckNow();
    clock_.Advance(time);
    monitor_.CheckNow();
  }

  ManualClock clock_;
  Monitor monitor_{Options(&clock_)};
  std::vector<EventLoopBlocked> stalls_;
};

TEST_F(MonitorTest, AStalledGreenletIsNamedWithItsStack) {
  Stall stall;
  ::testing::internal::CaptureStderr();
  {
    HubThread other([&] {
      Spawn([] {});  // before it, so that the stalled one is the second
      const auto worker = Spawn({.name = "worker"}, [&] { stall.HoldsUpTheThread(); });
      worker.Join();
    });
    stall.AwaitBegin();
    LookFor(absl::Milliseconds(100));
    stall.End();
  }
  const std::string printed = ::testing::internal::GetCapturedStderr();
  printf("%s", printed.c_str());

  ASSERT_THAT(stalls_, SizeIs(1));
  const EventLoopBlocked& event = stalls_[0];
  EXPECT_EQ(event.hub, "other");
  EXPECT_EQ(event.label, "greenlet 'worker' (#2)");
  EXPECT_EQ(event.greenlet_id, 2u);
  EXPECT_THAT(event.spawn_site.file, HasSubstr("monitor_test.cc"));
  EXPECT_EQ(event.at_least, absl::Milliseconds(100));
  EXPECT_EQ(event.no_stack, "");
  EXPECT_THAT(event.stack, Contains(HasSubstr("HoldsUpTheThread")));
  EXPECT_THAT(event.stack, Contains(HasSubstr("GreenletMain")));
  EXPECT_THAT(printed, HasSubstr("hub 'other' is held up: greenlet 'worker' (#2)"));
  EXPECT_THAT(printed, HasSubstr("HoldsUpTheThread"));
}

TEST_F(MonitorTest, AStallIsToldOnceAndTheNextOneAgain) {
  Stall first;
  Stall second;
  HubThread other([&] {
    first.HoldsUpTheThread();
    Yield();
    second.HoldsUpTheThread();
  });
  first.AwaitBegin();
  LookFor(absl::Milliseconds(99));
  EXPECT_THAT(stalls_, IsEmpty());
  LookFor(absl::Milliseconds(1));
  EXPECT_THAT(stalls_, SizeIs(1));
  LookFor(absl::Hours(1));
  EXPECT_THAT(stalls_, SizeIs(1));
  first.End();
  second.AwaitBegin();
  LookFor(absl::Milliseconds(100));
  ASSERT_THAT(stalls_, SizeIs(2));
  EXPECT_EQ(stalls_[1].label, "greenlet 'main'");
  second.End();
}

TEST_F(MonitorTest, ACallbackThatStallsIsNamedAsOne) {
  Stall stall;
  HubThread other([&] {
    ThisHub().RunCallback([&] { stall.HoldsUpTheThread(); });
    Yield();
  });
  stall.AwaitBegin();
  LookFor(absl::Milliseconds(100));
  ASSERT_THAT(stalls_, SizeIs(1));
  EXPECT_EQ(stalls_[0].label, "a loop callback");
  EXPECT_THAT(stalls_[0].stack, Contains(HasSubstr("HoldsUpTheThread")));
  EXPECT_THAT(stalls_[0].stack, Contains(HasSubstr("LoopMain")));
  stall.End();
}

TEST_F(MonitorTest, AHubThatSleepsOrWorksIsNotHeldUp) {
  std::atomic<uint64_t> rounds{0};
  std::atomic<bool> stop{false};
  HubHandle sleeper;
  ThreadPipe begun;
  HubThread sleeps([&] {
    sleeper = ThisHub().handle();
    const auto done = Spawn([] { Sleep(absl::InfiniteDuration()); });
    ThisHub().RunCallback([&] { begun.Tell(); });
    KeepAlive alive(&ThisHub());
    done.Join();
  });
  begun.Await();
  // It is on its way to sleep, and stays there.
  while (!StatisticsOf(sleeper)->asleep) std::this_thread::yield();
  {
    HubThread works([&] {
      while (!stop) {
        ++rounds;
        Yield();
      }
    });
    for (int i = 0; i < 20; ++i) {
      for (const uint64_t seen = rounds; rounds < seen + 2;) std::this_thread::yield();
      LookFor(absl::Milliseconds(1));
      for (const uint64_t seen = rounds; rounds < seen + 2;) std::this_thread::yield();
      clock_.Advance(absl::Hours(1));
    }
    stop = true;
  }
  EXPECT_THAT(stalls_, IsEmpty());
  ASSERT_TRUE(sleeper.Post([] { Shutdown(absl::ZeroDuration()); }).ok());
}

// Its task has made a hub, which stays on the thread.
TEST_F(MonitorTest, APoolsThreadThatWaitsForWorkIsNotHeldUp) {
  HubScope scope;
  ThreadPool pool({.max_threads = 1, .idle_timeout = absl::InfiniteDuration()});
  HubHandle there;
  ASSERT_TRUE(pool.Apply([&] {
                    Yield();
                    there = ThisHub().handle();
                  })
                  .ok());
  while (!StatisticsOf(there)->asleep) std::this_thread::yield();
  LookFor(absl::Hours(1));
  LookFor(absl::Hours(1));
  // This thread's own hub is told of: it does run.
  for (const EventLoopBlocked& stall : stalls_) EXPECT_NE(stall.hub, there.name());
  EXPECT_THAT(DumpAll({.limit = absl::InfiniteDuration()}),
              HasSubstr("is a pool's, and waits for work"));
  // It answers again when it works.
  ASSERT_TRUE(pool.Apply([&] { EXPECT_FALSE(StatisticsOf(there)->asleep); }).ok());
}

// Its first task has made a hub, and blocks the thread, as tasks may.
TEST_F(MonitorTest, ATaskOfAPoolThatHoldsUpItsHubIsNotTold) {
  HubScope scope;
  ThreadPool pool({.max_threads = 1});
  std::promise<std::string> name;
  std::promise<void> enough;
  const PoolTask<void> task = pool.Spawn([&] {
    Yield();
    name.set_value(ThisHub().handle().name());
    enough.get_future().wait();
  });
  const std::string there = name.get_future().get();
  LookFor(absl::Hours(1));
  LookFor(absl::Hours(1));
  for (const EventLoopBlocked& stall : stalls_) EXPECT_NE(stall.hub, there);
  EXPECT_THAT(DumpAll({.limit = absl::ZeroDuration()}),
              HasSubstr("is a pool's, and at work: no signal reaches it"));
  enough.set_value();
  EXPECT_TRUE(task.Get().ok());
}

TEST_F(MonitorTest, WhoMayHoldUpTheHubIsNotTold) {
  Stall ignored;
  Stall not_ignored;
  HubThread other([&] {
    {
      IgnoreBlocking outer;
      { IgnoreBlocking inner; }
      ignored.HoldsUpTheThread();
    }
    not_ignored.HoldsUpTheThread();
  });
  ignored.AwaitBegin();
  LookFor(absl::Hours(1));
  EXPECT_THAT(stalls_, IsEmpty());
  ignored.End();
  not_ignored.AwaitBegin();
  // What was ignored does not count.
  LookFor(absl::Milliseconds(99));
  EXPECT_THAT(stalls_, IsEmpty());
  LookFor(absl::Milliseconds(1));
  EXPECT_THAT(stalls_, SizeIs(1));
  not_ignored.End();
}

TEST_F(MonitorTest, TheStackCannotBeHadOfAThreadThatBlocksTheSignal) {
  Monitor impatient(
      {.print = false, .stack_limit = absl::Milliseconds(1), .clock = &clock_});
  std::vector<EventLoopBlocked> stalls;
  impatient.Subscribe([&](const MonitorEvent& event) {
    stalls.push_back(std::get<EventLoopBlocked>(event));
  });
  Stall stall;
  HubThread other([&] {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, nullptr);
    stall.HoldsUpTheThread();
  });
  stall.AwaitBegin();
  impatient.CheckNow();
  clock_.Advance(absl::Seconds(1));
  impatient.CheckNow();
  ASSERT_THAT(stalls, SizeIs(1));
  EXPECT_THAT(stalls[0].stack, IsEmpty());
  EXPECT_THAT(stalls[0].no_stack, HasSubstr("has not answered signal"));
  EXPECT_EQ(stalls[0].label, "a greenlet");
  stall.End();
}

// One who already handles the signal keeps getting what others send.
std::atomic<int> handled{0};

TEST_F(MonitorTest, SignalsOfOthersGoToTheHandlerThatWasThere) {
  signal(SIGUSR2, [](int) { ++handled; });
  Monitor monitor({.print = false,
                   .signal = SIGUSR2,
                   .stack_limit = absl::Seconds(60),
                   .clock = &clock_});
  int stacks = 0;
  monitor.Subscribe([&](const MonitorEvent& event) {
    stacks += !std::get<EventLoopBlocked>(event).stack.empty();
  });
  Stall stall;
  HubThread other([&] {
    raise(SIGUSR2);
    stall.HoldsUpTheThread();
  });
  stall.AwaitBegin();
  EXPECT_EQ(handled, 1);
  monitor.CheckNow();
  clock_.Advance(absl::Seconds(1));
  monitor.CheckNow();
  EXPECT_EQ(stacks, 1);
  EXPECT_EQ(handled, 1);
  raise(SIGUSR2);
  EXPECT_EQ(handled, 2);
  stall.End();
}

TEST_F(MonitorTest, ASubscriberThatThrowsKeepsNoOtherFromBeingTold) {
  std::vector<std::string> told;
  size_t usage = 200;
  Monitor monitor({.max_blocking_time = absl::InfiniteDuration(),
                   .max_memory_usage = 100,
                   .memory_meter = [&] { return usage; },
                   .clock = &clock_});
  const uint64_t first = monitor.Subscribe([&](const MonitorEvent&) {
    told.push_back("first");
    throw std::runtime_error("no room");
  });
  uint64_t second = 0;
  second = monitor.Subscribe([&](const MonitorEvent&) {
    told.push_back("second");
    EXPECT_TRUE(monitor.Unsubscribe(second));
  });
  ::testing::internal::CaptureStderr();
  monitor.CheckNow();
  EXPECT_THAT(::testing::internal::GetCapturedStderr(),
              AllOf(HasSubstr("subscriber failed"), HasSubstr("no room"),
                    HasSubstr("memory usage is 200 bytes, more than 100")));
  EXPECT_EQ(told, (std::vector<std::string>{"first", "second"}));
  EXPECT_TRUE(monitor.Unsubscribe(first));
  EXPECT_FALSE(monitor.Unsubscribe(second));
  usage = 300;
  clock_.Advance(absl::Seconds(5));
  monitor.CheckNow();
  EXPECT_THAT(told, SizeIs(2));
}

TEST_F(MonitorTest, MemoryIsToldOfWhileItGrowsAndOnceWhenItIsUnderTheThreshold) {
  size_t usage = 100;
  Monitor monitor({.max_blocking_time = absl::InfiniteDuration(),
                   .max_memory_usage = 100,
                   .memory_period = absl::Seconds(5),
                   .memory_meter = [&] { return usage; },
                   .print = false,
                   .clock = &clock_});
  std::string told;
  monitor.Subscribe([&](const MonitorEvent& event) {
    told = std::visit([](const auto& e) { return e.ToString(); }, event);
  });
  const auto look = [&](size_t now) {
    usage = now;
    told.clear();
    monitor.CheckNow();
    EXPECT_EQ(told, "");  // not due
    clock_.Advance(absl::Seconds(5));
    monitor.CheckNow();
    return told;
  };
  monitor.CheckNow();  // due at once
  EXPECT_EQ(look(100), "");
  EXPECT_THAT(look(101), HasSubstr("101 bytes, more than 100"));
  EXPECT_EQ(look(101), "");
  EXPECT_THAT(look(102), HasSubstr("102 bytes, more than 100"));
  EXPECT_EQ(look(101), "");
  EXPECT_THAT(look(102), HasSubstr("more than 100"));  // it grows again
  EXPECT_THAT(look(100), HasSubstr("no longer more than 100; it was 102"));
  EXPECT_EQ(look(50), "");
  EXPECT_THAT(look(101), HasSubstr("101 bytes, more than 100"));
}

TEST(MemoryUsage, GrowsByWhatIsTouched) {
  constexpr size_t kMany = size_t{64} << 20;
  const size_t before = MemoryUsage();
  EXPECT_GT(before, 0u);
  const std::vector<char> many(kMany, 'x');
  EXPECT_GE(MemoryUsage(), before + kMany / 2);
  EXPECT_EQ(many[kMany / 3], 'x');
}

TEST_F(MonitorTest, FunctionsAreCalledEachPeriodWithTheStatisticsOfAllHubs) {
  Stall other_lives;
  HubThread other([&] { other_lives.HoldsUpTheThread(); });
  other_lives.AwaitBegin();
  int calls = 0;
  std::vector<std::string> hubs;
  uint64_t id = 0;
  id = monitor_.AddFunction(absl::Seconds(10), [&](const auto& statistics) {
    for (const HubStatistics& s : statistics) hubs.push_back(s.hub);
    if (++calls < 2) return;
    EXPECT_TRUE(monitor_.RemoveFunction(id));
  });
  monitor_.CheckNow();
  EXPECT_EQ(calls, 0);
  clock_.Advance(absl::Seconds(10));
  monitor_.CheckNow();
  monitor_.CheckNow();
  EXPECT_EQ(calls, 1);
  EXPECT_THAT(hubs, Contains("other"));
  clock_.Advance(absl::Seconds(100));
  monitor_.CheckNow();
  EXPECT_EQ(calls, 2);
  clock_.Advance(absl::Seconds(10));
  monitor_.CheckNow();
  EXPECT_EQ(calls, 2);
  EXPECT_FALSE(monitor_.RemoveFunction(id));
  other_lives.End();
}

TEST_F(MonitorTest, APeriodMayBeInfinite) {
  monitor_.AddFunction(absl::InfiniteDuration(),
                       [](const auto&) { ADD_FAILURE() << "called"; });
  monitor_.CheckNow();
  clock_.Advance(absl::Hours(24 * 365));
  monitor_.CheckNow();
}

TEST(MonitorThread, IsTheParentsInAForkedChild) {
  if (GROVE_TSAN) GTEST_SKIP() << "ThreadSanitizer and fork() of several threads";
  auto monitor = std::make_unique<Monitor>();
  monitor->Start();
  const pid_t child = fork();
  if (child == 0) {
    monitor.reset();  // would wait for ever
    _exit(0);
  }
  int status = -1;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

// Threads' stacks of a size that no machine has.
class NoMoreThreads {
 public:
  NoMoreThreads() {
    pthread_attr_t huge;
    EXPECT_EQ(pthread_getattr_default_np(&before_), 0);
    EXPECT_EQ(pthread_attr_init(&huge), 0);
    EXPECT_EQ(pthread_attr_setstacksize(&huge, size_t{1} << 46), 0);
    EXPECT_EQ(pthread_setattr_default_np(&huge), 0);
    pthread_attr_destroy(&huge);
  }
  ~NoMoreThreads() {
    EXPECT_EQ(pthread_setattr_default_np(&before_), 0);
    pthread_attr_destroy(&before_);
  }

 private:
  pthread_attr_t before_;
};

TEST(MonitorDeathTest, WithoutAThreadItSaysSo) {
  Monitor monitor;
  EXPECT_DEATH(
      {
        const NoMoreThreads none;
        monitor.Start();
      },
      "a Monitor cannot start its thread: ");
  EXPECT_DEATH(
      {
        const NoMoreThreads none;
        DumpOnSignal(SIGUSR2, STDERR_FILENO);
      },
      "DumpOnSignal\\(\\) cannot start its thread: ");
}

TEST(MonitorThread, FindsAStallByItself) {
  Stall stall;
  std::vector<std::string> told;
  Monitor monitor({.max_blocking_time = absl::Milliseconds(1),
                   .print = false,
                   .stack_limit = absl::Seconds(60)});
  bool started = false;
  bool found = false;
  monitor.Subscribe([&](const MonitorEvent& event) {
    started = started || std::holds_alternative<MonitorThreadStarted>(event);
    const auto* blocked = std::get_if<EventLoopBlocked>(&event);
    if (!blocked || found || blocked->label != "greenlet 'staller' (#1)") return;
    // It may have been without a processor before it got there.
    found = testing::Matches(Contains(HasSubstr("HoldsUpTheThread")))(blocked->stack);
    if (!found) return;
    stall.End();  // nothing else does
  });
  monitor.Start();
  {
    HubThread other(
        [&] { Spawn({.name = "staller"}, [&] { stall.HoldsUpTheThread(); }).Join(); });
  }
  monitor.CheckNow();  // after which what the thread wrote can be read
  EXPECT_TRUE(started);
  EXPECT_TRUE(found);
}

TEST(MonitorDeathTest, APeriodMustBePositive) {
  Monitor monitor;
  EXPECT_DEATH(monitor.AddFunction(absl::ZeroDuration(), [](const auto&) {}),
               "AddFunction: a period of 0");
  EXPECT_DEATH(Monitor({.max_blocking_time = absl::ZeroDuration()}),
               "max_blocking_time must be positive");
}

}  // namespace
}  // namespace grove
