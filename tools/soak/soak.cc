#include "tools/soak/soak.h"

#include <dirent.h>
#include <malloc.h>
#include <stdio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "grove/green/hub_group.h"
#include "grove/green/hub_scope.h"
#include "grove/green/internal/core.h"
#include "grove/green/internal/sanitizer.h"
#include "grove/green/internal/stack.h"
#include "grove/green/thread_pool.h"
#include "grove/hub/internal/check.h"
#include "grove/sync/event.h"
#include "tools/soak/scene.h"

namespace grove::soak {
namespace {

// What may be more of the heap in use than when it had just begun: lists of stacks that
// are idle now, tables that have grown.
constexpr int64_t kMayGrow = int64_t{24} << 20;
// And more of the process in memory: pages of the heap that are in use in part only. It
// does not grow with the length of a soak (the same after 40 seconds as after 120).
constexpr int64_t kFragments = int64_t{32} << 20;

std::vector<Scenario> AllScenarios(const std::string& only) {
  std::vector<Scenario> all;
  for (const auto& list :
       {LockScenarios(), EventScenarios(), QueueScenarios(), GreenletScenarios(),
        ResultScenarios(), InheritedScenarios(), HubScenarios(), NetScenarios(),
        TlsScenarios(), NameScenarios(), ThreadScenarios(), FileScenarios(),
        OsScenarios()}) {
    for (const Scenario& scenario : list) {
      if (absl::StrContains(scenario.name, only)) all.push_back(scenario);
    }
  }
  GROVE_CHECK(!all.empty(), "no scenario is named like '", only, "'");
  return all;
}

// --- leaks --------------------------------------------------------------------------

int64_t OpenDescriptors() {
  int64_t n = 0;
  DIR* dir = opendir("/proc/self/fd");
  GROVE_CHECK(dir != nullptr, "cannot read /proc/self/fd");
  while (const dirent* entry = readdir(dir)) n += entry->d_name[0] != '.';
  closedir(dir);
  return n - 1;  // the one that reads
}

int64_t ResidentBytes() {
  malloc_trim(0);
  FILE* file = fopen("/proc/self/statm", "r");
  GROVE_CHECK(file != nullptr, "cannot read /proc/self/statm");
  long pages = 0;
  GROVE_CHECK(fscanf(file, "%*d %ld", &pages) == 1, "cannot read /proc/self/statm");
  fclose(file);
  return pages * sysconf(_SC_PAGESIZE);
}

int64_t StacksInUse() {
  const green_internal::StackStats stats = green_internal::GetStackStats();
  return static_cast<int64_t>(stats.cut) - static_cast<int64_t>(stats.idle);
}

int64_t Threads() {
  int64_t n = 0;
  DIR* dir = opendir("/proc/self/task");
  GROVE_CHECK(dir != nullptr, "cannot read /proc/self/task");
  while (const dirent* entry = readdir(dir)) n += entry->d_name[0] != '.';
  closedir(dir);
  return n;
}

// What malloc() has given, and was not given back.
int64_t HeapBytes() {
  const struct mallinfo2 info = mallinfo2();
  return static_cast<int64_t>(info.uordblks + info.hblkhd);
}

struct Holdings {
  int64_t threads = Threads();
  int64_t stacks = StacksInUse();
  int64_t descriptors = OpenDescriptors();
  int64_t heap = HeapBytes();
  int64_t bytes = ResidentBytes();
};

// --- the driver ---------------------------------------------------------------------

// Begins scenarios until it is over, as many at once as there may be, and kills one now
// and then.
class Driver {
 public:
  explicit Driver(World* world)
      : world_(*world), scenarios_(AllScenarios(world->options.only)) {}

