#include "grove/green/os/internal/file_calls.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/time.h>
#include <unistd.h>

#include <string>

namespace grove::green_internal {
namespace {

// A pipe whose calls block, and a timer whose signals interrupt them (no SA_RESTART).
// Each third signal's handler does what the call waits for, so that it comes to its end
// by being interrupted, and in no other way.
class Interrupted : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(pipe2(fds, O_CLOEXEC), 0);
    ASSERT_EQ(fcntl(fds[1], F_SETPIPE_SZ, 4096), 4096);
    signals = 0;
    wanted = true;
  }
  void TearDown() override {
    StopSignals();
    sigaction(SIGALRM, &before_, nullptr);
    close(fds[0]);
    close(fds[1]);
  }
  void InterruptBy(void (*handler)(int)) {
    struct sigaction action {};
    action.sa_handler = handler;
    ASSERT_EQ(sigaction(SIGALRM, &action, &before_), 0);
    SignalSoon();
  }
  // Each signal asks for the next: a machine that is too slow for a fixed pace would see
  // nothing but signals. Should none come (ThreadSanitizer holds back what arrives just
  // before a call that blocks, and the call then waits), another follows later.
  static void SignalSoon() {
    if (!wanted) return;
    const itimerval soon{{0, 50000}, {0, 1000}};
    setitimer(ITIMER_REAL, &soon, nullptr);
  }
  static void StopSignals() {
    wanted = false;
    const itimerval off{};
    setitimer(ITIMER_REAL, &off, nullptr);
  }

  static int fds[2];
  static volatile sig_atomic_t signals;
  static volatile sig_atomic_t wanted;
  struct sigaction before_ {};
};
int Interrupted::fds[2];
volatile sig_atomic_t Interrupted::signals;
volatile sig_atomic_t Interrupted::wanted;

TEST_F(Interrupted, AReadGoesOnUntilThereIsSomething) {
  InterruptBy([](int) {
    signals = signals + 1;
    if (signals == 3 && write(fds[1], "late", 4) != 4) abort();
    SignalSoon();
  });
  char buffer[10];
  const Moved moved = ReadSome(fds[0], absl::MakeSpan(buffer));
  EXPECT_EQ(moved.error, 0);
  EXPECT_EQ(std::string(buffer, moved.bytes), "late");
  EXPECT_GE(signals, 3);
}

TEST_F(Interrupted, AWriteGoesOnWithTheRest) {
  // The kernel writes what fits, and the signal makes that a short write.
  ASSERT_EQ(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
  static std::string got;
  got.clear();
  got.reserve(1 << 20);
  InterruptBy([](int) {
    signals = signals + 1;
    if (signals % 3 == 0) {
      char buffer[4096];
      const ssize_t n = read(fds[0], buffer, sizeof buffer);
      got.append(buffer, n > 0 ? n : 0);
    }
    SignalSoon();
  });
  std::string data(20000, '\0');
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>(i * 31 + i / 251);
  const Moved moved = WriteAll(fds[1], data);
  StopSignals();
  EXPECT_EQ(moved.error, 0);
  EXPECT_EQ(moved.bytes, data.size());
  char buffer[4096];
  for (ssize_t n; (n = read(fds[0], buffer, sizeof buffer)) > 0;) got.append(buffer, n);
  EXPECT_TRUE(got == data);
  EXPECT_GE(signals, 3 * 3);
}

TEST_F(Interrupted, OtherErrorsEndIt) {
  char buffer[10];
  const Moved moved = ReadAllAt(fds[0], absl::MakeSpan(buffer), 0);
  EXPECT_EQ(moved.error, ESPIPE);
  EXPECT_EQ(moved.bytes, 0u);
  int calls = 0;
  EXPECT_EQ(ErrorOf([&] {
              errno = ++calls < 3 ? EINTR : EIO;
              return -1;
            }),
            EIO);
  EXPECT_EQ(calls, 3);
}

}  // namespace
}  // namespace grove::green_internal
