#ifndef GROVE_PATCH_ADAPTERS_ADAPTER_TEST_H_
#define GROVE_PATCH_ADAPTERS_ADAPTER_TEST_H_

#include <gtest/gtest.h>
#include <sys/resource.h>

#include "grove/green/testing/greenlet_test.h"
#include "grove/patch/adapters/real_server.h"
#include "grove/patch/patched_test.h"

namespace grove::patch {

// For tests of libraries that know nothing of grove, with real servers, on real time.
class AdapterTest : public PatchedTest {
 public:
  static void SetUpTestSuite() {
    // For a thousand connections, with both ends of each here: where it is 1,024, that is
    // for programs that use select(2), which these are not.
    rlimit limit;
    ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
    PatchedTest::SetUpTestSuite();
  }

 protected:
  GreenletTestOptions Options() const override {
    return {.clock = Clock::Real(), .loop_exit = LoopExitPolicy::kNever};
  }
};

}  // namespace grove::patch

#endif  // GROVE_PATCH_ADAPTERS_ADAPTER_TEST_H_
