#include "grove/green/poll.h"

#include <errno.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <thread>
#include <vector>

#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/sleep.h"
#include "grove/green/status.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/green/testing/socket_pair.h"
#include "grove/green/timeout.h"

namespace grove {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

int PollOne(int fd, short events, short& revents, Deadline deadline = {}) {
  pollfd p{.fd = fd, .events = events, .revents = -1};
  const absl::StatusOr<int> n = Poll(absl::MakeSpan(&p, 1), deadline);
  EXPECT_TRUE(n.ok()) << n.status();
  revents = p.revents;
  return n.ok() ? *n : -1;
}

// What poll(2) itself says now.
int KernelPoll(std::vector<pollfd>& fds) { return poll(fds.data(), fds.size(), 0); }

GREENLET_TEST(Poll, SaysWhatIsReadyAtOnce) {
  SocketPair pair;
  short revents;
  EXPECT_EQ(PollOne(pair.near.fd(), POLLIN | POLLOUT, revents), 1);
  EXPECT_EQ(revents, POLLOUT);
  pair.Send();
  EXPECT_EQ(PollOne(pair.near.fd(), POLLIN | POLLOUT, revents), 1);
  EXPECT_EQ(revents, POLLIN | POLLOUT);
  EXPECT_EQ(PollOne(pair.near.fd(), POLLIN, revents, Deadline::Passed()), 1);
  EXPECT_TRUE(HasTaken(absl::ZeroDuration()));
}

GREENLET_TEST(Poll, BlocksUntilOneOfThemIsReady) {
  // SE-2.
  SocketPair a, b;
  const Greenlet<> sender = Spawn([&] {
    Sleep(absl::Seconds(2));
    b.Send();
  });
  pollfd fds[] = {{.fd = a.near.fd(), .events = POLLIN, .revents = -1},
                  {.fd = b.near.fd(), .events = POLLIN, .revents = -1}};
  EXPECT_EQ(*Poll(absl::MakeSpan(fds)), 1);
  EXPECT_EQ(fds[0].revents, 0);
  EXPECT_EQ(fds[1].revents, POLLIN);
  EXPECT_TRUE(HasTaken(absl::Seconds(2)));
}

GREENLET_TEST(Poll, NothingInTimeIsZeroAndNoError) {
  SocketPair pair;
  short revents;
  EXPECT_EQ(PollOne(pair.near.fd(), POLLIN, revents, absl::Seconds(3)), 0);
  EXPECT_EQ(revents, 0);
  EXPECT_TRUE(HasTaken(absl::Seconds(3)));
  EXPECT_EQ(PollOne(pair.near.fd(), POLLIN, revents, Deadline::Passed()), 0);
  EXPECT_TRUE(HasTaken(absl::Seconds(3)));
}

GREENLET_TEST(Poll, OfNothingIsASleep) {
  EXPECT_EQ(*Poll({}, absl::Hours(1)), 0);
  pollfd passed_over{.fd = -5, .events = POLLIN, .revents = -1};
  EXPECT_EQ(*Poll(absl::MakeSpan(&passed_over, 1), absl::Hours(1)), 0);
  EXPECT_EQ(passed_over.revents, 0);
  EXPECT_EQ(passed_over.fd, -5);
  EXPECT_TRUE(HasTaken(absl::Hours(2)));
}

GREENLET_TEST(Poll, WhatIsNotOpenIsInvalidAndThatIsAnAnswer) {
  SocketPair pair;
  const int gone = dup(STDERR_FILENO);
  ASSERT_EQ(close(gone), 0);
  pollfd fds[] = {{.fd = pair.near.fd(), .events = POLLIN, .revents = -1},
                  {.fd = gone, .events = POLLIN, .revents = -1}};
  EXPECT_EQ(*Poll(absl::MakeSpan(fds)), 1);
  EXPECT_EQ(fds[0].revents, 0);
  EXPECT_EQ(fds[1].revents, POLLNVAL);
}

GREENLET_TEST(Poll, OneDescriptorMayStandThereTwice) {
  SocketPair pair;
  pair.FillNear();
  const int fd = pair.near.fd();
  const Greenlet<> sender = Spawn([&] { pair.Send(); });
  pollfd fds[] = {{.fd = fd, .events = POLLIN, .revents = -1},
                  {.fd = fd, .events = POLLOUT, .revents = -1},
                  {.fd = fd, .events = POLLIN, .revents = -1}};
  EXPECT_EQ(*Poll(absl::MakeSpan(fds)), 2);
  EXPECT_EQ(fds[0].revents, POLLIN);
  EXPECT_EQ(fds[1].revents, 0);
  EXPECT_EQ(fds[2].revents, POLLIN);
}

GREENLET_TEST(Poll, HangupsComeUnasked) {
  SocketPair pair;
  const Greenlet<> closer = Spawn([&] { pair.CloseFar(); });
  short revents;
  EXPECT_EQ(PollOne(pair.near.fd(), 0, revents), 1);
  EXPECT_EQ(revents, POLLHUP);
}

GREENLET_TEST(Poll, AHalfClosedPeerIsWaitedFor) {
  SocketPair pair;
  const Greenlet<> closer = Spawn([&] { shutdown(pair.far, SHUT_WR); });
  short revents;
  EXPECT_EQ(PollOne(pair.near.fd(), POLLRDHUP, revents), 1);
  EXPECT_EQ(revents, POLLRDHUP);
}

// Two ends of a TCP connection over loopback, which has urgent data.
struct TcpPair {
  TcpPair() {
    const int listener = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    EXPECT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(listen(listener, 1), 0);
    getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size);
    near = socket(AF_INET, SOCK_STREAM, 0);
    EXPECT_EQ(connect(near, reinterpret_cast<sockaddr*>(&address), size), 0);
    far = accept(listener, nullptr, nullptr);
    close(listener);
  }
  ~TcpPair() {
    close(near);
    close(far);
  }
  int near;
  int far;
};

