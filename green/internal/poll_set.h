#ifndef GROVE_GREEN_INTERNAL_POLL_SET_H_
#define GROVE_GREEN_INTERNAL_POLL_SET_H_

#include <unistd.h>

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

// How long the kernel knows of a descriptor that is waited for.
enum class Registration : uint8_t {
  kForOneWait,
  // Until it is closed: another such wait then costs no system call. It begins when the
  // descriptor was found not to be ready, and is told what comes after that.
  kKept,
};

// PollSet
//
// Who of this hub waits for descriptors that need not be Descriptors, as many as may be
// for each: beside the Descriptors' slots, and apart from them, as these descriptors may
// be waited for by others as well, and may be closed by strangers meanwhile. So it has an
// epoll set of its own, of which the loop watches the descriptor. Nothing calls for ever
// there, since it tells changes only (EPOLLET): who was told of one looks at the
// descriptor by himself.
//
// A registration that is kept may be stale: strangers have closed the descriptor, and its
// number is another's by now. So it is made anew where a wait that relies on it has
// lasted a tenth of a second.
//
// Threads: its hub's.
class PollSet {
 public:
  // This hub's; null, with errno, if there is none and none can be made.
  static PollSet* Get(Scheduler& s);
  // `fd` is about to be closed: wakes who waits for it.
  static void Closing(int fd);
  // All from `first` to `last`.
  static void ClosingRange(unsigned first, unsigned last);
  // Watchers that are started; see ActiveDescriptorWatchers().
  static int active_watchers();
  static void ForgetInChild();

  // Lets its wait be woken by what comes next. 0, or errno.
  int Arm(PollEntry* entry, Registration registration);
  void Remove(PollEntry* entry);

 private:
  struct Polled {
    PollEntry* first = nullptr;
    uint32_t events = 0;  // that the kernel was told; 0 if it does not know of it
    bool kept = false;
    bool unheard = false;  // something has come, the last time, and nobody waited
    // Of the waits that rely on what the kernel was told before, and was told nothing by
    // since.
    enum class Age : uint8_t { kNone, kNew, kOld } relying = Age::kNone;
  };

  PollSet(Scheduler* s, int epoll_fd);
  ~PollSet();
  PollSet(const PollSet&) = delete;
  PollSet& operator=(const PollSet&) = delete;

  Polled& At(int fd);
  int Register(int fd, uint32_t events);
  void Unregister(int fd);
  void OnEvents();
  void RenewOld();

  Scheduler* const scheduler_;
  const int epoll_fd_;
  const pid_t process_ = getpid();
  IoWatcher watcher_;
  LoopTimer renewal_;
  std::vector<Polled> polled_;  // by descriptor
};

// PollWait
//
// A wait for any of several descriptors, on the stack of the greenlet that waits.
class PollWait final : public Waiter {
 public:
  // `entries` are given their fd and their events before the first Arm(). `call` is for
  // those who look.
  PollWait(PollSet* set, PollEntry* entries, size_t size, const char* call);
  PollWait(const PollWait&) = delete;
  PollWait& operator=(const PollWait&) = delete;
  ~PollWait();

  // Arms all; 0, or errno, with the descriptor in `failed`.
  int Arm(Registration registration, int& failed);
  void Wake() {
    woken_ = true;
    core_->scheduler->Wake(core_);
  }
  // Whether it was since it was armed: by an event, or as a descriptor was closed.
  bool woken() const { return woken_; }

  // The destructor takes the entries out: not this, which is called in a forked child
  // too.
  void Cancel() override {}
  std::string Describe() const override;

 private:
  PollSet* const set_;
  PollEntry* const entries_;
  const size_t size_;
  Core* const core_;
  const char* const call_;
  bool woken_ = false;
};

}  // namespace grove::green_internal

#endif  // GROVE_GREEN_INTERNAL_POLL_SET_H_
