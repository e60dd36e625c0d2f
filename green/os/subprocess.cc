#include "grove/green/os/subprocess.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <shared_mutex>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "grove/green/os/internal/child_process.h"
#include "grove/green/os/internal/spawn_process.h"
#include "grove/green/poll.h"
#include "grove/green/status.h"
#include "grove/hub/internal/check.h"

namespace grove {
namespace {

using green_internal::ChildProcess;
using green_internal::ExitOperation;
using green_internal::Scheduler;
using green_internal::SpawnOutcome;
using green_internal::SpawnRequest;
using green_internal::SpawnStage;

constexpr size_t kMinChunk = 4 << 10;
constexpr size_t kMaxChunk = 64 << 10;
// What OutputSoFar() reads at most from a child that writes on and on.
constexpr int kMaxReadsAtEnd = 64;

std::vector<std::string> EnvironmentOf(const SubprocessOptions& options) {
  Environment all;
  if (options.env) {
    all = *options.env;
  } else {
    for (char** e = environ; e && *e; ++e) {
      const absl::string_view entry = *e;
      const size_t equals = entry.find('=');
      if (equals == absl::string_view::npos) continue;
      all.emplace(entry.substr(0, equals), entry.substr(equals + 1));
    }
  }
  for (const auto& [name, value] : options.extra_env) all[name] = value;
  std::vector<std::string> lines;
  lines.reserve(all.size());
  for (const auto& [name, value] : all) lines.push_back(absl::StrCat(name, "=", value));
  return lines;
}

// Where a program may lie, as execvp(3) looks for it.
std::vector<std::string> PathsOf(const std::string& program,
                                 const std::vector<std::string>& environment) {
  if (program.empty() || program.find('/') != std::string::npos) return {program};
  absl::string_view path = "/bin:/usr/bin";
  for (const std::string& line : environment) {
    if (line.rfind("PATH=", 0) == 0) path = absl::string_view(line).substr(5);
  }
  std::vector<std::string> paths;
  for (const absl::string_view folder : absl::StrSplit(path, ':')) {
    paths.push_back(folder.empty() ? program : absl::StrCat(folder, "/", program));
  }
  return paths;
}

std::vector<const char*> Pointers(const std::vector<std::string>& strings) {
  std::vector<const char*> pointers;
  pointers.reserve(strings.size() + 1);
  for (const std::string& s : strings) pointers.push_back(s.c_str());
  pointers.push_back(nullptr);
  return pointers;
}

// The kernel's strings end at the first NUL: what came after it would be lost unseen.
absl::Status CheckStrings(const std::vector<std::string>& argv,
                          const SubprocessOptions& options,
                          const std::vector<std::string>& environment) {
  const auto bad = [](const std::string& s) { return s.find('\0') != std::string::npos; };
  if (bad(options.cwd) || bad(options.executable) ||
      std::any_of(argv.begin(), argv.end(), bad) ||
      std::any_of(environment.begin(), environment.end(), bad)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a process for '", argv[0].c_str(), "': a string contains a NUL character"));
  }
  for (const Environment* env :
       {options.env ? &*options.env : nullptr, &options.extra_env}) {
    if (env == nullptr) continue;
    for (const auto& [name, value] : *env) {
      if (!name.empty() && name.find('=') == std::string::npos) continue;
      return absl::InvalidArgumentError(absl::StrCat(
          "a process for '", argv[0], "': no name for a variable: '", name, "'"));
    }
  }
  return absl::OkStatus();
}

absl::Status StartFailed(const SpawnOutcome& outcome, const std::string& program,
                         const std::vector<std::string>& paths,
                         const SubprocessOptions& options) {
  const auto failed = [&](absl::string_view what) {
    return ErrnoStatus(outcome.error, what);
  };
  switch (outcome.failed) {
    case SpawnStage::kDirectory:
      return failed(absl::StrCat("chdir to '", options.cwd, "' for '", program, "'"));
    case SpawnStage::kSession:
      return failed(absl::StrCat("a new session for '", program, "'"));
    case SpawnStage::kProcessGroup:
      return failed(
          absl::StrCat("process group ", *options.process_group, " for '", program, "'"));
    case SpawnStage::kStdio:
      return failed(absl::StrCat("descriptor ", outcome.which, " of '", program, "'"));
    case SpawnStage::kPassFd:
      return failed(absl::StrCat("passing descriptor ", options.pass_fds[outcome.which],
                                 " to '", program, "'"));
    case SpawnStage::kGroups:
      return failed(absl::StrCat("setgroups for '", program, "'"));
    case SpawnStage::kGroup:
      return failed(absl::StrCat("group ", *options.group, " for '", program, "'"));
    case SpawnStage::kUser:
      return failed(absl::StrCat("user ", *options.user, " for '", program, "'"));
    case SpawnStage::kExec: {
      // Of several paths, the one that was found and would not do; else the name.
      const bool missing = outcome.error == ENOENT || outcome.error == ENOTDIR;
      if (!missing) return failed(absl::StrCat("exec of '", paths[outcome.which], "'"));
      for (const std::string& path : paths) {
        const bool from_cwd = path[0] != '/' && !options.cwd.empty();
        const std::string place = from_cwd ? absl::StrCat(options.cwd, "/", path) : path;
        if (!path.empty() && access(place.c_str(), F_OK) == 0) {
          return failed(absl::StrCat("exec of '", place, "', the interpreter of which"));
        }
      }
      return failed(absl::StrCat("exec of '", program, "'"));
    }
    case SpawnStage::kNone:
    case SpawnStage::kClone:
      break;
  }
  return failed(absl::StrCat("a process for '", program, "'"));
}

// Descriptors to be closed once the child has its own.
class ToClose {
 public:
  ToClose() = default;
  ToClose(const ToClose&) = delete;
  ToClose& operator=(const ToClose&) = delete;
  ~ToClose() {
    for (const int fd : fds_) close(fd);
  }
  void Add(int fd) { fds_.push_back(fd); }

