#ifndef GROVE_GREEN_OS_INTERNAL_NO_SIGPIPE_H_
#define GROVE_GREEN_OS_INTERNAL_NO_SIGPIPE_H_

#include <errno.h>
#include <signal.h>
#include <sys/types.h>
#include <time.h>

#include <cstddef>

namespace grove::green_internal {

// NoSigpipe
//
// While one exists, a write to a pipe without readers is EPIPE and nothing more. write(2)
// has no MSG_NOSIGNAL, and what SIGPIPE does otherwise is the program's to say, not ours:
// so the thread blocks the signal, and takes the one that it has raised. The
// write's errno is kept. Not across a switch.
//
//   NoSigpipe no_sigpipe;
//   return no_sigpipe.Wrote(write(fd, data, size), size);
class NoSigpipe {
 public:
  NoSigpipe() {
    sigemptyset(&only_);
    sigaddset(&only_, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &only_, &before_);
    if (sigismember(&before_, SIGPIPE) == 1) {
      // One that was there before stays.
      sigset_t pending;
      sigpending(&pending);
      was_pending_ = sigismember(&pending, SIGPIPE) == 1;
    }
  }
  NoSigpipe(const NoSigpipe&) = delete;
  NoSigpipe& operator=(const NoSigpipe&) = delete;

  // What a write has returned of what it was to write. If a peer goes while it is under
  // way, it returns what was written until then, and has raised the signal all the same:
  // sendfile(2) does that.
  ssize_t Wrote(ssize_t n, size_t wanted) {
    may_have_raised_ |= n < 0 ? errno == EPIPE : static_cast<size_t>(n) < wanted;
    return n;
  }

  ~NoSigpipe() {
    const int error = errno;
    if (may_have_raised_ && !was_pending_) {
      const timespec at_once{};
      while (sigtimedwait(&only_, nullptr, &at_once) < 0 && errno == EINTR) {
      }
    }
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    errno = error;
  }

 private:
  sigset_t only_;
  sigset_t before_;
  bool was_pending_ = false;
  bool may_have_raised_ = false;
};

}  // namespace grove::green_internal

#endif  // GROVE_GREEN_OS_INTERNAL_NO_SIGPIPE_H_
