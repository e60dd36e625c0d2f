#ifndef GROVE_PATCH_INTERNAL_WAIT_H_
#define GROVE_PATCH_INTERNAL_WAIT_H_

#include <poll.h>
#include <signal.h>
#include <sys/types.h>

#include "absl/types/span.h"
#include "grove/green/internal/poll_set.h"
#include "grove/green/internal/scheduler.h"
#include "grove/hub/deadline.h"
#include "grove/patch/internal/signal_watch.h"

// How calls that are patched wait. Nothing here throws: between the greenlet's function
// and such a call there may be code that was never meant to be unwound. A kill or an
// expired Timeout ends the wait, stays pending, and is thrown by the next blocking call
// of grove itself.
namespace grove::patch::patch_internal {

enum class WaitEnd {
  kReady,        // try the call
  kDeadline,     // the deadline passed
  kInterrupted,  // somebody has told the greenlet to stop
  kClosed,       // a patched call has closed the descriptor
  kSignal,       // a handler has run that ends the call; only with a SignalWatch
};

// Wait()
//
// Waits until one of the descriptors may have one of its events. Any number of greenlets
// may wait for one descriptor, which may be blocking or not and registered elsewhere.
// Negative ones are passed over. kReady may be wrong. `call` is for those who look.
// `signal`, if given, may end it, too. `registration`: kKept right after the kernel has
// said that none is ready, and by calls that come again.
WaitEnd Wait(green_internal::Scheduler& s, absl::Span<const pollfd> descriptors,
             Deadline deadline, const char* call, SignalWatch* signal = nullptr,
             green_internal::Registration registration =
                 green_internal::Registration::kForOneWait);
WaitEnd Wait(green_internal::Scheduler& s, int fd, short events, Deadline deadline,
             const char* call, SignalWatch* signal = nullptr,
             green_internal::Registration registration =
                 green_internal::Registration::kForOneWait);

// What a system call comes to whose wait was ended: -1, with errno. A wait that ends by
// its deadline is EAGAIN, as that of a socket with SO_RCVTIMEO.
int Fail(WaitEnd end);

// Whether it has one of the events now, or an error, or is not open. Never patched.
bool IsReadyNow(int fd, short events);

// Whether the program itself has made the descriptor non-blocking.
bool IsNonBlocking(int fd);
// SO_RCVTIMEO or SO_SNDTIMEO.
Deadline SocketDeadline(int fd, int option);

// SignalGate
//
// The signals that a call with a mask of its own (ppoll(2), pselect(2), epoll_pwait(2))
// lets in while it waits: the greenlet's hub waits for them without changing the thread's
// mask, which all its greenlets share. Then the call itself, with that mask and no time
// to wait, has them delivered.
class SignalGate {
 public:
  // `mask` may be null: nothing is let in.
  explicit SignalGate(const sigset_t* mask);
  ~SignalGate();
  SignalGate(const SignalGate&) = delete;
  SignalGate& operator=(const SignalGate&) = delete;

  // Readable when such a signal is pending; -1 if none is to be let in.
  int fd() const { return fd_; }

  // For the time of that call itself: who makes it is whom its handlers interrupt, and
  // nobody else.
  class Opened {
   public:
    Opened() { opened = true; }
    ~Opened() { opened = false; }
    Opened(const Opened&) = delete;
    Opened& operator=(const Opened&) = delete;
    static bool Now() { return opened; }

   private:
    static constinit thread_local volatile bool opened;
  };

 private:
  int fd_ = -1;
};

}  // namespace grove::patch::patch_internal

#endif  // GROVE_PATCH_INTERNAL_WAIT_H_
