#include "grove/green/shutdown.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <future>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "grove/green/greenlet.h"
#include "grove/green/hub_group.h"
#include "grove/green/hub_scope.h"
#include "grove/green/internal/sanitizer.h"
#include "grove/green/interrupt.h"
#include "grove/green/os/fork.h"
#include "grove/green/sleep.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/green/timeout.h"
#include "grove/hub/internal/check.h"

namespace grove {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;
using Outcome = ShutdownReport::Outcome;

// No signals: they are the process's, whose tests are below.
ShutdownOptions Quiet() {
  return {.signals = {}, .grace = absl::Seconds(10), .overtime = absl::Seconds(1)};
}

ShutdownReport ShutDown(ShutdownOptions options = Quiet()) {
  ShutdownScope scope(std::move(options));
  RequestShutdown();
  return scope.Wait();
}

void SleepForEver() { Sleep(absl::InfiniteDuration()); }

// For what lies on a stack.
struct CountsItsEnd {
  int* count;
  ~CountsItsEnd() { ++*count; }
};

// --- hooks ---

GREENLET_TEST(Shutdown, HooksRunPhaseByPhaseAndTheLastOneFirst) {
  std::vector<std::string> order;
  std::vector<ShutdownHook> hooks;
  const auto add = [&](ShutdownPhase phase, std::string name) {
    hooks.push_back(
        OnShutdown(phase, name, [&order, name](Deadline) { order.push_back(name); }));
  };
  add(ShutdownPhase::kFlush, "flush");
  add(ShutdownPhase::kDrain, "drain 1");
  add(ShutdownPhase::kClose, "close");
  add(ShutdownPhase::kDrain, "drain 2");
  add(ShutdownPhase::kStopAccepting, "stop");
  const ShutdownReport report = ShutDown();
  if (!seed()) {
    EXPECT_THAT(order, ElementsAre("stop", "drain 2", "drain 1", "close", "flush"));
  }
  ASSERT_THAT(report.hooks, SizeIs(5));
  EXPECT_EQ(report.hooks[0].name, "stop");
  EXPECT_EQ(report.hooks[4].phase, ShutdownPhase::kFlush);
  EXPECT_EQ(report.hooks[4].hub, hub().name());
  EXPECT_TRUE(report.clean());
  EXPECT_EQ(report.exit_code, 0);
}

GREENLET_TEST(Shutdown, HooksOfAPhaseRunSideBySideAndTheNextPhaseWaitsForThem) {
  absl::Duration second_phase_at;
  const auto wait = [](Deadline) { Sleep(absl::Seconds(3)); };
  const ShutdownHook a = OnShutdown(ShutdownPhase::kDrain, "a", wait);
  const ShutdownHook b = OnShutdown(ShutdownPhase::kDrain, "b", wait);
  const ShutdownHook c = OnShutdown(ShutdownPhase::kClose, "c",
                                    [&](Deadline) { second_phase_at = Elapsed(); });
  const ShutdownReport report = ShutDown();
  EXPECT_GE(second_phase_at, absl::Seconds(3));
  EXPECT_TRUE(HasTaken(absl::Seconds(3)));
  EXPECT_GE(report.took, absl::Seconds(3));
  EXPECT_GE(report.hooks[0].took, absl::Seconds(3));
}

// What docs/shutdown.md shows.
TEST(ShutdownOfAHubGroup, IsAHookThatSaysWhatWasCut) {
  HubScope scope;
  HubGroup workers({.hubs = 2, .pin = false});
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(workers.SpawnOnLeastLoaded(&SleepForEver).ok());
  const ShutdownHook drain = OnShutdown(ShutdownPhase::kDrain, "workers", [&](Deadline) {
    const DrainReport report = workers.Drain(Deadline::Passed());
    return report.cut == 0
               ? absl::OkStatus()
               : absl::DeadlineExceededError(absl::StrCat(report.cut, " were cut"));
  });
  const ShutdownReport report = ShutDown();
  ASSERT_THAT(report.hooks, SizeIs(1));
  EXPECT_EQ(report.hooks[0].outcome, Outcome::kFailed);
  EXPECT_THAT(report.hooks[0].error, HasSubstr("3 were cut"));
  EXPECT_FALSE(report.clean());
}

GREENLET_TEST(Shutdown, AHookIsToldItsDeadlineAndMayRunUpToIt) {
  const ShutdownHook a = OnShutdown(ShutdownPhase::kDrain, "a", [](Deadline deadline) {
    EXPECT_LE(deadline.Remaining(), absl::Seconds(10));
    EXPECT_GT(deadline.Remaining(), absl::Seconds(9));
    Sleep(deadline.Remaining());
    Sleep(absl::Milliseconds(500));  // within the overtime
  });
  EXPECT_TRUE(ShutDown().clean());
}

GREENLET_TEST(Shutdown, AHookThatRunsOverIsKilledAndTheOthersStillRun) {
  int unwound = 0;
  const ShutdownHook slow = OnShutdown(ShutdownPhase::kDrain, "slow", [&](Deadline) {
    const CountsItsEnd local{&unwound};
    SleepForEver();
  });
  absl::Duration left;
  const ShutdownHook flush = OnShutdown(ShutdownPhase::kFlush, "flush",
                                        [&](Deadline d) { left = d.Remaining(); });
  const ShutdownReport report = ShutDown();
  EXPECT_EQ(unwound, 1);
  EXPECT_EQ(report.hooks[0].outcome, Outcome::kCut);
  EXPECT_EQ(report.hooks[0].error, "killed");
  EXPECT_EQ(report.hooks[1].outcome, Outcome::kFinished);
  EXPECT_GT(left, absl::Milliseconds(999)) << "each phase has at least the overtime";
  EXPECT_TRUE(HasTaken(absl::Seconds(11)));
  EXPECT_FALSE(report.clean());
}

GREENLET_TEST(Shutdown, WithoutGraceHooksAreToldSoAndStillRun) {
  bool passed = false;
  const ShutdownHook hook = OnShutdown(ShutdownPhase::kDrain, "hook", [&](Deadline d) {
    passed = d.HasPassed();
    Sleep(absl::Milliseconds(100));  // within the overtime
  });
  EXPECT_TRUE(
      ShutDown(
          {.signals = {}, .grace = absl::ZeroDuration(), .overtime = absl::Seconds(1)})
          .clean());
  EXPECT_TRUE(passed);
}

GREENLET_TEST(Shutdown, AHookThatDoesNotEvenEndByAKillIsLeftBehind) {
  AnyGreenlet mule;
  {
    const ShutdownHook hook = OnShutdown(ShutdownPhase::kDrain, "mule", [&](Deadline) {
      mule = CurrentGreenlet();
      const Shield shield;
      Sleep(absl::Hours(1));
    });
    const ShutdownReport report = ShutDown();
    EXPECT_EQ(report.hooks[0].outcome, Outcome::kRefused);
    // It is a greenlet that is left, too.
    EXPECT_THAT(report.refused, ElementsAre(HasSubstr("'shutdown hook mule'")));
    EXPECT_TRUE(HasTaken(absl::Seconds(10 + 1 + 1 + 1)));
  }
  EXPECT_TRUE(HasTaken(absl::Seconds(13))) << "the registration's end did not wait";
  mule.Join();
}

GREENLET_TEST(Shutdown, AHookThatFailsIsToldAndTheOthersRun) {
  bool ran = false;
  const ShutdownHook a = OnShutdown(ShutdownPhase::kDrain, "status", [](Deadline) {
    return absl::UnavailableError("no peer");
  });
  const ShutdownHook b = OnShutdown(ShutdownPhase::kDrain, "throws",
                                    [](Deadline) { throw std::runtime_error("oh"); });
  const ShutdownHook c =
      OnShutdown(ShutdownPhase::kClose, "c", [&](Deadline) { ran = true; });
  const ShutdownReport report = ShutDown();
  EXPECT_TRUE(ran);
  ASSERT_THAT(report.hooks, SizeIs(3));
  EXPECT_EQ(report.hooks[0].outcome, Outcome::kFailed);
  EXPECT_EQ(report.hooks[0].error, "std::runtime_error: oh");
  EXPECT_EQ(report.hooks[1].outcome, Outcome::kFailed);
  EXPECT_EQ(report.hooks[1].error, "UNAVAILABLE: no peer");
  EXPECT_FALSE(report.clean());
}

GREENLET_TEST(Shutdown, AHookThatWasTakenBackIsNotCalled) {
  bool called = false;
  {
    const ShutdownHook gone =
        OnShutdown(ShutdownPhase::kDrain, "gone", [&](Deadline) { called = true; });
  }
  std::optional<ShutdownHook> later;
  // Goes while its phase begins.
  later.emplace(
      OnShutdown(ShutdownPhase::kClose, "later", [&](Deadline) { called = true; }));
  const ShutdownHook first =
      OnShutdown(ShutdownPhase::kDrain, "first", [&](Deadline) { later.reset(); });
  EXPECT_TRUE(ShutDown().clean());
  EXPECT_FALSE(called);
}

GREENLET_TEST(Shutdown, TheEndOfARegistrationWaitsForItsHook) {
  std::string order;
  std::optional<ShutdownHook> hook =
      OnShutdown(ShutdownPhase::kDrain, "hook", [&](Deadline) {
        order += "begins ";
        Sleep(absl::Seconds(1));
        order += "ends ";
      });
  const Greenlet<> owner = Spawn([&] {
    while (order.empty()) Sleep(absl::Milliseconds(1));
    hook.reset();
    order += "reset";
  });
  EXPECT_THAT(ShutDown().hooks, SizeIs(1));
  owner.Join();
  EXPECT_EQ(order, "begins ends reset");
}

GREENLET_TEST(Shutdown, AHookWhoseRegistrationEndsIsKilledLikeOthers) {
  std::string order;
  std::optional<ShutdownHook> hook =
      OnShutdown(ShutdownPhase::kDrain, "hook", [&](Deadline) {
        order += "begins ";
        try {
          Sleep(absl::InfiniteDuration());
        } catch (const GreenletExit&) {
          order += "killed ";
          throw;
        }
      });
  const Greenlet<> owner = Spawn([&] {
    while (order.empty()) Sleep(absl::Milliseconds(1));
    hook.reset();
    order += "reset";
  });
  const ShutdownReport report = ShutDown();
  owner.Join();
  EXPECT_EQ(order, "begins killed reset");
  ASSERT_THAT(report.hooks, SizeIs(1));
  EXPECT_EQ(report.hooks[0].outcome, ShutdownReport::Outcome::kCut);
}

GREENLET_TEST(Shutdown, AHookMayTakeItselfBack) {
  std::optional<ShutdownHook> hook;
  hook = OnShutdown(ShutdownPhase::kDrain, "hook", [&](Deadline) { hook.reset(); });
  EXPECT_TRUE(ShutDown().clean());
}

GREENLET_TEST(Shutdown, AHookOfALaterPhaseMayBeRegisteredByOneThatRuns) {
  ShutdownHook inner;
  bool called = false;
  const ShutdownHook outer = OnShutdown(ShutdownPhase::kDrain, "outer", [&](Deadline) {
    inner = OnShutdown(ShutdownPhase::kFlush, "inner", [&](Deadline) { called = true; });
  });
  EXPECT_TRUE(ShutDown().clean());
  EXPECT_TRUE(called);
}

GREENLET_TEST(Shutdown, AHookThatComesLateIsCalledAtOnce) {
  ShutdownScope scope(Quiet());
  RequestShutdown();
  EXPECT_THAT(scope.Wait().hooks, IsEmpty());
  absl::Duration left;
  {
    const ShutdownHook late = OnShutdown(ShutdownPhase::kStopAccepting, "late",
                                         [&](Deadline d) { left = d.Remaining(); });
    Yield();
  }
  EXPECT_GT(left, absl::Milliseconds(999));
}

GREENLET_TEST(Shutdown, AHookThatComesLateHasItsTimeAndIsInTheReport) {
  ShutdownScope scope(Quiet());
  ShutdownHook late;
  bool slept = false;
  const ShutdownHook flush = OnShutdown(ShutdownPhase::kFlush, "flush", [&](Deadline) {
    late = OnShutdown(ShutdownPhase::kStopAccepting, "late", [&](Deadline) {
      Sleep(absl::Milliseconds(500));
      slept = true;
    });
  });
  RequestShutdown();
  const ShutdownReport report = scope.Wait();
  EXPECT_TRUE(slept);
  EXPECT_TRUE(report.clean()) << report.ToString();
  ASSERT_THAT(report.hooks, SizeIs(2));
  EXPECT_EQ(report.hooks[1].name, "late");
  EXPECT_EQ(report.hooks[1].phase, ShutdownPhase::kStopAccepting);
}

// Whoever has registered a hook that refuses to end is not held up by that for ever.
TEST(Shutdown, WhoseHookIsGivenUpGoesOn) {
  HubScope hub;
  // Long enough for the hook to have begun by its end.
  ShutdownScope scope(
      {.signals = {}, .grace = absl::Seconds(3), .overtime = absl::Milliseconds(1)});
  std::promise<void> registered, gone;
  std::atomic<bool> enough{false};
  HubGroup group({.hubs = 1, .pin = false}, [&](int) {
    {
      bool begun = false;
      const ShutdownHook hook = OnShutdown(ShutdownPhase::kDrain, "mule", [&](Deadline) {
        begun = true;
        while (!enough) {
          try {
            Sleep(absl::Milliseconds(1));
          } catch (const GreenletExit&) {
          }
        }
      });
      registered.set_value();
      while (!begun) Yield();
    }
    gone.set_value();
  });
  registered.get_future().wait();
  RequestShutdown();
  const ShutdownReport report = scope.Wait();
  ASSERT_THAT(report.hooks, SizeIs(1));
  EXPECT_EQ(report.hooks[0].outcome, Outcome::kRefused);
  gone.get_future().wait();  // would be for ever
  enough = true;
  group.Join();
}

// --- asking ---

GREENLET_TEST(Shutdown, TheFirstRequestDecidesOnTheExitCode) {
  ShutdownScope scope(Quiet());
  EXPECT_FALSE(ShutdownRequested());
  RequestShutdown(4);
  RequestShutdown(5);
  EXPECT_TRUE(ShutdownRequested());
  const ShutdownReport report = scope.Wait();
  EXPECT_EQ(report.exit_code, 4);
  EXPECT_EQ(report.signal, 0);
}

GREENLET_TEST(Shutdown, ARequestMayComeBeforeThereIsAScope) {
  RequestShutdown(6);
  ShutdownScope scope(Quiet());
  EXPECT_EQ(scope.Wait().exit_code, 6);
}

GREENLET_TEST(Shutdown, AForkedChildHasAnEndOfItsOwn) {
  if (GROVE_TSAN) GTEST_SKIP() << "it bears no threads in a forked child";
  ShutdownScope parents(Quiet());
  const ShutdownHook hook =
      OnShutdown(ShutdownPhase::kDrain, "the parent's",
                 [](Deadline) -> absl::Status { return absl::OkStatus(); });
  RequestShutdown(1);
  absl::StatusOr<Subprocess> child = ForkProcess([] {
    if (ShutdownRequested()) return 10;
    ShutdownScope scope(Quiet());
    const ShutdownHook own =
        OnShutdown(ShutdownPhase::kDrain, "the child's",
                   [](Deadline) -> absl::Status { return absl::OkStatus(); });
    RequestShutdown(20);
    const ShutdownReport report = scope.Wait();
    return report.hooks.size() == 1 ? report.exit_code : 11;
  });
  ASSERT_TRUE(child.ok()) << child.status();
  EXPECT_EQ(*child->Wait(), ExitStatus::Exited(20));
  EXPECT_EQ(parents.Wait().hooks.size(), 1u);
}

GREENLET_TEST(Shutdown, WaitsUntilSomebodyAsks) {
  ShutdownScope scope(Quiet());
  Spawn([] {
    Sleep(absl::Hours(1));
    RequestShutdown();
  });
  EXPECT_TRUE(scope.Wait().clean());
  EXPECT_TRUE(HasTaken(absl::Hours(1)));
}

GREENLET_TEST(Shutdown, AThreadWithoutAHubMayAsk) {
  ShutdownScope scope(Quiet());
  std::thread other([] { RequestShutdown(7); });
  EXPECT_EQ(scope.Wait().exit_code, 7);
  other.join();
}

GREENLET_TEST(Shutdown, ASignalMayBeNamedTwice) {
  ShutdownScope scope({.signals = {SIGUSR1, SIGUSR1}});
  kill(getpid(), SIGUSR1);
  EXPECT_EQ(scope.Wait().signal, SIGUSR1);
}

GREENLET_TEST(Shutdown, AWaitThatIsKilledThrowsAndLeavesNothing) {
  std::optional<ShutdownScope> scope;
  scope.emplace(ShutdownOptions{.signals = {SIGUSR1}});
  const Greenlet<> waiter = Spawn([&] { scope->Wait(); });
  Yield();
  waiter.Kill();
  EXPECT_TRUE(waiter.killed());
  scope.reset();
  EXPECT_TRUE(ShutDown().clean()) << "another scope may follow";
}

GREENLET_TEST(Shutdown, AWaitThatIsKilledWhileHooksRunLetsThemGoOn) {
  bool ended = false;
  const ShutdownHook hook = OnShutdown(ShutdownPhase::kDrain, "hook", [&](Deadline) {
    Sleep(absl::Seconds(2));
    ended = true;
  });
  std::optional<ShutdownScope> scope;
  scope.emplace(Quiet());
  const Greenlet<> waiter = Spawn([&] { scope->Wait(); });
  RequestShutdown();
  Sleep(absl::Seconds(1));
  waiter.Kill();
  scope.reset();
  Sleep(absl::Seconds(2));
  EXPECT_TRUE(ended);
}

GREENLET_TEST(Shutdown, ASignalIsNamedInTheReport) {
  ShutdownScope scope({.signals = {SIGUSR1, SIGUSR2}});
  ASSERT_EQ(kill(getpid(), SIGUSR2), 0);
  const ShutdownReport report = scope.Wait();
  EXPECT_EQ(report.signal, SIGUSR2);
  EXPECT_EQ(report.exit_code, 0);
  EXPECT_THAT(report.ToString(), StartsWith("shutdown by SIGUSR2 took "));
}

// --- what is left ---

GREENLET_TEST(Shutdown, GreenletsThatAreLeftAreKilledAndNamed) {
  int unwound = 0;
  for (const char* name : {"one", "two"}) {
    Spawn({.name = name}, [&] {
      const CountsItsEnd local{&unwound};
      SleepForEver();
    });
  }
  Yield();
  const Greenlet<> told_by_hook = Spawn([] { SleepForEver(); });
  const ShutdownHook hook = OnShutdown(ShutdownPhase::kDrain, "hook",
                                       [&](Deadline) { told_by_hook.KillSoon(); });
  const AnyGreenlet self = CurrentGreenlet();
  const ShutdownReport report = ShutDown();
  EXPECT_EQ(unwound, 2);
  EXPECT_THAT(report.killed, ::testing::UnorderedElementsAre(HasSubstr("greenlet 'one'"),
                                                             HasSubstr("greenlet 'two'")))
      << "what has been told to end already needs no killing";
  EXPECT_THAT(report.killed[0],
              AllOf(HasSubstr("spawned at"), HasSubstr("waits for the end of a sleep"),
                    HasSubstr(absl::StrCat("on hub '", hub().name(), "'"))));
  EXPECT_THAT(report.refused, IsEmpty());
  EXPECT_THAT(report.ToString(), AllOf(HasSubstr("2 greenlets killed, 0 refused"),
                                       HasSubstr("\n  killed: greenlet 'one'")));
  EXPECT_FALSE(report.clean());
}

GREENLET_TEST(Shutdown, GreenletsThatRefuseToEndAreNamed) {
  const Greenlet<> mule = Spawn({.name = "mule"}, [] {
    const Shield shield;
    Sleep(absl::Hours(1));
  });
  Yield();
  const ShutdownReport report = ShutDown();
  EXPECT_THAT(report.killed, SizeIs(1));
  EXPECT_THAT(report.refused, ElementsAre(HasSubstr("greenlet 'mule'")));
  EXPECT_THAT(report.ToString(), HasSubstr("\n  does not end: greenlet 'mule'"));
  EXPECT_TRUE(HasTaken(absl::Seconds(1)));
  mule.Join();
}

GREENLET_TEST(Shutdown, ALongReportIsCutShort) {
  for (int i = 0; i < 25; ++i) Spawn([] { SleepForEver(); });
  const ShutdownReport report = ShutDown();
  EXPECT_THAT(report.killed, SizeIs(25));
  EXPECT_THAT(report.ToString(), HasSubstr("\n  killed: and 5 more\n"));
}

// --- other hubs ---

// A thread with a hub that has a hook, and a greenlet that sleeps for ever. Its main
// greenlet, which nobody kills in a shutdown, waits for the end of this.
class OtherHub {
 public:
  explicit OtherHub(std::function<void(Deadline)> hook) {
    std::promise<void> up;
    thread_ = std::thread([this, &up, hook = std::move(hook)] {
      HubScope scope({.name = "other"});
      handle_ = scope.hub().handle();
      main_ = CurrentGreenlet();
      const ShutdownHook registered = OnShutdown(ShutdownPhase::kDrain, "far", hook);
      Spawn({.name = "sleeper"}, [] { SleepForEver(); });
      up.set_value();
      try {
        SleepForEver();
      } catch (const GreenletExit&) {
      }
    });
    up.get_future().wait();
  }
  ~OtherHub() {
    handle_.Post([this] { main_.KillSoon(); }).IgnoreError();
    thread_.join();
  }

