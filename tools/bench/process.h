#ifndef GROVE_TOOLS_BENCH_PROCESS_H_
#define GROVE_TOOLS_BENCH_PROCESS_H_

#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/time/time.h"

namespace grove::bench {

// ProcessOptions
struct ProcessOptions {
  int core = -1;  // stays on it, if not negative
  // Whether Read...() give its stderr, too; else that goes where ours does.
  bool capture_stderr = false;
};

// Process
//
// A child process and its output. It ends with the object, and with this program however
// that ends; nothing here waits for ever.
class Process {
 public:
  // argv[0] is a path, or a name to look up in PATH.
  explicit Process(std::vector<std::string> argv, ProcessOptions options = {});
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process();

  pid_t pid() const { return pid_; }
  // Its status is still there to be waited for.
  bool HasEnded() const;

  // Process::ReadLine()
  //
  // The next line, without its end. Throws BenchError if none comes in time.
  std::string ReadLine(absl::Duration timeout);

  // Process::ReadAll()
  //
  // Everything until it ends its output. Throws BenchError if that takes too long.
  std::string ReadAll(absl::Duration timeout);

  // Process::Wait()
  //
  // Its exit status, as of a shell: 128 and more is a signal. Kills it after `timeout`.
  int Wait(absl::Duration timeout);

  // Process::Stop()
  //
  // Asks it to end by a signal, and waits.
  int Stop(int signal_number, absl::Duration timeout = absl::Seconds(5));

 private:
  // False at the end of the output.
  bool ReadSome(absl::Time until);

  const std::string name_;
  pid_t pid_ = -1;
  int output_ = -1;
  int status_ = -1;
  bool ended_ = false;
  std::string buffer_;
};

// Team
//
// Servers, and the loads upon them.
struct Team {
  std::vector<const Process*> servers, loads;
};

// Until TakeTurns() lets them go on.
void Suspend(const Team& team);

// TakeTurns()
//
// Lets one of two teams run at a time, for a tenth of a second each, until all loads have
// ended. Nothing of the one goes on in the other's time.
void TakeTurns(const Team& a, const Team& b);

// FindBinary()
//
// The path of a binary that Bazel has built, from its path in the workspace: among the
// runfiles, or beside this program.
std::string FindBinary(const std::string& workspace_path);

}  // namespace grove::bench

#endif  // GROVE_TOOLS_BENCH_PROCESS_H_
