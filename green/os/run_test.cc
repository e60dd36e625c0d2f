#include "grove/green/os/run.h"

#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <iterator>
#include <string>
#include <thread>

#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/os/process_test_util.h"
#include "grove/green/sleep.h"
#include "grove/green/status.h"
#include "grove/green/timeout.h"

namespace grove {
namespace {

class RunTest : public ProcessTest {};
class RunTimeTest : public ProcessTimeTest {};

GREENLET_TEST_F(RunTest, CollectsWhatAProgramWrites) {
  // SP-6.
  absl::StatusOr<CompletedProcess> done =
      RunProcess(Shell("cat; echo problem >&2; exit 5"), {.input = "hello"});
  ASSERT_TRUE(done.ok()) << done.status();
  EXPECT_EQ(done->status, ExitStatus::Exited(5)) << "no error of RunProcess()";
  EXPECT_EQ(done->out, "hello");
  EXPECT_EQ(done->err, "problem\n");
}

GREENLET_TEST_F(RunTest, CheckRunWantsSuccess) {
  EXPECT_TRUE(CheckRun({"true"}).ok());
  const absl::Status status = CheckRun(Shell("echo out; echo why >&2; exit 5")).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kAborted);
  EXPECT_EQ(status.message(), "'/bin/sh' exited with code 5: why");
  const std::optional<CompletedProcess> process = ProcessOf(status);
  ASSERT_TRUE(process.has_value());
  EXPECT_EQ(process->status, ExitStatus::Exited(5));
  EXPECT_EQ(process->out, "out\n");
  EXPECT_EQ(process->err, "why\n");
  EXPECT_EQ(ProcessOf(CheckRun(Shell("kill -9 $$")).status())->status,
            ExitStatus::Signaled(SIGKILL));
}

GREENLET_TEST_F(RunTest, CheckOutputReturnsIt) {
  EXPECT_EQ(*CheckOutput({"echo", "hello"}), "hello\n");
  EXPECT_EQ(*CheckOutput({"cat"}, {.input = "in"}), "in");
  EXPECT_FALSE(CheckOutput({"false"}).ok());
}

GREENLET_TEST_F(RunTest, WhatCannotBeStartedIsNoProcess) {
  const absl::Status status = CheckOutput({"/no/such/program"}).status();
  EXPECT_EQ(ErrnoOf(status), ENOENT);
  EXPECT_EQ(ProcessOf(status), std::nullopt);
}

GREENLET_TEST_F(RunTimeTest, ADeadlineKillsItAndCarriesTheOutputSoFar) {
  // The child has written before the deadline passes, and says so.
  clock().set_auto_advance(false);
  int fds[2];
  ASSERT_EQ(pipe(fds), 0);
  const Greenlet<absl::Status> run = Spawn([&] {
    const std::string command =
        "echo so far; echo x >&" + std::to_string(fds[1]) + "; exec sleep 1000";
    return RunProcess(Shell(command),
                      {.deadline = absl::Hours(1), .process = {.pass_fds = {fds[1]}}})
        .status();
  });
  Yield();
  char byte;
  ASSERT_EQ(read(fds[0], &byte, 1), 1);
  clock().Advance(absl::Hours(2));
  const absl::Status status = run.Get();
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  const std::optional<CompletedProcess> process = ProcessOf(status);
  ASSERT_TRUE(process.has_value());
  EXPECT_EQ(process->status, ExitStatus::Signaled(SIGKILL));
  EXPECT_EQ(process->out, "so far\n");
  close(fds[0]);
  close(fds[1]);
}

GREENLET_TEST_F(RunTest, AKilledCallerLeavesNoChild) {
  const Greenlet<> g = Spawn([] {
    RunProcess({"sleep", "1000"}).IgnoreError();
    FAIL() << "it was killed";
  });
  Yield();
  g.Kill();
  EXPECT_TRUE(g.killed());
  // TearDown() sees to it that there is no child.
}

GREENLET_TEST_F(RunTimeTest, ATimeoutAroundItLeavesNoChild) {
  EXPECT_EQ(WithTimeout(absl::Seconds(1),
                        [] {
                          RunProcess({"sleep", "1000"}).IgnoreError();
                        })
                .code(),
            absl::StatusCode::kDeadlineExceeded);
}

// From now on the calling thread may send no signals by pidfd_send_signal(2): seccomp(2).
void MaySendNoSignals() {
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pidfd_send_signal, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program = {.len = std::size(filter), .filter = filter};
  ASSERT_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
  ASSERT_EQ(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

// As one that has become another user by sudo(8): it is left to its end.
TEST(RunForeignTest, OneThatMayNotBeKilledIsNotWaitedFor) {
  int fds[2];
  ASSERT_EQ(pipe2(fds, O_CLOEXEC), 0);
  std::thread([&] {
    MaySendNoSignals();
    HubScope hub;
    // Ends with the pipe that it reads.
    const absl::Status status =
        RunProcess({"cat"}, {.deadline = absl::Milliseconds(10),
                             .process = {.in = Stdio::Fd(fds[0])}})
            .status();
    EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
    const std::optional<CompletedProcess> process = ProcessOf(status);
    ASSERT_TRUE(process.has_value());
    EXPECT_FALSE(process->status.known());
  }).join();
  close(fds[0]);
  close(fds[1]);
  // It has been let go of: whoever waits for any child may have it.
  EXPECT_GT(waitpid(-1, nullptr, 0), 0);
}

GREENLET_TEST_F(RunTest, AFloodIsKilledAtTheLimit) {
  const absl::Status status =
      CheckOutput({"yes"}, {.deadline = Guard(), .output_limit = 100'000}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ProcessOf(status)->status, ExitStatus::Signaled(SIGKILL));
  EXPECT_GE(ProcessOf(status)->out.size(), 100'000u);
}

GREENLET_TEST_F(RunTimeTest, WhatItHasStartedInItsGroupEndsWithIt) {
  // It has started something before the deadline passes, and says so.
  clock().set_auto_advance(false);
  int fds[2];
  ASSERT_EQ(pipe(fds), 0);
  const Greenlet<absl::Status> run = Spawn([&] {
    const std::string command =
        "sleep 1000 & echo x >&" + std::to_string(fds[1]) + "; wait";
    return RunProcess(Shell(command),
                      {.deadline = absl::Hours(1),
                       .process = {.pass_fds = {fds[1]}, .process_group = 0}})
        .status();
  });
  Yield();
  char c;
  ASSERT_EQ(read(fds[0], &c, 1), 1);
  clock().Advance(absl::Hours(2));
  EXPECT_EQ(run.Get().code(), absl::StatusCode::kDeadlineExceeded);
  close(fds[1]);
  ASSERT_EQ(read(fds[0], &c, 1), 1);  // the rest of the line
  EXPECT_EQ(read(fds[0], &c, 1), 0) << "nobody has the other end any more";
  close(fds[0]);
}

}  // namespace
}  // namespace grove
