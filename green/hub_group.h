#ifndef GROVE_GREEN_HUB_GROUP_H_
#define GROVE_GREEN_HUB_GROUP_H_

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "grove/green/call.h"
#include "grove/green/greenlet.h"
#include "grove/green/internal/core.h"
#include "grove/green/timeout.h"
#include "grove/hub/deadline.h"
#include "grove/hub/hub.h"

namespace grove {

// AllowedCores()
//
// The cores that this process may run on, as its first thread may (sched_getaffinity(2),
// so that cgroups' cpusets and taskset count), in ascending order.
std::vector<int> AllowedCores();

// What a group does when the function of one of its hubs throws. It is reported on stderr
// at once in any case.
enum class HubFailurePolicy {
  kGoOn,        // the other hubs go on; Join() throws it
  kStopOthers,  // kills the main greenlets of the others; Join() throws it
  kAbort,       // a fatal error
};

// HubGroupOptions
struct HubGroupOptions {
  // How many; 0 is one per allowed core.
  int hubs = 0;
  // Whether each thread stays on one core, that no other hub is pinned to. Without so
  // many none does, and a line on stderr says so. Other threads and processes that are
  // started there may run on all cores.
  bool pin = true;
  // Names the hubs "<name>-0" and so on.
  std::string name = "hub";
  // For each hub; its name is replaced.
  HubOptions hub = {};
  HubFailurePolicy on_failure = HubFailurePolicy::kGoOn;
};

// What HubGroup::Drain() had to do.
struct DrainReport {
  // Greenlets that had not ended in time, and were killed; the group's function, where it
  // has one, is one on each hub.
  size_t cut = 0;
};

// HubGroup
//
// Threads with a hub each. Either every one runs the same function as its main greenlet,
// and when that returns, the greenlets left on that hub are killed and joined, and the
// hub ends:
//
//   HubGroup group({}, [](int index) { Serve(index); });
//   group.Join();
//
// or they have none, and do what is sent there until they are drained:
//
//   HubGroup group({});
//   for (const File& f : files) {
//     group.SpawnOnLeastLoaded([&f] { Index(f); }).IgnoreError();
//   }
//   DrainReport report = group.Drain(absl::Seconds(10));
//
// Threads: the hub that made it; handle(), load(), Spawn(), SpawnOnLeastLoaded(),
// SpawnOnEach() and CallEach() on any.
class HubGroup {
 private:
  template <typename F>
  using Spawned = decltype(SpawnOn(HubHandle(), std::declval<F>()));

 public:
  // Returns when all hubs run. Dies with a message that names the limit if a thread
  // cannot be started; Start() returns that.
  HubGroup(HubGroupOptions options, std::function<void(int index)> main);
  explicit HubGroup(HubGroupOptions options) : HubGroup(std::move(options), nullptr) {}
  HubGroup(const HubGroup&) = delete;
  HubGroup& operator=(const HubGroup&) = delete;
  // Joins. Without a function, drains with no limit of time.
  ~HubGroup();

  // HubGroup::Start()
  //
  // As the constructor; without `main` if that is null. kResourceExhausted if a thread
  // cannot be started: none is left then, and `main` was called nowhere.
  static absl::StatusOr<std::unique_ptr<HubGroup>> Start(
      HubGroupOptions options, std::function<void(int index)> main);

  int size() const { return static_cast<int>(members_.size()); }

  // HubGroup::handle()
  //
  // For posting to hub `index`, for Call() and SpawnOn(). Those fail once it has ended.
  const HubHandle& handle(int index) const;

  // HubGroup::load()
  //
  // How many greenlets live on that hub now, with those that are on their way there.
  size_t load(int index) const;

  // HubGroup::Spawn(), HubGroup::SpawnOnLeastLoaded()
  //
  // Spawn a greenlet on hub `index`, and on the one with the smallest load(). As
  // SpawnOn(): the handle works from here; waits for that hub's next turn.
  // kFailedPrecondition once the group is drained.
  template <typename F>
  auto Spawn(int index, F&& fn, SpawnOptions options = {},
             SpawnSite site = SpawnSite::Here()) -> Spawned<F> {
    const Arrival arrival(members_[index].get());
    if (absl::Status s = MaySpawn(); !s.ok()) return s;
    return SpawnOn(handle(index), std::forward<F>(fn), std::move(options), site);
  }
  template <typename F>
  auto SpawnOnLeastLoaded(F&& fn, SpawnOptions options = {},
                          SpawnSite site = SpawnSite::Here()) -> Spawned<F> {
    return Spawn(LeastLoaded(), std::forward<F>(fn), std::move(options), site);
  }

