#include "grove/patch/report.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "grove/patch/internal/registry.h"

namespace grove::patch {

PatchReport Report() { return patch_internal::Registry::Get().Report(); }

std::string PatchReport::ToString() const {
  std::string out;
  for (const Function& f : functions) {
    absl::StrAppend(&out, f.name, " (", NameOf(f.module), "): ", f.slots,
                    f.slots == 1 ? " slot, " : " slots, ", f.calls, " calls, ", f.waits,
                    " waits, ", f.passed, " passed through\n");
  }
  for (const Object& object : objects) {
    absl::StrAppend(
        &out, object.path, ": ",
        object.excluded ? std::string("excluded") : absl::StrCat(object.slots, " slots"));
    if (!object.not_covered.empty()) {
      absl::StrAppend(&out, ", not covered: ", absl::StrJoin(object.not_covered, ", "));
    }
    absl::StrAppend(&out, "\n");
  }
  for (const std::string& warning : warnings) {
    absl::StrAppend(&out, "warning: ", warning, "\n");
  }
  return out;
}

}  // namespace grove::patch
