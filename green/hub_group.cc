#include "grove/green/hub_group.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <exception>
#include <future>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "grove/green/hub_scope.h"
#include "grove/green/internal/cores.h"
#include "grove/green/internal/describe_exception.h"
#include "grove/green/internal/lone_waiter.h"
#include "grove/green/internal/scheduler.h"
#include "grove/green/internal/unpatched.h"
#include "grove/hub/internal/check.h"

namespace grove {
namespace {

using green_internal::ListedWaiter;
using green_internal::PinnedCores;
using green_internal::Scheduler;

class GroupWaiter final : public ListedWaiter {
 public:
  using ListedWaiter::ListedWaiter;
  std::string Describe() const override { return "the hubs of a HubGroup"; }
};

// Of the main greenlet of one hub.
class OrderWaiter final : public green_internal::LoneWaiter {
 public:
  std::string Describe() const override { return "orders of its HubGroup"; }
};

// Waits for the ends of all other greenlets of this hub, also of those that they spawn.
void JoinOthers(Deadline deadline) {
  Scheduler& s = Scheduler::Get();
  for (;;) {
    std::vector<AnyGreenlet> others;
    s.ForEach([&](green_internal::Core* core) {
      if (core != s.current()) others.push_back(AnyGreenlet::FromCore(core, true));
    });
    if (others.empty()) return;
    for (const AnyGreenlet& g : others) {
      if (!g.Join(deadline)) return;
    }
  }
}

}  // namespace

struct HubGroup::Member {
  ~Member() {
    if (scheduler) scheduler->Release();
  }

