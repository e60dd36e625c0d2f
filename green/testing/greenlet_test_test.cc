#include "grove/green/testing/greenlet_test.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "grove/green/greenlet.h"
#include "grove/green/internal/sanitizer.h"
#include "grove/green/sleep.h"
#include "grove/green/testing/socket_pair.h"
#include "grove/green/timeout.h"

namespace grove {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

// --- bodies that pass ---

GREENLET_TEST(Body, RunsInAGreenletOnAManualClock) {
  EXPECT_EQ(CurrentGreenlet().name(), "the body");
  EXPECT_EQ(ThisHub().options().clock, &clock());
  Sleep(absl::Hours(1));
  EXPECT_TRUE(HasTaken(absl::Hours(1)));
}

TEST(Body, MayBeInOneSuiteWithAPlainTest) { EXPECT_EQ(Hub::Current(), nullptr); }

GREENLET_TEST(Body, MayKeepADescriptorOpenToItsEnd) {
  SocketPair pair;
  pair.Send();
  EXPECT_EQ(pair.near.WaitReadable(), WaitResult::kReady);
}

GREENLET_TEST(Body, WhatItLeavesReadyStillRuns) {
  // None of this is a leak: nobody waits for anything.
  Spawn([] { Yield(); });
  Spawn([] { Sleep(absl::InfiniteDuration()); }).KillSoon();
  const Greenlet<> g = Spawn([] { Sleep(absl::Seconds(1)); });
  Yield();
  g.KillSoon();
  Spawn([] {}).Link([](const AnyGreenlet&) { Yield(); });
}

GREENLET_TEST(Body, MayWaitForAnotherThread) {
  bool posted = false;
  std::optional<KeepAlive> alive(&hub());
  const Greenlet<> waiter = Spawn([] { Sleep(absl::InfiniteDuration()); });
  std::thread other([&, home = hub().handle()] {
    home.Post([&] {
          posted = true;
          alive.reset();
          waiter.KillSoon();
        })
        .IgnoreError();
  });
  waiter.Join();
  EXPECT_TRUE(posted);
  other.join();
}

GREENLET_TEST(Body, MayBeSkipped) { GTEST_SKIP() << "as here"; }

GREENLET_TEST(BodyDeathTest, MayDie) {
  EXPECT_DEATH(CurrentGreenlet().Join(), "greenlet 'the body'");
}

// --- fixtures ---

std::vector<std::string>& Events() {
  static auto& events = *new std::vector<std::string>;
  return events;
}

class Order : public GreenletTest {
 protected:
  struct Member {
    Member() {
      Events().clear();
      Note("constructed");
    }
    ~Member() { Note("destroyed"); }
  };
  static void Note(const std::string& what) {
    Events().push_back(what + (Hub::Current() ? " with a hub" : " without"));
  }

  void SetUp() override {
    Note("set up");
    Sleep(absl::Seconds(1));
    helper_ = Spawn([this] {
      Sleep(absl::InfiniteDuration());
      (void)member_;
    });
  }
  void TearDown() override {
    Sleep(absl::Seconds(1));
    Note("torn down");
    helper_.Kill();
  }

