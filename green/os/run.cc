#include "grove/green/os/run.h"

#include <signal.h>

#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "grove/green/timeout.h"

namespace grove {
namespace {

constexpr absl::string_view kStatusUrl = "grove/exit_status";
constexpr absl::string_view kOutUrl = "grove/stdout";
constexpr absl::string_view kErrUrl = "grove/stderr";
constexpr size_t kQuoted = 300;  // bytes of stderr in a message

// Kills and reaps a child that has not ended by itself. One that we may not kill, since
// it is another user's by now, is left to its end.
class KillAtEnd {
 public:
  KillAtEnd(Subprocess* child, bool group) : child_(child), group_(group) {}
  KillAtEnd(const KillAtEnd&) = delete;
  KillAtEnd& operator=(const KillAtEnd&) = delete;
  ~KillAtEnd() { End(); }

  void End() {
    if (child_ == nullptr) return;
    Subprocess* child = std::exchange(child_, nullptr);
    if (group_) child->SendSignalToGroup(SIGKILL).IgnoreError();
    if (!child->Kill().ok()) return;
    Shield shield;  // it has been told, and is gone in a moment
    child->Wait().IgnoreError();
  }
  void Release() { child_ = nullptr; }

 private:
  Subprocess* child_;
  const bool group_;
};

absl::Status WithProcess(absl::Status status, CompletedProcess process) {
  const ExitStatus& s = process.status;
  status.SetPayload(kStatusUrl,
                    absl::Cord(absl::StrCat(s.exit_code(), " ", s.signum(), " ",
                                            static_cast<int>(s.core_dumped()))));
  status.SetPayload(kOutUrl, absl::Cord(std::move(process.out)));
  status.SetPayload(kErrUrl, absl::Cord(std::move(process.err)));
  return status;
}

bool IsGiven(const Stdio& stdio) { return !(stdio == Stdio()); }

}  // namespace

absl::StatusOr<CompletedProcess> RunProcess(const std::vector<std::string>& argv,
                                            RunOptions options) {
  SubprocessOptions& process = options.process;
  if (!options.input.empty()) process.in = Stdio::Pipe();
  if (!IsGiven(process.out)) process.out = Stdio::Pipe();
  if (!IsGiven(process.err)) process.err = Stdio::Pipe();
  absl::StatusOr<Subprocess> child = Subprocess::Start(argv, process);
  if (!child.ok()) return child.status();

  const bool leads = process.new_session || process.process_group == 0;
  KillAtEnd kill(&*child, leads);
  absl::StatusOr<CompletedProcess> done =
      child->Communicate({.input = std::move(options.input),
                          .deadline = options.deadline,
                          .output_limit = options.output_limit});
  if (done.ok()) {
    kill.Release();
    return done;
  }
  kill.End();
  return WithProcess(done.status(), child->OutputSoFar());
}

absl::StatusOr<CompletedProcess> CheckRun(const std::vector<std::string>& argv,
                                          RunOptions options) {
  absl::StatusOr<CompletedProcess> done = RunProcess(argv, std::move(options));
  if (!done.ok() || done->status.success()) return done;
  absl::string_view said = absl::StripSuffix(done->err, "\n");
  if (said.size() > kQuoted) said.remove_prefix(said.size() - kQuoted);
  absl::Status status = absl::AbortedError(absl::StrCat(
      "'", argv[0], "' ", done->status.ToString(), said.empty() ? "" : ": ", said));
  return WithProcess(std::move(status), *std::move(done));
}

absl::StatusOr<std::string> CheckOutput(const std::vector<std::string>& argv,
                                        RunOptions options) {
  if (!IsGiven(options.process.err)) options.process.err = Stdio::Inherit();
  absl::StatusOr<CompletedProcess> done = CheckRun(argv, std::move(options));
  if (!done.ok()) return done.status();
  return std::move(done->out);
}

std::optional<CompletedProcess> ProcessOf(const absl::Status& status) {
  const absl::optional<absl::Cord> how = status.GetPayload(kStatusUrl);
  if (!how) return std::nullopt;
  const std::string text(*how);
  const std::vector<absl::string_view> parts = absl::StrSplit(text, ' ');
  int code = -1, signum = -1, core = 0;
  if (parts.size() != 3 || !absl::SimpleAtoi(parts[0], &code) ||
      !absl::SimpleAtoi(parts[1], &signum) || !absl::SimpleAtoi(parts[2], &core)) {
    return std::nullopt;
  }
  CompletedProcess process;
  if (code >= 0) {
    process.status = ExitStatus::Exited(code);
  } else if (signum >= 0) {
    process.status = ExitStatus::Signaled(signum, core != 0);
  }
  if (const auto out = status.GetPayload(kOutUrl)) process.out = std::string(*out);
  if (const auto err = status.GetPayload(kErrUrl)) process.err = std::string(*err);
  return process;
}

}  // namespace grove
