// How patched calls wait for descriptors: what the kernel is told of one is kept from one
// wait to the next, and must not be believed for ever.

#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "grove/green/greenlet.h"
#include "grove/green/sleep.h"
#include "grove/patch/patched_test.h"

namespace grove::patch {
namespace {

class PatchedWait : public PatchedTest {
 protected:
  void SetUp() override { Open(ends_); }
  void TearDown() override { Close(ends_); }

  static void Open(int (&ends)[2]) {
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  }
  static void Close(const int (&ends)[2]) {
    for (const int fd : ends) EXPECT_EQ(close(fd), 0);
  }
  static void Put(int fd) { ASSERT_EQ(write(fd, "x", 1), 1); }
  static ssize_t Take(int fd) {
    char c;
    return read(fd, &c, 1);
  }
  Greenlet<ssize_t> Taker() {
    return Spawn([fd = ends_[0]] { return Take(fd); });
  }
  // A reader waits, and then gets it.
  void WaitAndTake() {
    const Greenlet<ssize_t> taker = Taker();
    Yield();
    EXPECT_FALSE(taker.ready());
    Put(ends_[1]);
    EXPECT_EQ(*taker.Get(), 1);
  }

  int ends_[2];
};

GREENLET_TEST_F(PatchedWait, OneAfterTheOther) {
  for (int i = 0; i < 10; ++i) WaitAndTake();
}

GREENLET_TEST_F(PatchedWait, AfterReadsThatNeedNotWait) {
  WaitAndTake();
  for (int i = 0; i < 10; ++i) {
    Put(ends_[1]);
    Sleep(absl::Seconds(1));  // the loop looks, and nobody waits
    EXPECT_EQ(Take(ends_[0]), 1);
  }
  WaitAndTake();
}

GREENLET_TEST_F(PatchedWait, ForDifferentThingsOfOneDescriptor) {
  WaitAndTake();
  char much[4096] = {};
  while (send(ends_[0], much, sizeof much, MSG_DONTWAIT) > 0) {
  }
  const Greenlet<ssize_t> writer = Spawn([&] { return write(ends_[0], "y", 1); });
  WaitAndTake();
  EXPECT_FALSE(writer.ready());
  while (recv(ends_[1], much, sizeof much, MSG_DONTWAIT) > 0) {
  }
  EXPECT_EQ(*writer.Get(), 1);
}

GREENLET_TEST_F(PatchedWait, ANumberThatIsAnothersNow) {
  WaitAndTake();
  const int number = ends_[0];
  Close(ends_);
  Open(ends_);
  ASSERT_EQ(ends_[0], number);
  WaitAndTake();
}

GREENLET_TEST_F(PatchedWait, ANumberThatStrangersHaveGivenToAnother) {
  WaitAndTake();
  int others[2];
  Open(others);
  // As by code that is not patched.
  ASSERT_EQ(syscall(SYS_dup3, others[0], ends_[0], 0), ends_[0]);
  const Greenlet<ssize_t> taker = Taker();
  Yield();
  Put(others[1]);
  EXPECT_EQ(*taker.Get(), 1);
  Close(others);
}

GREENLET_TEST_F(PatchedWait, WhatAChildClosesBeforeItIsAnotherProgram) {
  const Greenlet<ssize_t> taker = Taker();
  Yield();
  const pid_t child = vfork();
  if (child == 0) {
    close(ends_[0]);
    _exit(0);
  }
  ASSERT_GT(child, 0);
  EXPECT_EQ(waitpid(child, nullptr, 0), child);
  EXPECT_FALSE(taker.ready());
  Put(ends_[1]);
  EXPECT_EQ(*taker.Get(), 1);
}

GREENLET_TEST_F(PatchedWait, AProcessThatIsNoChildIsNotWaitedFor) {
  EXPECT_EQ(waitpid(getppid(), nullptr, 0), -1);
  EXPECT_EQ(errno, ECHILD);
}

GREENLET_TEST_F(PatchedWait, WhatIsNotAskedForEndsNoPoll) {
  Put(ends_[1]);
  pollfd fds[] = {{.fd = ends_[0], .events = POLLPRI, .revents = 0}};
  EXPECT_EQ(poll(fds, 1, 1000), 0);
  fds[0].events = 0;
  EXPECT_EQ(poll(fds, 1, 1000), 0);
  EXPECT_TRUE(HasTaken(absl::Seconds(2)));
  std::string path = testing::TempDir() + "grove_patch_XXXXXX";
  const int file = mkstemp(path.data());
  unlink(path.c_str());
  fds[0] = {.fd = file, .events = POLLPRI, .revents = 0};
  EXPECT_EQ(poll(fds, 1, 1000), 0);
  EXPECT_TRUE(HasTaken(absl::Seconds(3)));
  close(file);
}

GREENLET_TEST_F(PatchedWait, WhereTheKernelHasNoRoomToBeTold) {
  rlimit limit;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  rlimit low = limit;
  low.rlim_cur = 3;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
  WaitAndTake();
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  WaitAndTake();
}

}  // namespace
}  // namespace grove::patch
