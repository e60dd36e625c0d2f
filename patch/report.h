#ifndef GROVE_PATCH_REPORT_H_
#define GROVE_PATCH_REPORT_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "grove/patch/module.h"

namespace grove::patch {

// PatchReport
//
// What is patched where, how often it was used, and what is not covered.
//
//   fputs(patch::Report().ToString().c_str(), stderr);
struct PatchReport {
  struct Function {
    std::string name;
    Module module;
    size_t slots = 0;    // places from which it is called
    uint64_t calls = 0;  // by greenlets
    uint64_t waits = 0;  // of those, how many had to wait
    // Those that the original was called for: by threads without a hub, in callbacks of
    // the loop, inside of Unpatched. Of two threads' at the same moment one may be
    // missed.
    uint64_t passed = 0;
  };
  struct Object {
    std::string path;
    size_t slots = 0;
    bool excluded = false;
    // What it imports that may block a hub, and that no module covers, patched or not.
    std::vector<std::string> not_covered;
  };

  std::vector<Function> functions;  // those that are patched anywhere
  std::vector<Object> objects;
  std::vector<std::string> warnings;

  // Lines for people.
  std::string ToString() const;
};

// Report()
//
// Threads: any. Does not block.
PatchReport Report();

}  // namespace grove::patch

#endif  // GROVE_PATCH_REPORT_H_
