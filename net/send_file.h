#ifndef GROVE_NET_SEND_FILE_H_
#define GROVE_NET_SEND_FILE_H_

#include <cstdint>
#include <limits>

#include "absl/status/statusor.h"
#include "grove/green/os/file.h"
#include "grove/hub/deadline.h"
#include "grove/net/stream.h"

namespace grove::net {

// For SendFile(): as far as the file goes.
inline constexpr uint64_t kToTheEnd = std::numeric_limits<uint64_t>::max();

// SendFile()
//
// Writes `count` bytes of a file, from `offset` on, to any stream, and returns how many:
// less if the file ends before, also if it becomes shorter meanwhile. The file's position
// is neither used nor moved.
//
//   absl::StatusOr<File> file = File::Open(path);
//   absl::StatusOr<uint64_t> sent = SendFile(stream, *file, 0, kToTheEnd);
//
// What is in the page cache goes into a socket by sendfile(2), without passing through
// this process; to a stream that is no socket (TLS) it is read and written. What has to
// be read from a disk is read on a thread of the pool "files", so that the hub does not
// wait for a disk: up to 256 KiB at a time, and as much memory. What is in the cache is
// found out by a look at the first and the last byte of each such piece, so a hole
// between them can still make the hub wait. File systems that do not tell are read on the
// pool.
//
// The descriptor may be closed meanwhile: a duplicate is used.
//
// Blocks: until all is the kernel's.
// Deadline: for all of it; the stream's own timeout applies to each piece. Returns
//     kDeadlineExceeded.
// Kill: throws; how much was done is not told.
// Threads: the stream's hub.
// Errors: that of the stream or of the file, with BytesMoved(status).
absl::StatusOr<uint64_t> SendFile(Stream& to, int fd, uint64_t offset, uint64_t count,
                                  Deadline deadline = {});
absl::StatusOr<uint64_t> SendFile(Stream& to, const File& file, uint64_t offset,
                                  uint64_t count, Deadline deadline = {});

}  // namespace grove::net

#endif  // GROVE_NET_SEND_FILE_H_
