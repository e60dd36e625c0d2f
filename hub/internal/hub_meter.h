#ifndef GROVE_HUB_INTERNAL_HUB_METER_H_
#define GROVE_HUB_INTERNAL_HUB_METER_H_

#include <cstdint>

#include "grove/hub/duration_histogram.h"
#include "grove/hub/internal/relaxed.h"

namespace grove::hub_internal {

// HubMeter
//
// What a hub counts about itself.
//
// Threads: its hub changes it, any may look.
struct HubMeter {
  Relaxed<uint64_t> turns{0};
  // How often anything that was ready was run, greenlets for the most part. Counted when
  // the slice ends.
  Relaxed<uint64_t> runs{0};
  // How often the loop was asked for events.
  Relaxed<uint64_t> polls{0};
  // How long each slice took.
  DurationHistogram slices;
  // How long it took, from when the hub had looked for events, until all that was ready
  // then had run. Nothing that was ready has waited longer.
  DurationHistogram rounds;
};

}  // namespace grove::hub_internal

#endif  // GROVE_HUB_INTERNAL_HUB_METER_H_
