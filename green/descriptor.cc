#include "grove/green/descriptor.h"

#include <unistd.h>

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "grove/green/internal/poll_set.h"
#include "grove/green/internal/scheduler.h"
#include "grove/hub/internal/check.h"
#include "grove/hub/internal/per_thread.h"

namespace grove {
namespace green_internal {

// What a hub keeps for one open descriptor. Slots are reused, and never freed while the
// hub lives: a greenlet that wakes up can compare the generation even though the
// Descriptor is gone.
// Aligned, so that a wait touches two cache lines of it and not three.
struct alignas(64) DescriptorSlot {
  struct Direction {
    IoWatcher watcher;
    Core* core = nullptr;  // who waits
    bool woken = false;    // who waited was woken, and has not run since
  };

  Scheduler* scheduler = nullptr;
  int fd = -1;
  uint32_t generation = 0;  // counted up at each close
  Direction directions[2];  // to read, to write
  DescriptorSlot* next_free = nullptr;
};

namespace {

// The slots of this thread's hub.
struct SlotPool {
  explicit SlotPool(Scheduler* s) : scheduler(s) {}
  // The hub ends. Descriptors may outlive it; theirs is to free the slot then.
  ~SlotPool() {
    for (DescriptorSlot* slot : all) {
      for (auto& d : slot->directions) d.watcher.Stop();
      if (slot->fd < 0) {
        delete slot;
      } else {
        slot->scheduler = nullptr;
      }
    }
  }

  Scheduler* const scheduler;
  std::vector<DescriptorSlot*> all;
  DescriptorSlot* free = nullptr;
  std::string last_closer;  // of what the hub last woke somebody for
};
// Owned by the scheduler's end: thread-locals with destructors end in an order that is
// not ours to choose.
constinit thread_local hub_internal::PerThread<SlotPool*> slot_pool;

class DescriptorWaiter final : public Waiter {
 public:
  DescriptorWaiter(DescriptorSlot* slot, int direction)
      : slot_(slot), direction_(direction) {
    slot->directions[direction].core = slot->scheduler->current();
    slot->scheduler->hub().AddWaker();
  }
  // Also on the way of an exception.
  ~DescriptorWaiter() {
    slot_->directions[direction_].woken = false;
    slot_->scheduler->hub().RemoveWaker();
  }

  void Cancel() override { slot_->directions[direction_].core = nullptr; }
  std::string Describe() const override {
    return absl::StrCat("fd ", slot_->fd, direction_ == 0 ? " readable" : " writable");
  }