 private:
  std::vector<int> fds_;
};

}  // namespace

Subprocess::Subprocess(std::shared_ptr<ChildProcess> child) : child_(std::move(child)) {}
Subprocess::Subprocess(Subprocess&&) noexcept = default;

Subprocess& Subprocess::operator=(Subprocess&& other) noexcept {
  if (this == &other) return *this;
  if (child_) ChildProcess::Abandon(std::move(child_));
  child_ = std::move(other.child_);
  in_ = std::move(other.in_);
  out_ = std::move(other.out_);
  err_ = std::move(other.err_);
  communicating_ = other.communicating_;
  input_ = std::move(other.input_);
  written_ = other.written_;
  out_data_ = std::move(other.out_data_);
  err_data_ = std::move(other.err_data_);
  return *this;
}

Subprocess::~Subprocess() {
  if (child_) ChildProcess::Abandon(std::move(child_));
}

absl::StatusOr<Subprocess> Subprocess::Start(const std::vector<std::string>& argv,
                                             const SubprocessOptions& options) {
  GROVE_CHECK(!argv.empty(), "a Subprocess without argv[0]");
  const std::string& program = options.executable.empty() ? argv[0] : options.executable;
  const std::vector<std::string> environment = EnvironmentOf(options);
  if (absl::Status s = CheckStrings(argv, options, environment); !s.ok()) return s;
  const std::vector<std::string> paths = PathsOf(program, environment);
  const std::vector<const char*> path_pointers = Pointers(paths);
  const std::vector<const char*> arguments = Pointers(argv);
  const std::vector<const char*> variables = Pointers(environment);

  SpawnRequest request;
  request.paths = path_pointers.data();
  request.argv = arguments.data();
  request.envp = variables.data();
  if (!options.cwd.empty()) request.cwd = options.cwd.c_str();
  request.pass_fds = options.pass_fds.data();
  request.pass_fds_count = options.pass_fds.size();
  request.close_others = options.close_others;
  request.new_session = options.new_session;
  request.set_process_group = options.process_group.has_value();
  request.process_group = options.process_group.value_or(0);
  request.restore_signals = options.restore_signals;
  request.set_umask = options.umask.has_value();
  request.umask = options.umask.value_or(0);
  request.set_user = options.user.has_value();
  request.user = options.user.value_or(0);
  request.set_group = options.group.has_value();
  request.group = options.group.value_or(0);
  if (options.extra_groups) {
    request.set_groups = true;
    request.groups = options.extra_groups->data();
    request.groups_count = options.extra_groups->size();
  }

  ToClose child_ends;
  Subprocess self(nullptr);
  constexpr const char* kStdioNames[] = {"stdin", "stdout", "stderr"};
  const Stdio wanted[3] = {options.in, options.out, options.err};
  for (int i = 0; i < 3; ++i) {
    switch (wanted[i].kind_) {
      case Stdio::kDefault:
      case Stdio::kInherit:
        break;
      case Stdio::kFd:
        if (wanted[i].fd_ < 0) {  // of a pipe that is closed, say
          return ErrnoStatus(EBADF, absl::StrCat("descriptor ", wanted[i].fd_, " as the ",
                                                 kStdioNames[i], " of a process"));
        }
        request.stdio[i] = wanted[i].fd_;
        break;
      case Stdio::kStdout:
        GROVE_CHECK(i == 2, "Stdio::Stdout() is for stderr");
        request.stderr_to_stdout = true;
        break;
      case Stdio::kNull: {
        const int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (fd < 0) return ErrnoStatus(errno, "open of '/dev/null'");
        child_ends.Add(fd);
        request.stdio[i] = fd;
        break;
      }
      case Stdio::kPipe: {
        absl::StatusOr<int> fd = self.OpenPipe(i);
        if (!fd.ok()) return fd.status();
        child_ends.Add(*fd);
        request.stdio[i] = *fd;
        break;
      }
    }
  }

  ChildProcess::ReapAbandoned();
  SpawnOutcome outcome;
  {
    std::shared_lock lock(ChildProcess::starting());
    outcome = green_internal::SpawnProcess(request);
    if (outcome.failed == SpawnStage::kNone) {
      self.child_ = ChildProcess::Make(outcome.pid, outcome.pidfd, argv[0]);
    }
  }
  if (!self.child_) return StartFailed(outcome, program, paths, options);
  return self;
}

// Returns the child's end.
absl::StatusOr<int> Subprocess::OpenPipe(int stdio) {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) != 0) return ErrnoStatus(errno, "pipe");
  const int ours = stdio == 0 ? fds[1] : fds[0];
  const int theirs = stdio == 0 ? fds[0] : fds[1];
  absl::Status status;
  const auto take = [&](auto& end, auto adopted) {
    status = adopted.status();
    if (adopted.ok()) end = *std::move(adopted);
  };
  if (stdio == 0) {
    take(in_, PipeWriter::Adopt(ours));
  } else {
    take(stdio == 1 ? out_ : err_, PipeReader::Adopt(ours));
  }
  if (status.ok()) return theirs;
  close(ours);
  close(theirs);
  return status;
}

