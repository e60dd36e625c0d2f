// daemon(3), as any program uses it.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "grove/green/greenlet.h"
#include "grove/green/internal/sanitizer.h"
#include "grove/patch/patched_test.h"

namespace grove::patch {
namespace {

class PatchedDaemon : public PatchedTest {};

GREENLET_TEST_F(PatchedDaemon, ADaemonGoesOnWithItsHub) {
  if (GROVE_TSAN) GTEST_SKIP() << "ThreadSanitizer and fork() of several threads";
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const pid_t child = fork();
  if (child == 0) {
    if (daemon(0, 0) != 0) _exit(1);
    // Here nothing but the greenlet that called is left, in a session of its own.
    const Greenlet<> other = Spawn([] { usleep(1000); });
    other.Join();
    char directory[16] = {};
    const bool ok = getsid(0) == getpid() && getcwd(directory, sizeof directory) &&
                    strcmp(directory, "/") == 0;
    (void)!write(ends[1], ok ? "y" : "n", 1);
    _exit(0);
  }
  int status = -1;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  char c = 0;
  EXPECT_EQ(read(ends[0], &c, 1), 1);
  EXPECT_EQ(c, 'y');
  close(ends[0]);
  close(ends[1]);
}

}  // namespace
}  // namespace grove::patch
