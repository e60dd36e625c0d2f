// The tests of the adapters once more, with strace(1) beside them: of the system calls of
// the hub's thread, none but the loop's own wait could block.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "grove/green/os/run.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/patch/adapters/real_server.h"
#include "grove/patch/adapters/traced_calls.h"

namespace grove::patch {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class Traced : public GreenletTest {
 protected:
  GreenletTestOptions Options() const override {
    return {.clock = Clock::Real(), .loop_exit = LoopExitPolicy::kNever};
  }

  // Without -f: of the first thread alone, which has the hub, and of no child.
  static TracedCalls Trace(const std::vector<std::string>& command, bool from_patch_all,
                           const std::string& input = "") {
    const std::string folder = EmptyFolder("trace");
    // The files by which Bazel and a test tell each other of it are this test's own.
    std::vector<std::string> all = {
        "env",    "-u", "XML_OUTPUT_FILE", "-u", "TEST_PREMATURE_EXIT_FILE",
        "strace", "-o", folder + "/trace", "-s", "16",
        "--"};
    all.insert(all.end(), command.begin(), command.end());
    const absl::StatusOr<CompletedProcess> done =
        RunProcess(all, {.input = input, .deadline = absl::Seconds(250)});
    EXPECT_TRUE(done.ok()) << done.status();
    if (done.ok()) {
      EXPECT_TRUE(done->status.success()) << done->out << done->err;
    }
    TracedCalls calls(from_patch_all);
    std::ifstream trace(folder + "/trace");
    for (std::string line; std::getline(trace, line);) calls.Add(line);
    std::filesystem::remove_all(folder);
    return calls;
  }

  static void NothingBlocks(const std::string& test, const std::string& filter) {
    const TracedCalls calls =
        Trace({"patch/adapters/" + test, "--gtest_filter=" + filter}, true);
    EXPECT_THAT(calls.blocking(), IsEmpty());
    EXPECT_GT(calls.judged(), 1000u);
    EXPECT_GE(calls.would_have_blocked(), 100u);
  }

