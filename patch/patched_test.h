#ifndef GROVE_PATCH_PATCHED_TEST_H_
#define GROVE_PATCH_PATCHED_TEST_H_

#include <cstdint>
#include <string>
#include <thread>

#include "grove/green/testing/greenlet_test.h"
#include "grove/patch/patch.h"
#include "grove/patch/report.h"

namespace grove::patch {

// For tests of what is patched: all is. The calls in a test file are then those of any
// program.
class PatchedTest : public GreenletTest {
 public:
  static void SetUpTestSuite() { PatchAll(); }

  // A thread that no patch has made.
  template <typename Fn>
  static std::thread Native(Fn fn) {
    const Unpatched unpatched;
    return std::thread(fn);
  }

  // How often calls of that name have had to wait, until now.
  static uint64_t Waits(const std::string& name) {
    for (const auto& f : Report().functions) {
      if (f.name == name) return f.waits;
    }
    return 0;
  }
};

}  // namespace grove::patch

#endif  // GROVE_PATCH_PATCHED_TEST_H_
