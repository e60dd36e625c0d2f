#include "grove/green/hub_group.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <sched.h>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/sleep.h"
#include "grove/green/timeout.h"

namespace grove {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// The cores that the calling thread may run on.
std::vector<int> CoresOfThisThread() {
  cpu_set_t set;
  CPU_ZERO(&set);
  EXPECT_EQ(sched_getaffinity(0, sizeof set, &set), 0);
  std::vector<int> cores;
  for (int i = 0; i < CPU_SETSIZE; ++i) {
    if (CPU_ISSET(i, &set)) cores.push_back(i);
  }
  return cores;
}

// For a group's main function: waits until somebody kills its greenlet.
void WaitForKill() {
  try {
    Sleep(absl::InfiniteDuration());
  } catch (const GreenletExit&) {
  }
}

TEST(AllowedCores, AreThoseThatTheKernelNames) {
  EXPECT_EQ(AllowedCores(), CoresOfThisThread());
  EXPECT_FALSE(AllowedCores().empty());
}

TEST(AllowedCores, AreTheProcesssThoughTheThreadIsPinned) {
  const std::vector<int> all = AllowedCores();
  std::vector<int> there;
  std::thread pinned([&] {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(all.back(), &one);
    ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
    ASSERT_THAT(CoresOfThisThread(), ElementsAre(all.back()));
    there = AllowedCores();
  });
  pinned.join();
  EXPECT_EQ(there, all);
}

TEST(HubGroup, RunsItsFunctionOnceOnEachOfItsHubs) {
  HubScope scope;
  std::mutex mutex;
  std::set<int> indices;
  std::set<std::thread::id> threads;
  std::set<Hub*> hubs;
  HubGroup group({.hubs = 3, .pin = false}, [&](int index) {
    std::lock_guard lock(mutex);
    indices.insert(index);
    threads.insert(std::this_thread::get_id());
    hubs.insert(&ThisHub());
  });
  EXPECT_EQ(group.size(), 3);
  group.Join();
  EXPECT_THAT(indices, ElementsAre(0, 1, 2));
  EXPECT_EQ(threads.size(), 3u);
  EXPECT_EQ(threads.count(std::this_thread::get_id()), 0u);
  EXPECT_EQ(hubs.count(&ThisHub()), 0u);
}

TEST(HubGroup, HasOneHubPerAllowedCoreUnlessTold) {
  HubScope scope;
  std::atomic<int> ran{0};
  HubGroup group({}, [&](int) { ++ran; });
  group.Join();
  EXPECT_EQ(group.size(), static_cast<int>(AllowedCores().size()));
  EXPECT_EQ(ran, group.size());
}

TEST(HubGroup, NamesItsHubsAndThreads) {
  HubScope scope;
  std::vector<std::string> hub_names(2);
  std::vector<std::string> thread_names(2);
  HubGroup group({.hubs = 2, .pin = false, .name = "a-long-name"}, [&](int index) {
    hub_names[index] = ThisHub().name();
    char name[16];
    pthread_getname_np(pthread_self(), name, sizeof name);
    thread_names[index] = name;
  });
  EXPECT_EQ(group.handle(0).name(), "a-long-name-0");
  EXPECT_EQ(group.handle(1).name(), "a-long-name-1");
  group.Join();
  EXPECT_THAT(hub_names, ElementsAre("a-long-name-0", "a-long-name-1"));
  EXPECT_THAT(thread_names, ElementsAre("a-long-name-0", "a-long-name-1"));
}

TEST(HubGroup, AThreadsNameIsCutToWhatTheKernelTakes) {
  HubScope scope;
  std::string thread_name;
  HubGroup group({.hubs = 1, .name = "longer-than-15-bytes"}, [&](int) {
    char name[16];
    pthread_getname_np(pthread_self(), name, sizeof name);
    thread_name = name;
  });
  group.Join();
  EXPECT_EQ(thread_name, "longer-than-15-");
}

TEST(HubGroup, GivesItsHubsTheOptions) {
  HubScope scope;
  ManualClock clock;
  HubGroup group(
      {.hubs = 1, .hub = {.name = "replaced", .clock = &clock, .operations_per_turn = 7}},
      [&](int) {
        EXPECT_EQ(ThisHub().options().operations_per_turn, 7);
        EXPECT_EQ(ThisHub().name(), "hub-0");
        Sleep(absl::Hours(1));
      });
  group.Join();
}

TEST(HubGroup, PinsEachHubToACoreOfItsOwn) {
  HubScope scope;
  const std::vector<int> allowed = AllowedCores();
  std::vector<std::vector<int>> cores(allowed.size());
  HubGroup group({}, [&](int index) { cores[index] = CoresOfThisThread(); });
  group.Join();
  for (size_t i = 0; i < allowed.size(); ++i) {
    EXPECT_THAT(cores[i], ElementsAre(allowed[i])) << i;
  }
  EXPECT_EQ(CoresOfThisThread(), allowed) << "the thread that made it is left alone";
}

TEST(HubGroup, DoesNotPinUnlessAskedTo) {
  HubScope scope;
  std::vector<int> cores;
  HubGroup group({.hubs = 1, .pin = false}, [&](int) { cores = CoresOfThisThread(); });
  group.Join();
  EXPECT_EQ(cores, AllowedCores());
}

TEST(HubGroup, WithMoreHubsThanCoresPinsNoneAndSaysSo) {
  HubScope scope;
  const std::vector<int> allowed = AllowedCores();
  const int n = static_cast<int>(allowed.size()) + 2;
  std::vector<std::vector<int>> cores(n);
  testing::internal::CaptureStderr();
  HubGroup group({.hubs = n}, [&](int index) { cores[index] = CoresOfThisThread(); });
  group.Join();
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "grove: " + std::to_string(n) + " hubs 'hub' on " +
                std::to_string(allowed.size()) + " cores: none is pinned\n");
  for (const auto& c : cores) EXPECT_EQ(c, allowed);
}