  std::thread thread;
  std::optional<int> core;  // that it is pinned to, until it has ended
  HubHandle handle;
  Scheduler* scheduler = nullptr;  // retained
  std::atomic<size_t> arriving{0};
  std::exception_ptr error;
  // On its own hub:
  bool draining = false;
  Deadline drain_deadline;
  OrderWaiter waiter;
  // Read at home, after the end.
  size_t left = 0;
};

std::vector<int> AllowedCores() {
  std::vector<int> cores;
  cpu_set_t set;
  // Of the first thread: the one that asks may be pinned.
  if (sched_getaffinity(getpid(), sizeof set, &set) == 0) {
    for (int i = 0; i < CPU_SETSIZE; ++i) {
      if (CPU_ISSET(i, &set)) cores.push_back(i);
    }
  }
  if (cores.empty()) cores.push_back(0);
  return cores;
}

HubGroup::Arrival::Arrival(Member* member) : member_(member) {
  member_->arriving.fetch_add(1, std::memory_order_relaxed);
}

HubGroup::Arrival::~Arrival() {
  member_->arriving.fetch_sub(1, std::memory_order_relaxed);
}

HubGroup::HubGroup(std::function<void(int)> main)
    : main_(std::move(main)),
      home_(ThisHub().handle()),
      process_(Scheduler::process_mark()) {}

HubGroup::HubGroup(HubGroupOptions options, std::function<void(int)> main)
    : HubGroup(std::move(main)) {
  const absl::Status s = Begin(options);
  GROVE_CHECK(s.ok(), s.message());
}

absl::StatusOr<std::unique_ptr<HubGroup>> HubGroup::Start(HubGroupOptions options,
                                                          std::function<void(int)> main) {
  std::unique_ptr<HubGroup> group(new HubGroup(std::move(main)));
  if (absl::Status s = group->Begin(options); !s.ok()) return s;
  return group;
}

absl::Status HubGroup::Begin(const HubGroupOptions& options) {
  const std::vector<int> cores = AllowedCores();
  const int n = options.hubs == 0 ? static_cast<int>(cores.size()) : options.hubs;
  GROVE_CHECK(n > 0, "a HubGroup of ", n, " hubs");
  std::vector<int> own;
  if (options.pin) {
    own = PinnedCores::Take(cores, static_cast<size_t>(n));
    if (own.empty()) {
      fprintf(
          stderr, "grove: %d hubs '%s' on %zu cores%s: none is pinned\n", n,
          options.name.c_str(), cores.size(),
          n <= static_cast<int>(cores.size()) ? ", some of which other hubs have" : "");
    }
  }
  on_failure_ = options.on_failure;
  alive_ = std::make_unique<KeepAlive>(&ThisHub());
  for (int i = 0; i < n; ++i) {
    members_.push_back(std::make_unique<Member>());
    if (!own.empty()) members_.back()->core = own[i];
  }
  // Threads begin when all are there.
  std::promise<bool> all_there;
  const std::shared_future<bool> go = all_there.get_future().share();
  running_ = starting_ = n;
  for (int i = 0; i < n; ++i) {
    try {
      const green_internal::Unpatched native;
      members_[i]->thread = std::thread([this, i, go, options] {
        if (go.get()) RunMember(i, options);
      });
    } catch (const std::system_error& e) {
      all_there.set_value(false);
      running_ = 0;
      Join();
      members_.clear();  // there is nobody to be told of the group's end
      return absl::ResourceExhaustedError(absl::StrCat("a HubGroup cannot start thread ",
                                                       i + 1, " of ", n, ": ",
                                                       strerror(e.code().value())));
    }
  }
  all_there.set_value(true);
  Shield shield;  // half a group is of no use to anybody
  while (starting_ > 0) {
    GroupWaiter waiter(Scheduler::Get().current(), &waiters_);
    Scheduler::Get().Park(&waiter);
  }
  return absl::OkStatus();
}

void HubGroup::RunMember(int index, const HubGroupOptions& options) {
  Member& member = *members_[index];
  HubOptions hub_options = options.hub;
  hub_options.name = absl::StrCat(options.name, "-", index);
  // The kernel's limit for a thread's name: 15 bytes and a zero.
  pthread_setname_np(pthread_self(), hub_options.name.substr(0, 15).c_str());
  if (member.core) {
    if (const int error = green_internal::PinThisThread(*member.core)) {
      fprintf(stderr, "grove: cannot pin hub '%s' to core %d: %s\n",
              hub_options.name.c_str(), *member.core, strerror(error));
    }
  }
  {
    HubScope scope(std::move(hub_options));
    Scheduler* s = &Scheduler::Get();
    s->Retain();
    home_
        .Post([this, &member, s] {
          member.handle = s->handle();
          member.scheduler = s;
          if (--starting_ > 0) return;
          waiters_.NotifyAll();
          if (stop_all_) StopAll();
        })
        .IgnoreError();
    try {
      main_ ? main_(index) : ServeUntilDrained(member);
    } catch (const GreenletExit&) {
    } catch (...) {
      member.error = std::current_exception();
      Failed(index);
    }
    member.left = LiveGreenlets();
    // Even if its function has swallowed Drain()'s kill.
    if (main_ && draining_ && (s->main()->special & green_internal::kPendingKill))
      ++member.left;
  }
  // What was posted before is delivered before: the thread touches nothing after this.
  home_
      .Post([this] {
        if (--running_ == 0) waiters_.NotifyAll();
      })
      .IgnoreError();
}

void HubGroup::ServeUntilDrained(Member& member) {
  {
    const KeepAlive alive(&ThisHub());
    (void)member.waiter.Await([&] { return member.draining; });
  }
  JoinOthers(member.drain_deadline);
}

void HubGroup::Failed(int index) {
  const std::string what =
      absl::StrCat("hub '", ThisHub().name(), "' of a HubGroup failed: ",
                   green_internal::DescribeException(members_[index]->error));
  GROVE_CHECK(on_failure_ != HubFailurePolicy::kAbort, what);
  fprintf(stderr, "grove: %s\n", what.c_str());
  if (on_failure_ != HubFailurePolicy::kStopOthers) return;
  home_
      .Post([this] {
        stop_all_ = true;
        if (starting_ == 0) StopAll();
      })
      .IgnoreError();
}

void HubGroup::StopAll() {
  PostToAll([](int) {
    Scheduler& s = Scheduler::Get();
    s.Kill(s.main(), nullptr);
  });
}

HubGroup::~HubGroup() {
  if (process_ != Scheduler::process_mark()) {
    // A forked child has none of these threads: there is nothing to wait for.
    for (std::unique_ptr<Member>& member : members_) (void)member.release();
    return;
  }
  Shield shield;
  try {
    main_ ? Join() : static_cast<void>(Drain());
  } catch (...) {
    // Reported when it failed.
  }
}

const HubHandle& HubGroup::handle(int index) const { return members_[index]->handle; }

size_t HubGroup::load(int index) const {
  const Member& m = *members_[index];
  return m.scheduler->live() + m.arriving.load(std::memory_order_relaxed);
}

// Of those that have not ended; the first if all have, which then says so.
int HubGroup::LeastLoaded() const {
  int least = -1;
  for (int i = 0; i < size(); ++i) {
    if (members_[i]->handle.closed()) continue;
    if (least < 0 || load(i) < load(least)) least = i;
  }
  return std::max(least, 0);
}

absl::Status HubGroup::MaySpawn() const {
  if (!draining_.load(std::memory_order_relaxed)) return absl::OkStatus();
  return absl::FailedPreconditionError("a HubGroup that is drained spawns no more");
}

void HubGroup::PostToAll(std::function<void(int)> fn) {
  for (int i = 0; i < size(); ++i) {
    members_[i]->handle.Post([fn, i] { fn(i); }).IgnoreError();
  }
}

bool HubGroup::AwaitEnd(Deadline deadline) {
  while (running_ > 0) {
    GroupWaiter waiter(Scheduler::Get().current(), &waiters_);
    if (!Scheduler::Get().ParkUntil(&waiter, deadline)) return running_ == 0;
  }
  return true;
}

void HubGroup::Join() {
  (void)AwaitEnd({});
  alive_.reset();
  std::exception_ptr first;
  for (auto& member : members_) {
    if (member->thread.joinable()) member->thread.join();
    if (const auto core = std::exchange(member->core, std::nullopt)) {
      PinnedCores::GiveBack(*core);
    }
    std::exception_ptr error = std::exchange(member->error, nullptr);
    if (first == nullptr) first = error;
  }
  if (first) std::rethrow_exception(first);
}

DrainReport HubGroup::Drain(Deadline deadline) {
  draining_.store(true, std::memory_order_relaxed);
  // Each by its own clock.
  PostToAll([this, left = deadline.Remaining()](int i) {
    Member& m = *members_[i];
    m.draining = true;
    m.drain_deadline = left;
    m.waiter.Wake();
  });
  if (!AwaitEnd(deadline)) StopAll();
  (void)AwaitEnd({});
  DrainReport report;
  for (auto& m : members_) report.cut += std::exchange(m->left, 0);
  Join();
  return report;
}

}  // namespace grove
