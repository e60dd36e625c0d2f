#ifndef GROVE_GREEN_OS_SUBPROCESS_H_
#define GROVE_GREEN_OS_SUBPROCESS_H_

#include <sys/types.h>

#include <cstddef>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "grove/green/os/exit_status.h"
#include "grove/green/os/pipe.h"
#include "grove/green/wait.h"
#include "grove/hub/deadline.h"

// Other programs: started, talked to by pipes, waited for. From any hub, without SIGCHLD.
// run.h has the short forms.
//
//   absl::StatusOr<Subprocess> sort =
//       Subprocess::Start({"sort", "-u"}, {.in = Stdio::Pipe(), .out = Stdio::Pipe()});
//   if (!sort.ok()) return sort.status();  // "exec of 'sort': No such file or directory"
//   absl::StatusOr<CompletedProcess> done = sort->Communicate({.input = lines});
namespace grove {

namespace green_internal {
class ChildProcess;
}

// Stdio
//
// What a child's stdin, stdout or stderr is.
class Stdio {
 public:
  // Inherit(); what RunProcess() collects, it collects.
  constexpr Stdio() = default;
  // The parent's.
  static constexpr Stdio Inherit() { return Stdio(kInherit); }
  // A new pipe, whose other end is the parent's.
  static constexpr Stdio Pipe() { return Stdio(kPipe); }
  // /dev/null
  static constexpr Stdio Null() { return Stdio(kNull); }
  // Of stderr only: the same as stdout, whatever that is.
  static constexpr Stdio Stdout() { return Stdio(kStdout); }
  // This descriptor, which stays the caller's, and should be blocking: most programs
  // expect that.
  static constexpr Stdio Fd(int fd) { return Stdio(kFd, fd); }

  friend constexpr bool operator==(const Stdio&, const Stdio&) = default;

 private:
  friend class Subprocess;
  enum Kind { kDefault, kInherit, kPipe, kNull, kStdout, kFd };
  constexpr explicit Stdio(Kind kind, int fd = -1) : kind_(kind), fd_(fd) {}

  Kind kind_ = kDefault;
  int fd_ = -1;
};

using Environment = std::map<std::string, std::string>;

// SubprocessOptions
struct SubprocessOptions {
  Stdio in = {};
  Stdio out = {};
  Stdio err = {};
  // The program, if it is not argv[0]. Looked for in PATH, the child's, if it has no
  // slash.
  std::string executable = {};
  // The directory that it starts in. A program's relative path counts from there.
  std::string cwd = {};
  // All of the environment, in place of the parent's.
  std::optional<Environment> env = {};
  // Added to the environment, or replacing what is there.
  Environment extra_env = {};
  // Descriptors from 3 on that the child has as well, under the same numbers.
  std::vector<int> pass_fds = {};
  // Whether all others are closed. If not, those without FD_CLOEXEC stay open.
  bool close_others = true;
  // In a session of its own (setsid(2)): without this one's terminal.
  bool new_session = false;
  // In this process group; 0: one of its own, with the child's pid as its number.
  std::optional<pid_t> process_group = {};
  std::optional<mode_t> umask = {};
  // As whom it runs; needs the right to. Without extra_groups it keeps the parent's.
  std::optional<uid_t> user = {};
  std::optional<gid_t> group = {};
  std::optional<std::vector<gid_t>> extra_groups = {};
  // Blocks no signal, and does not ignore SIGPIPE and SIGXFSZ. If false, the program has
  // the thread's mask, and ignores what this process ignores.
  bool restore_signals = true;
};

// CompletedProcess
struct CompletedProcess {
  ExitStatus status;
  // What was read from its pipes, if there were some.
  std::string out;
  std::string err;
};

inline constexpr size_t kUnlimitedOutput = std::numeric_limits<size_t>::max();

// CommunicateOptions
struct CommunicateOptions {
  // Written to its stdin, which has to be a pipe if there is anything to write.
  std::string input = {};
  Deadline deadline = {};
  // In bytes, for stdout and stderr each.
  size_t output_limit = kUnlimitedOutput;
};

// Subprocess
//
// A handle to a child process.
//
// A child outlives its handle: it goes on, with its pipes closed on this side, and is
// reaped by the hub when it has ended, so that no zombie is left; after the hub's end,
// when the next child is started. To end it, say so: Kill() and Wait().
//
// Threads: Poll(), Wait() and the signals: any, several at a time. The pipes belong to
// the hub that started it, and so do Communicate() and the handle's own life.
class Subprocess {
 public:
  // Subprocess::Start()
  //
  // Starts `argv[0]` with the arguments `argv`. When this returns, the child runs that
  // program, or there is no child. What failed is in the message, by name, with its
  // errno: "chdir to '/nope': No such file or directory", "exec of '/etc/passwd':
  // Permission denied". A file that is neither a binary nor begins with "#!" is ENOEXEC.
  //
  // Handlers that pthread_atfork(3) has registered are not called.
  //
  // Blocks: never for a greenlet; the thread stands still for the 100 us or so that the
  // system takes to load a program.
  // Threads: any; one without a hub gets one if there are pipes.
  static absl::StatusOr<Subprocess> Start(const std::vector<std::string>& argv,
                                          const SubprocessOptions& options = {});

