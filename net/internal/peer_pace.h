#ifndef GROVE_NET_INTERNAL_PEER_PACE_H_
#define GROVE_NET_INTERNAL_PEER_PACE_H_

#include <cstdint>

#include "absl/time/time.h"
#include "grove/hub/clock.h"
#include "grove/net/stream.h"

namespace grove::net::net_internal {

// PeerPace
//
// Whether the peer of one stream keeps up, by what is seen of the stream now and then:
// reading and writing themselves know nothing of it. Only time in which somebody waits
// for the peer counts, and only between two looks that both saw it, so nobody is found
// wanting too early.
class PeerPace {
 public:
  struct Limits {
    absl::Duration idle = absl::InfiniteDuration();
    double min_rate = 0;  // bytes a second
    absl::Duration grace = absl::ZeroDuration();
  };
  enum class Verdict { kFine, kIdle, kSlow };

  Verdict Look(const Stream::Activity& seen, MonotonicNanos now, const Limits& limits);

 private:
  // Bytes go this way, without one the other way since.
  enum class Phase : uint8_t { kNone, kReading, kWriting };

  Stream::Activity last_;
  MonotonicNanos last_at_ = 0;
  MonotonicNanos idle_since_ = 0;
  Phase phase_ = Phase::kNone;
  double bytes_ = 0;  // of this phase, as far as they count
  absl::Duration waited_;
};

}  // namespace grove::net::net_internal

#endif  // GROVE_NET_INTERNAL_PEER_PACE_H_
