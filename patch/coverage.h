#ifndef GROVE_PATCH_COVERAGE_H_
#define GROVE_PATCH_COVERAGE_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "grove/patch/module.h"

// Which calls are patched, and which may block a hub and are not: for programs and
// libraries that are only looked at. Report() says it of what is loaded.
namespace grove::patch {

// CallFamily
//
// Calls that are treated alike.
struct CallFamily {
  std::string title;  // "sockets"
  std::string how;    // they wait; or, if they are not covered, what then to do
  std::vector<std::string> calls;  // in alphabetical order
  bool covered;
};

// All that there are, those that are covered first. Does not block.
std::vector<CallFamily> CallFamilies();

// CoverageOf()
//
//   if (CoverageOf("fgets") == Coverage::kNotCovered) ...
enum class Coverage {
  kPatched,
  kNotCovered,
  kNeedsNone,  // as far as is known it does not block, or nobody waits for it
};
Coverage CoverageOf(absl::string_view symbol);

}  // namespace grove::patch

#endif  // GROVE_PATCH_COVERAGE_H_
