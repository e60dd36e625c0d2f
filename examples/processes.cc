// Runs command lines side by side, and shows their output line by line, as it comes.
//
//   bazel run //examples:processes -- --jobs=2 'ls /' 'sleep 1; echo slept' 'exit 3'
//   bazel run //examples:processes -- --timeout=1s 'sleep 100' 'yes | head -3'
//
// Look at Run(): a child is an object with pipes and an end; reading one line after the
// other stops only this greenlet. Each child leads a process group, so that whatever a
// command has started ends with it: at its --timeout, and at SIGINT or SIGTERM, which
// kill the greenlets, and those their children. Nothing is left behind, no zombie either;
// but before Linux 6.9 what a command has put into the background, once it has ended.
//
// The exit status is 0 only if each command's was.

#include <signal.h>
#include <stdio.h>

#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "grove/examples/parse_flags.h"
#include "grove/green/greenlet.h"
#include "grove/green/os/buffered.h"
#include "grove/green/os/signals.h"
#include "grove/green/os/subprocess.h"
#include "grove/green/pool.h"
#include "grove/green/timeout.h"

ABSL_FLAG(int, jobs, 4, "how many run at a time");
ABSL_FLAG(absl::Duration, timeout, absl::InfiniteDuration(), "for each command");

namespace {

using grove::BufferedReader;
using grove::ExitStatus;
using grove::Greenlet;
using grove::Pool;
using grove::Stdio;
using grove::Subprocess;
using grove::examples::ParseWords;
using grove::examples::Refuse;

void Say(size_t number, absl::string_view what) {
  const std::string line = absl::StrCat(number, ": ", what, "\n");
  fwrite(line.data(), 1, line.size(), stdout);
  // Nobody reads any more: as if by SIGPIPE, but with an end for the children.
  if (fflush(stdout) != 0) raise(SIGTERM);
}

// Ends a child with all that it has started, however its scope is left.
class Ending {
 public:
  explicit Ending(Subprocess& child) : child_(child) {}
  ~Ending() {
    const grove::Shield shield;  // also if this greenlet is killed
    child_.SendSignalToGroup(SIGKILL).IgnoreError();
    child_.Wait().IgnoreError();
  }

 private:
  Subprocess& child_;
};

absl::StatusOr<ExitStatus> Run(const std::string& command, size_t number) {
  absl::StatusOr<Subprocess> child =
      Subprocess::Start(grove::Shell(command), {.in = Stdio::Null(),
                                                .out = Stdio::Pipe(),
                                                .err = Stdio::Stdout(),
                                                .process_group = 0});
  if (!child.ok()) return child.status();
  const Ending ending(*child);
  return grove::WithTimeout(absl::GetFlag(FLAGS_timeout),
                            [&]() -> absl::StatusOr<ExitStatus> {
                              BufferedReader reader(child->out());
                              for (const absl::string_view line : reader.Lines())
                                Say(number, line);
                              if (!reader.status().ok()) return reader.status();
                              return child->Wait();
                            });
}

// Whether it went well.
bool RunAndTell(const std::string& command, size_t number) {
  const absl::StatusOr<ExitStatus> end = Run(command, number);
  if (absl::IsDeadlineExceeded(end.status())) {
    Say(number, "killed: out of time");
  } else if (!end.ok()) {
    Say(number, end.status().ToString());
  } else {
    Say(number, end->ToString());
  }
  return end.ok() && end->success();
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> commands =
      ParseWords(argc, argv,
                 "Runs command lines side by side.\n"
                 "  processes [--jobs=4] [--timeout=inf] COMMAND...");
  const int jobs = absl::GetFlag(FLAGS_jobs);
  if (jobs < 1) Refuse("--jobs: at least one is needed");
  if (commands.empty()) Refuse("no command (see --help)");

  int ended_by = 0;
  Pool pool(jobs);
  const Greenlet<bool> all = grove::Spawn([&] {
    bool good = true;
    for (size_t i = 0; i < commands.size(); ++i) {
      pool.Spawn([&, i] { good = RunAndTell(commands[i], i + 1) && good; });
    }
    pool.Join();
    return good;
  });
  const auto stop = [&](const grove::SignalInfo& info) {
    ended_by = info.signum;
    all.Kill();   // nothing more is started
    pool.Kill();  // and what runs is ended
  };
  const grove::SignalHandler on_int = grove::OnSignal(SIGINT, stop);
  const grove::SignalHandler on_term = grove::OnSignal(SIGTERM, stop);
  const grove::SignalHandler on_hup = grove::OnSignal(SIGHUP, stop);
  const grove::SignalHandler on_quit = grove::OnSignal(SIGQUIT, stop);
  signal(SIGPIPE, SIG_IGN);
  const bool good = all.Get().value_or(false);
  pool.Join();
  if (ended_by != 0) return 128 + ended_by;
  return good ? 0 : 1;
}
