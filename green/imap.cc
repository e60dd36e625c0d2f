#include "grove/green/imap.h"

#include "grove/green/internal/outcomes.h"
#include "grove/green/timeout.h"

namespace grove::green_internal {

std::exception_ptr KilledError(const Core* core) {
  return std::make_exception_ptr(ItemKilled(core->Label() + " was killed"));
}

void EndAll(const std::vector<AnyGreenlet>& greenlets) {
  Shield shield;
  KillAll(greenlets);
}

}  // namespace grove::green_internal
