#include "grove/green/os/internal/file_calls.h"

#include <unistd.h>

namespace grove::green_internal {
namespace {

// Calls `call(done)` for what is left until `size` bytes are done.
template <typename Call>
Moved Repeat(size_t size, Call call) {
  Moved moved;
  while (moved.bytes < size) {
    const ssize_t n = call(moved.bytes);
    if (n > 0) {
      moved.bytes += n;
    } else if (n == 0) {
      break;
    } else if (errno != EINTR) {
      moved.error = errno;
      break;
    }
  }
  return moved;
}

// A write of nothing that is no error would be tried for ever.
Moved OrNoSpace(Moved moved, size_t size) {
  if (moved.error == 0 && moved.bytes < size) moved.error = ENOSPC;
  return moved;
}

}  // namespace

Moved ReadSome(int fd, absl::Span<char> buffer) {
  for (;;) {
    const ssize_t n = read(fd, buffer.data(), buffer.size());
    if (n >= 0) return {static_cast<size_t>(n), 0};
    if (errno != EINTR) return {0, errno};
  }
}

Moved ReadAllAt(int fd, absl::Span<char> buffer, uint64_t offset) {
  return Repeat(buffer.size(), [&](size_t done) {
    return pread(fd, buffer.data() + done, buffer.size() - done,
                 static_cast<off_t>(offset + done));
  });
}

Moved WriteAll(int fd, absl::string_view data) {
  return OrNoSpace(Repeat(data.size(),
                          [&](size_t done) {
                            return write(fd, data.data() + done, data.size() - done);
                          }),
                   data.size());
}

Moved WriteAllAt(int fd, absl::string_view data, uint64_t offset) {
  return OrNoSpace(Repeat(data.size(),
                          [&](size_t done) {
                            return pwrite(fd, data.data() + done, data.size() - done,
                                          static_cast<off_t>(offset + done));
                          }),
                   data.size());
}

}  // namespace grove::green_internal
