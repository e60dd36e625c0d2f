#ifndef GROVE_GREEN_INTERNAL_CORES_H_
#define GROVE_GREEN_INTERNAL_CORES_H_

#include <sched.h>

#include <optional>
#include <vector>

// Which cores threads run on. A thread and a child process inherit those of the thread
// that starts them (sched_setaffinity(2)): what a hub that was pinned to one starts would
// share that one with it.
namespace grove::green_internal {

// Cores that hubs are pinned to, each by one, as long as there are enough.
class PinnedCores {
 public:
  // `count` of `allowed` that no hub has yet; none if there are not so many.
  static std::vector<int> Take(const std::vector<int>& allowed, size_t count);
  static void GiveBack(int core);
};

// Zero, or an errno.
int PinThisThread(int core);

// If this thread was pinned, the cores of the process's first thread: for what it starts.
std::optional<cpu_set_t> CoresForOthers();

// Of a thread that a pinned one may have started: to those of the process's first thread.
void LeaveTheCore();

}  // namespace grove::green_internal

#endif  // GROVE_GREEN_INTERNAL_CORES_H_
