#include "grove/net/internal/peer_pace.h"

#include <algorithm>
#include <utility>

namespace grove::net::net_internal {

PeerPace::Verdict PeerPace::Look(const Stream::Activity& seen, MonotonicNanos now,
                                 const Limits& limits) {
  const Stream::Activity last = std::exchange(last_, seen);
  const absl::Duration passed = absl::Nanoseconds(now - std::exchange(last_at_, now));
  const uint64_t read = seen.bytes_read - last.bytes_read;
  const uint64_t written = seen.bytes_written - last.bytes_written;
  const bool reading = seen.reader_waits && last.reader_waits;
  const bool writing = seen.writer_waits && last.writer_waits;

  if (read > 0 || written > 0 || (!reading && !writing)) idle_since_ = now;
  if (absl::Nanoseconds(now - idle_since_) >= limits.idle) return Verdict::kIdle;
  if (limits.min_rate <= 0) return Verdict::kFine;

  if (read > 0 && written > 0) {
    phase_ = Phase::kNone;
    return Verdict::kFine;
  }
  if (read > 0 || written > 0) {
    const Phase phase = read > 0 ? Phase::kReading : Phase::kWriting;
    if (std::exchange(phase_, phase) != phase) {
      bytes_ = static_cast<double>(read + written);
      waited_ = absl::ZeroDuration();
      return Verdict::kFine;
    }
    bytes_ += static_cast<double>(read + written);
  }
  if (phase_ == Phase::kReading ? reading : phase_ == Phase::kWriting && writing) {
    waited_ += passed;
  }
  // Who was fast may be slow for as long as a new one, and no longer.
  bytes_ =
      std::min(bytes_, limits.min_rate * absl::ToDoubleSeconds(waited_ + limits.grace));
  const bool slow = waited_ >= limits.grace &&
                    bytes_ < limits.min_rate * absl::ToDoubleSeconds(waited_);
  return slow ? Verdict::kSlow : Verdict::kFine;
}

}  // namespace grove::net::net_internal
