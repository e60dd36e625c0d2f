#include "tools/bench/process.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tools/bench/bench.h"

namespace grove::bench {

Process::Process(std::vector<std::string> argv, ProcessOptions options) : name_(argv[0]) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) {
    throw BenchError(absl::StrCat("pipe: ", strerror(errno)));
  }
  // All that allocates is done before the fork.
  std::vector<char*> arguments;
  for (std::string& a : argv) arguments.push_back(a.data());
  arguments.push_back(nullptr);
  cpu_set_t cores;
  CPU_ZERO(&cores);
  if (options.core >= 0) CPU_SET(static_cast<size_t>(options.core), &cores);
  const pid_t parent = getpid();

  pid_ = fork();
  if (pid_ == 0) {
    // Whatever becomes of the parent, nothing stays behind.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    if (options.core >= 0) sched_setaffinity(0, sizeof cores, &cores);
    dup2(ends[1], STDOUT_FILENO);
    if (options.capture_stderr) dup2(ends[1], STDERR_FILENO);
    execvp(arguments[0], arguments.data());
    _exit(127);
  }
  const int fork_errno = errno;
  close(ends[1]);
  output_ = ends[0];
  if (pid_ < 0) {
    close(output_);
    throw BenchError(absl::StrCat("fork: ", strerror(fork_errno)));
  }
}

Process::~Process() {
  if (!ended_) Stop(SIGKILL);
  close(output_);
}

bool Process::ReadSome(absl::Time until) {
  const absl::Duration left = std::max(until - absl::Now(), absl::ZeroDuration());
  pollfd p = {output_, POLLIN, 0};
  const int n = poll(&p, 1, static_cast<int>(absl::ToInt64Milliseconds(left)));
  if (n == 0) throw BenchError(name_ + " said nothing in time");
  if (n < 0) {
    if (errno == EINTR) return true;
    throw BenchError(absl::StrCat("poll: ", strerror(errno)));
  }
  char bytes[4096];
  const ssize_t got = read(output_, bytes, sizeof bytes);
  if (got <= 0) return got < 0 && errno == EINTR;
  buffer_.append(bytes, static_cast<size_t>(got));
  return true;
}

std::string Process::ReadLine(absl::Duration timeout) {
  const absl::Time until = absl::Now() + timeout;
  for (;;) {
    if (const size_t end = buffer_.find('\n'); end != std::string::npos) {
      std::string line = buffer_.substr(0, end);
      buffer_.erase(0, end + 1);
      return line;
    }
    if (!ReadSome(until)) {
      const int status = Wait(absl::Seconds(1));
      throw BenchError(absl::StrCat(name_, " ended with status ", status,
                                    status == 127 ? " (not found?)" : "", " ", buffer_));
    }
  }
}

std::string Process::ReadAll(absl::Duration timeout) {
  const absl::Time until = absl::Now() + timeout;
  while (ReadSome(until)) {
  }
  return std::exchange(buffer_, "");
}

bool Process::HasEnded() const {
  siginfo_t info = {};
  return ended_ ||
         waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) !=
             0 ||
         info.si_pid == pid_;
}

int Process::Wait(absl::Duration timeout) {
  const absl::Time until = absl::Now() + timeout;
  bool killed = false;
  while (!ended_) {
    int status;
    const pid_t pid = waitpid(pid_, &status, WNOHANG);
    if (pid == pid_) {
      ended_ = true;
      status_ = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    } else if (pid < 0 && errno != EINTR) {
      throw BenchError(absl::StrCat("waitpid: ", strerror(errno)));
    } else {
      if (!killed && absl::Now() > until) {
        kill(pid_, SIGKILL);
        killed = true;
      }
      absl::SleepFor(absl::Milliseconds(1));
    }
  }
  return status_;
}

int Process::Stop(int signal_number, absl::Duration timeout) {
  if (!ended_) kill(pid_, signal_number);
  return Wait(timeout);
}

namespace {

void Send(const std::vector<const Process*>& to, int signal_number) {
  for (const Process* p : to) kill(p->pid(), signal_number);
}

void Resume(const Team& team) {
  Send(team.servers, SIGCONT);
  Send(team.loads, SIGCONT);
}

bool HasEnded(const Team& team) {
  return std::all_of(team.loads.begin(), team.loads.end(),
                     [](const Process* p) { return p->HasEnded(); });
}

}  // namespace

void Suspend(const Team& team) {
  Send(team.loads, SIGSTOP);
  Send(team.servers, SIGSTOP);
}

void TakeTurns(const Team& a, const Team& b) {
  constexpr absl::Duration kTurn = absl::Milliseconds(100);
  Suspend(a);
  Suspend(b);
  for (bool a_runs = true; !HasEnded(a) || !HasEnded(b); a_runs = !a_runs) {
    const Team& team = a_runs ? a : b;
    if (HasEnded(team)) continue;
    Resume(team);
    absl::SleepFor(kTurn);
    Suspend(team);
  }
  Resume(a);  // for their servers' orderly end
  Resume(b);
}

std::string FindBinary(const std::string& workspace_path) {
  std::vector<std::string> roots;
  for (const char* name : {"RUNFILES_DIR", "TEST_SRCDIR"}) {
    if (const char* dir = getenv(name)) roots.push_back(absl::StrCat(dir, "/grove"));
  }
  char self[PATH_MAX];
  if (const ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1); n > 0) {
    const std::string path(self, static_cast<size_t>(n));
    roots.push_back(absl::StrCat(path, ".runfiles/grove"));
    // <output folder>/tools/bench/bench
    std::string folder = path;
    for (int i = 0; i < 3; ++i) folder.erase(std::min(folder.rfind('/'), folder.size()));
    roots.push_back(folder);
  }
  roots.push_back(".");  // `bazel run` starts programs among their runfiles
  for (const std::string& root : roots) {
    const std::string path = absl::StrCat(root, "/", workspace_path);
    if (access(path.c_str(), X_OK) == 0) return path;
  }
  throw BenchError(absl::StrCat("cannot find the binary ", workspace_path,
                                "; run by `./tools/bazel run //tools/bench`"));
}

}  // namespace grove::bench