 private:
  HubHandle handle_;
  AnyGreenlet main_;
  std::thread thread_;
};

class ShutdownOfHubs : public GreenletTest {
 protected:
  GreenletTestOptions Options() const override {
    return {.clock = Clock::Real(), .loop_exit = LoopExitPolicy::kNever};
  }
};

GREENLET_TEST_F(ShutdownOfHubs, HooksRunOnTheirHubAndWhatIsLeftThereIsKilled) {
  std::string where;
  OtherHub other([&](Deadline) {
    Yield();
    where = ThisHub().name();
  });
  const ShutdownReport report = ShutDown(
      {.signals = {}, .grace = absl::Seconds(60), .overtime = absl::Seconds(60)});
  EXPECT_EQ(where, "other");
  ASSERT_THAT(report.hooks, SizeIs(1));
  EXPECT_EQ(report.hooks[0].hub, "other");
  EXPECT_EQ(report.hooks[0].outcome, Outcome::kFinished);
  EXPECT_THAT(report.killed, ElementsAre(AllOf(HasSubstr("greenlet 'sleeper'"),
                                               HasSubstr("on hub 'other'"))));
  EXPECT_THAT(report.refused, IsEmpty());
}

GREENLET_TEST_F(ShutdownOfHubs, AHookThatHangsThereIsKilledThere) {
  std::promise<void> began, killed;
  OtherHub other([&](Deadline) {
    began.set_value();
    try {
      SleepForEver();
    } catch (const GreenletExit&) {
      killed.set_value();
      throw;
    }
  });
  // Stops this thread, so that no time passes here until then.
  const ShutdownHook wait = OnShutdown(ShutdownPhase::kDrain, "wait",
                                       [&](Deadline) { began.get_future().wait(); });
  const ShutdownReport report = ShutDown(
      {.signals = {}, .grace = absl::Milliseconds(1), .overtime = absl::Milliseconds(1)});
  ASSERT_THAT(report.hooks, SizeIs(2));
  // How fast its answer comes depends on the machine.
  EXPECT_EQ(report.hooks[1].name, "far");
  EXPECT_THAT(report.hooks[1].outcome,
              ::testing::AnyOf(Outcome::kCut, Outcome::kRefused));
  killed.get_future().wait();
}

GREENLET_TEST_F(ShutdownOfHubs, AHubThatEndsMeanwhileIsNoReasonToWait) {
  std::optional<OtherHub> other;
  const ShutdownHook first = OnShutdown(ShutdownPhase::kStopAccepting, "first",
                                        [&](Deadline) { other.reset(); });
  bool ran = false;
  other.emplace([&](Deadline) { ran = true; });
  const ShutdownReport report = ShutDown(
      {.signals = {}, .grace = absl::Seconds(60), .overtime = absl::Seconds(60)});
  EXPECT_THAT(report.hooks, SizeIs(1));
  EXPECT_TRUE(report.clean());
  EXPECT_FALSE(ran);
}

GREENLET_TEST_F(ShutdownOfHubs, AHubThatHangsIsNamedAndLeftBehind) {
  std::promise<void> began;
  std::atomic<bool> go_on = false;
  OtherHub other([&](Deadline) {
    began.set_value();
    while (!go_on) std::this_thread::yield();
  });
  const ShutdownHook wait = OnShutdown(ShutdownPhase::kDrain, "wait",
                                       [&](Deadline) { began.get_future().wait(); });
  const ShutdownReport report = ShutDown(
      {.signals = {}, .grace = absl::Milliseconds(1), .overtime = absl::Milliseconds(1)});
  EXPECT_EQ(report.hooks[1].outcome, Outcome::kRefused);
  EXPECT_THAT(report.refused, ElementsAre("hub 'other' does not answer"));
  go_on = true;
}

// --- programs ---

// shutdown_program, and what it says.
class Program {
 public:
  explicit Program(const char* mode) {
    int in[2], out[2], err[2];
    EXPECT_EQ(pipe(in) | pipe(out) | pipe(err), 0);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in[0], 0);
    posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    posix_spawn_file_actions_adddup2(&actions, err[1], 2);
    for (const int fd : {in[0], in[1], out[0], out[1], err[0], err[1]}) {
      posix_spawn_file_actions_addclose(&actions, fd);
    }
    const char* argv[] = {"green/shutdown_program", mode, nullptr};
    const int error = posix_spawn(&pid_, argv[0], &actions, nullptr,
                                  const_cast<char* const*>(argv), environ);
    // Without a process of its own this must go no further: kill(-1) is for everybody.
    GROVE_CHECK(error == 0 && pid_ > 0, argv[0], " cannot be started: ", strerror(error));
    posix_spawn_file_actions_destroy(&actions);
    close(in[0]);
    close(out[1]);
    close(err[1]);
    in_ = in[1];
    out_ = out[0];
    err_ = err[0];
  }
  ~Program() {
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
    if (in_ >= 0) close(in_);
    close(out_);
    close(err_);
  }

