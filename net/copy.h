#ifndef GROVE_NET_COPY_H_
#define GROVE_NET_COPY_H_

#include <cstdint>

#include "absl/status/status.h"
#include "grove/hub/deadline.h"
#include "grove/net/stream.h"

namespace grove::net {

// Copy()
//
// Carries bytes from one stream to another until `from` ends; they may be the same one,
// which makes an echo. `to` is not shut down then: the caller may have more to say.
//
//   absl::Status echo = Copy(stream, stream);
//
// Both ways at once is Relay(), in relay.h.
//
// It holds no buffer while it waits for bytes: they go through one that the hub's copies
// share, so ten thousand idle ones cost nothing, and busy ones find it in the cache. Only
// what `to` does not take at once is kept aside. There is no more on the way than that: a
// peer that does not read stops the other from sending.
//
// `copied`, if not null, is added to as bytes are written, so that others can watch it,
// and it is right after an error too; after a kill up to 4 KiB more may have been
// written.
//
// Blocks: until `from` ends.
// Deadline: for all of it; the streams' own timeouts apply to each wait. Returns
//     kDeadlineExceeded.
// Kill: throws.
// Threads: the hub of both streams.
// Errors: that of the stream that failed, with BytesMoved(status).
absl::Status Copy(Stream& from, Stream& to, uint64_t* copied = nullptr,
                  Deadline deadline = {});

}  // namespace grove::net

#endif  // GROVE_NET_COPY_H_