TEST(HubGroup, AnotherGroupHasOtherCores) {
  HubScope scope;
  const std::vector<int> allowed = AllowedCores();
  std::vector<int> first, second;
  testing::internal::CaptureStderr();
  {
    HubGroup one({.hubs = 1});
    HubGroup two({.hubs = 1});
    first = *Call(one.handle(0), [] { return CoresOfThisThread(); });
    second = *Call(two.handle(0), [] { return CoresOfThisThread(); });
  }
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_EQ(first, std::vector{allowed[0]});
  if (allowed.size() > 1) {
    EXPECT_EQ(second, std::vector{allowed[1]});
    EXPECT_EQ(said, "");
  } else {
    EXPECT_EQ(second, allowed);
    EXPECT_EQ(said,
              "grove: 1 hubs 'hub' on 1 cores, some of which other hubs have: none is "
              "pinned\n");
  }
  // They have been given back.
  HubGroup three({.hubs = 1});
  EXPECT_EQ(*Call(three.handle(0), [] { return CoresOfThisThread(); }), first);
}

TEST(HubGroup, PostToAllRunsOnEveryHubsOwnStack) {
  HubScope scope;
  constexpr int kHubs = 3;
  // Each used on its own hub alone.
  std::vector<AnyGreenlet> mains(kHubs);
  std::vector<std::string> names(kHubs);
  HubGroup group({.hubs = kHubs, .pin = false}, [&](int index) {
    mains[index] = CurrentGreenlet();
    WaitForKill();
    mains[index] = AnyGreenlet();
  });
  group.PostToAll([&](int index) {
    names[index] = Hub::Current()->name();
    mains[index].KillSoon();
  });
  group.Join();
  EXPECT_THAT(names, ElementsAre("hub-0", "hub-1", "hub-2"));
}

TEST(HubGroup, PostToAllLeavesOutHubsThatHaveEnded) {
  HubScope scope;
  AnyGreenlet main;
  std::atomic<int> posted{0};
  HubGroup group({.hubs = 2, .pin = false}, [&](int index) {
    if (index == 0) return;
    main = CurrentGreenlet();
    WaitForKill();
    main = AnyGreenlet();
  });
  // Refused once hub 0 has ended, which is soon.
  while (group.handle(0).Post([] {}).ok()) Yield();
  group.PostToAll([&](int index) {
    EXPECT_EQ(index, 1);
    ++posted;
    main.KillSoon();
  });
  group.Join();
  EXPECT_EQ(posted, 1);
  EXPECT_EQ(group.handle(1).Post([] {}).code(), absl::StatusCode::kFailedPrecondition);
}

