#ifndef GROVE_GREEN_HUB_GROUP_H_
#define GROVE_GREEN_HUB_GROUP_H_

#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "grove/green/internal/core.h"
#include "grove/hub/hub.h"

namespace grove {

// AllowedCores()
//
// The cores that this process may run on (sched_getaffinity(2), so that cgroups' cpusets
// and taskset count), in ascending order.
std::vector<int> AllowedCores();

// HubGroupOptions
struct HubGroupOptions {
  // How many; 0 is one per allowed core.
  int hubs = 0;
  // Whether each thread stays on one core. With more hubs than cores none does, and a
  // line on stderr says so.
  bool pin = true;
  // Names the hubs "<name>-0" and so on.
  std::string name = "hub";
  // For each hub; its name is replaced.
  HubOptions hub = {};
};

// HubGroup
//
// Threads with a hub each. Every one runs the same function as its main greenlet; when
// that returns, the greenlets left on that hub are killed and joined, and the hub ends.
//
//   HubGroup group({}, [](int index) { Serve(index); });
//   ...
//   group.PostToAll([](int index) { StopServing(index); });
//   group.Join();
//
// Threads: the hub that made it, but for handle().
class HubGroup {
 public:
  // Returns when all hubs run.
  HubGroup(HubGroupOptions options, std::function<void(int index)> main);
  HubGroup(const HubGroup&) = delete;
  HubGroup& operator=(const HubGroup&) = delete;
  // Joins.
  ~HubGroup();

  int size() const { return static_cast<int>(members_.size()); }

  // HubGroup::handle()
  //
  // For posting to hub `index`. Posts fail once its function has returned.
  const HubHandle& handle(int index) const { return members_[index]->handle; }

  // HubGroup::PostToAll()
  //
  // Runs `fn(index)` on each hub's own stack, where it must not block. Hubs that have
  // ended are left out.
  void PostToAll(std::function<void(int index)> fn);

  // HubGroup::Join()
  //
  // Waits until the function has returned on every hub. Throws what it threw, if it threw
  // anywhere: the first in order of index; others are reported on stderr.
  //
  // Blocks: until then. Kill: throws, and the group goes on.
  void Join();

 private:
  struct Member {
    std::thread thread;
    HubHandle handle;
    std::exception_ptr error;
  };

  void RunMember(int index, const HubGroupOptions& options, int core);

  const std::function<void(int)> main_;
  std::vector<std::unique_ptr<Member>> members_;
  // At home:
  const HubHandle home_;
  std::unique_ptr<KeepAlive> alive_;
  int running_ = 0;
  int starting_ = 0;
  green_internal::WaiterList waiters_;
};

}  // namespace grove

#endif  // GROVE_GREEN_HUB_GROUP_H_
