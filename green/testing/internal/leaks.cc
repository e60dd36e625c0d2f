#include "grove/green/testing/internal/leaks.h"

#include <dirent.h>
#include <unistd.h>

#include <climits>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "grove/green/descriptor.h"
#include "grove/green/internal/scheduler.h"
#include "grove/green/internal/stack.h"

namespace grove::testing_internal {

using green_internal::Core;
using green_internal::Scheduler;

std::map<int, std::string> OpenDescriptors::List() {
  std::map<int, std::string> open;
  DIR* dir = opendir("/proc/self/fd");
  if (dir == nullptr) return open;
  while (const dirent* entry = readdir(dir)) {
    const int fd = atoi(entry->d_name);
    if (entry->d_name[0] == '.' || fd == dirfd(dir)) continue;
    char target[PATH_MAX];
    const ssize_t n = readlinkat(dirfd(dir), entry->d_name, target, sizeof target);
    open[fd] = n < 0 ? "?" : std::string(target, n);
  }
  closedir(dir);
  return open;
}

std::string OpenDescriptors::NewOnes() const {
  std::string out;
  for (const auto& [fd, target] : List()) {
    const auto before = open_.find(fd);
    if (before != open_.end() && before->second == target) continue;
    absl::StrAppend(&out, "  fd ", fd, ": ", target, "\n");
  }
  return out;
}

size_t StacksInUse() {
  const green_internal::StackStats stats = green_internal::GetStackStats();
  return stats.cut - stats.idle;
}

std::string LiveGreenletLines() {
  Scheduler& s = Scheduler::Get();
  if (s.live() == 0) return "";
  // All but the first line, which is the main greenlet's.
  const std::string report = s.Report();
  return report.substr(report.find('\n') + 1);
}

std::string LeftOnHub(int watchers) {
  Hub& hub = Scheduler::Get().hub();
  std::string out;
  if (const int n = hub.wakers(); n != 0) {
    absl::StrAppend(&out, "  ", n, " waker(s): AddWaker() without RemoveWaker(), or a ",
                    "KeepAlive that lives\n");
  }
  // Those of descriptors stay started between two waits, and end with the Descriptor.
  const int active = hub.loop().active_watchers() - watchers -
                     green_internal::ActiveDescriptorWatchers();
  if (active != 0) absl::StrAppend(&out, "  ", active, " watcher(s), not stopped\n");
  if (const size_t n = hub.timers().armed(); n != 0) {
    const absl::Duration next = absl::Nanoseconds(*hub.timers().NextLook() - hub.Now());
    absl::StrAppend(&out, "  ", n, " timer(s), armed; the first look is in ",
                    absl::FormatDuration(next), "\n");
  }
  return out;
}

void Settle() {
  class TurnWaiter final : public green_internal::Waiter {
   public:
    void Cancel() override {}
    std::string Describe() const override { return "the end of the hub's turn"; }
  };
  // Counted in yields and not in turns, whose length depends on the machine.
  constexpr int kYields = 10'000;
  constexpr int kDeliveries = 100;
  Scheduler& s = Scheduler::Get();
  for (int i = 0; i < kDeliveries; ++i) {
    for (int n = 0; n < kYields && s.hub().HasReady(); ++n) s.Yield();
    if (!s.hub().HasMail()) return;
    // Whatever was posted before is delivered before.
    s.hub().handle().Post([&s, self = s.current()] { s.Wake(self); }).IgnoreError();
    TurnWaiter waiter;
    s.Park(&waiter);
  }
}

}  // namespace grove::testing_internal