TEST(HubGroup, OtherGreenletsRunWhileOneJoins) {
  HubScope scope;
  std::atomic<int> ticks{0};
  Spawn([&] {
    for (;;) {
      ++ticks;
      Yield();
    }
  });
  HubGroup group({.hubs = 2, .pin = false}, [&](int) {
    const int before = ticks;
    while (ticks < before + 100) Yield();
  });
  group.Join();
  EXPECT_GE(ticks, 100);
}

TEST(HubGroup, JoinThrowsWhatTheFirstHubThrewAndReportsTheOthers) {
  HubScope scope;
  testing::internal::CaptureStderr();
  HubGroup group({.hubs = 3, .pin = false}, [&](int index) {
    if (index > 0) throw std::runtime_error("hub " + std::to_string(index) + " failed");
  });
  try {
    group.Join();
    ADD_FAILURE();
  } catch (const std::runtime_error& e) {
    EXPECT_STREQ(e.what(), "hub 1 failed");
  }
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              HasSubstr("std::runtime_error: hub 2 failed"));
  EXPECT_NO_THROW(group.Join()) << "told once";
}

TEST(HubGroup, ItsEndReportsWhatNobodyJoined) {
  HubScope scope;
  testing::internal::CaptureStderr();
  {
    HubGroup group({.hubs = 1, .pin = false},
                   [&](int) { throw std::runtime_error("unseen"); });
  }
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              HasSubstr("std::runtime_error: unseen"));
}

TEST(HubGroup, ItsEndJoins) {
  HubScope scope;
  std::atomic<bool> ended{false};
  {
    HubGroup group({.hubs = 1, .pin = false}, [&](int) {
      for (int i = 0; i < 1000; ++i) Yield();
      ended = true;
    });
  }
  EXPECT_TRUE(ended);
}

TEST(HubGroup, GreenletsThatAreLeftAreKilledAndUnwound) {
  HubScope scope;
  std::atomic<int> unwound{0};
  std::atomic<int> started_late{0};
  HubGroup group({.hubs = 2, .pin = false}, [&](int) {
    for (int i = 0; i < 10; ++i) {
      Spawn([&] {
        struct AtEnd {
          std::atomic<int>* count;
          ~AtEnd() { ++*count; }
        } at_end{&unwound};
        Sleep(absl::InfiniteDuration());
      });
    }
    Yield();
    Spawn([&] { ++started_late; });
  });
  group.Join();
  EXPECT_EQ(unwound, 20);
  EXPECT_EQ(started_late, 0);
}

TEST(HubGroup, AJoinThatIsKilledLeavesTheGroupGoing) {
  HubScope scope;
  AnyGreenlet main;
  HubGroup group({.hubs = 1, .pin = false}, [&](int) {
    main = CurrentGreenlet();
    WaitForKill();
    main = AnyGreenlet();
  });
  const Greenlet<> joiner = Spawn([&] { group.Join(); });
  Yield();
  EXPECT_FALSE(joiner.ready());
  joiner.Kill();
  EXPECT_TRUE(joiner.killed());
  // A Timeout does the same.
  EXPECT_EQ(WithTimeout(absl::Milliseconds(1), [&] { group.Join(); }).code(),
            absl::StatusCode::kDeadlineExceeded);
  ASSERT_TRUE(group.handle(0).Post([&] { main.KillSoon(); }).ok());
  group.Join();
}

TEST(HubGroup, SeveralGreenletsMayJoin) {
  HubScope scope;
  AnyGreenlet main;
  HubGroup group({.hubs = 1, .pin = false}, [&](int) {
    main = CurrentGreenlet();
    WaitForKill();
    main = AnyGreenlet();
  });
  int joined = 0;
  std::vector<Greenlet<>> joiners;
  for (int i = 0; i < 3; ++i) {
    joiners.push_back(Spawn([&] {
      group.Join();
      ++joined;
    }));
  }
  Yield();
  ASSERT_TRUE(group.handle(0).Post([&] { main.KillSoon(); }).ok());
  for (const auto& j : joiners) j.Join();
  EXPECT_EQ(joined, 3);
}