GREENLET_TEST(Poll, UrgentDataIsWaitedFor) {
  TcpPair pair;
  const Greenlet<> sender = Spawn([&] { EXPECT_EQ(send(pair.far, "!", 1, MSG_OOB), 1); });
  short revents;
  EXPECT_EQ(PollOne(pair.near, POLLPRI, revents), 1);
  EXPECT_EQ(revents, POLLPRI);
  const SelectedDescriptors s =
      *SelectDescriptors({}, {}, absl::MakeConstSpan(&pair.near, 1));
  EXPECT_THAT(s.exceptional, ElementsAre(pair.near));
}

GREENLET_TEST(Poll, AReadersOwnWaitGoesOnBesideIt) {
  SocketPair pair;
  // Polls first, reads first: both are told, whoever registered before.
  for (const bool poll_first : {true, false}) {
    Greenlet<> reader, poller;
    const auto read = [&] { EXPECT_EQ(pair.near.WaitReadable(), WaitResult::kReady); };
    const auto poll = [&] {
      short revents;
      EXPECT_EQ(PollOne(pair.near.fd(), POLLIN, revents), 1);
    };
    if (poll_first) poller = Spawn(poll);
    reader = Spawn(read);
    if (!poll_first) poller = Spawn(poll);
    Yield();
    pair.Send();
    reader.Join();
    poller.Join();
    pair.Receive();
  }
}

GREENLET_TEST(Poll, OneWhoComesTooLateGoesOnWaiting) {
  SocketPair pair;
  int taken = 0;
  const auto take_one = [&] {
    short revents;
    EXPECT_EQ(PollOne(pair.near.fd(), POLLIN, revents), 1);
    pair.Receive();  // fails if somebody was told what is not so
    ++taken;
  };
  const Greenlet<> a = Spawn(take_one);
  const Greenlet<> b = Spawn(take_one);
  Yield();
  pair.Send();
  while (taken == 0) Yield();
  for (int i = 0; i < 100; ++i) Yield();
  EXPECT_EQ(taken, 1);
  pair.Send();
  a.Join();
  b.Join();
}

