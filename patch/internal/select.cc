// poll(2), select(2), epoll_wait(2) and their like.

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

#include "absl/container/inlined_vector.h"
#include "grove/patch/internal/hook.h"
#include "grove/patch/internal/retry.h"
#include "grove/patch/internal/signal_watch.h"
#include "grove/patch/internal/timespec.h"
#include "grove/patch/internal/wait.h"

namespace grove::patch::patch_internal {
namespace {

using green_internal::Scheduler;

int Poll(pollfd* fds, nfds_t count, int timeout);
int PollChk(pollfd* fds, nfds_t count, int timeout, size_t capacity);
int PPoll(pollfd* fds, nfds_t count, const timespec* timeout, const sigset_t* mask);
int PPollChk(pollfd* fds, nfds_t count, const timespec* timeout, const sigset_t* mask,
             size_t capacity);
int Select(int count, fd_set* read, fd_set* write, fd_set* except, timeval* timeout);
int PSelect(int count, fd_set* read, fd_set* write, fd_set* except,
            const timespec* timeout, const sigset_t* mask);
int EpollWait(int epoll, epoll_event* events, int count, int timeout);
int EpollPWait(int epoll, epoll_event* events, int count, int timeout,
               const sigset_t* mask);
int EpollPWait2(int epoll, epoll_event* events, int count, const timespec* timeout,
                const sigset_t* mask);

constinit HookOf poll_hook("poll", Module::kSelect, &Poll);
constinit HookOf poll_chk_hook("__poll_chk", Module::kSelect, &PollChk);
constinit HookOf ppoll_hook("ppoll", Module::kSelect, &PPoll);
constinit HookOf ppoll_chk_hook("__ppoll_chk", Module::kSelect, &PPollChk);
constinit HookOf select_hook("select", Module::kSelect, &Select);
constinit HookOf pselect_hook("pselect", Module::kSelect, &PSelect);
constinit HookOf epoll_wait_hook("epoll_wait", Module::kSelect, &EpollWait);
constinit HookOf epoll_pwait_hook("epoll_pwait", Module::kSelect, &EpollPWait);
constinit HookOf epoll_pwait2_hook("epoll_pwait2", Module::kSelect, &EpollPWait2);

Hook* const hooks[] = {&poll_hook,       &poll_chk_hook,    &ppoll_hook,
                       &ppoll_chk_hook,  &select_hook,      &pselect_hook,
                       &epoll_wait_hook, &epoll_pwait_hook, &epoll_pwait2_hook};

constexpr timespec kNow = {};

Deadline MillisecondsFromNow(int milliseconds) {
  return milliseconds < 0 ? Deadline() : Deadline(absl::Milliseconds(milliseconds));
}

// LookAndWait()
//
// `look()` asks the kernel, without waiting, and says how many descriptors are ready;
// `watched` are they. What comes of it is what the original would have said.
template <typename Look>
int LookAndWait(Scheduler& s, Hook& hook, absl::Span<const pollfd> watched,
                Deadline deadline, Look look) {
  ActOnCancel(s);
  int ready = look();
  if (ready != 0 || deadline.HasPassed()) {
    // Who looks again and again without waiting lets the others run, too.
    LetOthersRun(s);
    return ready;
  }
  hook.CountWait();
  SignalWatch signal(s, Restart::kNever);
  for (;;) {
    const WaitEnd end = Wait(s, watched, deadline, hook.name, &signal,
                             green_internal::Registration::kKept);
    if (end == WaitEnd::kInterrupted) return Fail(end);
    // Of a descriptor that was closed the kernel will say POLLNVAL or EBADF.
    ready = look();
    if (ready != 0 || end == WaitEnd::kDeadline) return ready;
    if (end == WaitEnd::kSignal) return Fail(end);
  }
}

// With the signals that `mask` lets in.
template <typename Look>
int LookAndWait(Scheduler& s, Hook& hook, absl::Span<const pollfd> watched,
                const sigset_t* mask, Deadline deadline, Look look) {
  const SignalGate gate(mask);
  if (gate.fd() < 0) return LookAndWait(s, hook, watched, deadline, look);
  absl::InlinedVector<pollfd, 8> all(watched.begin(), watched.end());
  all.push_back({.fd = gate.fd(), .events = POLLIN, .revents = 0});
  return LookAndWait(s, hook, all, deadline, look);
}

// --- poll ---

int PollCooperatively(Scheduler& s, Hook& hook, pollfd* fds, nfds_t count,
                      Deadline deadline) {
  hook.CountCall();
  return LookAndWait(s, hook, absl::MakeConstSpan(fds, count), deadline,
                     [&] { return poll_hook.Original(fds, count, 0); });
}

int Poll(pollfd* fds, nfds_t count, int timeout) {
  Scheduler* s = Cooperating(poll_hook);
  if (s == nullptr) return poll_hook.Original(fds, count, timeout);
  return PollCooperatively(*s, poll_hook, fds, count, MillisecondsFromNow(timeout));
}

int PollChk(pollfd* fds, nfds_t count, int timeout, size_t capacity) {
  Scheduler* s = Cooperating(poll_chk_hook);
  if (s == nullptr || capacity / sizeof(pollfd) < count) {
    return poll_chk_hook.Original(fds, count, timeout, capacity);
  }
  return PollCooperatively(*s, poll_chk_hook, fds, count, MillisecondsFromNow(timeout));
}

int PPollCooperatively(Scheduler& s, Hook& hook, pollfd* fds, nfds_t count,
                       const timespec* timeout, const sigset_t* mask) {
  hook.CountCall();
  return LookAndWait(s, hook, absl::MakeConstSpan(fds, count), mask, DeadlineOf(timeout),
                     [&] {
                       const SignalGate::Opened opened;
                       return ppoll_hook.Original(fds, count, &kNow, mask);
                     });
}

int PPoll(pollfd* fds, nfds_t count, const timespec* timeout, const sigset_t* mask) {
  Scheduler* s = Cooperating(ppoll_hook);
  if (s == nullptr || !IsValidTimeout(timeout)) {
    return ppoll_hook.Original(fds, count, timeout, mask);
  }
  return PPollCooperatively(*s, ppoll_hook, fds, count, timeout, mask);
}

int PPollChk(pollfd* fds, nfds_t count, const timespec* timeout, const sigset_t* mask,
             size_t capacity) {
  Scheduler* s = Cooperating(ppoll_chk_hook);
  if (s == nullptr || !IsValidTimeout(timeout) || capacity / sizeof(pollfd) < count) {
    return ppoll_chk_hook.Original(fds, count, timeout, mask, capacity);
  }
  return PPollCooperatively(*s, ppoll_chk_hook, fds, count, timeout, mask);
}

// --- select ---

// How many descriptors select(2) looks at, of as many as it is told: no more than the
// process has room for now, so that sets may be shorter than what is said of them.
int LookedAt(int count) {
  if (count <= FD_SETSIZE) return count;
  const long fd =
      syscall(SYS_openat, AT_FDCWD, "/proc/self/status", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return count;
  char text[4096];
  const long n = syscall(SYS_read, fd, text, sizeof text - 1);
  syscall(SYS_close, fd);
  text[std::max(n, 0L)] = '\0';
  int room;
  const char* const line = strstr(text, "\nFDSize:");
  if (line == nullptr || sscanf(line, "\nFDSize: %d", &room) != 1) return count;
  return std::min(count, room);
}

// A set of `count` descriptors, which may be more than an fd_set has room for.
class DescriptorSet {
 public:
  DescriptorSet(fd_set* set, int count) : set_(set) {
    constexpr size_t kBits = 8 * sizeof(fd_mask);
    if (set) {
      const auto* words = reinterpret_cast<const fd_mask*>(set);
      asked_.assign(words, words + (static_cast<size_t>(count) + kBits - 1) / kBits);
    }
  }
  bool Has(int fd) const {
    constexpr int kBits = 8 * sizeof(fd_mask);
    return set_ && (asked_[static_cast<size_t>(fd / kBits)] >> (fd % kBits) & 1) != 0;
  }
  // What was asked for, in place of what the last look has found.
  void Restore() {
    if (set_) memcpy(set_, asked_.data(), asked_.size() * sizeof(fd_mask));
  }

 private:
  fd_set* const set_;
  absl::InlinedVector<fd_mask, 16> asked_;
};

template <typename Look>
int SelectCooperatively(Scheduler& s, Hook& hook, int count, fd_set* read, fd_set* write,
                        fd_set* except, const sigset_t* mask, Deadline deadline,
                        Look look) {
  hook.CountCall();
  DescriptorSet sets[] = {{read, count}, {write, count}, {except, count}};
  absl::InlinedVector<pollfd, 8> watched;
  for (int fd = 0; fd < count; ++fd) {
    const int events = (sets[0].Has(fd) ? POLLIN : 0) | (sets[1].Has(fd) ? POLLOUT : 0) |
                       (sets[2].Has(fd) ? POLLPRI : 0);
    if (events)
      watched.push_back({.fd = fd, .events = static_cast<short>(events), .revents = 0});
  }
  return LookAndWait(s, hook, watched, mask, deadline, [&] {
    for (DescriptorSet& set : sets) set.Restore();
    return look();
  });
}

int Select(int count, fd_set* read, fd_set* write, fd_set* except, timeval* timeout) {
  Scheduler* s = Cooperating(select_hook);
  if (s == nullptr || count < 0 ||
      (timeout && (timeout->tv_sec < 0 || timeout->tv_usec < 0))) {
    return select_hook.Original(count, read, write, except, timeout);
  }
  count = LookedAt(count);
  const Deadline deadline =
      timeout ? Deadline(absl::DurationFromTimeval(*timeout)) : Deadline();
  const int result = SelectCooperatively(
      *s, select_hook, count, read, write, except, nullptr, deadline, [&] {
        timeval now = {};
        return select_hook.Original(count, read, write, except, &now);
      });
  // Linux says how much was left.
  if (timeout) *timeout = absl::ToTimeval(deadline.Remaining());
  return result;
}

int PSelect(int count, fd_set* read, fd_set* write, fd_set* except,
            const timespec* timeout, const sigset_t* mask) {
  Scheduler* s = Cooperating(pselect_hook);
  if (s == nullptr || count < 0 || !IsValidTimeout(timeout)) {
    return pselect_hook.Original(count, read, write, except, timeout, mask);
  }
  count = LookedAt(count);
  return SelectCooperatively(
      *s, pselect_hook, count, read, write, except, mask, DeadlineOf(timeout), [&] {
        const SignalGate::Opened opened;
        return pselect_hook.Original(count, read, write, except, &kNow, mask);
      });
}

// --- epoll: its descriptor is itself one that can be waited for ---

int EpollCooperatively(Scheduler& s, Hook& hook, int epoll, epoll_event* events,
                       int count, const sigset_t* mask, Deadline deadline) {
  hook.CountCall();
  const pollfd watched = {.fd = epoll, .events = POLLIN, .revents = 0};
  return LookAndWait(s, hook, absl::MakeConstSpan(&watched, 1), mask, deadline, [&] {
    const SignalGate::Opened opened;
    const int n = epoll_pwait_hook.Original(epoll, events, count, 0, mask);
    // Without a time it does not look at signals, as ppoll(2) does.
    if (n != 0 || mask == nullptr) return n;
    return ppoll_hook.Original(nullptr, 0, &kNow, mask);
  });
}

int EpollWait(int epoll, epoll_event* events, int count, int timeout) {
  Scheduler* s = Cooperating(epoll_wait_hook);
  if (s == nullptr) return epoll_wait_hook.Original(epoll, events, count, timeout);
  return EpollCooperatively(*s, epoll_wait_hook, epoll, events, count, nullptr,
                            MillisecondsFromNow(timeout));
}

int EpollPWait(int epoll, epoll_event* events, int count, int timeout,
               const sigset_t* mask) {
  Scheduler* s = Cooperating(epoll_pwait_hook);
  if (s == nullptr) return epoll_pwait_hook.Original(epoll, events, count, timeout, mask);
  return EpollCooperatively(*s, epoll_pwait_hook, epoll, events, count, mask,
                            MillisecondsFromNow(timeout));
}

int EpollPWait2(int epoll, epoll_event* events, int count, const timespec* timeout,
                const sigset_t* mask) {
  Scheduler* s = Cooperating(epoll_pwait2_hook);
  if (s == nullptr || !IsValidTimeout(timeout)) {
    return epoll_pwait2_hook.Original(epoll, events, count, timeout, mask);
  }
  return EpollCooperatively(*s, epoll_pwait2_hook, epoll, events, count, mask,
                            DeadlineOf(timeout));
}

}  // namespace

absl::Span<Hook* const> SelectHooks() { return hooks; }

}  // namespace grove::patch::patch_internal