absl::StatusOr<Subprocess> Subprocess::Adopt(pid_t pid) {
  const std::string name = absl::StrCat("pid ", pid);
  std::shared_lock lock(ChildProcess::starting());
  siginfo_t info;
  // Whether it is a child of ours, and nobody has reaped it.
  if (ChildProcess::Find(pid) ||
      waitid(P_PID, pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0) {
    return ErrnoStatus(ECHILD, absl::StrCat("adopting ", name));
  }
  const int pidfd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  if (pidfd < 0) return ErrnoStatus(errno, absl::StrCat("adopting ", name));
  return Subprocess(ChildProcess::Make(pid, pidfd, name));
}

pid_t Subprocess::pid() const { return child_->pid(); }
const std::string& Subprocess::name() const { return child_->name(); }

absl::StatusOr<ExitStatus> Subprocess::Wait(Deadline deadline) {
  // Kept, as this object may be moved meanwhile.
  const std::shared_ptr<ChildProcess> child = child_;
  if (const std::optional<ExitStatus> status = child->Wait(deadline)) return *status;
  return absl::DeadlineExceededError(absl::StrCat(
      "'", child->name(), "' (pid ", child->pid(), ") has not ended in time"));
}

std::optional<ExitStatus> Subprocess::Poll() { return child_->Look(); }

Waitable Subprocess::AsWaitable() const { return Waitable::Of<ExitOperation>(child_); }

absl::Status Subprocess::SendSignal(int signum) { return child_->SendSignal(signum); }
absl::Status Subprocess::Terminate() { return SendSignal(SIGTERM); }
absl::Status Subprocess::Kill() { return SendSignal(SIGKILL); }
absl::Status Subprocess::SendSignalToGroup(int signum) {
  return child_->SendSignalToGroup(signum);
}

// --- Communicate() --------------------------------------------------------------------

absl::Status Subprocess::Exhausted(absl::string_view stream, size_t limit) const {
  return absl::ResourceExhaustedError(absl::StrCat("'", name(), "' (pid ", pid(),
                                                   ") has written more than ", limit,
                                                   " bytes to ", stream));
}

// Reads once: true if that may have left something. A byte more than `limit` is kept, as
// a sign that there were more. Closes the pipe at its end, or if it fails, which a pipe
// does not.
bool Subprocess::ReadSome(PipeReader& pipe, std::string& data, size_t limit) {
  const size_t had = data.size();
  if (pipe.closed() || had > limit) return false;
  size_t chunk = std::clamp(had, kMinChunk, kMaxChunk);
  if (limit - had < chunk) chunk = limit - had + 1;
  data.resize(had + chunk);
  const absl::StatusOr<std::optional<size_t>> n =
      pipe.TryRead(absl::MakeSpan(&data[had], chunk));
  const bool nothing_now = n.ok() && !n->has_value();
  const size_t got = n.ok() ? n->value_or(0) : 0;
  data.resize(had + got);
  if (got == 0 && !nothing_now) pipe.Close();
  return got == chunk;
}

// Writes once: true if there may be room for more.
bool Subprocess::Feed() {
  if (in_.closed()) return false;
  const absl::string_view left = absl::string_view(input_).substr(written_);
  const absl::StatusOr<size_t> n =
      left.empty() ? 0 : in_.TryWrite(left.substr(0, kMaxChunk));
  if (n.ok()) written_ += *n;
  // Else the child does not want the rest.
  if (n.ok() && written_ < input_.size()) return *n > 0;
  in_.Close();
  input_.clear();
  written_ = 0;
  return false;
}

absl::StatusOr<CompletedProcess> Subprocess::Communicate(CommunicateOptions options) {
  GROVE_CHECK(options.input.empty() || (!communicating_ && !in_.closed()), "input for '",
              name(),
              communicating_ ? "', which had some" : "', whose stdin is not a pipe");
  communicating_ = true;
  if (!options.input.empty()) input_ = std::move(options.input);
  Scheduler& s = Scheduler::Get();
  for (;;) {
    s.CountOperation();
    const size_t limit = options.output_limit;
    bool more = Feed();
    more |= ReadSome(out_, out_data_, limit);
    if (out_data_.size() > limit) return Exhausted("stdout", limit);
    more |= ReadSome(err_, err_data_, limit);
    if (err_data_.size() > limit) return Exhausted("stderr", limit);
    if (!more && in_.closed() && out_.closed() && err_.closed()) break;
    // Also of one that floods us, and never lets us wait.
    absl::StatusOr<bool> in_time = !options.deadline.HasPassed();
    if (!more) in_time = AwaitPipes(options.deadline);
    if (!in_time.ok()) return in_time.status();
    if (!*in_time) {
      return absl::DeadlineExceededError(absl::StrCat(
          "'", name(), "' (pid ", pid(), ") has not come to its end in time"));
    }
  }
  absl::StatusOr<ExitStatus> status = Wait(options.deadline);
  if (!status.ok()) return status.status();
  return CompletedProcess{
      .status = *status, .out = std::move(out_data_), .err = std::move(err_data_)};
}

// Until one of the open pipes can be used, or is closed; false on the deadline.
absl::StatusOr<bool> Subprocess::AwaitPipes(Deadline deadline) {
  pollfd fds[] = {{.fd = in_.fd(), .events = POLLOUT, .revents = 0},
                  {.fd = out_.fd(), .events = POLLIN, .revents = 0},
                  {.fd = err_.fd(), .events = POLLIN, .revents = 0}};
  const absl::StatusOr<int> ready = grove::Poll(absl::MakeSpan(fds), deadline);
  if (!ready.ok()) return ready.status();
  return *ready > 0;
}

CompletedProcess Subprocess::OutputSoFar() {
  for (int i = 0; i < kMaxReadsAtEnd && ReadSome(out_, out_data_, kUnlimitedOutput);
       ++i) {
  }
  for (int i = 0; i < kMaxReadsAtEnd && ReadSome(err_, err_data_, kUnlimitedOutput);
       ++i) {
  }
  return {.status = Poll().value_or(ExitStatus()),
          .out = std::exchange(out_data_, {}),
          .err = std::exchange(err_data_, {})};
}

std::vector<std::string> Shell(absl::string_view command) {
  return {"/bin/sh", "-c", std::string(command)};
}

}  // namespace grove