GREENLET_TEST(Poll, SeveralWaitForDifferentThingsOfOneDescriptor) {
  SocketPair pair;
  pair.FillNear();
  short in = 0, out = 0;
  const Greenlet<> reader = Spawn([&] { PollOne(pair.near.fd(), POLLIN, in); });
  const Greenlet<> writer = Spawn([&] { PollOne(pair.near.fd(), POLLOUT, out); });
  Yield();
  pair.Send();
  reader.Join();
  EXPECT_EQ(in, POLLIN);
  EXPECT_FALSE(writer.ready());
  pair.DrainFar();
  writer.Join();
  EXPECT_EQ(out & POLLOUT, POLLOUT);
}

GREENLET_TEST(Poll, KilledItLeavesNothing) {
  SocketPair pair;
  const Greenlet<> poller = Spawn([&] {
    short revents;
    PollOne(pair.near.fd(), POLLIN, revents, absl::Hours(1));
  });
  Yield();
  poller.Kill();
  EXPECT_TRUE(poller.killed());
  // Nobody is there to be woken.
  pair.Send();
  Sleep(absl::Seconds(1));
  short revents;
  EXPECT_EQ(PollOne(pair.near.fd(), POLLIN, revents), 1);
}

GREENLET_TEST(Poll, ATimeoutScopeThrows) {
  SocketPair pair;
  Timeout timeout(absl::Seconds(1));
  short revents;
  EXPECT_THROW(PollOne(pair.near.fd(), POLLIN, revents), TimeoutExpired);
}

GREENLET_TEST(Poll, WhatThisHubClosesMeanwhileIsInvalid) {
  SocketPair pair, other;
  const Greenlet<> closer = Spawn([&] {
    const int fd = pair.near.fd();
    pair.near.Close();
    // Its number is another's before the poll looks again, one that is ready.
    EXPECT_EQ(dup2(other.far, fd), fd);
    EXPECT_EQ(write(other.near.fd(), "x", 1), 1);
    Sleep(absl::Seconds(1));
    close(fd);
  });
  pollfd fds[] = {{.fd = other.near.fd(), .events = POLLIN, .revents = -1},
                  {.fd = pair.near.fd(), .events = POLLIN, .revents = -1}};
  const int number = fds[1].fd;
  EXPECT_EQ(*Poll(absl::MakeSpan(fds)), 1);
  EXPECT_EQ(fds[0].revents, 0);
  EXPECT_EQ(fds[1].revents, POLLNVAL);
  EXPECT_EQ(fds[1].fd, number);
  closer.Join();
}

GREENLET_TEST(Poll, WhatAStrangerClosesMeanwhileEndsNothing) {
  int fds[2];
  ASSERT_EQ(pipe2(fds, O_CLOEXEC), 0);
  const Greenlet<> poller = Spawn([&] {
    short revents;
    EXPECT_EQ(PollOne(fds[0], POLLIN, revents, absl::Seconds(1)), 1)
        << "looked at once more when the time is over";
    EXPECT_EQ(revents, POLLNVAL);
  });
  Yield();
  ASSERT_EQ(close(fds[0]), 0);
  poller.Join();
  // The number is in use again, and waited for anew.
  ASSERT_EQ(close(fds[1]), 0);
  ASSERT_EQ(pipe2(fds, O_CLOEXEC), 0);
  const Greenlet<> sender = Spawn([&] { EXPECT_EQ(write(fds[1], "x", 1), 1); });
  short revents;
  EXPECT_EQ(PollOne(fds[0], POLLIN, revents), 1);
  close(fds[0]);
  close(fds[1]);
}

GREENLET_TEST(Poll, ANumberThatIsAnothersBeforeTheFirstPollEndsWorksForBoth) {
  int fds[2];
  ASSERT_EQ(pipe2(fds, O_CLOEXEC), 0);
  const Greenlet<> old = Spawn([&] {
    short revents;
    PollOne(fds[0], POLLIN, revents, absl::Hours(1));
  });
  Yield();
  SocketPair pair;
  ASSERT_EQ(dup2(pair.near.fd(), fds[0]), fds[0]);
  const Greenlet<> young = Spawn([&] {
    short revents;
    EXPECT_EQ(PollOne(fds[0], POLLIN, revents), 1);
  });
  Yield();
  pair.Send();
  young.Join();
  old.Kill();
  close(fds[0]);
  close(fds[1]);
}

