#include "grove/green/internal/cores.h"

#include <pthread.h>
#include <unistd.h>

#include <mutex>
#include <set>

#include "grove/green/internal/process_mutex.h"
#include "grove/hub/internal/per_thread.h"

namespace grove::green_internal {
namespace {

struct Taken {
  ProcessMutex mutex;
  std::set<int> cores;

  static Taken& Get() {
    static auto* const taken = new Taken;
    return *taken;
  }
};

constinit thread_local hub_internal::PerThread<bool> pinned;

}  // namespace

std::vector<int> PinnedCores::Take(const std::vector<int>& allowed, size_t count) {
  Taken& taken = Taken::Get();
  const std::lock_guard lock(taken.mutex);
  std::vector<int> free;
  for (const int core : allowed) {
    if (free.size() < count && taken.cores.count(core) == 0) free.push_back(core);
  }
  if (free.size() < count) return {};
  taken.cores.insert(free.begin(), free.end());
  return free;
}

void PinnedCores::GiveBack(int core) {
  Taken& taken = Taken::Get();
  const std::lock_guard lock(taken.mutex);
  taken.cores.erase(core);
}

int PinThisThread(int core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(core, &set);
  const int error = pthread_setaffinity_np(pthread_self(), sizeof set, &set);
  pinned = error == 0;
  return error;
}

std::optional<cpu_set_t> CoresForOthers() {
  cpu_set_t set;
  if (!pinned || sched_getaffinity(getpid(), sizeof set, &set) != 0) return std::nullopt;
  return set;
}

void LeaveTheCore() {
  cpu_set_t set;
  if (sched_getaffinity(getpid(), sizeof set, &set) == 0) {
    sched_setaffinity(0, sizeof set, &set);
  }
}

}  // namespace grove::green_internal