  // Subprocess::Adopt()
  //
  // A handle to a child that something else has started, by fork(2) or posix_spawn(3),
  // and that nobody else waits for. kNotFound if there is no such child.
  static absl::StatusOr<Subprocess> Adopt(pid_t pid);

  Subprocess(Subprocess&&) noexcept;
  Subprocess& operator=(Subprocess&&) noexcept;
  ~Subprocess();

  pid_t pid() const;
  // argv[0], for messages.
  const std::string& name() const;

  // Its pipes, or closed ones. Closing `in` is how a child learns that there is no more.
  PipeWriter& in() { return in_; }
  PipeReader& out() { return out_; }
  PipeReader& err() { return err_; }

  // Subprocess::Wait()
  //
  // How it has ended; again and again the same. A child whose pipes nobody reads may
  // never end: see Communicate().
  //
  // Blocks: until it has ended.
  // Deadline: returns kDeadlineExceeded; the child goes on.
  // Kill: throws; the child goes on.
  absl::StatusOr<ExitStatus> Wait(Deadline deadline = {});

  // Subprocess::Poll()
  //
  // How it has ended, if it has. Does not block.
  std::optional<ExitStatus> Poll();

  // Subprocess::AsWaitable()
  //
  // Its end, for Wait() in wait.h. The handle must outlive that.
  Waitable AsWaitable() const;

  // Subprocess::SendSignal() and the like
  //
  // To this process and no other, by its pidfd. No effect once it has ended. Does not
  // wait.
  absl::Status SendSignal(int signum);
  absl::Status Terminate();  // SIGTERM
  absl::Status Kill();       // SIGKILL
  // To all of the process group that the child leads (options.process_group = 0, or
  // new_session), also when the child itself has ended. Before Linux 6.9 only until that
  // was noticed.
  absl::Status SendSignalToGroup(int signum);

  // Subprocess::Communicate()
  //
  // Writes the input and closes stdin, reads stdout and stderr to their ends, whichever
  // is possible first, and waits until the child has ended. A child that does not want
  // all of its input is no error. If the child has given its pipes to others that live
  // on, this waits for those.
  //
  // Errors: kDeadlineExceeded, and kResourceExhausted at options.output_limit. Then
  // nothing is lost, and the next call goes on where this one was, with what it has read;
  // only the first call may have an input.
  //
  // Blocks: until then.
  // Deadline: returns kDeadlineExceeded.
  // Kill: throws; nothing is lost.
  absl::StatusOr<CompletedProcess> Communicate(CommunicateOptions options = {});

  // Subprocess::OutputSoFar()
  //
  // Takes what Communicate() has read without coming to the end, and what can be read
  // without waiting.
  CompletedProcess OutputSoFar();

 private:
  friend absl::StatusOr<Subprocess> ForkProcess(absl::FunctionRef<int()> fn);

  explicit Subprocess(std::shared_ptr<green_internal::ChildProcess> child);
  absl::StatusOr<int> OpenPipe(int stdio);
  bool Feed();
  static bool ReadSome(PipeReader& pipe, std::string& data, size_t limit);
  absl::StatusOr<bool> AwaitPipes(Deadline deadline);
  absl::Status Exhausted(absl::string_view stream, size_t limit) const;

  std::shared_ptr<green_internal::ChildProcess> child_;
  PipeWriter in_;
  PipeReader out_;
  PipeReader err_;
  // Of Communicate():
  bool communicating_ = false;
  std::string input_;
  size_t written_ = 0;
  std::string out_data_;
  std::string err_data_;
};

// Shell()
//
// The arguments that let a shell run a command line: {"/bin/sh", "-c", command}. Quote
// what comes from outside, or better, do without a shell.
std::vector<std::string> Shell(absl::string_view command);

}  // namespace grove

#endif  // GROVE_GREEN_OS_SUBPROCESS_H_
