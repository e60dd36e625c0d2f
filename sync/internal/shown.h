#ifndef GROVE_SYNC_INTERNAL_RELAXED_H_
#define GROVE_SYNC_INTERNAL_RELAXED_H_

#include "grove/hub/internal/relaxed.h"

namespace grove::sync_internal {

// A part of an object's state that its home hub alone changes.
using hub_internal::Relaxed;

}  // namespace grove::sync_internal

#endif  // GROVE_SYNC_INTERNAL_RELAXED_H_
