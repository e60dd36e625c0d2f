#ifndef GROVE_NET_INTERNAL_UNCANCELLED_H_
#define GROVE_NET_INTERNAL_UNCANCELLED_H_

#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cstddef>

#include "grove/green/internal/sanitizer.h"

// The calls of each message, as libc has them, but that they are no cancellation points
// (pthreads(7)): what glibc does for that in a process with several threads is two atomic
// exchanges each, in which greenlets have no part (measured: 80 ns of an echo's 2,300).
// Sanitizers know libc's calls only, and get those.
namespace grove::net::net_internal::uncancelled {

#if GROVE_ASAN || GROVE_TSAN

using ::readv;
using ::recv;
using ::recvmmsg;
using ::recvmsg;
using ::send;
using ::sendmmsg;
using ::sendmsg;
using ::sendto;

#else

inline ssize_t recv(int fd, void* buffer, size_t size, int flags) {
  void* const no_address = nullptr;
  return syscall(SYS_recvfrom, fd, buffer, size, flags, no_address, no_address);
}

inline ssize_t send(int fd, const void* data, size_t size, int flags) {
  const void* const no_address = nullptr;
  return syscall(SYS_sendto, fd, data, size, flags, no_address, size_t{0});
}

inline ssize_t sendto(int fd, const void* data, size_t size, int flags,
                      const sockaddr* to, socklen_t to_size) {
  return syscall(SYS_sendto, fd, data, size, flags, to, size_t{to_size});
}

inline ssize_t recvmsg(int fd, msghdr* message, int flags) {
  return syscall(SYS_recvmsg, fd, message, flags);
}

inline ssize_t sendmsg(int fd, const msghdr* message, int flags) {
  return syscall(SYS_sendmsg, fd, message, flags);
}

inline int recvmmsg(int fd, mmsghdr* messages, unsigned int count, int flags,
                    timespec* timeout) {
  return static_cast<int>(
      syscall(SYS_recvmmsg, fd, messages, size_t{count}, flags, timeout));
}

inline int sendmmsg(int fd, mmsghdr* messages, unsigned int count, int flags) {
  return static_cast<int>(syscall(SYS_sendmmsg, fd, messages, size_t{count}, flags));
}

inline ssize_t readv(int fd, const iovec* vectors, int count) {
  return syscall(SYS_readv, fd, vectors, static_cast<long>(count));
}

#endif

}  // namespace grove::net::net_internal::uncancelled

#endif  // GROVE_NET_INTERNAL_UNCANCELLED_H_
