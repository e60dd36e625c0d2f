#ifndef GROVE_NET_HTTP_INTERNAL_FILE_READER_H_
#define GROVE_NET_HTTP_INTERNAL_FILE_READER_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace grove::http::http_internal {

// TryReadFile()
//
// Reads what is in the page cache, and how much that is; 0 if it is not there, if the
// file has ended, or if the file system does not tell. Does not block.
size_t TryReadFile(int fd, uint64_t offset, absl::Span<char> buffer);

// ReadFile()
//
// The same, and what is not in the cache on a thread of the pool "files"; 0 is the end of
// the file. The descriptor has to stay open.
//
// Blocks: until there is something.
// Kill: throws, once the thread is through.
absl::StatusOr<size_t> ReadFile(int fd, uint64_t offset, absl::Span<char> buffer);

}  // namespace grove::http::http_internal

#endif  // GROVE_NET_HTTP_INTERNAL_FILE_READER_H_
