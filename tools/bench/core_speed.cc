#include "tools/bench/core_speed.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "grove/hub/clock.h"

namespace grove::bench {
namespace {

constexpr int kRounds = 200'000;

double RoundsPerNs(MonotonicNanos start) {
  return kRounds / static_cast<double>(Clock::ReadMonotonic() - start);
}

}  // namespace

CoreSpeed MeasureCoreSpeed() {
#if defined(__x86_64__)
  constexpr double kCyclesOfStep = 3;
#define GROVE_STEP "imul %1, %0\n"
#define GROVE_ADD "add %3, %0\nadd %3, %1\nadd %3, %2\n"
#else
  constexpr double kCyclesOfStep = 1;
#define GROVE_STEP "add %0, %0, %1\n"
#define GROVE_ADD "add %0, %0, %3\nadd %1, %1, %3\nadd %2, %2, %3\n"
#endif
  constexpr double kSteps = 4;
  uint64_t product = 3;
  const uint64_t factor = 5;
  MonotonicNanos start = Clock::ReadMonotonic();
  for (int i = 0; i < kRounds; ++i) {
    asm volatile(GROVE_STEP GROVE_STEP GROVE_STEP GROVE_STEP
                 : "+r"(product)
                 : "r"(factor));
  }
  const double ghz = RoundsPerNs(start) * kSteps * kCyclesOfStep;

  constexpr double kAdditionsOfEach = 8;
  uint64_t a = 0, b = 0, c = 0;
  // In a register: some processors add constants ahead of time.
  const uint64_t one = 1;
  start = Clock::ReadMonotonic();
  for (int i = 0; i < kRounds; ++i) {
    asm volatile(GROVE_ADD GROVE_ADD GROVE_ADD GROVE_ADD  //
                     GROVE_ADD GROVE_ADD GROVE_ADD GROVE_ADD
                 : "+r"(a), "+r"(b), "+r"(c)
                 : "r"(one));
  }
  const double share = RoundsPerNs(start) * kAdditionsOfEach / ghz;
  return {.ghz = ghz, .share = std::min(share, 1.0)};
#undef GROVE_STEP
#undef GROVE_ADD
}

void Timings::Add(double ns, const CoreSpeed& before, const CoreSpeed& after) {
  const double ghz = (before.ghz + after.ghz) / 2;
  ns_.push_back(ns);
  cycles_.push_back(ns * ghz);
  ghz_.push_back(ghz);
  percent_.push_back(50 * (before.share + after.share));
}

std::string Timings::note() const {
  if (ns_.empty()) return "";
  const auto [least, most] = std::minmax_element(percent_.begin(), percent_.end());
  return absl::StrCat(Spread(ns_), ns_.size() > 1 ? "; " : "",
                      absl::StrFormat("%.3g cycles of %.2f GHz, with %.0f..%.0f %% of "
                                      "the core",
                                      Median(cycles_), Median(ghz_), *least, *most));
}

}  // namespace grove::bench