  // HubGroup::SpawnOnEach()
  //
  // Spawns a greenlet that runs a copy of `fn`, as `fn(index)`, on each hub; what Spawn()
  // says of each, by index.
  template <typename F>
  auto SpawnOnEach(const F& fn, SpawnOptions options = {},
                   SpawnSite site = SpawnSite::Here()) {
    const auto of = [&fn](int index) {
      return [copy = std::decay_t<F>(fn), index]() mutable { return copy(index); };
    };
    std::vector<Spawned<decltype(of(0))>> all;
    for (int i = 0; i < size(); ++i) all.push_back(Spawn(i, of(i), options, site));
    return all;
  }

  // HubGroup::CallEach()
  //
  // Call()s `fn(index)` on every hub at the same time, and returns what each returned, by
  // index. If it throws somewhere, throws the first by index, when all have ended.
  //
  // Blocks: until all have. Deadline, Kill: as Call().
  template <typename F>
  auto CallEach(F fn, Deadline deadline = {}) {
    using Result = decltype(Call(handle(0), [&] { return fn(0); }));
    std::vector<Greenlet<Result>> calls;
    // Joined, whatever happens: they refer to `fn`.
    struct JoinAtEnd {
      ~JoinAtEnd() {
        Shield shield;
        for (const auto& c : *calls) c.KillSoon();
        for (const auto& c : *calls) c.Join();
      }
      std::vector<Greenlet<Result>>* calls;
    } join_at_end{&calls};
    for (int i = 0; i < size(); ++i) {
      calls.push_back(grove::Spawn([this, i, &fn, deadline] {
        return Call(
            handle(i), [i, &fn] { return fn(i); }, deadline);
      }));
      calls.back().core()->watched = true;  // what it throws is thrown below
    }
    for (const auto& c : calls) c.Join();
    std::vector<Result> results;
    for (auto& c : calls) results.push_back(std::move(c).Get());
    return results;
  }

  // HubGroup::PostToAll()
  //
  // Runs `fn(index)` on each hub's own stack, where it must not block. Hubs that have
  // ended are left out.
  void PostToAll(std::function<void(int index)> fn);

  // HubGroup::Join()
  //
  // Waits until the function has returned on every hub. Throws what it threw, if it threw
  // anywhere: the first in order of index. Killing a hub's main greenlet ends it without
  // an error.
  //
  // Blocks: until then; without a function, until Drain() by another greenlet.
  // Kill: throws, and the group goes on.
  void Join();

  // HubGroup::Drain()
  //
  // Ends the group: nothing is spawned there any more, what is there may go on until the
  // deadline, and is killed then. With a function, it is that which may go on: it has to
  // be told by other means.
  //
  // Blocks: until all hubs have ended. Deadline: then what is left is killed.
  // Kill: throws, and the group goes on, without new greenlets.
  // Throws what Join() throws.
  DrainReport Drain(Deadline deadline = {});

 private:
  struct Member;

  // Counts a greenlet on its way.
  class Arrival {
   public:
    explicit Arrival(Member* member);
    ~Arrival();

   private:
    Member* const member_;
  };

  explicit HubGroup(std::function<void(int)> main);
  absl::Status Begin(const HubGroupOptions& options);
  void RunMember(int index, const HubGroupOptions& options);
  void ServeUntilDrained(Member& member);
  void Failed(int index);
  void StopAll();
  bool AwaitEnd(Deadline deadline);
  int LeastLoaded() const;
  absl::Status MaySpawn() const;

  const std::function<void(int)> main_;
  HubFailurePolicy on_failure_ = HubFailurePolicy::kGoOn;
  std::vector<std::unique_ptr<Member>> members_;
  std::atomic<bool> draining_{false};
  // At home:
  const HubHandle home_;
  std::unique_ptr<KeepAlive> alive_;
  int running_ = 0;
  int starting_ = 0;
  bool stop_all_ = false;
  const uint8_t process_;  // whose threads these are: not a forked child's
  green_internal::WaiterList waiters_;
};

}  // namespace grove

#endif  // GROVE_GREEN_HUB_GROUP_H_
