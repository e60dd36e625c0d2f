#ifndef GROVE_NET_SERVER_OPTIONS_H_
#define GROVE_NET_SERVER_OPTIONS_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

#include "absl/time/time.h"
#include "grove/net/stream.h"

namespace grove::net {

// StreamServerOptions
//
//   StreamServer server(std::move(listener), &Serve,
//                       {.max_connections = 10'000, .idle_limit = absl::Minutes(5)});
struct StreamServerOptions {
  // While so many are open no more are accepted: they wait in the backlog. 0: no limit.
  size_t max_connections = 0;
  // How many one peer may have open; more are closed as soon as they are accepted. One
  // peer is an IPv4 address or a network of IPv6 (/64); peers of Unix sockets are not
  // limited. 0: no limit.
  size_t max_per_peer = 0;

  // Limits on what a handler may have to wait for its peer. They need nothing of the
  // handler: one greenlet looks at all connections now and then, and resets the one that
  // is over a limit; reads and writes there then return kCancelled. None is cut early; an
  // eighth of the limit, and twice, later. Streams that do not say that somebody waits
  // (Stream::activity()) are left alone.
  //
  // No byte has gone in either direction for so long, while the handler waited for one.
  absl::Duration idle_limit = absl::InfiniteDuration();
  // A peer that has begun to send, or to receive, goes on with so many bytes a second, on
  // average, from `min_rate_grace` on. Measured anew when a byte goes in the other
  // direction: by request and by response, where there are such; and one that sends
  // nothing at all between them is idle, not slow. Do not set it where a peer sends
  // something now and then that is never answered. 0: no limit.
  double min_rate = 0;
  absl::Duration min_rate_grace = absl::Seconds(10);

  // How many may be accepted in a row before others run.
  int accept_budget = 100;
  // When accepting fails for want of descriptors or memory, it is tried again after
  // min_delay, then after twice as long each time, up to max_delay.
  absl::Duration min_delay = absl::Milliseconds(10);
  absl::Duration max_delay = absl::Seconds(1);
  // Called for each open connection when a drain begins: tells its handler to come to an
  // end. It must not block. The default ends reading: what has arrived is still read,
  // then the handler sees the end of the stream.
  std::function<void(Stream&)> on_drain = nullptr;
  // Names the greenlets.
  std::string name = "server";
};

// What a server has done, all together.
struct StreamServerStatistics {
  size_t active = 0;      // open now
  uint64_t accepted = 0;  // with those that were refused
  uint64_t refused = 0;   // over max_per_peer
  uint64_t failed = 0;    // did not get to the handler: a TLS handshake that failed
  uint64_t cut_idle = 0;  // over idle_limit
  uint64_t cut_slow = 0;  // under min_rate
  uint64_t shortages =
      0;  // times that accepting failed for want of descriptors or memory

  StreamServerStatistics& operator+=(const StreamServerStatistics& other);
};

// DatagramServerOptions
struct DatagramServerOptions {
  // How many handlers may run at once; what comes meanwhile is dropped. 0: no limit.
  size_t max_in_flight = 1000;
  // How many are received by one system call, and of how many bytes at most; a longer one
  // is cut off, and counted. So much memory is held: batch * max_bytes.
  size_t batch = 32;
  size_t max_bytes = 8192;
  // Names the greenlets.
  std::string name = "datagram server";
};

// What a datagram server has done, all together.
struct DatagramServerStatistics {
  size_t in_flight = 0;    // handlers that run now
  uint64_t received = 0;   // with those that were dropped
  uint64_t dropped = 0;    // over max_in_flight
  uint64_t truncated = 0;  // longer than max_bytes
};

// What the end of a server had to do.
struct StopReport {
  size_t finished = 0;  // connections that came to their end
  size_t cut = 0;       // handlers that had to be killed
};

}  // namespace grove::net

#endif  // GROVE_NET_SERVER_OPTIONS_H_
