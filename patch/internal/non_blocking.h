#ifndef GROVE_PATCH_INTERNAL_NON_BLOCKING_H_
#define GROVE_PATCH_INTERNAL_NON_BLOCKING_H_

#include <errno.h>
#include <fcntl.h>

namespace grove::patch::patch_internal {

// NonBlockingForOneCall
//
// A descriptor is non-blocking for the time of one system call that does not wait, where
// the kernel knows no MSG_DONTWAIT. No other greenlet of this thread runs meanwhile.
class NonBlockingForOneCall {
 public:
  // `flags` are its status flags.
  NonBlockingForOneCall(int fd, int flags) : fd_(fd), flags_(flags) {
    if (!AsItIs()) fcntl(fd, F_SETFL, flags | O_NONBLOCK);
  }
  NonBlockingForOneCall(const NonBlockingForOneCall&) = delete;
  NonBlockingForOneCall& operator=(const NonBlockingForOneCall&) = delete;
  ~NonBlockingForOneCall() {
    if (AsItIs()) return;
    const int error = errno;
    fcntl(fd_, F_SETFL, flags_);
    errno = error;
  }

 private:
  // Not open, or non-blocking anyway.
  bool AsItIs() const { return flags_ < 0 || (flags_ & O_NONBLOCK) != 0; }

  const int fd_;
  const int flags_;
};

}  // namespace grove::patch::patch_internal

#endif  // GROVE_PATCH_INTERNAL_NON_BLOCKING_H_
