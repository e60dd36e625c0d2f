// sendfile(2), splice(2), tee(2) and vmsplice(2).

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "grove/patch/internal/hook.h"
#include "grove/patch/internal/non_blocking.h"
#include "grove/patch/internal/retry.h"
#include "grove/patch/internal/signal_watch.h"
#include "grove/patch/internal/wait.h"

namespace grove::patch::patch_internal {
namespace {

using green_internal::Scheduler;

ssize_t SendFile(int to, int from, off_t* offset, size_t size);
ssize_t SendFile64(int to, int from, off64_t* offset, size_t size);
ssize_t Splice(int from, off64_t* from_offset, int to, off64_t* to_offset, size_t size,
               unsigned flags);
ssize_t Tee(int from, int to, size_t size, unsigned flags);
ssize_t VmSplice(int fd, const iovec* pieces, size_t count, unsigned flags);

constinit HookOf sendfile_hook("sendfile", Module::kSocket, &SendFile);
constinit HookOf sendfile64_hook("sendfile64", Module::kSocket, &SendFile64);
constinit HookOf splice_hook("splice", Module::kSocket, &Splice);
constinit HookOf tee_hook("tee", Module::kSocket, &Tee);
constinit HookOf vmsplice_hook("vmsplice", Module::kSocket, &VmSplice);

Hook* const hooks[] = {&sendfile_hook, &sendfile64_hook, &splice_hook, &tee_hook,
                       &vmsplice_hook};

// Waits for one of two descriptors (or -1), where an attempt has found that either is not
// ready.
// False if the call is over: errno says why.
class PatienceWithTwo {
 public:
  PatienceWithTwo(Scheduler& s, Hook& hook, int from, int to)
      : hook_(hook),
        scheduler_(s),
        from_(from),
        to_(to),
        from_deadline_(from < 0 ? Deadline() : SocketDeadline(from, SO_RCVTIMEO)),
        to_deadline_(to < 0 ? Deadline() : SocketDeadline(to, SO_SNDTIMEO)),
        // As of Patience.
        signal_(s, from_deadline_.infinite() && to_deadline_.infinite()
                       ? Restart::kByHandler
                       : Restart::kNever) {
    hook.CountWait();
  }

  bool Wait() {
    const bool is_full = to_ >= 0 && (from_ < 0 || IsReadyNow(from_, POLLIN));
    const int fd = is_full ? to_ : from_;
    if (IsNonBlocking(fd)) {
      errno = EAGAIN;
      return false;
    }
    const Deadline deadline = is_full ? to_deadline_ : from_deadline_;
    const WaitEnd end = patch_internal::Wait(scheduler_, fd, is_full ? POLLOUT : POLLIN,
                                             deadline, hook_.name, &signal_);
    if (end != WaitEnd::kReady) Fail(end);
    return end == WaitEnd::kReady;
  }

 private:
  Hook& hook_;
  Scheduler& scheduler_;
  const int from_;
  const int to_;
  const Deadline from_deadline_;
  const Deadline to_deadline_;
  SignalWatch signal_;
};

// `attempt` does not wait. One that has moved something has done enough.
template <typename Attempt>
ssize_t MoveSome(Scheduler& s, Hook& hook, int from, int to, Attempt attempt) {
  hook.CountCall();
  LetOthersRun(s);
  ActOnCancel(s);
  ssize_t n = attempt();
  if (n >= 0 || errno != EAGAIN) return n;
  PatienceWithTwo patience(s, hook, from, to);
  do {
    if (!patience.Wait()) return -1;
    n = attempt();
  } while (n < 0 && errno == EAGAIN);
  return n;
}

// --- sendfile: goes on until all is sent, or there is no more ---

template <typename OwnHook, typename Offset>
ssize_t SendAll(OwnHook& hook, int to, int from, Offset* offset, size_t size) {
  Scheduler* s = Cooperating(hook);
  if (s == nullptr) return hook.Original(to, from, offset, size);
  const auto attempt = [&](size_t left) {
    const NonBlockingForOneCall to_now(to, fcntl(to, F_GETFL));
    const NonBlockingForOneCall from_now(from, fcntl(from, F_GETFL));
    return hook.Original(to, from, offset, left);
  };
  hook.CountCall();
  LetOthersRun(*s);
  ActOnCancel(*s);
  ssize_t n = attempt(size);
  if ((n < 0 && errno != EAGAIN) || n == 0 || n == static_cast<ssize_t>(size)) return n;
  size_t done = n > 0 ? static_cast<size_t>(n) : 0;
  if (done > 0 && IsNonBlocking(to)) return n;
  PatienceWithTwo patience(*s, hook, from, to);
  while (done < size) {
    if (n < 0 && !patience.Wait()) return done > 0 ? static_cast<ssize_t>(done) : -1;
    n = attempt(size - done);
    if (n == 0) break;
    if (n > 0) {
      done += static_cast<size_t>(n);
      LetOthersRun(*s);
    } else if (errno != EAGAIN) {
      if (done == 0) return -1;
      break;
    }
  }
  return static_cast<ssize_t>(done);
}

ssize_t SendFile(int to, int from, off_t* offset, size_t size) {
  return SendAll(sendfile_hook, to, from, offset, size);
}
ssize_t SendFile64(int to, int from, off64_t* offset, size_t size) {
  return SendAll(sendfile64_hook, to, from, offset, size);
}

// --- splice and its like ---

ssize_t Splice(int from, off64_t* from_offset, int to, off64_t* to_offset, size_t size,
               unsigned flags) {
  Scheduler* s = Cooperating(splice_hook);
  if (s == nullptr || (flags & SPLICE_F_NONBLOCK) != 0) {
    return splice_hook.Original(from, from_offset, to, to_offset, size, flags);
  }
  return MoveSome(*s, splice_hook, from, to, [&] {
    // SPLICE_F_NONBLOCK is for the pipe alone.
    const NonBlockingForOneCall to_now(to, fcntl(to, F_GETFL));
    const NonBlockingForOneCall from_now(from, fcntl(from, F_GETFL));
    return splice_hook.Original(from, from_offset, to, to_offset, size,
                                flags | SPLICE_F_NONBLOCK);
  });
}

ssize_t Tee(int from, int to, size_t size, unsigned flags) {
  Scheduler* s = Cooperating(tee_hook);
  if (s == nullptr || (flags & SPLICE_F_NONBLOCK) != 0) {
    return tee_hook.Original(from, to, size, flags);
  }
  return MoveSome(*s, tee_hook, from, to, [&] {
    return tee_hook.Original(from, to, size, flags | SPLICE_F_NONBLOCK);
  });
}

// Out of a pipe as well as into one.
ssize_t VmSplice(int fd, const iovec* pieces, size_t count, unsigned flags) {
  Scheduler* s = Cooperating(vmsplice_hook);
  if (s == nullptr || (flags & SPLICE_F_NONBLOCK) != 0) {
    return vmsplice_hook.Original(fd, pieces, count, flags);
  }
  const bool reads = (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY;
  return MoveSome(*s, vmsplice_hook, reads ? fd : -1, reads ? -1 : fd, [&] {
    return vmsplice_hook.Original(fd, pieces, count, flags | SPLICE_F_NONBLOCK);
  });
}

}  // namespace

absl::Span<Hook* const> SpliceHooks() { return hooks; }

}  // namespace grove::patch::patch_internal
