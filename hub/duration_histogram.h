#ifndef GROVE_HUB_DURATION_HISTOGRAM_H_
#define GROVE_HUB_DURATION_HISTOGRAM_H_

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/time/time.h"
#include "grove/hub/clock.h"
#include "grove/hub/internal/relaxed.h"

namespace grove {

// DurationDistribution
//
// How long things took, to a factor of two: a copy of a histogram.
//
//   for (const HubStatistics& s : AllHubStatistics()) {
//     printf("%s: 99%% waited at most %s for their turn\n", s.hub.c_str(),
//            absl::FormatDuration(s.ready_delays.AtMost(0.99)).c_str());
//   }
struct DurationDistribution {
  // counts[i] of them took 2^i nanoseconds or more, and less than 2^(i+1); what took less
  // than two nanoseconds is in the first.
  static constexpr size_t kBuckets = 48;  // the last one begins at 39 hours
  std::array<uint64_t, kBuckets> counts{};
  absl::Duration total;
  absl::Duration longest;

  uint64_t count() const;

  // DurationDistribution::AtMost()
  //
  // How long the given share of them, 0.99 say, took at most; rounded up to a power of
  // two nanoseconds, but not beyond the longest. Zero if there were none.
  absl::Duration AtMost(double share) const;
  absl::Duration mean() const;

  // "1024 in all, mean 3us, 50% 4.096us, 99% 131.072us, longest 1.2ms"
  std::string ToString() const;
};

namespace hub_internal {

// DurationHistogram
//
// Counts durations on one hub, by powers of two; others may look meanwhile.
//
// Threads: Add() its hub's, Copy() any.
class DurationHistogram {
 public:
  void Add(MonotonicNanos took) {
    const uint64_t n = took > 0 ? static_cast<uint64_t>(took) : 0;
    const size_t bucket = static_cast<size_t>(std::bit_width(n | 1) - 1);
    ++counts_[bucket < kBuckets ? bucket : kBuckets - 1];
    total_ += n;
    if (n > longest_) longest_ = n;
  }
  DurationDistribution Copy() const;

 private:
  static constexpr size_t kBuckets = DurationDistribution::kBuckets;
  struct Count : Relaxed<uint64_t> {
    Count() : Relaxed(0) {}
  };
  std::array<Count, kBuckets> counts_;
  Count total_;
  Relaxed<uint64_t> longest_{0};
};

}  // namespace hub_internal
}  // namespace grove

#endif  // GROVE_HUB_DURATION_HISTOGRAM_H_