  static std::vector<std::string> Judge(const std::vector<std::string>& lines) {
    TracedCalls calls(false);
    for (const std::string& line : lines) calls.Add(line);
    return calls.blocking();
  }
};

GREENLET_TEST_F(Traced, Hiredis) {
  NothingBlocks("hiredis_test", "*AHundred*:*AThousand*:*Kill*");
}

GREENLET_TEST_F(Traced, Libcurl) {
  NothingBlocks("libcurl_test", "*AHundred*:*AThousand*");
}

GREENLET_TEST_F(Traced, Libmariadb) {
  NothingBlocks("libmariadb_test", "*AHundred*:*AThousand*:*Kill*");
}

GREENLET_TEST_F(Traced, Libpq) {
  NothingBlocks("libpq_test", "*AHundredSessions*:*AThousand*");
}

GREENLET_TEST_F(Traced, Openssl) {
  NothingBlocks("openssl_test", "*AHundred*:*AThousand*:*Server:*Kill*");
}

GREENLET_TEST_F(Traced, AWholeProgram) {
  EXPECT_THAT(Trace({"sleep", "0.01"}, false).blocking(),
              ElementsAre(::testing::HasSubstr("nanosleep")));
  const TracedCalls patched = Trace({"patch/run", "sleep", "0.01"}, true);
  EXPECT_THAT(patched.blocking(), IsEmpty());
  EXPECT_GT(patched.judged(), 10u);
}

GREENLET_TEST_F(Traced, AProgramThatReadsByStdio) {
  const std::string input(100'000, '\n');
  EXPECT_THAT(Trace({"sed", "-n", "$="}, false, input).blocking(),
              Contains(::testing::HasSubstr("read(0, ")));
  const TracedCalls patched = Trace({"patch/run", "sed", "-n", "$="}, true, input);
  EXPECT_THAT(patched.blocking(), IsEmpty());
  EXPECT_GT(patched.judged(), 10u);
}

GREENLET_TEST_F(Traced, WhatCouldBlockIsSeen) {
  for (const std::string bad : {
           R"(recvfrom(5, "x", 1, 0, NULL, NULL) = 1)",
           R"(read(5, "x", 1) = 1)",
           R"(write(5, "x", 1) = 1)",
           R"(connect(5, {sa_family=AF_INET, sin_port=htons(1)}, 16) = 0)",
           R"(accept(5, NULL, NULL) = 6)",
           R"(preadv2(5, [{iov_base="x", iov_len=1}], 1, -1, 0) = 1)",
           R"(poll([{fd=5, events=POLLIN}], 1, -1) = 1 ([{fd=5, revents=POLLIN}]))",
           R"(poll([{fd=5, events=POLLIN}], 1, 1000) = 0 (Timeout))",
           R"(ppoll([{fd=5, events=POLLIN}], 1, NULL, NULL, 0) = 1 ([{fd=5}]))",
           R"(select(6, [5], NULL, NULL, NULL) = 1 (in [5]))",
           R"(nanosleep({tv_sec=0, tv_nsec=0}, NULL) = 0)",
           R"(clock_nanosleep(CLOCK_REALTIME, 0, {tv_sec=1, tv_nsec=0}, NULL) = 0)",
           R"(futex(0x55, FUTEX_WAIT_PRIVATE, 2, NULL) = 0)",
           R"(futex(0x55, FUTEX_WAIT_BITSET_PRIVATE, 0, NULL, 0xffffffff) = 0)",
           R"(wait4(-1, NULL, 0, NULL) = 7)",
           R"(fcntl(5, F_SETLKW, {l_type=F_WRLCK}) = 0)",
           R"(flock(5, LOCK_EX) = 0)",
       }) {
    EXPECT_THAT(Judge({"socket(AF_INET, SOCK_STREAM, 0) = 5", bad}), ElementsAre(bad));
  }
  EXPECT_THAT(Judge({"epoll_wait(3, [], 64, 100) = 0", "epoll_wait(4, [], 64, 100) = 0"}),
              ElementsAre("epoll_wait(4, [], 64, 100) = 0"));
}

GREENLET_TEST_F(Traced, WhatCannotBlockIsFine) {
  EXPECT_THAT(
      Judge({
          R"(socket(AF_INET, SOCK_STREAM, 0) = 5)",
          R"(recvfrom(5, 0x1, 1, MSG_DONTWAIT, NULL, NULL) = -1 EAGAIN (Resource))",
          R"(ppoll([{fd=5, events=POLLIN}], 1, {tv_sec=0, tv_nsec=0}, NULL, 0) = 1 ())",
          R"(read(5, "x", 1) = 1)",
          R"(preadv2(5, [{iov_base="x", iov_len=1}], 1, -1, RWF_NOWAIT) = 1)",
          R"(fcntl(5, F_SETFL, O_RDWR|O_NONBLOCK) = 0)",
          R"(connect(5, {sa_family=AF_INET}, 16) = -1 EINPROGRESS (Operation))",
          R"(poll([{fd=5, events=POLLIN}], 1, 0) = 0 (Timeout))",
          R"(epoll_wait(3, [], 64, 59743) = 0)",
          R"(epoll_wait(3, [], 64, 59743) = 0)",
          R"(pipe2([6, 7], O_CLOEXEC|O_NONBLOCK) = 0)",
          R"(write(7, "x", 1) = 1)",
          R"(read(6, "x", 1) = 1)",
          R"(openat(AT_FDCWD, "/etc/hosts", O_RDONLY) = 8)",
          R"(read(8, "x", 1) = 1)",
          R"(futex(0x55, FUTEX_WAKE_PRIVATE, 1) = 0)",
          R"(wait4(9, NULL, WNOHANG, NULL) = 0)",
          R"(--- SIGCHLD {si_signo=SIGCHLD} ---)",
      }),
      IsEmpty());
}

}  // namespace
}  // namespace grove::patch