  // Reads its output up to that line, which must be the next.
  void Expect(const std::string& line) {
    std::string got;
    for (char c; read(out_, &c, 1) == 1 && c != '\n';) got += c;
    EXPECT_EQ(got, line);
  }
  void Signal(int signum) {
    GROVE_CHECK(pid_ > 0, "no process to send signal ", signum, " to");
    ASSERT_EQ(kill(pid_, signum), 0);
  }
  void Tell(const char* text) {
    ASSERT_EQ(write(in_, text, strlen(text)), static_cast<ssize_t>(strlen(text)));
  }
  void CloseInput() { close(std::exchange(in_, -1)); }

  // Waits for its end: its exit code, or minus the signal that ended it.
  int End() {
    out = Rest(out_);
    err = Rest(err_);
    int status;
    EXPECT_GT(waitpid(std::exchange(pid_, -1), &status, 0), 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

  // Of what it said in the end.
  std::string out;
  std::string err;

 private:
  static std::string Rest(int fd) {
    std::string all;
    char buffer[4096];
    for (ssize_t n; (n = read(fd, buffer, sizeof buffer)) > 0;) all.append(buffer, n);
    return all;
  }

  pid_t pid_ = -1;
  int in_, out_, err_;
};

TEST(ShutdownProgram, EndsBySigtermAndSigintWithItsHooksInOrder) {
  for (const int signum : {SIGTERM, SIGINT}) {
    Program program("clean");
    program.Expect("ready");
    program.Signal(signum);
    EXPECT_EQ(program.End(), 0);
    EXPECT_EQ(program.out, "stop accepting\ndrain\nflush\n");
    EXPECT_EQ(program.err, "");
  }
}

TEST(ShutdownProgram, ASignalBeforeTheWaitIsNotLost) {
  Program program("early");
  program.Expect("ready");
  program.Signal(SIGTERM);
  program.CloseInput();
  EXPECT_EQ(program.End(), 0);
  EXPECT_EQ(program.out, absl::StrCat("signal ", SIGTERM, ", clean: 1\n"));
}

TEST(ShutdownProgram, ASecondSignalEndsItBeforeAnybodyWaits) {
  Program program("early");
  program.Expect("ready");
  program.Signal(SIGTERM);
  program.Signal(SIGINT);
  program.CloseInput();
  EXPECT_THAT(program.End(), AnyOf(128 + SIGINT, 128 + SIGTERM));
  EXPECT_EQ(program.out, "");
  EXPECT_EQ(program.err, "grove: second signal, ends at once\n");
}

TEST(ShutdownProgram, EndsWithTheCodeThatWasRequested) {
  Program program("requested");
  EXPECT_EQ(program.End(), 3);
  EXPECT_EQ(program.err, "");
}

TEST(ShutdownProgram, ASecondSignalEndsItAtOnceAndSaysWhatWasCutOff) {
  Program program("hook hangs");
  program.Expect("ready");
  program.Signal(SIGTERM);
  program.Expect("hangs");
  program.Signal(SIGINT);
  EXPECT_EQ(program.End(), 128 + SIGINT);
  EXPECT_EQ(program.err,
            "grove: second signal, ends at once; cut off: hook 'deaf' (drain)\n");
}

TEST(ShutdownProgram, ASecondSignalEndsItEvenIfTheHubHangs) {
  Program program("thread hangs");
  program.Expect("ready");
  program.Signal(SIGINT);
  program.Expect("hangs");
  program.Signal(SIGTERM);
  EXPECT_EQ(program.End(), 128 + SIGTERM);
  EXPECT_THAT(program.err, HasSubstr("second signal"));
}

TEST(ShutdownProgram, AfterARequestOneSignalIsLetPass) {
  Program program("requested, then signals");
  program.Expect("hangs");
  program.Signal(SIGTERM);
  program.Tell("x");
  program.Expect("goes on");
  program.Signal(SIGTERM);
  EXPECT_EQ(program.End(), 128 + SIGTERM);
}

TEST(ShutdownProgram, WhatWasCutIsReported) {
  Program program("cut");
  program.Expect("ready");
  program.Signal(SIGTERM);
  EXPECT_EQ(program.End(), 0);
  EXPECT_THAT(
      program.err,
      AllOf(StartsWith("grove: shutdown by SIGTERM took "),
            HasSubstr("4 hooks, 2 greenlets killed, 2 refused to end\n"),
            HasSubstr("  hook 'deaf' (drain, on hub 'hub-0') was cut after "),
            HasSubstr("  hook 'mule' (drain, on hub 'hub-0') was cut after "),
            HasSubstr(": killed, and does not end\n"),
            HasSubstr("  hook 'thrower' (close, on hub 'hub-0') failed after "),
            HasSubstr(": std::runtime_error: no such thing\n"),
            HasSubstr(": DATA_LOSS: full\n"), HasSubstr("  killed: greenlet 'worker'"),
            HasSubstr("  does not end: greenlet 'stubborn'")));
}

// --- misuse ---

TEST(ShutdownDeathTest, TwoScopesAreFatal) {
  EXPECT_DEATH(
      {
        HubScope hub({.name = "mine"});
        ShutdownScope one(Quiet());
        ShutdownScope two(Quiet());
      },
      "there are two ShutdownScopes, on hub 'mine' and on hub 'mine'");
}

TEST(ShutdownDeathTest, ASecondWaitIsFatal) {
  EXPECT_DEATH(
      {
        HubScope hub;
        ShutdownScope scope(Quiet());
        RequestShutdown();
        scope.Wait();
        scope.Wait();
      },
      "a second Wait\\(\\) of a ShutdownScope");
}

}  // namespace
}  // namespace grove