  void Run() {
    const Deadline end = world_.options.time;
    Deadline next_word = absl::Seconds(10);
    Summary& summary = world_.summary;
    const size_t most = static_cast<size_t>(world_.options.greenlets);
    while (summary.scenarios < world_.options.scenarios && !end.HasPassed()) {
      // Many at a time, or they would end as fast as they begin; not all, since each is
      // several greenlets once it has run.
      for (size_t i = 0; i <= most / 20 && LiveGreenlets() < most &&
                         summary.scenarios < world_.options.scenarios;
           ++i) {
        Begin();
      }
      Yield();
      summary.peak = std::max<uint64_t>(summary.peak, LiveGreenlets());
      if (world_.options.progress && next_word.HasPassed()) {
        next_word = absl::Seconds(10);
        fprintf(stderr, "soak: %s; %zu greenlets alive\n", summary.ToString().c_str(),
                LiveGreenlets());
      }
    }
    if (!running_.Wait(absl::Minutes(10))) {
      summary.broken.push_back("not all scenarios end");
    }
  }

 private:
  void Begin() {
    Lots& lots = world_.lots;
    const Scenario& scenario = scenarios_[lots.Below(scenarios_.size())];
    ++world_.summary.scenarios;
    ++world_.summary.greenlets;
    running_.Add();
    struct Done {
      void operator()(WaitGroup* g) const { g->Done(); }
    };
    AnyGreenlet& newest = recent_[world_.summary.scenarios % recent_.size()];
    newest = Spawn({.name = scenario.name},
                   [this, scenario, seed = lots.Next(),
                    done = std::unique_ptr<WaitGroup, Done>(&running_)] {
                     Scene scene(&world_, scenario.name, seed);
                     scenario.play(scene);
                   });
    if (!lots.OneIn(20)) return;
    const AnyGreenlet& victim = recent_[lots.Below(recent_.size())];
    if (!victim || victim.ready()) return;
    ++world_.summary.kills;
    victim.KillSoon();
  }

  World& world_;
  const std::vector<Scenario> scenarios_;
  WaitGroup running_;
  std::array<AnyGreenlet, 64> recent_;
};

// All that it used is gone when it returns.
Summary RunOnHubs(const Options& options) {
  World world(options);
  {
    HubScope scope({.name = "soak"});
    Event over;
    HubGroup other({.hubs = 1, .pin = false, .name = "other"}, [&](int) { over.Wait(); });
    world.other = other.handle(0);
    Driver(&world).Run();
    over.Set();
    other.Join();
    if (const size_t left = LiveGreenlets()) {
      world.summary.leaks.push_back(absl::StrCat(left, " greenlets are left"));
    }
  }
  return std::move(world.summary);
}

}  // namespace

std::string Summary::ToString() const {
  return absl::StrCat(scenarios, " scenarios, ", greenlets, " greenlets (", peak,
                      " at once), ", kills, " kills, ", broken_promises,
                      " broken promises", leaks.empty() ? "" : ", leaks");
}

Summary Run(const Options& options) {
  // Once for a start: what is made once and kept is no leak.
  Options first = options;
  first.scenarios = std::min<uint64_t>(options.scenarios, 500);
  first.time = absl::InfiniteDuration();
  first.progress = false;
  Summary summary = RunOnHubs(first);
  if (!summary.ok()) return summary;

  const Holdings before;
  summary = RunOnHubs(options);
  const Holdings after;
  const auto compare = [&](const char* what, int64_t was, int64_t is, int64_t more) {
    const std::string text = absl::StrCat(what, ": ", was, " before, ", is, " after");
    summary.held.push_back(text);
    if (is > was + more) summary.leaks.push_back(text);
  };
  // Those of the process's thread pools come and go, as far as the pools' limits.
  compare("threads", before.threads, after.threads, ThreadPool::process_limit());
  compare("stacks in use", before.stacks, after.stacks, 0);
  compare("open descriptors", before.descriptors, after.descriptors, 0);
  // A sanitizer keeps what was freed; AddressSanitizer looks for leaks by itself.
  if (!GROVE_ASAN && !GROVE_TSAN) {
    // The memory of control blocks stays with the process (CorePool).
    const int64_t blocks =
        static_cast<int64_t>(summary.peak * sizeof(green_internal::Core)) * 5 / 4;
    compare("heap bytes in use", before.heap, after.heap, kMayGrow + blocks);
    compare("resident bytes", before.bytes, after.bytes, kMayGrow + kFragments + blocks);
  }
  return summary;
}

}  // namespace grove::soak