  Member member_;
  Greenlet<> helper_;
};

GREENLET_TEST_F(Order, IsAsDocumented) {
  Note("body");
  EXPECT_TRUE(HasTaken(absl::Seconds(1)));
  EXPECT_FALSE(helper_.ready());
}

bool SeedsAreSet() { return getenv("GROVE_TEST_SEED") || getenv("GROVE_TEST_SEEDS"); }

TEST(AfterOrder, MembersEndAfterTheHub) {
  if (SeedsAreSet()) GTEST_SKIP() << "there were several fixtures";
  EXPECT_THAT(Events(), ::testing::ElementsAre("constructed without", "set up with a hub",
                                               "body with a hub", "torn down with a hub",
                                               "destroyed without"));
}

class RealClock : public GreenletTest {
 protected:
  GreenletTestOptions Options() const override {
    return {.clock = Clock::Real(), .loop_exit = LoopExitPolicy::kNever};
  }
};

GREENLET_TEST_F(RealClock, IsAnOption) {
  EXPECT_EQ(ThisHub().options().clock, Clock::Real());
  bool posted = false;
  const Greenlet<> waiter = Spawn([] { Sleep(absl::InfiniteDuration()); });
  std::thread other([&, home = hub().handle()] {
    home.Post([&] {
          posted = true;
          waiter.KillSoon();
        })
        .IgnoreError();
  });
  waiter.Join();
  EXPECT_TRUE(posted);
  EXPECT_GE(Elapsed(), absl::ZeroDuration());
  other.join();
}

// --- seeds ---

// The order in which four greenlets that yield run.
std::string Interleaving() {
  std::string order;
  std::vector<Greenlet<>> all;
  for (const char c : {'a', 'b', 'c', 'd'}) {
    all.push_back(Spawn([&order, c] {
      for (int i = 0; i < 3; ++i) {
        order += c;
        Yield();
      }
    }));
  }
  for (const Greenlet<>& g : all) g.Join();
  return order;
}

TEST(ForEachSeed, ExploresOrdersAndRepeatsThem) {
  std::vector<std::string> first;
  std::vector<std::string> second;
  ForEachSeed(100, [&] { first.push_back(Interleaving()); });
  ForEachSeed(100, [&] { second.push_back(Interleaving()); });
  EXPECT_EQ(first, second);
  const std::set<std::string> different(first.begin(), first.end());
  EXPECT_GE(different.size(), first.size() * 9 / 10);
}

TEST(ForEachSeed, EachRunHasAHubOfItsOwn) {
  std::set<uint64_t> seeds;
  ForEachSeed(20, [&] {
    seeds.insert(*ThisHub().options().seed);
    const MonotonicNanos start = ThisHub().Now();
    EXPECT_EQ(start, ManualClock().Now());
    Sleep(absl::Hours(1));
    EXPECT_EQ(LiveGreenlets(), 1u);
  });
  if (!SeedsAreSet()) {
    EXPECT_EQ(seeds.size(), 20u);
    EXPECT_EQ(*seeds.begin(), 1u);
    EXPECT_EQ(*seeds.rbegin(), 20u);
  }
}

TEST(ForEachSeed, SleepersTimeoutsJoinsAndKillsWorkInAnyOrder) {
  ForEachSeed(200, [] {
    std::vector<int> woken;
    const MonotonicNanos start = ThisHub().Now();
    for (const int i : {3, 1, 2}) {
      Spawn([&woken, i] {
        Sleep(absl::Seconds(i));
        woken.push_back(i);
      });
    }
    const Greenlet<> stuck = Spawn([] { Sleep(absl::InfiniteDuration()); });
    EXPECT_EQ(WithTimeout(absl::Seconds(1), [&] { stuck.Join(); }).code(),
              absl::StatusCode::kDeadlineExceeded);
    stuck.Kill();
    EXPECT_TRUE(JoinHub());
    EXPECT_EQ(woken, (std::vector<int>{1, 2, 3}));
    EXPECT_LE(ThisHub().Now() - start, 3'000'010'000);
  });
}

// --- bodies that do not ---

struct Outcome {
  int status;
  std::string output;
};

// Where Bazel has put it, or beside this program.
std::string FailingTests() {
  if (access("green/failing_tests", X_OK) == 0) return "green/failing_tests";
  return std::filesystem::read_symlink("/proc/self/exe").parent_path() / "failing_tests";
}

// Runs tests of failing_tests.cc in a process of their own.
Outcome RunFailing(const std::string& filter, const std::string& environment = "") {
  const std::string command =
      "env -u XML_OUTPUT_FILE -u TEST_PREMATURE_EXIT_FILE -u TESTBRIDGE_TEST_ONLY "
      "-u TEST_TOTAL_SHARDS -u GROVE_TEST_SEED -u GROVE_TEST_SEEDS " +
      environment + " " + FailingTests() + " --gtest_filter=" + filter + " 2>&1";
  FILE* child = popen(command.c_str(), "r");
  Outcome outcome;
  char buffer[4096];
  while (const size_t n = fread(buffer, 1, sizeof buffer, child)) {
    outcome.output.append(buffer, n);
  }
  outcome.status = pclose(child);
  return outcome;
}

std::string Failing(const std::string& filter) {
  const Outcome outcome = RunFailing(filter);
  EXPECT_NE(outcome.status, 0);
  EXPECT_THAT(outcome.output, HasSubstr("1 FAILED TEST")) << "in an orderly way";
  return outcome.output;
}

TEST(Failure, IsALeakedGreenlet) {
  EXPECT_THAT(
      Failing("Leak.Greenlet"),
      AllOf(ContainsRegex("greenlets left, which are killed:"),
            ContainsRegex("greenlet 'reader' \\(#[0-9]+\\), spawned at "
                          ".*failing_tests.cc:[0-9]+: waits for fd [0-9]+ readable"),
            ContainsRegex("greenlet 'sleeper'.*: waits for the end of a sleep, in 1m"),
            ContainsRegex("greenlet 'later'.*: has not started"),
            // Whatever they had registered is gone with them.
            Not(HasSubstr("left on the hub")), Not(HasSubstr("descriptors left"))));
}

TEST(Failure, IsAGreenletThatNeverStopsYielding) {
  EXPECT_THAT(Failing("Leak.GreenletThatYieldsForEver"),
              ContainsRegex("greenlet 'restless'.*: is ready"));
}

TEST(Failure, IsAStackThatAHandleKeeps) {
  EXPECT_THAT(Failing("Leak.Stack"), HasSubstr("3 stack(s) left"));
}

TEST(Failure, IsADescriptorThatIsLeftOpen) {
  EXPECT_THAT(Failing("Leak.Descriptor"),
              ContainsRegex("descriptors left open:\n  fd [0-9]+: /dev/null"));
}

TEST(Failure, IsAWakerThatIsLeft) {
  EXPECT_THAT(Failing("Leak.Waker"), ContainsRegex("left on the hub:\n  1 waker"));
}

TEST(Failure, IsAWatcherThatIsLeft) {
  EXPECT_THAT(Failing("Leak.Watcher"), ContainsRegex("left on the hub:\n  1 watcher"));
}

TEST(Failure, IsATimerThatIsLeft) {
  EXPECT_THAT(Failing("Leak.Timer"), ContainsRegex("left on the hub:\n  1 timer"));
}

TEST(Failure, IsADeadlockAtOnceWithWhoWaitsForWhat) {
  EXPECT_THAT(Failing("Deadlock.*"),
              AllOf(HasSubstr("a deadlock in the body"),
                    ContainsRegex("greenlet 'first'.*: waits for .*'second'"),
                    ContainsRegex("greenlet 'second'.*: waits for .*'first'"),
                    HasSubstr("the body unwinds"), Not(HasSubstr("greenlets left"))));
}

TEST(Failure, IsAnExceptionWithItsTypeAndWhat) {
  EXPECT_THAT(Failing("TornDown.AfterAnException"),
              AllOf(HasSubstr("the body threw std::runtime_error: no such thing"),
                    HasSubstr("torn down")));
  EXPECT_THAT(Failing("Exception.Timeout"),
              HasSubstr("the body threw grove::TimeoutExpired: timed out after 2s"));
  EXPECT_THAT(Failing("Exception.Kill"), HasSubstr("the body was killed"));
}

TEST(Failure, DoesNotKeepAFixtureFromTearDown) {
  EXPECT_THAT(Failing("TornDown.AfterADeadlock"),
              AllOf(HasSubstr("a deadlock in the body"), HasSubstr("torn down")));
  EXPECT_THAT(Failing("TornDown.AfterAFatalFailure"),
              AllOf(HasSubstr("torn down"), Not(HasSubstr("not reached"))));
  EXPECT_THAT(Failing("NotSetUp.*"),
              AllOf(HasSubstr("SetUp() threw std::runtime_error: no set-up"),
                    HasSubstr("torn down"), Not(HasSubstr("not reached"))));
}

TEST(Failure, IsATestThatTakesTooLong) {
  const Outcome outcome = RunFailing("TooLong.WaitsForWhatNeverComes");
  EXPECT_NE(outcome.status, 0);
  EXPECT_THAT(outcome.output,
              AllOf(HasSubstr("TooLong.WaitsForWhatNeverComes has taken longer than 2s"),
                    ContainsRegex("greenlet 'reader'.*: waits for fd [0-9]+ readable"),
                    ContainsRegex("greenlet 'the body'.*: waits for .*'reader'")));
}

TEST(Failure, IsATestThatTakesTooLongWithoutEverBlocking) {
  if (GROVE_TSAN) GTEST_SKIP() << "ThreadSanitizer delivers signals at system calls only";
  const Outcome outcome = RunFailing("TooLong.NeverBlocks");
  EXPECT_NE(outcome.status, 0);
  EXPECT_THAT(outcome.output,
              AllOf(HasSubstr("TooLong.NeverBlocks has taken longer than 2s"),
                    ContainsRegex("greenlet 'the body'.*: runs")));
}

// --- seeds that find something ---

// The seed that the output names; 0 if none.
uint64_t SeedIn(const std::string& output) {
  const std::string mark = "to replay it: GROVE_TEST_SEED=";
  const size_t at = output.find(mark);
  if (at == std::string::npos) return 0;
  return std::stoull(output.substr(at + mark.size()));
}

// What failed, with its trace.
std::string FailureIn(const std::string& output) {
  const size_t begin = output.find(": Failure\n");
  const size_t end = output.find("grove: ", begin);
  return begin == std::string::npos ? "" : output.substr(begin, end - begin);
}

TEST(Seeds, FindAnOrderInWhichABodyFailsAndReplayIt) {
  EXPECT_EQ(RunFailing("Order.LosesUpdates").status, 0)
      << "first in, first out it passes";
  const Outcome found = RunFailing("Order.LosesUpdates", "GROVE_TEST_SEEDS=1000");
  EXPECT_NE(found.status, 0);
  const uint64_t seed = SeedIn(found.output);
  ASSERT_GT(seed, 0u) << found.output;
  EXPECT_THAT(found.output, HasSubstr("failing_tests --gtest_filter=Order.LosesUpdates"));
  const Outcome replayed =
      RunFailing("Order.LosesUpdates", "GROVE_TEST_SEED=" + std::to_string(seed));
  EXPECT_NE(replayed.status, 0);
  EXPECT_EQ(FailureIn(replayed.output), FailureIn(found.output));
  // All before have passed, and pass again.
  for (uint64_t s = 1; s < seed && s < 4; ++s) {
    EXPECT_EQ(
        RunFailing("Order.LosesUpdates", "GROVE_TEST_SEED=" + std::to_string(s)).status,
        0);
  }
}

TEST(Seeds, AreTriedByATestOfItsOwnAccord) {
  const Outcome found = RunFailing("OrderOfSeeds.LosesUpdates");
  EXPECT_NE(found.status, 0);
  const uint64_t seed = SeedIn(found.output);
  ASSERT_GT(seed, 0u) << found.output;
  EXPECT_THAT(found.output, HasSubstr("\n" + std::to_string(seed) + " runs\n"))
      << "it stops at the first one";
  const Outcome replayed =
      RunFailing("OrderOfSeeds.LosesUpdates", "GROVE_TEST_SEED=" + std::to_string(seed));
  EXPECT_THAT(replayed.output, HasSubstr("\n1 runs\n"));
  EXPECT_EQ(FailureIn(replayed.output), FailureIn(found.output));
}

// The lines that the tests called Outcomes print.
std::string Outcomes(const std::string& output) {
  std::string kept;
  for (size_t at = 0; at < output.size();) {
    const size_t end = output.find('\n', at);
    const std::string line = output.substr(at, end - at);
    if (line.find(" lost") != std::string::npos) kept += line + "\n";
    if (end == std::string::npos) break;
    at = end + 1;
  }
  return kept;
}

TEST(Seeds, HaveOutcomesThatRepeat) {
  for (const char* filter : {"OrderOfSeeds.Outcomes", "Order.Outcomes"}) {
    const std::string first = Outcomes(RunFailing(filter, "GROVE_TEST_SEEDS=100").output);
    EXPECT_EQ(Outcomes(RunFailing(filter, "GROVE_TEST_SEEDS=100").output), first);
    EXPECT_THAT(first, AllOf(HasSubstr("0 lost"), HasSubstr("1 lost")));
  }
}

TEST(Seeds, ThatAreNoNumbersAreFatal) {
  const Outcome outcome = RunFailing("Order.Outcomes", "GROVE_TEST_SEED=seven");
  EXPECT_NE(outcome.status, 0);
  EXPECT_THAT(
      outcome.output,
      HasSubstr("GROVE_TEST_SEED in the environment is 'seven', and has to be a number"));
}

}  // namespace
}  // namespace grove
