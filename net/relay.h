#ifndef GROVE_NET_RELAY_H_
#define GROVE_NET_RELAY_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "grove/hub/deadline.h"
#include "grove/net/stream.h"

namespace grove::net {

// RelayOptions
struct RelayOptions {
  // No byte has gone in either direction for so long: then it is cut, never early, and at
  // most an eighth of it late. A peer that does not read is as idle as one that does not
  // write.
  absl::Duration idle_limit = absl::InfiniteDuration();
  // For all of it.
  Deadline deadline = {};
};

// What a Relay() has carried; each is added to as bytes are written.
struct RelayedBytes {
  uint64_t a_to_b = 0;
  uint64_t b_to_a = 0;
};

// Relay()
//
// Carries bytes in both directions until both have ended: what a proxy does once it knows
// whom to connect with whom.
//
//   absl::StatusOr<TcpStream> server = Dial("db.internal", 5432);
//   if (!server.ok()) return server.status();
//   return Relay(client, *server, {.idle_limit = absl::Minutes(5)});
//
// The end of one direction is passed on by ShutdownWrite(), and leaves the other alone.
// Whatever else ends it (an error of either stream, a reset among them, the limit, the
// deadline, a kill) aborts both streams: nobody takes what he has got for all there is.
// They are closed then; else they are open yet, and have nothing more to say.
//
// No buffer is held while it waits (see Copy()). `bytes`, if not null, can be watched by
// others, and is right after an error; see Copy() for kills.
//
// Blocks: until both directions have ended.
// Deadline: returns kDeadlineExceeded, as after the idle limit; the streams' own timeouts
//     apply to each wait.
// Kill: throws.
// Threads: the hub of both streams.
// Errors: that of the stream that failed first.
absl::Status Relay(Stream& a, Stream& b, const RelayOptions& options = {},
                   RelayedBytes* bytes = nullptr);

}  // namespace grove::net

#endif  // GROVE_NET_RELAY_H_
