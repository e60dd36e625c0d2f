#ifndef GROVE_GREEN_OS_PROCESS_TEST_UTIL_H_
#define GROVE_GREEN_OS_PROCESS_TEST_UTIL_H_

#include <errno.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include "grove/green/internal/sanitizer.h"
#include "grove/green/os/subprocess.h"
#include "grove/green/testing/greenlet_test.h"

namespace grove {

// ProcessTest
//
// A fixture that, beside what a GreenletTest looks at, lets no child be left behind,
// running or as a zombie. On the real clock: children take real time.
class ProcessTest : public GreenletTest {
 public:
  void TearDown() override {
    EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1) << "a child is left";
    EXPECT_EQ(errno, ECHILD);
  }

 protected:
  GreenletTestOptions Options() const override { return {.clock = Clock::Real()}; }
};

// The same on a manual clock, on which a deadline passes as soon as nothing is ready.
class ProcessTimeTest : public ProcessTest {
 protected:
  GreenletTestOptions Options() const override { return {}; }
};

// A guard for what should end by itself.
inline Deadline Guard() { return absl::Seconds(60); }

// One that lives until its stdin is closed, or it is killed.
inline Subprocess Cat() {
  absl::StatusOr<Subprocess> cat =
      Subprocess::Start({"cat"}, {.in = Stdio::Pipe(), .out = Stdio::Pipe()});
  EXPECT_TRUE(cat.ok()) << cat.status();
  return *std::move(cat);
}

// ThreadSanitizer's runtime has locks and a thread of its own, which a forked child of a
// process with several threads finds as they were.
#define SKIP_UNDER_TSAN() \
  if (GROVE_TSAN) GTEST_SKIP() << "ThreadSanitizer and fork() of several threads"

}  // namespace grove

#endif  // GROVE_GREEN_OS_PROCESS_TEST_UTIL_H_