TEST(HubGroup, HubsPostToOneAnother) {
  // A message goes round from hub to hub, a thousand times.
  HubScope scope;
  constexpr int kHubs = 3;
  struct Game {
    HubGroup* group = nullptr;
    std::vector<AnyGreenlet> mains = std::vector<AnyGreenlet>(kHubs);
    int hops = 0;  // only by whose turn it is
    void Pass(int index) {
      if (++hops >= 1000) {
        group->PostToAll([this](int i) { mains[i].KillSoon(); });
        return;
      }
      const int next = (index + 1) % kHubs;
      EXPECT_TRUE(group->handle(next).Post([this, next] { Pass(next); }).ok());
    }
  } game;
  HubGroup group({.hubs = kHubs, .pin = false}, [&](int index) {
    game.mains[index] = CurrentGreenlet();
    WaitForKill();
    game.mains[index] = AnyGreenlet();
  });
  game.group = &group;
  ASSERT_TRUE(group.handle(0).Post([&] { game.Pass(0); }).ok());
  group.Join();
  EXPECT_EQ(game.hops, 1000);
}

TEST(HubGroup, MayBeMadeByAGreenlet) {
  HubScope scope;
  std::atomic<int> ran{0};
  Spawn([&] {
    HubGroup group({.hubs = 2, .pin = false}, [&](int) { ++ran; });
    group.Join();
  }).Join();
  EXPECT_EQ(ran, 2);
}

TEST(HubGroup, ManyGroupsComeAndGo) {
  HubScope scope;
  std::atomic<int> ran{0};
  for (int i = 0; i < 30; ++i) {
    HubGroup group({.hubs = 2, .pin = false}, [&](int) { Spawn([&] { ++ran; }).Join(); });
    group.Join();
  }
  EXPECT_EQ(ran, 60);
}

// --- hubs that do what is sent there ---

