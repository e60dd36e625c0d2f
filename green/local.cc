#include "grove/green/local.h"

namespace grove {

void ForEachLocal(const AnyGreenlet& greenlet,
                  absl::FunctionRef<void(const LocalInfo&)> fn) {
  green_internal::Core* core = greenlet.core();
  green_internal::CheckHome(core, "ForEachLocal");
  if (!core->extras) return;
  for (const green_internal::LocalBox* box = core->extras->newest_local; box;
       box = box->older) {
    fn({box->type().name(), box->site, box->address()});
  }
}

}  // namespace grove
