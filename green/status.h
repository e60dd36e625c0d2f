#ifndef GROVE_GREEN_STATUS_H_
#define GROVE_GREEN_STATUS_H_

#include <cstddef>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

// What failed calls return: the operation and the peer in the message, errno and the
// bytes that were moved before as payloads.
//
//   absl::Status s = stream.Write(data, absl::Seconds(5));
//   if (ErrnoOf(s) == ECONNRESET) return;     // the peer has gone
//   if (!s.ok()) Log(s, BytesMoved(s));       // so many bytes were taken before
namespace grove {

// ErrnoStatus()
//
// "read from 10.0.0.1:80: Connection reset by peer", with the canonical code for `error`
// and `error` itself. Network errors that say "try again elsewhere or later" are
// kUnavailable.
absl::Status ErrnoStatus(int error, absl::string_view operation);

// ErrnoOf()
//
// The errno of a status; 0 if it has none.
int ErrnoOf(const absl::Status& status);

// WithBytesMoved(), BytesMoved()
//
// How much an operation had done when it failed.
absl::Status WithBytesMoved(absl::Status status, size_t bytes);
size_t BytesMoved(const absl::Status& status);

}  // namespace grove

#endif  // GROVE_GREEN_STATUS_H_
