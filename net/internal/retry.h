#ifndef GROVE_NET_INTERNAL_RETRY_H_
#define GROVE_NET_INTERNAL_RETRY_H_

#include <errno.h>
#include <sys/types.h>

#include <cstddef>

#include "absl/status/statusor.h"
#include "grove/green/descriptor.h"
#include "grove/green/status.h"
#include "grove/hub/deadline.h"
#include "grove/net/internal/socket.h"

namespace grove::net::net_internal {

// DoOrWait()
//
// A system call on messages: tried first, and again once `wait()` has said that it may be
// possible now. `operation()` names it in messages; `verb` does if the socket was closed,
// and may be gone.
template <typename Try, typename Wait, typename Describe>
absl::StatusOr<size_t> DoOrWait(Descriptor& descriptor, const char* verb, Try try_once,
                                Wait wait, Describe operation) {
  if (!descriptor.CountOperation()) return WasClosed(verb);
  for (;;) {
    const ssize_t n = try_once(descriptor.fd());
    if (n >= 0) return static_cast<size_t>(n);
    if (errno == EINTR) continue;
    if (!WouldBlock(errno)) return ErrnoStatus(errno, operation());
    const WaitResult result = wait();
    if (result == WaitResult::kClosed) return WasClosed(verb);
    if (result == WaitResult::kDeadline) return TimedOut(operation());
  }
}

template <typename Try, typename Describe>
absl::StatusOr<size_t> ReceiveOrWait(Descriptor& descriptor, Deadline deadline,
                                     Try try_once, Describe operation) {
  return DoOrWait(
      descriptor, "receive", try_once, [&] { return descriptor.WaitReadable(deadline); },
      operation);
}

// Until there is one to receive.
template <typename Describe>
absl::Status WaitForMessage(Descriptor& descriptor, Deadline deadline,
                            Describe operation) {
  const WaitResult result = descriptor.WaitReadable(deadline);
  if (result == WaitResult::kClosed) return WasClosed("wait");
  if (result == WaitResult::kDeadline) return TimedOut(operation());
  return absl::OkStatus();
}

template <typename Try, typename Describe>
absl::StatusOr<size_t> SendOrWait(Descriptor& descriptor, Deadline deadline, Try try_once,
                                  Describe operation) {
  return DoOrWait(
      descriptor, "send", try_once, [&] { return descriptor.WaitWritable(deadline); },
      operation);
}

}  // namespace grove::net::net_internal

#endif  // GROVE_NET_INTERNAL_RETRY_H_