 private:
  DescriptorSlot* const slot_;
  const int direction_;
};

void OnEvent(DescriptorSlot* slot, int direction) {
  DescriptorSlot::Direction& d = slot->directions[direction];
  if (d.core) {
    Core* core = d.core;
    d.core = nullptr;
    d.woken = true;
    slot->scheduler->WakeByEvent(core);
  } else if (!d.woken) {
    // Nobody waits just now. While there is an event per wait, as in a conversation, the
    // watcher stays started and costs nothing; here it would call for ever.
    d.watcher.Stop();
  }
}

DescriptorSlot* TakeSlot(Scheduler& s, int fd) {
  if (!slot_pool || slot_pool->scheduler != &s) {
    slot_pool = new SlotPool(&s);
    s.AtEnd([] { delete std::exchange(slot_pool.get(), nullptr); });
  }
  DescriptorSlot* slot = slot_pool->free;
  if (slot) {
    slot_pool->free = slot->next_free;
  } else {
    slot = new DescriptorSlot;
    slot->scheduler = &s;
    slot_pool->all.push_back(slot);
  }
  slot->fd = fd;
  slot->directions[0].watcher.Set(
      &s.hub().loop(), fd, kReadable,
      [](void* arg, int) { OnEvent(static_cast<DescriptorSlot*>(arg), 0); }, slot);
  slot->directions[1].watcher.Set(
      &s.hub().loop(), fd, kWritable,
      [](void* arg, int) { OnEvent(static_cast<DescriptorSlot*>(arg), 1); }, slot);
  return slot;
}

}  // namespace

int ActiveDescriptorWatchers() {
  int active = PollSet::active_watchers();
  if (slot_pool == nullptr) return active;
  for (const DescriptorSlot* slot : slot_pool->all) {
    for (const auto& d : slot->directions) active += d.watcher.active();
  }
  return active;
}

void ForgetDescriptorWaitsInChild() {
  PollSet::ForgetInChild();
  if (slot_pool == nullptr) return;
  for (DescriptorSlot* slot : slot_pool->all) {
    for (auto& d : slot->directions) {
      d.watcher.Stop();
      d.core = nullptr;
      d.woken = false;
    }
  }
}

}  // namespace green_internal

using green_internal::Core;
using green_internal::DescriptorSlot;
using green_internal::Scheduler;

Descriptor::Descriptor(int fd) : fd_(fd) {
  GROVE_CHECK(fd >= 0, "a Descriptor of fd ", fd);
  slot_ = green_internal::TakeSlot(Scheduler::Get(), fd);
}

namespace {

// It was closed before: whoever closed another one last has nothing to do with it.
[[gnu::noinline, gnu::cold]] bool ForgetCloser() {
  if (green_internal::slot_pool) green_internal::slot_pool->last_closer.clear();
  return false;
}

}  // namespace

// Kept out of Wait(), whose frame is one of the few that a sleeping connection has.
[[noreturn, gnu::noinline, gnu::cold]] void Descriptor::Misused(int direction) const {
  Scheduler* s = slot_->scheduler;
  GROVE_CHECK(s && s->on_home_thread(), "fd ", fd_,
              " is used on a thread that is not its hub's, or its hub has ended");
  GROVE_FATAL("fd ", fd_, " is waited for by two greenlets to ",
              direction == 0 ? "read" : "write", ": ",
              slot_->directions[direction].core->Label(), " and ", s->current()->Label());
}

WaitResult Descriptor::Wait(int direction, Deadline deadline) {
  if (ABSL_PREDICT_FALSE(slot_ == nullptr)) {
    ForgetCloser();
    return WaitResult::kClosed;
  }
  DescriptorSlot* slot = slot_;
  Scheduler* s = slot->scheduler;
  DescriptorSlot::Direction& d = slot->directions[direction];
  if (ABSL_PREDICT_FALSE(!s || !s->on_home_thread() || d.core)) Misused(direction);
  if (deadline == Deadline::Passed()) return WaitResult::kDeadline;
  // If it is not open, the system call will say so.
  if (!d.watcher.active() && !d.watcher.Start()) return WaitResult::kReady;
  const uint32_t generation = slot->generation;
  green_internal::DescriptorWaiter waiter(slot, direction);
  s->PrefetchSecondNext();
  if (ABSL_PREDICT_TRUE(deadline.infinite())) {
    s->Park(&waiter);  // inline, one frame less to fetch
  } else if (!s->ParkUntil(&waiter, deadline)) {
    if (slot->generation == generation) return WaitResult::kDeadline;
    // Closed since, by one who ran before us and saw nobody wait.
    green_internal::slot_pool->last_closer.clear();
  }
  return slot->generation == generation ? WaitResult::kReady : WaitResult::kClosed;
}

bool Descriptor::Waits(int direction) const {
  return slot_ != nullptr && slot_->directions[direction].core != nullptr;
}

bool Descriptor::CountOperation() {
  if (ABSL_PREDICT_FALSE(slot_ == nullptr)) return ForgetCloser();
  DescriptorSlot* slot = slot_;
  const uint32_t generation = slot->generation;
  Scheduler* s = slot->scheduler;
  if (ABSL_PREDICT_FALSE(!s || !s->on_home_thread())) Misused(0);
  s->CountOperation();
  return slot->generation == generation;
}

void Descriptor::Detach() {
  DescriptorSlot* slot = std::exchange(slot_, nullptr);
  Scheduler* s = slot->scheduler;
  if (s == nullptr) {  // the hub has ended
    delete slot;
    return;
  }
  GROVE_CHECK(s->on_home_thread(), "fd ", fd_,
              " is closed on a thread that is not its hub's");
  ++slot->generation;
  for (DescriptorSlot::Direction& d : slot->directions) {
    d.watcher.Stop();
    if (Core* core = std::exchange(d.core, nullptr)) {
      green_internal::slot_pool->last_closer =
          s->on_loop_stack() ? "a loop callback" : s->current()->Label();
      s->Wake(core);
    }
  }
  slot->fd = -1;
  slot->next_free = green_internal::slot_pool->free;
  green_internal::slot_pool->free = slot;
}

void Descriptor::Close() {
  if (fd_ < 0) return;
  Detach();
  green_internal::PollSet::Closing(fd_);
  // close() can be interrupted, but the descriptor is gone all the same on Linux.
  close(std::exchange(fd_, -1));
}

int Descriptor::Release() {
  if (fd_ < 0) return -1;
  Detach();
  return std::exchange(fd_, -1);
}

std::string WhoClosed() {
  const green_internal::SlotPool* pool = green_internal::slot_pool;
  return pool == nullptr || pool->last_closer.empty()
             ? "closed"
             : absl::StrCat("closed by ", pool->last_closer);
}

}  // namespace grove
