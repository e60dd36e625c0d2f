#ifndef GROVE_PATCH_ADAPTERS_ADAPTER_TEST_H_
#define GROVE_PATCH_ADAPTERS_ADAPTER_TEST_H_

#include "grove/green/testing/greenlet_test.h"
#include "grove/patch/adapters/real_server.h"
#include "grove/patch/patched_test.h"

namespace grove::patch {

// For tests of libraries that know nothing of grove, with real servers, on real time.
class AdapterTest : public PatchedTest {
 protected:
  GreenletTestOptions Options() const override {
    return {.clock = Clock::Real(), .loop_exit = LoopExitPolicy::kNever};
  }
};

}  // namespace grove::patch

#endif  // GROVE_PATCH_ADAPTERS_ADAPTER_TEST_H_
