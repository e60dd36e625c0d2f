#include "grove/hub/duration_histogram.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"

namespace grove {

uint64_t DurationDistribution::count() const {
  uint64_t n = 0;
  for (const uint64_t c : counts) n += c;
  return n;
}

absl::Duration DurationDistribution::AtMost(double share) const {
  const uint64_t all = count();
  if (all == 0) return absl::ZeroDuration();
  const uint64_t wanted =
      std::max<uint64_t>(1, static_cast<uint64_t>(std::ceil(share * all)));
  uint64_t seen = 0;
  for (size_t i = 0; i + 1 < kBuckets; ++i) {
    seen += counts[i];
    if (seen >= wanted) {
      return std::min(longest, absl::Nanoseconds(int64_t{2} << i));
    }
  }
  return longest;
}

absl::Duration DurationDistribution::mean() const {
  const uint64_t n = count();
  return n == 0 ? absl::ZeroDuration() : total / static_cast<double>(n);
}

std::string DurationDistribution::ToString() const {
  const auto text = [](absl::Duration d) { return absl::FormatDuration(d); };
  return absl::StrCat(count(), " in all, mean ",
                      text(absl::Trunc(mean(), absl::Nanoseconds(1))), ", 50% ",
                      text(AtMost(0.5)), ", 99% ", text(AtMost(0.99)), ", longest ",
                      text(longest));
}

namespace hub_internal {

DurationDistribution DurationHistogram::Copy() const {
  DurationDistribution copy;
  for (size_t i = 0; i < kBuckets; ++i) copy.counts[i] = counts_[i];
  copy.total = absl::Nanoseconds(uint64_t{total_});
  copy.longest = absl::Nanoseconds(uint64_t{longest_});
  return copy;
}

}  // namespace hub_internal
}  // namespace grove
