#ifndef GROVE_PATCH_INTERNAL_IO_H_
#define GROVE_PATCH_INTERNAL_IO_H_

#include <sys/types.h>
#include <sys/uio.h>

#include <optional>

namespace grove::patch::patch_internal {

// One attempt to write without waiting: how much that was, or -1 with EAGAIN if nothing
// can be written just now. Never patched.
ssize_t WriteNow(int fd, const iovec* pieces, int count);

// Whether it is a file on a disk, of which no readiness is told.
bool IsOnDisk(int fd);

// What the patched write(2) does, for another hook that writes.
ssize_t WriteAsPatched(int fd, const void* data, size_t size);

// What syscall(2) returns for a call that would close the hub's descriptors; nothing for
// others.
std::optional<long> SyscallThatCloses(long number, long a, long b, long c);

}  // namespace grove::patch::patch_internal

#endif  // GROVE_PATCH_INTERNAL_IO_H_
