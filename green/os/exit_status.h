#ifndef GROVE_GREEN_OS_EXIT_STATUS_H_
#define GROVE_GREEN_OS_EXIT_STATUS_H_

#include <string>

namespace grove {

// ExitStatus
//
// How a process has ended: it exited with a code, or a signal killed it. Unknown if
// somebody else has waited for it, by wait(2), or SIGCHLD is ignored: the kernel tells it
// once.
//
//   absl::StatusOr<ExitStatus> status = child.Wait(absl::Minutes(1));
//   if (!status.ok()) return status.status();
//   if (!status->success()) return absl::AbortedError(status->ToString());
class ExitStatus {
 public:
  // Unknown.
  constexpr ExitStatus() = default;
  static constexpr ExitStatus Exited(int code) { return {kExited, code, false}; }
  static constexpr ExitStatus Signaled(int signum, bool core_dumped = false) {
    return {kSignaled, signum, core_dumped};
  }
  // From what waitpid(2) says.
  static ExitStatus FromWait(int status);

  // Whether it exited with code 0.
  bool success() const { return kind_ == kExited && value_ == 0; }

  bool known() const { return kind_ != kUnknown; }
  bool exited() const { return kind_ == kExited; }
  bool signaled() const { return kind_ == kSignaled; }
  bool core_dumped() const { return core_dumped_; }
  // The code it exited with, or the signal that killed it; -1 if it is the other.
  int exit_code() const { return exited() ? value_ : -1; }
  int signum() const { return signaled() ? value_ : -1; }

  // "exited with code 2", "killed by signal 9 (Killed)"
  std::string ToString() const;

  friend constexpr bool operator==(const ExitStatus&, const ExitStatus&) = default;

 private:
  enum Kind { kUnknown, kExited, kSignaled };
  constexpr ExitStatus(Kind kind, int value, bool core)
      : kind_(kind), value_(value), core_dumped_(core) {}

  Kind kind_ = kUnknown;
  int value_ = 0;
  bool core_dumped_ = false;
};

}  // namespace grove

#endif  // GROVE_GREEN_OS_EXIT_STATUS_H_
