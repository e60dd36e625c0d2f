#include "grove/patch/internal/wait.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/strings/str_cat.h"
#include "grove/hub/internal/per_thread.h"
#include "grove/hub/loop.h"
#include "grove/patch/internal/thread.h"

namespace grove::patch::patch_internal {
namespace {

using green_internal::Core;
using green_internal::Scheduler;
using green_internal::Waiter;

class DescriptorWait;

// One descriptor of a wait.
struct Watched {
  IoWatcher watcher;
  DescriptorWait* wait = nullptr;
  int fd = -1;
  Watched* prev = nullptr;  // of those who watch the same descriptor
  Watched* next = nullptr;
};

// Who watches which descriptor, on this thread's hub, for those who close one.
class Watches {
 public:
  static Watches* GetIfExists() { return current; }
  static Watches& Get(Scheduler& s) {
    if (current == nullptr) {
      current = new Watches;
      s.AtEnd([] { delete std::exchange(current.get(), nullptr); });
    }
    return *current.get();
  }

  void Add(Watched* w) {
    const auto at = static_cast<size_t>(w->fd);
    if (by_fd_.size() <= at) by_fd_.resize(at + at / 2 + 16);
    w->prev = nullptr;
    w->next = by_fd_[at];
    if (w->next) w->next->prev = w;
    by_fd_[at] = w;
  }
  void Remove(Watched* w) {
    (w->prev ? w->prev->next : by_fd_[static_cast<size_t>(w->fd)]) = w->next;
    if (w->next) w->next->prev = w->prev;
  }
  void Clear() { by_fd_.clear(); }
  Watched* Of(int fd) const {
    return fd >= 0 && static_cast<size_t>(fd) < by_fd_.size()
               ? by_fd_[static_cast<size_t>(fd)]
               : nullptr;
  }

 private:
  static constinit thread_local hub_internal::PerThread<Watches*> current;
  std::vector<Watched*> by_fd_;
};
constinit thread_local hub_internal::PerThread<Watches*> Watches::current;

class DescriptorWait final : public Waiter {
 public:
  DescriptorWait(Scheduler& s, const char* call)
      : scheduler_(s), watches_(Watches::Get(s)), core_(s.current()), call_(call) {
    s.hub().AddWaker();
  }
  ~DescriptorWait() { scheduler_.hub().RemoveWaker(); }

  // False if it is not open, which the call itself shall say.
  [[nodiscard]] bool Watch(Watched* w, int fd, short events) {
    w->wait = this;
    const int wanted =
        (events & (POLLIN | POLLRDNORM | POLLPRI | POLLRDHUP) ? kReadable : 0) |
        (events & (POLLOUT | POLLWRNORM) ? kWritable : 0);
    w->watcher.Set(
        &scheduler_.hub().loop(), fd, wanted != 0 ? wanted : kReadable,
        [](void* arg, int) { static_cast<Watched*>(arg)->wait->Wake(); }, w);
    if (!w->watcher.Start()) return false;
    w->fd = fd;
    watches_.Add(w);
    return true;
  }
  void Unwatch(Watched* w) {
    if (w->fd < 0) return;
    w->watcher.Stop();
    watches_.Remove(w);
  }

  WaitEnd Park(Deadline deadline, SignalWatch* signal) {
    switch (signal ? signal->Park(this, deadline)
                   : scheduler_.ParkQuietly(this, deadline)) {
      case Scheduler::ParkEnd::kWoken:
        if (closed_) return WaitEnd::kClosed;
        return core_ == nullptr ? WaitEnd::kReady : WaitEnd::kSignal;
      case Scheduler::ParkEnd::kTimedOut:
        return WaitEnd::kDeadline;
      case Scheduler::ParkEnd::kInterrupted:
        break;
    }
    return WaitEnd::kInterrupted;
  }

  void Wake() {
    if (Core* core = std::exchange(core_, nullptr)) scheduler_.Wake(core);
  }
  void Close() {
    closed_ = true;
    Wake();
  }