TEST(HubGroup, WithoutAFunctionRunsWhatIsSpawnedThereUntilItIsDrained) {
  HubScope scope;
  HubGroup group({.hubs = 2, .pin = false});
  std::vector<Greenlet<std::string>> on;
  for (int i = 0; i < 2; ++i) {
    on.push_back(*group.Spawn(i, [] { return ThisHub().name(); }, {.name = "asked"}));
  }
  EXPECT_EQ(*on[0].Get(), "hub-0");
  EXPECT_EQ(*on[1].Get(), "hub-1");
  EXPECT_EQ(on[0].name(), "asked");
  EXPECT_EQ(group.Drain().cut, 0u);
  EXPECT_EQ(group.Spawn(0, [] {}).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(group.SpawnOnLeastLoaded([] {}).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST(HubGroup, SpawnsOnTheLeastLoaded) {
  HubScope scope;
  HubGroup group({.hubs = 3, .pin = false});
  std::vector<Greenlet<>> all;
  for (int i = 0; i < 9; ++i) {
    all.push_back(*group.SpawnOnLeastLoaded([] { Sleep(absl::InfiniteDuration()); }));
  }
  for (int i = 0; i < 3; ++i) EXPECT_EQ(group.load(i), 3u) << i;
  for (int i = 0; i < 9; ++i) {
    if (i % 3 == 1) all[i].Kill();
  }
  EXPECT_EQ(group.load(1), 0u);
  all.push_back(*group.SpawnOnLeastLoaded([] { Sleep(absl::InfiniteDuration()); }));
  EXPECT_EQ(group.load(1), 1u);
  for (const auto& g : all) g.Kill();
}

TEST(HubGroup, AHubThatHasEndedIsNotTheLeastLoaded) {
  HubScope scope;
  HubGroup group({.hubs = 2, .pin = false}, [](int index) {
    if (index == 1) WaitForKill();
  });
  while (group.Spawn(0, [] {}).ok()) Yield();
  for (int i = 0; i < 3; ++i) {
    const auto on = group.SpawnOnLeastLoaded([] { return ThisHub().name(); });
    ASSERT_TRUE(on.ok()) << on.status();
    EXPECT_EQ(*on->Get(), "hub-1");
  }
  EXPECT_EQ(group.Drain(Deadline::Passed()).cut, 1u);
}

TEST(HubGroup, CallEachReturnsResultsByIndex) {
  HubScope scope;
  HubGroup group({.hubs = 3, .pin = false});
  const auto names =
      group.CallEach([](int i) { return ThisHub().name() + "=" + std::to_string(i); });
  ASSERT_EQ(names.size(), 3u);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(*names[i], "hub-" + std::to_string(i) + "=" + std::to_string(i));
  }
}

TEST(HubGroup, CallEachThrowsTheFirstByIndexWhenAllHaveEnded) {
  HubScope scope;
  HubGroup group({.hubs = 3, .pin = false});
  std::atomic<int> ended{0};
  try {
    group.CallEach([&](int i) {
      for (int k = 0; k < 100 * (3 - i); ++k) Yield();
      ++ended;
      if (i > 0) throw std::runtime_error("of " + std::to_string(i));
    });
    ADD_FAILURE();
  } catch (const std::runtime_error& e) {
    EXPECT_STREQ(e.what(), "of 1");
  }
  EXPECT_EQ(ended, 3);
}

TEST(HubGroup, ADrainLetsGoOnWhatEndsInTimeAndCutsTheRest) {
  HubScope scope;
  HubGroup group({.hubs = 2, .pin = false});
  std::atomic<int> unwound{0};
  std::atomic<bool> finished{false};
  struct AtEnd {
    std::atomic<int>* count;
    ~AtEnd() { ++*count; }
  };
  for (int i = 0; i < 5; ++i) {
    group
        .Spawn(0,
               [&] {
                 AtEnd at_end{&unwound};
                 Sleep(absl::InfiniteDuration());
               })
        .IgnoreError();
  }
  // It ends when the drain has begun.
  const Greenlet<> worker = *group.Spawn(1, [&] {
    while (group.Spawn(1, [] {}).ok()) Sleep(absl::Milliseconds(1));
    finished = true;
  });
  const DrainReport report = group.Drain(absl::Seconds(3));
  EXPECT_EQ(report.cut, 5u);
  EXPECT_EQ(unwound, 5);
  EXPECT_TRUE(finished);
}

// Who drains may have another clock than those who are drained.
TEST(HubGroup, ADrainsTimeIsThatOfEachHub) {
  ManualClock clock;
  clock.set_auto_advance(false);
  HubScope scope({.clock = &clock});
  HubGroup group({.hubs = 1});
  bool finished = false;
  (void)*group.Spawn(0, [&] {
    Sleep(absl::Milliseconds(1));
    finished = true;
  });
  EXPECT_EQ(group.Drain(absl::Seconds(10)).cut, 0u);
  EXPECT_TRUE(finished);
}

TEST(HubGroup, ADrainWaitsForWhatThoseWhoAreThereSpawn) {
  HubScope scope;
  HubGroup group({.hubs = 1, .pin = false});
  std::atomic<int> ran{0};
  std::function<void(int)> spawn_more = [&](int left) {
    ++ran;
    Yield();
    if (left > 0) Spawn([&, left] { spawn_more(left - 1); });
  };
  group.Spawn(0, [&] { spawn_more(50); }).IgnoreError();
  EXPECT_EQ(group.Drain().cut, 0u);
  EXPECT_EQ(ran, 51);
}

TEST(HubGroup, ADrainCutsAFunctionThatDoesNotReturn) {
  HubScope scope;
  std::atomic<int> ended{0};
  HubGroup group({.hubs = 2, .pin = false}, [&](int) {
    WaitForKill();
    ++ended;
  });
  const DrainReport report = group.Drain(absl::Milliseconds(1));
  EXPECT_EQ(ended, 2);
  EXPECT_EQ(report.cut, 2u);
}

TEST(HubGroup, ADrainCutsNothingOfFunctionsThatReturn) {
  HubScope scope;
  HubGroup group({.hubs = 2, .pin = false}, [](int) {});
  EXPECT_EQ(group.Drain().cut, 0u);
}

TEST(HubGroup, SpawnOnEachRunsACopyOnEveryHub) {
  HubScope scope;
  HubGroup group({.hubs = 3, .pin = false, .name = "each"});
  std::string text = "on ";
  const auto all = group.SpawnOnEach([text](int index) {
    Yield();
    return text + ThisHub().name() + " as " + std::to_string(index);
  });
  ASSERT_EQ(all.size(), 3u);
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(all[i].ok()) << all[i].status();
    const std::string n = std::to_string(i);
    EXPECT_EQ(*all[i]->Get(), "on each-" + n + " as " + n);
  }
  group.Drain();
  EXPECT_EQ(group.SpawnOnEach([](int) {})[2].status().code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST(HubGroup, KillingAMainGreenletFromElsewhereEndsItsHub) {
  HubScope scope;
  std::atomic<int> killed{0};
  HubGroup group({.hubs = 2, .pin = false}, [&](int) {
    try {
      Sleep(absl::InfiniteDuration());
    } catch (const GreenletExit&) {
      ++killed;
      throw;
    }
  });
  for (int i = 0; i < 2; ++i) Call(group.handle(i), [] { return 1; }).IgnoreError();
  group.Drain(Deadline::Passed());
  EXPECT_EQ(killed, 2);
}

TEST(HubGroup, AFailureMayStopTheOthers) {
  HubScope scope;
  testing::internal::CaptureStderr();
  std::atomic<int> stopped{0};
  HubGroup group({.hubs = 3, .pin = false, .on_failure = HubFailurePolicy::kStopOthers},
                 [&](int index) {
                   if (index == 1) throw std::runtime_error("no more");
                   WaitForKill();
                   ++stopped;
                 });
  EXPECT_THROW(group.Join(), std::runtime_error);
  EXPECT_EQ(stopped, 2);
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              HasSubstr("hub 'hub-1' of a HubGroup failed: std::runtime_error: no more"));
}

TEST(HubGroup, AHubThatEndsWithMailRefusesIt) {
  HubScope scope;
  HubGroup group({.hubs = 1, .pin = false}, [](int) { WaitForKill(); });
  group.Drain(Deadline::Passed());
  EXPECT_EQ(Call(group.handle(0), [] { return 1; }).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(SpawnOn(group.handle(0), [] {}).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST(HubGroup, AThreadThatCannotStartLeavesNone) {
  HubScope scope;
  std::atomic<int> called{0};
  // Threads' stacks of a size that no machine has.
  pthread_attr_t old_attributes;
  pthread_attr_t huge;
  ASSERT_EQ(pthread_getattr_default_np(&old_attributes), 0);
  ASSERT_EQ(pthread_attr_init(&huge), 0);
  ASSERT_EQ(pthread_attr_setstacksize(&huge, size_t{1} << 46), 0);
  ASSERT_EQ(pthread_setattr_default_np(&huge), 0);
  absl::StatusOr<std::unique_ptr<HubGroup>> group =
      HubGroup::Start({.hubs = 4, .pin = false}, [&](int) { ++called; });
  // One that would serve until it is drained.
  const absl::Status without_function =
      HubGroup::Start({.hubs = 2, .pin = false}, nullptr).status();
  EXPECT_EQ(without_function.code(), absl::StatusCode::kResourceExhausted);
  ASSERT_EQ(pthread_setattr_default_np(&old_attributes), 0);
  pthread_attr_destroy(&huge);
  pthread_attr_destroy(&old_attributes);
  ASSERT_FALSE(group.ok());
  EXPECT_EQ(group.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(group.status().message()),
              HasSubstr("a HubGroup cannot start thread 1 of 4: "));
  EXPECT_EQ(called, 0);
  EXPECT_TRUE(HubGroup::Start({.hubs = 1}, [&](int) { ++called; }).ok());
  EXPECT_EQ(called, 1);
}

TEST(HubGroupDeathTest, AGroupOfLessThanNoHubsIsFatal) {
  EXPECT_DEATH(
      {
        HubScope scope;
        HubGroup group({.hubs = -1}, [](int) {});
      },
      "a HubGroup of -1 hubs");
}

TEST(HubGroupDeathTest, AFailureMayAbort) {
  EXPECT_DEATH(
      {
        HubScope scope;
        HubGroup group({.hubs = 2, .on_failure = HubFailurePolicy::kAbort},
                       [](int index) {
                         if (index == 1) throw std::runtime_error("no more");
                         WaitForKill();
                       });
        group.Join();
      },
      "hub 'hub-1' of a HubGroup failed: std::runtime_error: no more");
}

}  // namespace
}  // namespace grove
