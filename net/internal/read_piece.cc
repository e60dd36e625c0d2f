#include "grove/net/internal/read_piece.h"

#include <errno.h>
#include <sys/uio.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "grove/green/status.h"
#include "grove/green/thread_pool.h"

namespace grove::net::net_internal {

size_t TryReadPiece(int fd, uint64_t offset, absl::Span<char> buffer) {
  const iovec v{buffer.data(), buffer.size()};
  const ssize_t n = preadv2(fd, &v, 1, static_cast<off_t>(offset), RWF_NOWAIT);
  return n > 0 ? static_cast<size_t>(n) : 0;
}

absl::StatusOr<size_t> ReadPiece(int fd, uint64_t offset, absl::Span<char> buffer,
                                 absl::string_view name, Deadline deadline) {
  if (const size_t n = TryReadPiece(fd, offset, buffer); n > 0) return n;
  static ThreadPool& pool = ThreadPool::Named("files");
  return pool.Apply(
      [&]() -> absl::StatusOr<size_t> {
        for (;;) {
          const ssize_t n =
              pread(fd, buffer.data(), buffer.size(), static_cast<off_t>(offset));
          if (n >= 0) return static_cast<size_t>(n);
          if (errno != EINTR) return ErrnoStatus(errno, absl::StrCat("read from ", name));
        }
      },
      deadline);
}

}  // namespace grove::net::net_internal
