#ifndef GROVE_GREEN_INTERNAL_KILL_OTHERS_H_
#define GROVE_GREEN_INTERNAL_KILL_OTHERS_H_

#include <vector>

#include "absl/functional/function_ref.h"
#include "grove/green/greenlet.h"
#include "grove/hub/deadline.h"

namespace grove::green_internal {

// KillOthers()
//
// Kills all greenlets of this thread's hub but the current and the main one, also those
// that are spawned meanwhile, and waits for their end. `before_kill` is called for each
// that was not told to stop before. Returns those that have not ended by `deadline`.
//
// Blocks: until all have ended. Kill: throws.
std::vector<AnyGreenlet> KillOthers(Deadline deadline,
                                    absl::FunctionRef<void(const Core*)> before_kill);

}  // namespace grove::green_internal

#endif  // GROVE_GREEN_INTERNAL_KILL_OTHERS_H_
