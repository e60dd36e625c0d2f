// poll, select and epoll_wait, as any program calls them.

#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>

#include "grove/green/greenlet.h"
#include "grove/green/sleep.h"
#include "grove/patch/patched_test.h"

extern "C" int __poll_chk(pollfd*, nfds_t, int, size_t);
extern "C" int __ppoll_chk(pollfd*, nfds_t, const timespec*, const sigset_t*, size_t);

namespace grove::patch {
namespace {

class PatchedSelect : public PatchedTest {
 protected:
  void SetUp() override {
    ASSERT_EQ(pipe(a_), 0);
    ASSERT_EQ(pipe(b_), 0);
  }
  void TearDown() override {
    for (const int fd : {a_[0], a_[1], b_[0], b_[1]}) close(fd);
  }
  void WriteTo(int (&pipe)[2]) { ASSERT_EQ(write(pipe[1], "x", 1), 1); }

  int a_[2];
  int b_[2];
};

GREENLET_TEST_F(PatchedSelect, PollWaitsAsAGreenlet) {
  for (const bool checked : {false, true}) {
    pollfd fds[] = {{.fd = a_[0], .events = POLLIN, .revents = 0},
                    {.fd = b_[0], .events = POLLIN, .revents = 0}};
    const Greenlet<int> waiter = Spawn(
        [&] { return checked ? __poll_chk(fds, 2, -1, sizeof fds) : poll(fds, 2, -1); });
    Yield();
    EXPECT_FALSE(waiter.ready());
    WriteTo(b_);
    EXPECT_EQ(*waiter.Get(), 1);
    EXPECT_EQ(fds[0].revents, 0);
    EXPECT_EQ(fds[1].revents, POLLIN);
    char c;
    EXPECT_EQ(read(b_[0], &c, 1), 1);
  }
}

GREENLET_TEST_F(PatchedSelect, PollTimesOutOnTheHubsClock) {
  pollfd fds[] = {{.fd = a_[0], .events = POLLIN, .revents = 0}};
  const absl::Duration before = Elapsed();
  EXPECT_EQ(poll(fds, 1, 30'000), 0);
  EXPECT_GE(Elapsed() - before, absl::Seconds(30));
  EXPECT_EQ(poll(fds, 1, 0), 0);
  const timespec ten = {.tv_sec = 10, .tv_nsec = 0};
  EXPECT_EQ(ppoll(fds, 1, &ten, nullptr), 0);
  EXPECT_GE(Elapsed() - before, absl::Seconds(40));
}

GREENLET_TEST_F(PatchedSelect, PollKnowsDuplicatesNegativesAndClosedOnes) {
  WriteTo(a_);
  pollfd fds[] = {{.fd = a_[0], .events = POLLIN, .revents = 0},
                  {.fd = a_[0], .events = POLLIN, .revents = 0},
                  {.fd = -1, .events = POLLIN, .revents = 77},
                  {.fd = 12345, .events = POLLIN, .revents = 0}};
  EXPECT_EQ(poll(fds, 4, -1), 3);
  EXPECT_EQ(fds[0].revents, POLLIN);
  EXPECT_EQ(fds[1].revents, POLLIN);
  EXPECT_EQ(fds[2].revents, 0);
  EXPECT_EQ(fds[3].revents, POLLNVAL);
  // Also while it waits.
  pollfd twice[] = {{.fd = b_[0], .events = POLLIN, .revents = 0},
                    {.fd = -5, .events = POLLIN, .revents = 0},
                    {.fd = b_[0], .events = POLLIN, .revents = 0}};
  const Greenlet<int> waiter = Spawn([&] { return poll(twice, 3, -1); });
  Yield();
  WriteTo(b_);
  EXPECT_EQ(*waiter.Get(), 2);
}

GREENLET_TEST_F(PatchedSelect, APollerIsToldThatItsDescriptorWasClosed) {
  const int fd = dup(a_[0]);
  pollfd fds[] = {{.fd = fd, .events = POLLIN, .revents = 0}};
  const Greenlet<int> waiter = Spawn([&] { return poll(fds, 1, -1); });
  Yield();
  EXPECT_EQ(close(fd), 0);
  EXPECT_EQ(*waiter.Get(), 1);
  EXPECT_EQ(fds[0].revents, POLLNVAL);
}

GREENLET_TEST_F(PatchedSelect, AnInterruptEndsAPoll) {
  int error = 0;
  const Greenlet<> waiter = Spawn([&] {
    if (poll(nullptr, 0, -1) < 0) error = errno;
  });
  Yield();
  waiter.Kill();
  EXPECT_EQ(error, ECANCELED);
}

GREENLET_TEST_F(PatchedSelect, WhoPollsWithoutWaitingLetsOthersRun) {
  bool stop = false;
  const Greenlet<> busy = Spawn([&] {
    while (!stop) poll(nullptr, 0, 0);
  });
  Yield();
  stop = true;
  busy.Join();
}

GREENLET_TEST_F(PatchedSelect, SelectSaysWhatIsReadyAndWhatTimeWasLeft) {
  fd_set read_set, write_set;
  FD_ZERO(&read_set);
  FD_ZERO(&write_set);
  FD_SET(a_[0], &read_set);
  FD_SET(b_[0], &read_set);
  timeval timeout = {.tv_sec = 100, .tv_usec = 0};
  const int count = std::max(a_[0], b_[0]) + 1;
  const Greenlet<int> waiter =
      Spawn([&] { return select(count, &read_set, &write_set, nullptr, &timeout); });
  Sleep(absl::Seconds(40));
  EXPECT_FALSE(waiter.ready());
  WriteTo(b_);
  EXPECT_EQ(*waiter.Get(), 1);
  EXPECT_FALSE(FD_ISSET(a_[0], &read_set));
  EXPECT_TRUE(FD_ISSET(b_[0], &read_set));
  EXPECT_LE(timeout.tv_sec, 60);
  EXPECT_GE(timeout.tv_sec, 59);
  // And nothing, after a while.
  FD_ZERO(&read_set);
  FD_SET(a_[0], &read_set);
  timeval five = {.tv_sec = 5, .tv_usec = 0};
  EXPECT_EQ(select(a_[0] + 1, &read_set, nullptr, nullptr, &five), 0);
  EXPECT_FALSE(FD_ISSET(a_[0], &read_set));
  EXPECT_EQ(five.tv_sec, 0);
  EXPECT_EQ(select(-1, nullptr, nullptr, nullptr, nullptr), -1);
  EXPECT_EQ(errno, EINVAL);
}

GREENLET_TEST_F(PatchedSelect, TheirTwinsThatTakeAMaskWaitToo) {
  const timespec ten = {.tv_sec = 10, .tv_nsec = 0};
  pollfd fds[] = {{.fd = a_[0], .events = POLLIN, .revents = 0}};
  fd_set read_set;
  const std::function<int()> ways[] = {
      [&] {
        FD_ZERO(&read_set);
        FD_SET(a_[0], &read_set);
        return pselect(a_[0] + 1, &read_set, nullptr, nullptr, &ten, nullptr);
      },
      [&] { return ppoll(fds, 1, &ten, nullptr); },
      [&] { return __ppoll_chk(fds, 1, &ten, nullptr, sizeof fds); }};
  for (const auto& wait : ways) {
    const absl::Duration before = Elapsed();
    EXPECT_EQ(wait(), 0);
    EXPECT_GE(Elapsed() - before, absl::Seconds(10));
    const Greenlet<int> waiter = Spawn(wait);
    Yield();
    EXPECT_FALSE(waiter.ready());
    WriteTo(a_);
    EXPECT_EQ(*waiter.Get(), 1);
    char c;
    EXPECT_EQ(read(a_[0], &c, 1), 1);
  }
  EXPECT_EQ(ten.tv_sec, 10) << "unlike select(2), they leave the time as it is";
}

GREENLET_TEST_F(PatchedSelect, EpollIsItselfWaitedFor) {
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  epoll_event event = {};
  event.events = EPOLLIN;
  event.data.u32 = 7;
  ASSERT_EQ(epoll_ctl(epoll, EPOLL_CTL_ADD, a_[0], &event), 0);
  using Waits = std::function<int(epoll_event*, int)>;
  const Waits ways[] = {
      [&](epoll_event* e, int ms) { return epoll_wait(epoll, e, 1, ms); },
      [&](epoll_event* e, int ms) { return epoll_pwait(epoll, e, 1, ms, nullptr); },
      [&](epoll_event* e, int ms) {
        const timespec t = {.tv_sec = ms / 1000, .tv_nsec = 0};
        return epoll_pwait2(epoll, e, 1, ms < 0 ? nullptr : &t, nullptr);
      }};
  for (const Waits& wait : ways) {
    epoll_event got = {};
    const absl::Duration before = Elapsed();
    EXPECT_EQ(wait(&got, 5000), 0);
    EXPECT_GE(Elapsed() - before, absl::Seconds(5));
    const Greenlet<int> waiter = Spawn([&] { return wait(&got, -1); });
    Yield();
    EXPECT_FALSE(waiter.ready());
    WriteTo(a_);
    EXPECT_EQ(*waiter.Get(), 1);
    EXPECT_EQ(got.data.u32, 7u);
    char c;
    EXPECT_EQ(read(a_[0], &c, 1), 1);
  }
  close(epoll);
}

volatile sig_atomic_t signalled = 0;

GREENLET_TEST_F(PatchedSelect, ASignalThatIsLetInEndsTheWait) {
  sigset_t usr1, before;
  sigemptyset(&usr1);
  sigaddset(&usr1, SIGUSR1);
  ASSERT_EQ(pthread_sigmask(SIG_BLOCK, &usr1, &before), 0);
  struct sigaction action = {};
  action.sa_handler = [](int) { signalled = signalled + 1; };
  struct sigaction old_action;
  ASSERT_EQ(sigaction(SIGUSR1, &action, &old_action), 0);
  pollfd fds[] = {{.fd = a_[0], .events = POLLIN, .revents = 0}};
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  epoll_event event = {};
  const timespec hour = {.tv_sec = 3600, .tv_nsec = 0};
  const std::function<int()> waits[] = {
      [&] { return ppoll(fds, 1, nullptr, &before); },
      [&] { return epoll_pwait(epoll, &event, 1, -1, &before); },
      [&] { return epoll_pwait2(epoll, &event, 1, &hour, &before); }};
  for (const auto& wait : waits) {
    signalled = 0;
    int error = 0;
    const Greenlet<int> waiter = Spawn([&] {
      const int result = wait();
      error = errno;
      return result;
    });
    Yield();
    EXPECT_FALSE(waiter.ready());
    ASSERT_EQ(raise(SIGUSR1), 0);
    EXPECT_EQ(*waiter.Get(), -1);
    EXPECT_EQ(error, EINTR);
    EXPECT_EQ(signalled, 1);
  }
  close(epoll);
  ASSERT_EQ(sigaction(SIGUSR1, &old_action, nullptr), 0);
  ASSERT_EQ(pthread_sigmask(SIG_SETMASK, &before, nullptr), 0);
}

}  // namespace
}  // namespace grove::patch
