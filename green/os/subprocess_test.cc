#include "grove/green/os/subprocess.h"

#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "grove/green/call.h"
#include "grove/green/greenlet.h"
#include "grove/green/hub_group.h"
#include "grove/green/hub_scope.h"
#include "grove/green/internal/sanitizer.h"
#include "grove/green/os/fork.h"
#include "grove/green/os/process_test_util.h"
#include "grove/green/os/run.h"
#include "grove/green/sleep.h"
#include "grove/green/status.h"
#include "grove/green/timeout.h"

namespace grove {
namespace {

class SubprocessTest : public ProcessTest {};
class SubprocessTimeTest : public ProcessTimeTest {};

std::string Text(absl::StatusOr<std::string> text) {
  EXPECT_TRUE(text.ok()) << text.status();
  return text.ok() ? *text : "";
}

std::string TempDir() {
  const char* dir = getenv("TEST_TMPDIR");
  return dir ? dir : "/tmp";
}

// A file with these bytes and this mode.
std::string MakeFile(const std::string& name, const std::string& text, mode_t mode) {
  const std::string path = absl::StrCat(TempDir(), "/", name, ".", getpid());
  std::ofstream(path) << text;
  EXPECT_EQ(chmod(path.c_str(), mode), 0);
  return path;
}

ExitStatus EndOf(absl::StatusOr<Subprocess> child) {
  EXPECT_TRUE(child.ok()) << child.status();
  if (!child.ok()) return {};
  return *child->Wait(Guard());
}

// --- waiting -------------------------------------------------------------------------

GREENLET_TEST_F(SubprocessTest, TellsHowItHasEnded) {
  // SP-5.
  EXPECT_EQ(EndOf(Subprocess::Start({"true"})), ExitStatus::Exited(0));
  EXPECT_EQ(EndOf(Subprocess::Start({"false"})), ExitStatus::Exited(1));
  EXPECT_EQ(EndOf(Subprocess::Start(Shell("exit 42"))), ExitStatus::Exited(42));
  EXPECT_EQ(EndOf(Subprocess::Start(Shell("kill -TERM $$"))),
            ExitStatus::Signaled(SIGTERM));
}

GREENLET_TEST_F(SubprocessTest, WaitLetsOthersRun) {
  Subprocess cat = Cat();
  bool ran = false;
  const Greenlet<> g = Spawn([&] {
    ran = true;
    cat.in().Close();
  });
  EXPECT_EQ(*cat.Wait(Guard()), ExitStatus::Exited(0));
  EXPECT_TRUE(ran);
}

GREENLET_TEST_F(SubprocessTest, AnyNumberMayWaitAndAskAgain) {
  Subprocess cat = Cat();
  EXPECT_EQ(cat.Poll(), std::nullopt);
  std::vector<Greenlet<absl::StatusOr<ExitStatus>>> waiters;
  for (int i = 0; i < 3; ++i) waiters.push_back(Spawn([&] { return cat.Wait(Guard()); }));
  Yield();
  ASSERT_TRUE(cat.Kill().ok());
  for (const auto& w : waiters) EXPECT_EQ(*w.Get(), ExitStatus::Signaled(SIGKILL));
  EXPECT_EQ(*cat.Wait(), ExitStatus::Signaled(SIGKILL)) << "not told once only";
  EXPECT_EQ(cat.Poll(), ExitStatus::Signaled(SIGKILL));
}

GREENLET_TEST_F(SubprocessTest, OtherHubsMayWaitForIt) {
  Subprocess cat = Cat();
  std::vector<std::thread> threads;
  std::vector<ExitStatus> seen(3);
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&, i] {
      HubScope scope;
      seen[i] = *cat.Wait(Guard());
    });
  }
  EXPECT_TRUE(cat.Terminate().ok());
  EXPECT_EQ(*cat.Wait(Guard()), ExitStatus::Signaled(SIGTERM));
  for (std::thread& t : threads) t.join();
  for (const ExitStatus& s : seen) EXPECT_EQ(s, ExitStatus::Signaled(SIGTERM));
}

GREENLET_TEST_F(SubprocessTest, AnyThreadMayStartIt) {
  // gevent: the main thread only.
  ExitStatus status;
  std::string text;
  std::thread([&] {
    absl::StatusOr<CompletedProcess> done =
        RunProcess(Shell("cat; exit 3"), {.input = "x"});
    ASSERT_TRUE(done.ok()) << done.status();
    status = done->status;
    text = done->out;
  }).join();
  EXPECT_EQ(status, ExitStatus::Exited(3));
  EXPECT_EQ(text, "x");
}

