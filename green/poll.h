#ifndef GROVE_GREEN_POLL_H_
#define GROVE_GREEN_POLL_H_

#include <poll.h>

#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "grove/hub/deadline.h"

// poll(2) and select(2) for greenlets: for code that was written for those, and for who
// waits for several descriptors at once. Who waits for one, and owns it, has Descriptor.
//
// Any descriptor may be polled that poll(2) takes, blocking or not, of a Descriptor or
// not, also by several greenlets at a time and while others read from it: a Poll() takes
// nothing, and says what was so when it looked. What it said may be over when the caller
// comes to act on it, if others read there too.
//
// For both:
//   Blocks: until one is ready.
//   Deadline: returns that nothing is ready, which is no error. What is ready by then is
//       returned.
//   Kill: throws; nothing stays registered.
//   Threads: any that has a hub, or gets one by this.
//   Closed meanwhile: by Descriptor::Close() on this hub, it is told as not open. As in
//       poll(2), what is closed in another way is not noticed.
//   Errors: those of poll(2): kResourceExhausted if descriptors or memory run out, and
//       kInvalidArgument for more descriptors than the process may have open.
namespace grove {

// Poll()
//
// As poll(2): sets `revents` of each, and returns how many have any. Those with a
// negative fd are passed over; those that are not open have POLLNVAL; one descriptor may
// stand there several times. POLLERR and POLLHUP are told unasked, and POLLPRI and
// POLLRDHUP are waited for like the others. With no descriptor it waits for the deadline
// alone.
//
//   pollfd fds[] = {{.fd = a, .events = POLLIN}, {.fd = b, .events = POLLIN}};
//   absl::StatusOr<int> n = Poll(absl::MakeSpan(fds), absl::Seconds(5));
//   if (n.ok() && (fds[0].revents & POLLIN)) ...
//
// What is ready at once costs one system call, and up to eight descriptors no allocation.
absl::StatusOr<int> Poll(absl::Span<pollfd> fds, Deadline deadline = {});

// What SelectDescriptors() found, in the order in which it was given.
struct SelectedDescriptors {
  std::vector<int> readable;
  std::vector<int> writable;
  std::vector<int> exceptional;

  bool empty() const {
    return readable.empty() && writable.empty() && exceptional.empty();
  }
};

// SelectDescriptors()
//
// As select(2), with no limit on the numbers: which can be read (or have ended, or
// failed), which can be written to (or failed), and which have urgent data or another
// exceptional condition. One that is not open is an error that names it, with EBADF.
absl::StatusOr<SelectedDescriptors> SelectDescriptors(absl::Span<const int> read,
                                                      absl::Span<const int> write = {},
                                                      absl::Span<const int> except = {},
                                                      Deadline deadline = {});

}  // namespace grove

#endif  // GROVE_GREEN_POLL_H_