GREENLET_TEST(Poll, FilesAreReadyAndNothingElseComesOfThem) {
  std::string name = testing::TempDir() + "grove-poll-XXXXXX";
  const int file = mkstemp(name.data());
  ASSERT_GE(file, 0);
  unlink(name.c_str());
  short revents;
  EXPECT_EQ(PollOne(file, POLLIN, revents), 1);
  EXPECT_EQ(PollOne(file, POLLPRI, revents, absl::Seconds(1)), 0);
  EXPECT_TRUE(HasTaken(absl::Seconds(1)));
  close(file);
}

GREENLET_TEST(Poll, OtherKindsOfDescriptorsToo) {
  const int event = eventfd(0, EFD_CLOEXEC);
  const int set = epoll_create1(EPOLL_CLOEXEC);
  epoll_event e{};
  e.events = EPOLLIN;
  ASSERT_EQ(epoll_ctl(set, EPOLL_CTL_ADD, event, &e), 0);
  const Greenlet<> sender = Spawn([&] { EXPECT_EQ(eventfd_write(event, 1), 0); });
  short revents;
  EXPECT_EQ(PollOne(set, POLLIN, revents), 1) << "a set of others'";
  EXPECT_EQ(PollOne(event, POLLIN, revents), 1);
  close(set);
  close(event);
}

GREENLET_TEST(Poll, ManyDescriptorsAtOnce) {
  std::vector<SocketPair> pairs(200);
  std::vector<pollfd> fds;
  for (SocketPair& p : pairs) {
    fds.push_back({.fd = p.near.fd(), .events = POLLIN, .revents = -1});
  }
  const Greenlet<> sender = Spawn([&] {
    for (size_t i = 0; i < pairs.size(); i += 2) pairs[i].Send();
  });
  EXPECT_EQ(*Poll(absl::MakeSpan(fds)), 100);
  std::vector<pollfd> kernels = fds;
  EXPECT_EQ(KernelPoll(kernels), 100);
  for (size_t i = 0; i < fds.size(); ++i) EXPECT_EQ(fds[i].revents, kernels[i].revents);
}

GREENLET_TEST(Poll, ManyPollersOfManyDescriptors) {
  // More that are ready at once than are asked for at once.
  std::vector<SocketPair> pairs(100);
  std::vector<Greenlet<>> pollers;
  for (SocketPair& p : pairs) {
    pollers.push_back(Spawn([&] {
      short revents;
      EXPECT_EQ(PollOne(p.near.fd(), POLLIN, revents), 1);
    }));
  }
  Yield();
  for (SocketPair& p : pairs) p.Send();
  for (const Greenlet<>& g : pollers) g.Join();
}

GREENLET_TEST(Poll, ABusyLoopOfPollsLetsOthersRun) {
  SocketPair pair;
  bool stop = false;
  const Greenlet<> other = Spawn([&] { stop = true; });
  short revents;
  while (!stop) PollOne(pair.near.fd(), POLLIN, revents, Deadline::Passed());
}

GREENLET_TEST(Poll, MoreThanTheProcessMayHaveOpenIsAnError) {
  rlimit limit;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  rlimit low = limit;
  low.rlim_cur = 64;
  std::vector<pollfd> fds(65, {.fd = -1, .events = 0, .revents = 0});
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
  const absl::StatusOr<int> n = Poll(absl::MakeSpan(fds));
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_EQ(n.status().code(), absl::StatusCode::kInvalidArgument) << n.status();
  EXPECT_THAT(std::string(n.status().message()), HasSubstr("65"));
}