GREENLET_TEST_F(SubprocessTimeTest, ADeadlineLeavesItRunning) {
  Subprocess cat = Cat();
  const absl::StatusOr<ExitStatus> status = cat.Wait(absl::Seconds(5));
  EXPECT_EQ(status.status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(HasTaken(absl::Seconds(5)));
  EXPECT_EQ(cat.Wait(Deadline::Passed()).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  cat.in().Close();
  EXPECT_EQ(*cat.Wait(), ExitStatus::Exited(0));
}

GREENLET_TEST_F(SubprocessTest, AKilledWaiterLeavesItRunning) {
  Subprocess cat = Cat();
  const Greenlet<> g = Spawn([&] { cat.Wait().IgnoreError(); });
  Yield();
  g.Kill();
  EXPECT_TRUE(g.killed());
  EXPECT_EQ(cat.Poll(), std::nullopt);
  cat.in().Close();
  EXPECT_EQ(*cat.Wait(Guard()), ExitStatus::Exited(0));
}

GREENLET_TEST_F(SubprocessTest, ItsEndIsOneOfSeveralThings) {
  // SP-4.
  Subprocess first = Cat();
  Subprocess second = Cat();
  const Greenlet<> never = Spawn([] { Sleep(absl::InfiniteDuration()); });
  second.in().Close();
  EXPECT_EQ(Wait({first.AsWaitable(), second.AsWaitable(), never},
                 {.deadline = Guard(), .count = 1}),
            (std::vector<size_t>{1}));
  first.in().Close();
  EXPECT_EQ(Wait({first.AsWaitable(), second.AsWaitable()}, {.deadline = Guard()}).size(),
            2u);
  never.Kill();
}

GREENLET_TEST_F(SubprocessTest, SignalsGoNowhereOnceItHasEnded) {
  absl::StatusOr<Subprocess> child = Subprocess::Start({"true"});
  EXPECT_EQ(*child->Wait(Guard()), ExitStatus::Exited(0));
  EXPECT_TRUE(child->SendSignal(SIGKILL).ok());
  EXPECT_TRUE(child->Terminate().ok());
  EXPECT_EQ(child->Poll(), ExitStatus::Exited(0));
  Subprocess cat = Cat();
  EXPECT_EQ(ErrnoOf(cat.SendSignal(12345)), EINVAL) << "there is no such signal";
  EXPECT_TRUE(cat.Kill().ok());
  EXPECT_TRUE(cat.Wait(Guard()).ok());
}

GREENLET_TEST_F(SubprocessTest, AHandleThatGoesLeavesNoZombie) {
  pid_t pid = 0;
  {
    Subprocess cat = Cat();
    pid = cat.pid();
    // With the handle go the pipes, and cat ends.
  }
  // It is reaped by the hub: then there is no such process any more.
  while (kill(pid, 0) == 0) Sleep(absl::Milliseconds(1));
  EXPECT_EQ(errno, ESRCH);
}

TEST(SubprocessHubTest, AChildThatOutlivesItsHubIsReapedByTheNextStart) {
  pid_t pid = 0;
  {
    HubScope scope;
    Subprocess cat = Cat();
    pid = cat.pid();
    PipeWriter in = std::move(cat.in());
    { const Subprocess gone = std::move(cat); }
    EXPECT_EQ(kill(pid, 0), 0);
  }
  siginfo_t info;
  ASSERT_EQ(waitid(P_PID, pid, &info, WEXITED | WNOWAIT), 0) << "a zombie";
  HubScope scope;
  EXPECT_EQ(EndOf(Subprocess::Start({"true"})), ExitStatus::Exited(0));
  EXPECT_EQ(kill(pid, 0), -1);
}

GREENLET_TEST_F(SubprocessTest, WhatOthersHaveReapedEndsInAnUnknownWay) {
  absl::StatusOr<Subprocess> child = Subprocess::Start({"true"});
  ASSERT_EQ(waitpid(child->pid(), nullptr, 0), child->pid());
  EXPECT_FALSE(child->Wait(Guard())->known());
  EXPECT_FALSE(child->Poll()->success());
}

// --- what cannot be started ----------------------------------------------------------

TEST(SubprocessErrorTest, NamesWhatIsWrong) {
  const auto error = [](const std::vector<std::string>& argv,
                        const SubprocessOptions& options = {}) {
    const absl::Status status = Subprocess::Start(argv, options).status();
    EXPECT_FALSE(status.ok());
    return status;
  };
  // SP-1.
  absl::Status s = error({"no-such-program"});
  EXPECT_EQ(ErrnoOf(s), ENOENT);
  EXPECT_EQ(s.message(), "exec of 'no-such-program': No such file or directory");
  s = error({"/no/such/program"});
  EXPECT_EQ(ErrnoOf(s), ENOENT);
  EXPECT_TRUE(absl::StrContains(s.message(), "'/no/such/program'")) << s;
  s = error({"true"}, {.cwd = "/no/such/folder"});
  EXPECT_EQ(ErrnoOf(s), ENOENT);
  EXPECT_TRUE(absl::StrContains(s.message(), "chdir to '/no/such/folder'")) << s;
  s = error({"x"}, {.executable = "/no/such/executable"});
  EXPECT_TRUE(absl::StrContains(s.message(), "exec of '/no/such/executable'")) << s;
  s = error({"/etc"});
  EXPECT_EQ(ErrnoOf(s), EACCES);

  const std::string plain = MakeFile("plain", "#!/bin/sh\n", 0644);
  s = error({plain});
  EXPECT_EQ(ErrnoOf(s), EACCES);
  EXPECT_TRUE(absl::StrContains(s.message(), plain)) << s;
  const std::string text = MakeFile("text", "echo hello\n", 0755);
  EXPECT_EQ(ErrnoOf(error({text})), ENOEXEC);
  const std::string orphan = MakeFile("orphan", "#!/no/such/interpreter\n", 0755);
  s = error({orphan});
  EXPECT_EQ(ErrnoOf(s), ENOENT);
  EXPECT_TRUE(absl::StrContains(s.message(), "interpreter of which")) << s;
  // Also if it is looked for, or if the name begins elsewhere.
  const std::string name = orphan.substr(orphan.rfind('/') + 1);
  s = error({name},
            {.extra_env = {{"PATH", absl::StrCat(TempDir(), ":/no/such/folder")}}});
  EXPECT_TRUE(absl::StrContains(s.message(), absl::StrCat("'", orphan, "', the"))) << s;
  s = error({absl::StrCat("./", name)}, {.cwd = TempDir()});
  EXPECT_TRUE(absl::StrContains(s.message(), "', the interpreter of which")) << s;
  for (const std::string& path : {plain, text, orphan}) unlink(path.c_str());

  s = error({"true"}, {.pass_fds = {987654}});
  EXPECT_EQ(ErrnoOf(s), EBADF);
  EXPECT_TRUE(absl::StrContains(s.message(), "987654")) << s;
  EXPECT_EQ(ErrnoOf(error({"true"}, {.in = Stdio::Fd(987654)})), EBADF);
  EXPECT_EQ(ErrnoOf(error({"true"}, {.process_group = 0x7ffffff0})), EPERM);

  EXPECT_EQ(error({std::string("tr\0ue", 5)}).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(error({"true"}, {.extra_env = {{"a=b", "c"}}}).code(),
            absl::StatusCode::kInvalidArgument);
  // Of those that failed after the fork nothing is left.
  EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1);
}

GREENLET_TEST_F(SubprocessTest, AFailedStartLeavesNoDescriptor) {
  for (int i = 0; i < 3; ++i) {
    EXPECT_FALSE(Subprocess::Start(
                     {"/no/such/program"},
                     {.in = Stdio::Pipe(), .out = Stdio::Pipe(), .err = Stdio::Pipe()})
                     .ok());
  }
}

// --- options -------------------------------------------------------------------------

GREENLET_TEST_F(SubprocessTest, RunsInAnotherDirectory) {
  EXPECT_EQ(Text(CheckOutput({"pwd"}, {.process = {.cwd = "/usr"}})), "/usr\n");
}

GREENLET_TEST_F(SubprocessTest, HasAnEnvironmentOfItsOwn) {
  EXPECT_EQ(
      Text(CheckOutput({"/usr/bin/env"}, {.process = {.env = Environment{{"A", "1"}}}})),
      "A=1\n");
  ASSERT_EQ(setenv("GROVE_TEST_INHERITED", "yes", 1), 0);
  EXPECT_EQ(Text(CheckOutput(Shell("echo $GROVE_TEST_INHERITED $ADDED"),
                             {.process = {.extra_env = {{"ADDED", "too"}}}})),
            "yes too\n");
  EXPECT_EQ(
      Text(CheckOutput(Shell("echo $GROVE_TEST_INHERITED"),
                       {.process = {.extra_env = {{"GROVE_TEST_INHERITED", "no"}}}})),
      "no\n");
  unsetenv("GROVE_TEST_INHERITED");
}

GREENLET_TEST_F(SubprocessTest, IsLookedForInThePathOfTheChild) {
  const std::string path = MakeFile("tool", "#!/bin/sh\necho found\n", 0755);
  const std::string name = path.substr(path.rfind('/') + 1);
  const SubprocessOptions options{
      .extra_env = {{"PATH", absl::StrCat("/no/such/folder:/etc/passwd:", TempDir())}}};
  EXPECT_EQ(Text(CheckOutput({name}, {.process = options})), "found\n");
  // One that may not be executed is remembered, and a later one is taken.
  const std::string other = MakeFile("tool", "", 0644);
  EXPECT_EQ(ErrnoOf(CheckOutput({name}, {.process = options}).status()), EACCES);
  unlink(path.c_str());
}

GREENLET_TEST_F(SubprocessTest, ItsNameNeedNotBeTheProgram) {
  EXPECT_EQ(Text(CheckOutput({"another name", "-c", "echo $0"},
                             {.process = {.executable = "/bin/sh"}})),
            "another name\n");
}

GREENLET_TEST_F(SubprocessTest, StderrMayBeStdout) {
  absl::StatusOr<CompletedProcess> done =
      RunProcess(Shell("echo out; echo err >&2"), {.process = {.err = Stdio::Stdout()}});
  ASSERT_TRUE(done.ok());
  EXPECT_EQ(done->out, "out\nerr\n");
  EXPECT_EQ(done->err, "");
}

GREENLET_TEST_F(SubprocessTest, StdioMayBeNothing) {
  absl::StatusOr<CompletedProcess> done = RunProcess(
      Shell("cat; echo gone; echo gone >&2"),
      {.process = {.in = Stdio::Null(), .out = Stdio::Null(), .err = Stdio::Null()}});
  ASSERT_TRUE(done.ok());
  EXPECT_TRUE(done->status.success());
  EXPECT_EQ(done->out + done->err, "");
}

GREENLET_TEST_F(SubprocessTest, StdioMayBeAGivenDescriptor) {
  const std::string path = MakeFile("given", "hello", 0644);
  const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
  EXPECT_EQ(Text(CheckOutput({"cat"}, {.process = {.in = Stdio::Fd(fd)}})), "hello");
  EXPECT_EQ(EndOf(Subprocess::Start(Shell("echo more"), {.out = Stdio::Fd(fd)})),
            ExitStatus::Exited(0));
  EXPECT_EQ(Text(CheckOutput({"cat", path})), "hellomore\n");
  EXPECT_GE(fcntl(fd, F_GETFD), 0) << "it stays the caller's";
  close(fd);
  unlink(path.c_str());
}

GREENLET_TEST_F(SubprocessTest, StdoutAndStderrMayBeSwapped) {
  int pipes[2][2];
  int before[2];
  fflush(nullptr);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(pipe2(pipes[i], O_CLOEXEC), 0);
    before[i] = fcntl(1 + i, F_DUPFD_CLOEXEC, 3);
    EXPECT_EQ(dup2(pipes[i][1], 1 + i), 1 + i);
  }
  absl::StatusOr<CompletedProcess> done =
      RunProcess(Shell("echo out; echo err >&2"),
                 {.process = {.out = Stdio::Fd(2), .err = Stdio::Fd(1)}});
  std::string texts[2];
  for (int i = 0; i < 2; ++i) {
    dup2(before[i], 1 + i);
    close(before[i]);
    close(pipes[i][1]);
    char text[100];
    const ssize_t n = read(pipes[i][0], text, sizeof text);
    texts[i].assign(text, n < 0 ? 0 : static_cast<size_t>(n));
    close(pipes[i][0]);
  }
  ASSERT_TRUE(done.ok());
  EXPECT_TRUE(done->status.success());
  EXPECT_EQ(texts[0], "err\n");
  EXPECT_EQ(texts[1], "out\n");
}

GREENLET_TEST_F(SubprocessTest, HasNoDescriptorsButThoseThatAreGiven) {
  int fds[2];
  ASSERT_EQ(pipe(fds), 0);  // without FD_CLOEXEC
  const std::string list = absl::StrCat(
      "for n in ", fds[0], " ", fds[1],
      "; do if [ -e /proc/self/fd/$n ]; then echo open; else echo closed; fi; done");
  EXPECT_EQ(Text(CheckOutput(Shell(list))), "closed\nclosed\n");
  EXPECT_EQ(Text(CheckOutput(Shell(list), {.process = {.pass_fds = {fds[1]}}})),
            "closed\nopen\n");
  EXPECT_EQ(Text(CheckOutput(Shell(list), {.process = {.close_others = false}})),
            "open\nopen\n");
  // One that is close-on-exec can be passed as well, and stays so here.
  ASSERT_EQ(fcntl(fds[0], F_SETFD, FD_CLOEXEC), 0);
  EXPECT_EQ(Text(CheckOutput(Shell(list), {.process = {.pass_fds = {fds[0]}}})),
            "open\nclosed\n");
  EXPECT_EQ(fcntl(fds[0], F_GETFD), FD_CLOEXEC);
  close(fds[0]);
  close(fds[1]);
}

// As before Linux 5.11, and under filters that do not know close_range(2).
GREENLET_TEST_F(SubprocessTest, HasNoOthersDescriptorsWithoutCloseRangeEither) {
  SKIP_UNDER_TSAN();
  int fds[2];
  ASSERT_EQ(pipe(fds), 0);  // without FD_CLOEXEC
  const int far = fcntl(fds[0], F_DUPFD, 500);
  ASSERT_GE(far, 500);
  const std::string list = absl::StrCat(
      "for n in ", fds[0], " ", fds[1], " ", far,
      "; do if [ -e /proc/self/fd/$n ]; then echo open; else echo closed; fi; done");
  absl::StatusOr<Subprocess> child = ForkProcess([&] {
    sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_close_range, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const sock_fprog program = {std::size(code), code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return 10;
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) return 11;
    if (syscall(SYS_close_range, 1000u, 1000u, 0) == 0) return 12;
    if (Text(CheckOutput(Shell(list))) != "closed\nclosed\nclosed\n") return 13;
    return Text(CheckOutput(Shell(list), {.process = {.pass_fds = {far}}})) ==
                   "closed\nclosed\nopen\n"
               ? 0
               : 14;
  });
  ASSERT_TRUE(child.ok()) << child.status();
  EXPECT_EQ(*child->Wait(Guard()), ExitStatus::Exited(0));
  close(fds[0]);
  close(fds[1]);
  close(far);
}

GREENLET_TEST_F(SubprocessTest, MayLeadAProcessGroupOrASession) {
  const auto ids = [](const SubprocessOptions& options) {
    return Text(CheckOutput(
        Shell("read _ _ _ _ group session _ < /proc/$$/stat;"
              "[ $group = $$ ] && echo group; [ $session = $$ ] && echo session; true"),
        {.process = options}));
  };
  EXPECT_EQ(ids({}), "");
  EXPECT_EQ(ids({.process_group = 0}), "group\n");
  EXPECT_EQ(ids({.new_session = true}), "group\nsession\n");
}

GREENLET_TEST_F(SubprocessTest, ASignalMayGoToTheWholeGroup) {
  absl::StatusOr<Subprocess> child =
      Subprocess::Start(Shell("sleep 1000 & echo up; wait"),
                        {.in = Stdio::Pipe(), .out = Stdio::Pipe(), .process_group = 0});
  ASSERT_TRUE(child.ok());
  char byte;
  ASSERT_TRUE(child->out().Read(absl::MakeSpan(&byte, 1), Guard()).ok());
  EXPECT_TRUE(child->SendSignalToGroup(SIGKILL).ok());
  // Who holds the other end of the pipe, sleep as well, is gone when it has come to its
  // end.
  absl::StatusOr<CompletedProcess> done = child->Communicate({.deadline = Guard()});
  ASSERT_TRUE(done.ok()) << done.status();
  EXPECT_EQ(done->status, ExitStatus::Signaled(SIGKILL));
}

GREENLET_TEST_F(SubprocessTest, HasItsOwnUmask) {
  EXPECT_EQ(Text(CheckOutput(Shell("umask"), {.process = {.umask = 027}})), "0027\n");
}

GREENLET_TEST_F(SubprocessTest, MayBeAnotherUser) {
  const SubprocessOptions nobody{
      .user = 65534, .group = 65534, .extra_groups = std::vector<gid_t>{65534}};
  const absl::StatusOr<std::string> ids =
      CheckOutput(Shell("id -u; id -g; id -G"), {.process = nobody});
  // In some containers even root may not.
  if (ids.ok()) {
    EXPECT_EQ(Text(ids), "65534\n65534\n65534\n");
    // What failed is told from a copy of the memory, too.
    SubprocessOptions nowhere = nobody;
    nowhere.cwd = "/no/such/folder";
    EXPECT_EQ(ErrnoOf(Subprocess::Start({"true"}, nowhere).status()), ENOENT);
  } else {
    EXPECT_EQ(ErrnoOf(ids.status()), EPERM);
    GTEST_SKIP() << "only root may be another user";
  }
}

GREENLET_TEST_F(SubprocessTest, HasTheSignalsThatAProgramExpects) {
  const auto before = signal(SIGPIPE, SIG_IGN);
  sigset_t set, old;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  pthread_sigmask(SIG_BLOCK, &set, &old);
  // Whether it blocks SIGUSR1 and ignores SIGPIPE.
  const auto has = [](bool restore_signals) {
    const std::string masks =
        Text(CheckOutput(Shell("while read k v; do case $k in SigBlk:|SigIgn:) echo $v;;"
                               " esac; done < /proc/$$/status"),
                         {.process = {.restore_signals = restore_signals}}));
    uint64_t blocked = 0, ignored = 0;
    EXPECT_EQ(sscanf(masks.c_str(), "%lx %lx", &blocked, &ignored), 2) << masks;
    return std::pair(blocked >> (SIGUSR1 - 1) & 1, ignored >> (SIGPIPE - 1) & 1);
  };
  EXPECT_EQ(has(true), std::pair(0ul, 0ul));
  EXPECT_EQ(has(false), std::pair(1ul, 1ul));
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
  signal(SIGPIPE, before);
}

// --- Communicate() -------------------------------------------------------------------

GREENLET_TEST_F(SubprocessTest, CommunicateCarriesMuchBothWays) {
  // Far more than pipes hold: whoever wrote all before reading would hang.
  std::string input;
  for (int i = 0; i < 100'000; ++i) absl::StrAppend(&input, "line ", i, "\n");
  absl::StatusOr<Subprocess> child = Subprocess::Start(
      Shell("tee /dev/stderr"),
      {.in = Stdio::Pipe(), .out = Stdio::Pipe(), .err = Stdio::Pipe()});
  absl::StatusOr<CompletedProcess> done =
      child->Communicate({.input = input, .deadline = Guard()});
  ASSERT_TRUE(done.ok()) << done.status();
  EXPECT_TRUE(done->status.success());
  EXPECT_TRUE(done->out == input);
  EXPECT_TRUE(done->err == input);
}

GREENLET_TEST_F(SubprocessTest, CommunicateTakesAChildThatDoesNotWantItsInput) {
  const std::string input(1 << 20, 'x');
  absl::StatusOr<CompletedProcess> done = RunProcess({"true"}, {.input = input});
  ASSERT_TRUE(done.ok()) << done.status();
  EXPECT_TRUE(done->status.success());
  done = RunProcess(Shell("exec <&-; echo done"), {.input = input});
  ASSERT_TRUE(done.ok()) << done.status();
  EXPECT_EQ(done->out, "done\n");
}

GREENLET_TEST_F(SubprocessTest, CommunicateGoesOnWhenOthersCloseItsPipes) {
  absl::StatusOr<Subprocess> child =
      Subprocess::Start({"sleep", "60"}, {.out = Stdio::Pipe(), .err = Stdio::Pipe()});
  ASSERT_TRUE(child.ok()) << child.status();
  const Greenlet<bool> waiting =
      Spawn([&] { return child->Communicate({.deadline = Guard()}).ok(); });
  Yield();
  child->out().Close();
  child->err().Close();
  Yield();
  EXPECT_TRUE(child->Kill().ok());
  EXPECT_TRUE(*waiting.Get());
}

GREENLET_TEST_F(SubprocessTest, StdioOfADescriptorThatIsClosedIsAnError) {
  for (const int fd : {-1, 12345}) {
    const absl::Status s = Subprocess::Start({"true"}, {.out = Stdio::Fd(fd)}).status();
    EXPECT_EQ(ErrnoOf(s), EBADF) << s;
  }
}

GREENLET_TEST_F(SubprocessTest, CommunicateWaitsForAChildThatHasClosedItsPipes) {
  absl::StatusOr<CompletedProcess> done = RunProcess(Shell("exec >&- 2>&-; exit 7"));
  ASSERT_TRUE(done.ok());
  EXPECT_EQ(done->status, ExitStatus::Exited(7));
}

GREENLET_TEST_F(SubprocessTimeTest, ADeadlineLosesNothingAndTheNextCallGoesOn) {
  // SP-3.
  absl::StatusOr<Subprocess> child = Subprocess::Start(
      Shell("read a; echo $a; read b; echo $b; cat"),
      {.in = Stdio::Pipe(), .out = Stdio::Pipe(), .err = Stdio::Pipe()});
  int pipe_fds[2];
  ASSERT_EQ(pipe2(pipe_fds, O_CLOEXEC), 0);
  // More than a pipe holds, of which the child reads two lines and then the rest.
  const std::string rest(1 << 20, 'x');
  ASSERT_TRUE(child->SendSignal(SIGSTOP).ok());
  int late = 0;
  absl::StatusOr<CompletedProcess> done = child->Communicate(
      {.input = absl::StrCat("one\ntwo\n", rest), .deadline = absl::Seconds(1)});
  ASSERT_EQ(done.status().code(), absl::StatusCode::kDeadlineExceeded) << "it stands";
  ASSERT_TRUE(child->SendSignal(SIGCONT).ok());
  // On a manual clock an hour is over whenever the child is slow: again and again.
  do {
    done = child->Communicate({.deadline = absl::Hours(1)});
    ++late;
  } while (absl::IsDeadlineExceeded(done.status()));
  ASSERT_TRUE(done.ok()) << done.status();
  EXPECT_TRUE(done->out == absl::StrCat("one\ntwo\n", rest));
  EXPECT_TRUE(done->status.success());
  close(pipe_fds[0]);
  close(pipe_fds[1]);
}

GREENLET_TEST_F(SubprocessTest, AKillOfWhoCommunicatesLosesNothing) {
  Subprocess cat = Cat();
  const Greenlet<> g = Spawn([&] { cat.Communicate({.input = "hello"}).IgnoreError(); });
  g.Kill();  // before it begins
  const Greenlet<> h = Spawn([&] {
    CommunicateOptions options;
    options.input = std::string(1 << 20, 'x');
    ASSERT_TRUE(cat.SendSignal(SIGSTOP).ok());
    cat.Communicate(std::move(options)).IgnoreError();
  });
  Yield();
  h.Kill();
  ASSERT_TRUE(cat.SendSignal(SIGCONT).ok());
  absl::StatusOr<CompletedProcess> done = cat.Communicate({.deadline = Guard()});
  ASSERT_TRUE(done.ok()) << done.status();
  EXPECT_EQ(done->out.size(), size_t{1} << 20);
}

GREENLET_TEST_F(SubprocessTest, AFloodEndsAtTheLimitAndCanBeReadOn) {
  absl::StatusOr<Subprocess> child =
      Subprocess::Start(Shell("printf 1234567890"), {.out = Stdio::Pipe()});
  absl::StatusOr<CompletedProcess> done =
      child->Communicate({.deadline = Guard(), .output_limit = 9});
  EXPECT_EQ(done.status().code(), absl::StatusCode::kResourceExhausted);
  done = child->Communicate({.deadline = Guard(), .output_limit = 10});
  ASSERT_TRUE(done.ok()) << done.status();
  EXPECT_EQ(done->out, "1234567890") << "no more than the limit is no flood";
}

GREENLET_TEST_F(SubprocessTest, AFloodDoesNotOutliveTheDeadline) {
  absl::StatusOr<Subprocess> child = Subprocess::Start({"yes"}, {.out = Stdio::Pipe()});
  ASSERT_TRUE(child.ok()) << child.status();
  pollfd out = {.fd = child->out().fd(), .events = POLLIN, .revents = 0};
  ASSERT_EQ(poll(&out, 1, -1), 1);
  EXPECT_EQ(child->Communicate({.deadline = Deadline::Passed()}).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(absl::StartsWith(child->OutputSoFar().out, "y\ny\n"));
  EXPECT_TRUE(child->Kill().ok());
  EXPECT_EQ(*child->Wait(Guard()), ExitStatus::Signaled(SIGKILL));
}

// A hub that is pinned to a core does not keep its children there.
TEST(SubprocessCoresTest, ChildrenOfAPinnedHubMayRunOnAllCores) {
  const auto cores = [] {
    return Text(CheckOutput({"grep", "Cpus_allowed:", "/proc/self/status"}));
  };
  HubScope scope;
  const std::string here = cores();
  HubGroup group({.hubs = 1});
  EXPECT_EQ(*Call(group.handle(0), cores), here);
}

GREENLET_TEST_F(SubprocessTest, ItsPipesAreReadAndWrittenByGreenlets) {
  // SP-2.
  Subprocess cat = Cat();
  const Greenlet<> writer = Spawn([&] {
    for (int i = 0; i < 1000; ++i) ASSERT_TRUE(cat.in().Write("0123456789").ok());
    cat.in().Close();
  });
  size_t total = 0;
  std::string buffer(4096, 0);
  for (;;) {
    absl::StatusOr<size_t> n = cat.out().Read(absl::MakeSpan(buffer), Guard());
    ASSERT_TRUE(n.ok()) << n.status();
    if (*n == 0) break;
    total += *n;
  }
  EXPECT_EQ(total, 10'000u);
  EXPECT_EQ(*cat.Wait(Guard()), ExitStatus::Exited(0));
}

GREENLET_TEST_F(SubprocessTest, ManyAtTheSameTime) {
  std::vector<Greenlet<>> greenlets;
  int ended = 0;
  for (int i = 0; i < 20; ++i) {
    greenlets.push_back(Spawn([&, i] {
      for (int n = 0; n < 5; ++n) {
        const std::string word = absl::StrCat(i, "-", n);
        EXPECT_EQ(Text(CheckOutput({"echo", word})), word + "\n");
        ++ended;
      }
    }));
  }
  JoinAll(greenlets);
  EXPECT_EQ(ended, 100);
}

GREENLET_TEST_F(SubprocessTest, SeveralHubsStartChildrenAtTheSameTime) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([] {
      HubScope scope;
      for (int i = 0; i < 20; ++i) {
        EXPECT_EQ(Text(CheckOutput({"echo", "x"})), "x\n");
      }
    });
  }
  for (std::thread& t : threads) t.join();
}

GREENLET_TEST_F(SubprocessTest, AHandleMayBeMoved) {
  std::vector<Subprocess> children;
  for (int i = 0; i < 3; ++i) children.push_back(Cat());
  Subprocess last = std::move(children.back());
  children.pop_back();
  children[0] = std::move(children[1]);
  children.pop_back();
  for (Subprocess* child : {&last, &children[0]}) {
    child->in().Close();
    EXPECT_EQ(*child->Wait(Guard()), ExitStatus::Exited(0));
  }
  // The one that was replaced has lost its pipes, ends by itself, and is reaped unasked.
  siginfo_t info;
  while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0) {
    Sleep(absl::Milliseconds(1));
  }
}

GREENLET_TEST_F(SubprocessTest, AChildOfOthersCanBeAdopted) {
  const pid_t pid = fork();
  if (pid == 0) _exit(9);
  absl::StatusOr<Subprocess> child = Subprocess::Adopt(pid);
  ASSERT_TRUE(child.ok()) << child.status();
  EXPECT_EQ(*child->Wait(Guard()), ExitStatus::Exited(9));
  EXPECT_EQ(ErrnoOf(Subprocess::Adopt(pid).status()), ECHILD);
  EXPECT_EQ(ErrnoOf(Subprocess::Adopt(1).status()), ECHILD) << "no child of ours";
}

TEST(ExitStatusTest, SaysInWordsWhatItIs) {
  EXPECT_EQ(ExitStatus::Exited(2).ToString(), "exited with code 2");
  EXPECT_EQ(ExitStatus::Signaled(SIGKILL).ToString(), "killed by signal 9 (Killed)");
  EXPECT_EQ(ExitStatus().ToString(),
            "ended in an unknown way: somebody else has waited for it");
  EXPECT_EQ(ExitStatus::FromWait(0), ExitStatus::Exited(0));
  EXPECT_EQ(ExitStatus::FromWait(3 << 8), ExitStatus::Exited(3));
  EXPECT_EQ(ExitStatus::FromWait(SIGSEGV | 0x80), ExitStatus::Signaled(SIGSEGV, true));
}

}  // namespace
}  // namespace grove
