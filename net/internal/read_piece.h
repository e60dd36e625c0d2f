#ifndef GROVE_NET_INTERNAL_READ_PIECE_H_
#define GROVE_NET_INTERNAL_READ_PIECE_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "grove/hub/deadline.h"

namespace grove::net::net_internal {

// Reads what is in the page cache (preadv2(2), RWF_NOWAIT), and says how much that is; 0
// if it is not there, if the file has ended, or if the file system does not tell. Does
// not block.
size_t TryReadPiece(int fd, uint64_t offset, absl::Span<char> buffer);

// Reads from a file at `offset`, which may have ended there (0): at once what is in the
// page cache, and the rest on a thread of the pool "files".
//
// Blocks: for the pool. Deadline: kDeadlineExceeded. Kill: throws, once the pool is done
//     with the buffer. Threads: any with a hub.
absl::StatusOr<size_t> ReadPiece(int fd, uint64_t offset, absl::Span<char> buffer,
                                 absl::string_view name, Deadline deadline = {});

}  // namespace grove::net::net_internal

#endif  // GROVE_NET_INTERNAL_READ_PIECE_H_