GREENLET_TEST(Poll, NoDescriptorForItsSetIsAnError) {
  SocketPair pair;
  rlimit limit;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  const int next = dup(STDERR_FILENO);
  close(next);
  rlimit low = limit;
  low.rlim_cur = static_cast<rlim_t>(next);
  pollfd p{.fd = pair.near.fd(), .events = POLLIN, .revents = 0};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
  const absl::StatusOr<int> n = Poll(absl::MakeSpan(&p, 1));
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_EQ(ErrnoOf(n.status()), EMFILE) << n.status();
}

class PollThreads : public GreenletTest {
 protected:
  GreenletTestOptions Options() const override {
    return {.clock = Clock::Real(), .loop_exit = LoopExitPolicy::kNever};
  }
};

GREENLET_TEST_F(PollThreads, AnotherThreadsWriteEndsIt) {
  SocketPair pair;
  std::thread writer([&] { pair.Send(); });
  short revents;
  EXPECT_EQ(PollOne(pair.near.fd(), POLLIN, revents, absl::Seconds(60)), 1);
  writer.join();
}

GREENLET_TEST_F(PollThreads, EachThreadHasItsOwn) {
  SocketPair pair;
  std::thread other([&] {
    short revents;
    EXPECT_EQ(PollOne(pair.near.fd(), POLLIN, revents, absl::Seconds(60)), 1);
  });
  const Greenlet<> sender = Spawn([&] { pair.Send(); });
  short revents;
  EXPECT_EQ(PollOne(pair.near.fd(), POLLIN, revents, absl::Seconds(60)), 1);
  other.join();
}

GREENLET_TEST(Select, SaysWhichAreReady) {
  // SE-1.
  SocketPair a, b;
  a.Send();
  const int fds[] = {a.near.fd(), b.near.fd()};
  SelectedDescriptors s = *SelectDescriptors(fds, fds, fds);
  EXPECT_THAT(s.readable, ElementsAre(fds[0]));
  EXPECT_THAT(s.writable, ElementsAre(fds[0], fds[1]));
  EXPECT_THAT(s.exceptional, IsEmpty());
  s = *SelectDescriptors(absl::MakeConstSpan(fds + 1, 1), {}, {}, absl::Seconds(5));
  EXPECT_TRUE(s.empty());
  EXPECT_TRUE(HasTaken(absl::Seconds(5)));
}

GREENLET_TEST(Select, BlocksAndTheEndCountsAsReadable) {
  SocketPair a, b;
  const Greenlet<> closer = Spawn([&] { b.CloseFar(); });
  const int fds[] = {a.near.fd(), b.near.fd()};
  EXPECT_THAT(SelectDescriptors(fds)->readable, ElementsAre(fds[1]));
}

GREENLET_TEST(Select, AHangupIsNoExceptionalCondition) {
  SocketPair pair;
  const Greenlet<> closer = Spawn([&] { pair.CloseFar(); });
  const int fd = pair.near.fd();
  EXPECT_TRUE(
      SelectDescriptors({}, {}, absl::MakeConstSpan(&fd, 1), absl::Seconds(1))->empty());
  EXPECT_TRUE(HasTaken(absl::Seconds(1)));
}

GREENLET_TEST(Select, WhatIsNotOpenIsAnErrorThatNamesIt) {
  SocketPair pair;
  const int gone = dup(STDERR_FILENO);
  ASSERT_EQ(close(gone), 0);
  for (const int bad : {gone, -1}) {
    const int fds[] = {pair.near.fd(), bad};
    const absl::Status s = SelectDescriptors({}, fds).status();
    EXPECT_EQ(ErrnoOf(s), EBADF);
    EXPECT_THAT(std::string(s.message()), HasSubstr(std::to_string(bad)));
  }
}

TEST(PollDeadlock, OfNoDescriptorIsToldToTheMainGreenlet) {
  ManualClock clock;
  const HubScope scope({.clock = &clock, .loop_exit = LoopExitPolicy::kAlways});
  const Greenlet<> stuck = Spawn([] { Poll({}).IgnoreError(); });
  EXPECT_THROW(stuck.Join(), LoopExit);
}

}  // namespace
}  // namespace grove
