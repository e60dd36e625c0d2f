#include "grove/green/os/waitpid.h"

#include <errno.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <set>
#include <string>
#include <thread>

#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/os/process_test_util.h"
#include "grove/green/sleep.h"
#include "grove/green/status.h"

namespace grove {
namespace {

class WaitPidTest : public ProcessTest {};
class WaitPidTimeTest : public ProcessTimeTest {};

// As other code would start it. Not by fork(): ThreadSanitizer's child may wait for a
// lock that it has inherited.
pid_t StartElsewhere(std::string command, bool own_group = false) {
  char shell[] = "/bin/sh", option[] = "-c";
  char* const arguments[] = {shell, option, command.data(), nullptr};
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  if (own_group) posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
  pid_t pid = 0;
  EXPECT_EQ(posix_spawn(&pid, shell, nullptr, &attributes, arguments, environ), 0);
  posix_spawnattr_destroy(&attributes);
  return pid;
}

GREENLET_TEST_F(WaitPidTest, WaitsForOneChild) {
  // OS-7.
  const pid_t pid = StartElsewhere("exit 3");
  const absl::StatusOr<EndedChild> child = WaitPid(pid, Guard());
  ASSERT_TRUE(child.ok()) << child.status();
  EXPECT_EQ(child->pid, pid);
  EXPECT_EQ(child->status, ExitStatus::Exited(3));
  EXPECT_EQ(ErrnoOf(WaitPid(pid).status()), ECHILD) << "once";
}

// For a signalfd(2), say: nothing tells of an end then.
GREENLET_TEST_F(WaitPidTimeTest, SigchldMayBeBlocked) {
  sigset_t chld, before;
  sigemptyset(&chld);
  sigaddset(&chld, SIGCHLD);
  ASSERT_EQ(pthread_sigmask(SIG_BLOCK, &chld, &before), 0);
  const pid_t pid = StartElsewhere("exit 3");
  const absl::StatusOr<EndedChild> child = WaitPid(-1);
  ASSERT_TRUE(child.ok()) << child.status();
  EXPECT_EQ(child->pid, pid);
  ASSERT_EQ(pthread_sigmask(SIG_SETMASK, &before, nullptr), 0);
}

GREENLET_TEST_F(WaitPidTest, LetsOthersRunMeanwhile) {
  const pid_t pid = StartElsewhere("kill -STOP $$; exit 4");
  const Greenlet<> g = Spawn([&] {
    // Until it stands: a signal that comes before would be lost.
    siginfo_t info;
    ASSERT_EQ(waitid(P_PID, pid, &info, WSTOPPED), 0);
    kill(pid, SIGCONT);
  });
  EXPECT_EQ(WaitPid(pid, Guard())->status, ExitStatus::Exited(4));
  EXPECT_TRUE(g.ready());
}

GREENLET_TEST_F(WaitPidTest, WhatIsNoChildIsAnError) {
  EXPECT_EQ(ErrnoOf(WaitPid(1).status()), ECHILD);
  EXPECT_EQ(ErrnoOf(WaitPid(-1).status()), ECHILD);
  EXPECT_EQ(ErrnoOf(WaitPid(0).status()), ECHILD);
  EXPECT_EQ(ErrnoOf(WaitPid(-12345678).status()), ECHILD);
}

GREENLET_TEST_F(WaitPidTimeTest, ADeadlineReapsNothing) {
  const pid_t pid = StartElsewhere("kill -STOP $$; exit 4");
  for (const pid_t which : {pid, pid_t{-1}, pid_t{0}}) {
    EXPECT_EQ(WaitPid(which, absl::Seconds(1)).status().code(),
              absl::StatusCode::kDeadlineExceeded);
    EXPECT_EQ(WaitPid(which, Deadline::Passed()).status().code(),
              absl::StatusCode::kDeadlineExceeded);
  }
  EXPECT_TRUE(HasTaken(absl::Seconds(3)));
  siginfo_t info;
  ASSERT_EQ(waitid(P_PID, pid, &info, WSTOPPED), 0);
  kill(pid, SIGCONT);
  EXPECT_EQ(WaitPid(pid)->status, ExitStatus::Exited(4));
}

GREENLET_TEST_F(WaitPidTest, AKilledWaiterReapsNothing) {
  const pid_t pid = StartElsewhere("kill -STOP $$; exit 4");
  for (const pid_t which : {pid, pid_t{-1}}) {
    const Greenlet<> g = Spawn([&] { WaitPid(which).IgnoreError(); });
    Yield();
    g.Kill();
    EXPECT_TRUE(g.killed());
  }
  kill(pid, SIGKILL);
  EXPECT_EQ(WaitPid(pid, Guard())->status, ExitStatus::Signaled(SIGKILL));
}

GREENLET_TEST_F(WaitPidTest, AnyChildIsWhicheverEnds) {
  std::set<pid_t> started, ended;
  for (int i = 0; i < 5; ++i) started.insert(StartElsewhere("exit 0"));
  for (int i = 0; i < 5; ++i) {
    const absl::StatusOr<EndedChild> child = WaitPid(-1, Guard());
    ASSERT_TRUE(child.ok()) << child.status();
    ended.insert(child->pid);
  }
  EXPECT_EQ(started, ended);
  EXPECT_EQ(ErrnoOf(WaitPid(-1).status()), ECHILD);
}

GREENLET_TEST_F(WaitPidTest, AProcessGroupIsThoseInIt) {
  const pid_t grouped = StartElsewhere("exit 1", /*own_group=*/true);
  const pid_t other = StartElsewhere("exit 2");
  EXPECT_EQ(WaitPid(-grouped, Guard())->pid, grouped);
  EXPECT_EQ(ErrnoOf(WaitPid(-grouped).status()), ECHILD);
  EXPECT_EQ(WaitPid(0, Guard())->pid, other);
}

GREENLET_TEST_F(WaitPidTest, NeverTakesAwayASubprocess) {
  absl::StatusOr<Subprocess> mine = Subprocess::Start(Shell("exit 5"));
  const pid_t other = StartElsewhere("exit 6");
  // Whichever ends first.
  const absl::StatusOr<EndedChild> any = WaitPid(-1, Guard());
  ASSERT_TRUE(any.ok()) << any.status();
  EXPECT_EQ(any->pid, other);
  EXPECT_EQ(ErrnoOf(WaitPid(-1, Guard()).status()), ECHILD) << "of no others";
  EXPECT_EQ(*mine->Wait(Guard()), ExitStatus::Exited(5));
}

GREENLET_TEST_F(WaitPidTest, ByItsPidASubprocessIsWaitedForHereAndThere) {
  Subprocess cat = Cat();
  const Greenlet<absl::StatusOr<EndedChild>> g =
      Spawn([&] { return WaitPid(cat.pid(), Guard()); });
  Yield();
  cat.in().Close();
  EXPECT_EQ(*cat.Wait(Guard()), ExitStatus::Exited(0));
  EXPECT_EQ(g.Get()->status, ExitStatus::Exited(0));
}

GREENLET_TEST_F(WaitPidTest, SeveralHubsGetOneEach) {
  constexpr int kChildren = 6;
  for (int i = 0; i < kChildren; ++i) StartElsewhere("exit 0");
  std::atomic<int> got{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      HubScope scope;
      while (WaitPid(-1, Guard()).ok()) ++got;
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(got, kChildren);
}

}  // namespace
}  // namespace grove
