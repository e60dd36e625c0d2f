#include "grove/green/os/exit_status.h"

#include <string.h>
#include <sys/wait.h>

#include "absl/strings/str_cat.h"

namespace grove {

ExitStatus ExitStatus::FromWait(int status) {
  if (WIFEXITED(status)) return Exited(WEXITSTATUS(status));
  if (WIFSIGNALED(status)) return Signaled(WTERMSIG(status), WCOREDUMP(status));
  return {};
}

std::string ExitStatus::ToString() const {
  switch (kind_) {
    case kExited:
      return absl::StrCat("exited with code ", value_);
    case kSignaled:
      return absl::StrCat("killed by signal ", value_, " (", strsignal(value_), ")",
                          core_dumped_ ? ", core dumped" : "");
    case kUnknown:
      break;
  }
  return "ended in an unknown way: somebody else has waited for it";
}

}  // namespace grove
