#ifndef GROVE_GREEN_INTERNAL_POLL_SET_H_
#define GROVE_GREEN_INTERNAL_POLL_SET_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "grove/green/internal/core.h"
#include "grove/green/internal/scheduler.h"
#include "grove/hub/loop.h"

namespace grove::green_internal {

class PollWait;

// A descriptor that somebody polls. It lies with its PollWait.
struct PollEntry {
  int fd = -1;
  uint32_t events = 0;  // as of poll(2), which are those of epoll(7)
  bool linked = false;
  bool closed = false;  // by this hub, meanwhile
  PollWait* wait = nullptr;
  PollEntry* next = nullptr;  // of the same descriptor
};

// PollSet
//
// Who of this hub waits for descriptors by Poll(), as many as may be for each. Beside the
// Descriptors' slots, and apart from them: what is polled need not be a Descriptor, may
// be waited for by others as well, and may be closed by strangers meanwhile. So it has an
// epoll set of its own, of which the loop watches the descriptor. There a wait is armed
// for one event (EPOLLONESHOT): who was told of it looks at the descriptor by himself and
// arms the wait again, so that nothing calls for ever.
//
// Threads: its hub's.
class PollSet {
 public:
  // This hub's; null, with errno, if there is none and none can be made.
  static PollSet* Get(Scheduler& s);
  // In case of a Descriptor's end.
  static void Closing(int fd);
  // Watchers that are started; see ActiveDescriptorWatchers().
  static int active_watchers();
  static void ForgetInChild();

  // Lets its wait be woken by what comes next. 0, or errno.
  int Arm(PollEntry* entry);
  void Remove(PollEntry* entry);

 private:
  PollSet(Scheduler* s, int epoll_fd);
  ~PollSet();
  PollSet(const PollSet&) = delete;
  PollSet& operator=(const PollSet&) = delete;

  PollEntry*& First(int fd);
  int Control(int fd, uint32_t events, bool known);
  void OnEvents();

  Scheduler* const scheduler_;
  const int epoll_fd_;
  IoWatcher watcher_;
  std::vector<PollEntry*> first_;  // by descriptor
};

// PollWait
//
// A wait for any of several descriptors, on the stack of the greenlet that waits.
class PollWait final : public Waiter {
 public:
  // `entries` are given their fd and their events before the first Arm().
  PollWait(PollSet* set, PollEntry* entries, size_t size);
  PollWait(const PollWait&) = delete;
  PollWait& operator=(const PollWait&) = delete;
  ~PollWait();

  // Arms all; 0, or errno, with the descriptor in `failed`.
  int Arm(int& failed);
  void Wake() { core_->scheduler->Wake(core_); }

  // The destructor takes the entries out: not this, which is called in a forked child
  // too.
  void Cancel() override {}
  std::string Describe() const override;

 private:
  PollSet* const set_;
  PollEntry* const entries_;
  const size_t size_;
  Core* const core_;
};

}  // namespace grove::green_internal

#endif  // GROVE_GREEN_INTERNAL_POLL_SET_H_
