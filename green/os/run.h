#ifndef GROVE_GREEN_OS_RUN_H_
#define GROVE_GREEN_OS_RUN_H_

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "grove/green/os/subprocess.h"
#include "grove/hub/deadline.h"

// Programs that are run to their ends, in one call.
//
//   absl::StatusOr<std::string> head = CheckOutput({"git", "rev-parse", "HEAD"});
namespace grove {

// RunOptions
struct RunOptions {
  // Its stdin; if empty, process.in.
  std::string input = {};
  // When it is killed.
  Deadline deadline = {};
  // When it is killed, too: bytes of stdout and of stderr, each.
  size_t output_limit = kUnlimitedOutput;
  // Its stdout and stderr are collected, unless this says otherwise.
  SubprocessOptions process = {};
};

// RunProcess()
//
// Starts a program, feeds it, collects what it writes, and waits until it has ended; in
// whatever way, that is no error of this call. Nothing of it is left when this returns or
// throws: if it has not ended, it is killed and reaped, and if it leads a process group,
// so are all in there that do not resist (options.process.process_group = 0). One that may
// not be killed, since it is another user's by now (sudo), is left to its end.
//
// Errors: those of Subprocess::Start(); kDeadlineExceeded; kResourceExhausted at the
// output limit. ProcessOf(status) has what was written before.
//
// Blocks: until it has ended.
// Deadline: options.deadline; kills it and returns kDeadlineExceeded.
// Kill: kills it and throws.
absl::StatusOr<CompletedProcess> RunProcess(const std::vector<std::string>& argv,
                                            RunOptions options = {});

// CheckRun(), CheckOutput()
//
// As RunProcess(), but a program that does not end by exiting with code 0 is an error,
// kAborted, with the end of its stderr in the message. CheckOutput() returns what it has
// written to stdout; its stderr is this process's, unless options say otherwise.
absl::StatusOr<CompletedProcess> CheckRun(const std::vector<std::string>& argv,
                                          RunOptions options = {});
absl::StatusOr<std::string> CheckOutput(const std::vector<std::string>& argv,
                                        RunOptions options = {});

// ProcessOf()
//
// How the program of a failed RunProcess() or CheckOutput() has ended, and what it wrote;
// nothing if it was not started.
std::optional<CompletedProcess> ProcessOf(const absl::Status& status);

}  // namespace grove

#endif  // GROVE_GREEN_OS_RUN_H_