  void Cancel() override {}  // it lies on the stack of who waits, and ends itself
  std::string Describe() const override {
    return absl::StrCat("descriptors, in a patched ", call_, "()");
  }

 private:
  Scheduler& scheduler_;
  Watches& watches_;
  Core* core_;
  const char* const call_;
  bool closed_ = false;
};

}  // namespace

WaitEnd Wait(Scheduler& s, absl::Span<const pollfd> descriptors, Deadline deadline,
             const char* call, SignalWatch* signal) {
  DescriptorWait wait(s, call);
  const auto watched = std::make_unique<Watched[]>(descriptors.size());
  WaitEnd end = WaitEnd::kReady;
  bool all_open = true;
  for (size_t i = 0; all_open && i < descriptors.size(); ++i) {
    if (descriptors[i].fd < 0) continue;
    all_open = wait.Watch(&watched[i], descriptors[i].fd, descriptors[i].events);
  }
  if (all_open) end = wait.Park(deadline, signal);
  for (size_t i = 0; i < descriptors.size(); ++i) wait.Unwatch(&watched[i]);
  return end;
}

WaitEnd Wait(Scheduler& s, int fd, short events, Deadline deadline, const char* call,
             SignalWatch* signal) {
  DescriptorWait wait(s, call);
  Watched watched;
  const WaitEnd end =
      wait.Watch(&watched, fd, events) ? wait.Park(deadline, signal) : WaitEnd::kReady;
  wait.Unwatch(&watched);
  return end;
}

void TellClosed(int fd) {
  const Watches* watches = Watches::GetIfExists();
  if (watches == nullptr) return;
  for (Watched* w = watches->Of(fd); w != nullptr; w = w->next) {
    // Now, while the number still means what was watched.
    w->watcher.Stop();
    w->wait->Close();
  }
}

void ForgetWaitsInChild() {
  if (Watches* watches = Watches::GetIfExists()) watches->Clear();
}

int Fail(WaitEnd end) {
  if (end == WaitEnd::kInterrupted) ThrowIfCancelled();
  errno = end == WaitEnd::kInterrupted ? ECANCELED
          : end == WaitEnd::kClosed    ? EBADF
          : end == WaitEnd::kSignal    ? EINTR
                                       : EAGAIN;
  return -1;
}

bool IsReadyNow(int fd, short events) {
  pollfd p = {.fd = fd, .events = events, .revents = 0};
  const timespec now = {};
  return syscall(SYS_ppoll, &p, 1, &now, nullptr, 0) != 0;
}

bool IsNonBlocking(int fd) {
  const int flags = fcntl(fd, F_GETFL);
  return flags >= 0 && (flags & O_NONBLOCK) != 0;
}

Deadline SocketDeadline(int fd, int option) {
  timeval t = {};
  socklen_t size = sizeof t;
  if (getsockopt(fd, SOL_SOCKET, option, &t, &size) != 0) return {};
  if (t.tv_sec == 0 && t.tv_usec == 0) return {};
  return absl::DurationFromTimeval(t);
}

constinit thread_local volatile bool SignalGate::Opened::opened = false;

SignalGate::SignalGate(const sigset_t* mask) {
  if (mask == nullptr) return;
  sigset_t blocked;
  if (pthread_sigmask(SIG_SETMASK, nullptr, &blocked) != 0) return;
  sigset_t let_in;
  sigemptyset(&let_in);
  bool any = false;
  for (int signum = 1; signum < _NSIG; ++signum) {
    if (sigismember(&blocked, signum) == 1 && sigismember(mask, signum) == 0) {
      sigaddset(&let_in, signum);
      any = true;
    }
  }
  if (any) fd_ = signalfd(-1, &let_in, SFD_CLOEXEC | SFD_NONBLOCK);
}

SignalGate::~SignalGate() {
  if (fd_ < 0) return;
  const int error = errno;
  // Not through close(), which may be patched.
  syscall(SYS_close, fd_);
  errno = error;
}

}  // namespace grove::patch::patch_internal
