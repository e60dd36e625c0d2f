#include "grove/green/hub_group.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "grove/green/hub_scope.h"
#include "grove/green/internal/describe_exception.h"
#include "grove/green/internal/scheduler.h"
#include "grove/green/timeout.h"
#include "grove/hub/internal/check.h"

namespace grove {
namespace {

using green_internal::ListedWaiter;
using green_internal::Scheduler;

class GroupWaiter final : public ListedWaiter {
 public:
  using ListedWaiter::ListedWaiter;
  std::string Describe() const override { return "the hubs of a HubGroup"; }
};

void WakeAll(green_internal::WaiterList& list) {
  while (ListedWaiter* w = list.PopFront()) Scheduler::Get().Wake(w->core());
}

}  // namespace

std::vector<int> AllowedCores() {
  std::vector<int> cores;
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) {
    for (int i = 0; i < CPU_SETSIZE; ++i) {
      if (CPU_ISSET(i, &set)) cores.push_back(i);
    }
  }
  if (cores.empty()) cores.push_back(0);
  return cores;
}

HubGroup::HubGroup(HubGroupOptions options, std::function<void(int)> main)
    : main_(std::move(main)),
      home_(ThisHub().handle()),
      alive_(std::make_unique<KeepAlive>(&ThisHub())) {
  const std::vector<int> cores = AllowedCores();
  const int n = options.hubs == 0 ? static_cast<int>(cores.size()) : options.hubs;
  GROVE_CHECK(n > 0, "a HubGroup of ", n, " hubs");
  const bool pin = options.pin && n <= static_cast<int>(cores.size());
  if (options.pin && !pin) {
    fprintf(stderr, "grove: %d hubs on %zu cores: none is pinned\n", n, cores.size());
  }
  for (int i = 0; i < n; ++i) members_.push_back(std::make_unique<Member>());
  running_ = starting_ = n;
  for (int i = 0; i < n; ++i) {
    members_[i]->thread = std::thread(
        [this, i, options, core = pin ? cores[i] : -1] { RunMember(i, options, core); });
  }
  Shield shield;  // half a group is of no use to anybody
  while (starting_ > 0) {
    GroupWaiter waiter(Scheduler::Get().current(), &waiters_);
    Scheduler::Get().Park(&waiter);
  }
}

void HubGroup::RunMember(int index, const HubGroupOptions& options, int core) {
  Member& member = *members_[index];
  HubOptions hub_options = options.hub;
  hub_options.name = absl::StrCat(options.name, "-", index);
  // The kernel's limit for a thread's name: 15 bytes and a zero.
  pthread_setname_np(pthread_self(), hub_options.name.substr(0, 15).c_str());
  if (core >= 0) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(core, &set);
    if (const int error = pthread_setaffinity_np(pthread_self(), sizeof set, &set)) {
      fprintf(stderr, "grove: cannot pin hub '%s' to core %d: %s\n",
              hub_options.name.c_str(), core, strerror(error));
    }
  }
  {
    HubScope scope(std::move(hub_options));
    home_
        .Post([this, &member, handle = scope.hub().handle()] {
          member.handle = handle;
          if (--starting_ == 0) WakeAll(waiters_);
        })
        .IgnoreError();
    try {
      main_(index);
    } catch (...) {
      member.error = std::current_exception();
    }
  }
  // What was posted before is delivered before: the thread touches nothing after this.
  home_
      .Post([this] {
        if (--running_ == 0) WakeAll(waiters_);
      })
      .IgnoreError();
}

HubGroup::~HubGroup() {
  Shield shield;
  try {
    Join();
  } catch (...) {
    fprintf(stderr, "grove: a hub of a HubGroup that nobody joined failed: %s\n",
            green_internal::DescribeException(std::current_exception()).c_str());
  }
}

void HubGroup::PostToAll(std::function<void(int)> fn) {
  for (int i = 0; i < size(); ++i) {
    members_[i]->handle.Post([fn, i] { fn(i); }).IgnoreError();
  }
}

void HubGroup::Join() {
  while (running_ > 0) {
    GroupWaiter waiter(Scheduler::Get().current(), &waiters_);
    Scheduler::Get().Park(&waiter);
  }
  alive_.reset();
  std::exception_ptr first;
  for (auto& member : members_) {
    if (member->thread.joinable()) member->thread.join();
    std::exception_ptr error = std::exchange(member->error, nullptr);
    if (error == nullptr) continue;
    if (first == nullptr) {
      first = error;
    } else {
      fprintf(stderr, "grove: another hub of the group failed too: %s\n",
              green_internal::DescribeException(error).c_str());
    }
  }
  if (first) std::rethrow_exception(first);
}

}  // namespace grove
