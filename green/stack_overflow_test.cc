#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <string>
#include <thread>

#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/internal/context.h"
#include "grove/green/internal/core.h"
#include "grove/green/sleep.h"

// An overflow of a greenlet's stack has to say which greenlet's, and then the process has
// to die as it would have: by SIGSEGV, or by what a sanitizer makes of that.
namespace grove {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

bool DiedOfAFault(int status) {
  if (GROVE_ASAN || GROVE_TSAN) return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV;
}

volatile bool never = false;

[[gnu::noinline]] int Recurse(int depth) {
  volatile char frame[512];
  frame[0] = static_cast<char>(depth);
  return never ? 0 : Recurse(depth + 1) + frame[0];
}

// A frame that is larger than any guard; the lowest byte is written first.
[[gnu::noinline]] int UseALargeFrame() {
  volatile char frame[4 << 20];
  frame[0] = 1;
  return frame[0] + frame[sizeof frame - 1];
}

// "256 KiB", or what a sanitizer needs instead.
std::string SizeText(size_t kib) {
  return std::to_string(kib * green_internal::kStackFactor) + " KiB stack";
}

TEST(StackOverflowDeathTest, NamesTheGreenletItsStackSizeAndItsFrames) {
  EXPECT_EXIT(
      {
        HubScope scope;
        Spawn({.name = "deep"}, [] { Recurse(0); }).Join();
      },
      DiedOfAFault,
      ContainsRegex("grove: stack overflow in greenlet 'deep' \\(#1\\), spawned at "
                    "green/stack_overflow_test.cc:[0-9]+: its " +
                    SizeText(256) + " ended at 0x[0-9a-f]+\n(.*\n)*.*Recurse"));
}

TEST(StackOverflowDeathTest, KnowsOtherSizes) {
  EXPECT_EXIT(
      {
        HubScope scope;
        Spawn({.name = "small", .stack_size = 64 << 10}, [] { Recurse(0); }).Join();
      },
      DiedOfAFault, HasSubstr("stack overflow in greenlet 'small' (#1), spawned at"));
  EXPECT_EXIT(
      {
        HubScope scope;
        Spawn({.name = "small", .stack_size = 64 << 10}, [] { Recurse(0); }).Join();
      },
      DiedOfAFault, HasSubstr("its " + SizeText(64)));
}

TEST(StackOverflowDeathTest, SaysHowToGetALargerStack) {
  EXPECT_EXIT(
      {
        HubScope scope;
        Spawn([] { Recurse(0); }).Join();
      },
      DiedOfAFault, HasSubstr("SpawnOptions::stack_size"));
}

TEST(StackOverflowDeathTest, ShowsPlainRecursionOnce) {
  EXPECT_EXIT(
      {
        HubScope scope;
        Spawn([] { Recurse(0); }).Join();
      },
      DiedOfAFault, ContainsRegex("\\.\\.\\. [0-9]+ times more"));
}

TEST(StackOverflowDeathTest, OneWithoutANameIsKnownByItsNumber) {
  EXPECT_EXIT(
      {
        HubScope scope;
        Spawn([] {}).Join();
        Spawn([] { Recurse(0); }).Join();
      },
      DiedOfAFault, HasSubstr("stack overflow in greenlet 'greenlet-2' (#2)"));
}

TEST(StackOverflowDeathTest, AFrameLargerThanTheGuardDoesNotStepOverIt) {
  EXPECT_EXIT(
      {
        HubScope scope;
        Spawn({.name = "wide"}, [] { UseALargeFrame(); }).Join();
      },
      DiedOfAFault, HasSubstr("stack overflow in greenlet 'wide' (#1)"));
}

TEST(StackOverflowDeathTest, IsReportedOnEveryThread) {
  EXPECT_EXIT(
      {
        std::thread([] {
          HubScope scope;
          Spawn({.name = "elsewhere"}, [] { Recurse(0); }).Join();
        }).join();
      },
      DiedOfAFault, HasSubstr("stack overflow in greenlet 'elsewhere' (#1)"));
}

TEST(StackOverflowDeathTest, IsReportedWhereStacksAreGuardedByMprotect) {
  EXPECT_EXIT(
      {
        green_internal::DisableLightweightGuards();
        HubScope scope;
        Spawn({.name = "old kernel", .stack_size = 2 << 20}, [] { Recurse(0); }).Join();
      },
      DiedOfAFault, HasSubstr("stack overflow in greenlet 'old kernel' (#1)"));
}

TEST(StackOverflowDeathTest, OfALoopCallbackIsReportedAsWell) {
  EXPECT_EXIT(
      {
        HubScope scope;
        ThisHub().RunCallback([] { Recurse(0); });
        Yield();
      },
      DiedOfAFault, HasSubstr("grove: stack overflow in"));
}

TEST(StackOverflowDeathTest, AGuardOfOneThatDoesNotRunIsCalledThat) {
  EXPECT_EXIT(
      {
        HubScope scope;
        const Greenlet<> g = Spawn([] { Sleep(absl::InfiniteDuration()); });
        Yield();
        *static_cast<volatile char*>(g.core()->stack.low) = 1;
      },
      DiedOfAFault, HasSubstr("in the guard of a greenlet's stack that does not run"));
}

// --- what is none of grove's ---

void WriteToNowhere() { *static_cast<volatile char*>(reinterpret_cast<char*>(16)) = 1; }

TEST(StackOverflowDeathTest, AnotherFaultIsNotClaimed) {
  EXPECT_EXIT(
      {
        HubScope scope;
        Spawn([] { WriteToNowhere(); }).Join();
      },
      DiedOfAFault, Not(HasSubstr("grove: ")));
}

TEST(StackOverflowDeathTest, AnOverflowOfTheThreadsOwnStackIsNotClaimed) {
  EXPECT_EXIT(
      {
        HubScope scope;
        Yield();
        Recurse(0);
      },
      DiedOfAFault, Not(HasSubstr("grove: ")));
}

TEST(StackOverflowDeathTest, ASignalThatSomebodySendsKillsAsEver) {
  EXPECT_EXIT(
      {
        HubScope scope;
        raise(SIGSEGV);
        _exit(0);
      },
      DiedOfAFault, Not(HasSubstr("grove: ")));
}

// The program's own handler, set before its first hub.
void OwnHandler(int, siginfo_t* info, void*) {
  const char* text =
      info->si_addr == reinterpret_cast<void*>(16) ? "at 16\n" : "elsewhere\n";
  [[maybe_unused]] const ssize_t n = write(STDERR_FILENO, text, strlen(text));
  _exit(77);
}

void InstallOwnHandler() {
  struct sigaction action {};
  action.sa_sigaction = &OwnHandler;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigaction(SIGSEGV, &action, nullptr);
}

TEST(StackOverflowDeathTest, AnotherFaultGoesToTheProgramsOwnHandler) {
  EXPECT_EXIT(
      {
        InstallOwnHandler();
        HubScope scope;
        Spawn([] { WriteToNowhere(); }).Join();
      },
      testing::ExitedWithCode(77), "at 16");
}

TEST(StackOverflowDeathTest, AfterTheReportTheProgramsOwnHandlerIsCalled) {
  EXPECT_EXIT(
      {
        InstallOwnHandler();
        HubScope scope;
        Spawn({.name = "deep"}, [] { Recurse(0); }).Join();
      },
      testing::ExitedWithCode(77), "stack overflow in greenlet 'deep'.*elsewhere");
}

}  // namespace
}  // namespace grove
