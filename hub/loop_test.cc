#include "grove/hub/loop.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "grove/hub/clock.h"

namespace grove {
namespace {

struct SocketPair {
  SocketPair() { EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0); }
  ~SocketPair() {
    close(fds[0]);
    close(fds[1]);
  }
  int fds[2];
};

TEST(Loop, IoWatcherIsLevelTriggered) {
  Loop loop;
  SocketPair pair;
  int calls = 0;
  IoWatcher watcher;
  watcher.Set(
      &loop, pair.fds[0], kReadable,
      [](void* arg, int events) {
        EXPECT_EQ(events, int{kReadable});
        ++*static_cast<int*>(arg);
      },
      &calls);
  ASSERT_TRUE(watcher.Start());
  EXPECT_EQ(loop.active_watchers(), 1);
  loop.Poll(false);
  EXPECT_EQ(calls, 0);
  ASSERT_EQ(write(pair.fds[1], "x", 1), 1);
  loop.Poll(true);
  loop.Poll(true);
  EXPECT_EQ(calls, 2) << "what was not read is told again";
  watcher.Stop();
  loop.Poll(false);
  EXPECT_EQ(calls, 2);
  EXPECT_EQ(loop.active_watchers(), 0);
}

TEST(Loop, AWatcherIsCalledOncePerEventAlsoOnceTheLoopIsMadeAnew) {
  Loop loop;
  ASSERT_EQ(loop.backend(), "epoll");
  const int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  int calls = 0;
  IoWatcher w;
  w.Set(
      &loop, fd, kReadable, [](void* n, int) { ++*static_cast<int*>(n); }, &calls);
  ASSERT_TRUE(w.Start());
  ASSERT_TRUE(loop.TellOfEachEventOnce(w));
  const uint64_t one = 1;
  for (int i = 1; i <= 3; ++i) {
    ASSERT_EQ(write(fd, &one, sizeof one), 8);
    loop.Poll(true);
    loop.Poll(false);
    EXPECT_EQ(calls, i);
  }
  loop.Reinit();
  loop.Poll(false);
  EXPECT_EQ(calls, 4) << "the kernel's side is new, and nobody has read";
  loop.Poll(false);  // was made to tell once after that
  loop.Poll(false);
  EXPECT_EQ(calls, 5);
  w.Stop();
  close(fd);
}

// As in a HubGroup: the number that is next for one loop is taken by another.
TEST(Loop, WatchersAreCalledOncePerEventThoughLoopsAreMadeAtOnce) {
  constexpr int kThreads = 8;
  std::atomic<int> ready{0};
  std::atomic<int> told_once{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      ++ready;
      while (ready < kThreads) std::this_thread::yield();
      const int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
      {
        Loop loop;
        IoWatcher w;
        w.Set(
            &loop, fd, kReadable, [](void*, int) {}, nullptr);
        if (w.Start() && loop.TellOfEachEventOnce(w)) ++told_once;
      }
      close(fd);
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(told_once, kThreads);
}

TEST(Loop, AClosedDescriptorIsRefused) {
  Loop loop;
  SocketPair pair;
  IoWatcher watcher;
  const int fd = dup(pair.fds[0]);
  watcher.Set(
      &loop, fd, kReadable, [](void*, int) {}, nullptr);
  close(fd);
  EXPECT_FALSE(watcher.Start());
  EXPECT_FALSE(watcher.active());
  loop.Poll(false);
}

TEST(Loop, ADescriptorNumberMayBeReusedWhileItsWatcherIsStopped) {
  Loop loop;
  int calls = 0;
  const auto count = [](void* arg, int) { ++*static_cast<int*>(arg); };
  for (int round = 0; round < 3; ++round) {
    SocketPair pair;
    IoWatcher watcher;
    watcher.Set(&loop, pair.fds[0], kReadable, count, &calls);
    ASSERT_TRUE(watcher.Start());
    ASSERT_EQ(write(pair.fds[1], "x", 1), 1);
    if (round != 1) loop.Poll(true);  // in round 1 it is closed before any poll
  }
  EXPECT_EQ(calls, 2);
}

TEST(Loop, WakeAfterEndsAPollThatWaits) {
  Loop loop;
  loop.WakeAfter(absl::Milliseconds(1));
  EXPECT_TRUE(loop.wake_set());
  while (loop.wake_set()) loop.Poll(true);
}

// Below 5 ms by a timerfd, above by libev and the rest by that.
TEST(Loop, WakeAfterIsNeverEarly) {
  Loop loop;
  for (const absl::Duration after :
       {absl::ZeroDuration(), absl::Microseconds(100), absl::Milliseconds(3),
        absl::Milliseconds(25), absl::Microseconds(100)}) {
    const MonotonicNanos before = Clock::ReadMonotonic();
    loop.WakeAfter(after);
    while (loop.wake_set()) loop.Poll(true);
    EXPECT_GE(Clock::ReadMonotonic() - before, absl::ToInt64Nanoseconds(after));
  }
}

TEST(Loop, AWakeupThatHasComeEndsNoOtherPoll) {
  Loop loop;
  loop.WakeAfter(absl::Microseconds(1));
  while (loop.wake_set()) loop.Poll(false);
  loop.WakeAfter(absl::Milliseconds(25));
  int polls = 0;
  while (loop.wake_set()) {
    loop.Poll(true);
    ++polls;
  }
  EXPECT_LE(polls, 10) << "it spins";
}

TEST(Loop, AWakeupThatHasComeKeepsNoIdleWatcherFromItsTurn) {
  Loop loop;
  loop.WakeAfter(absl::Microseconds(1));
  while (loop.wake_set()) loop.Poll(false);
  IdleWatcher idle(&loop);
  int calls = 0;
  idle.Start([&] { ++calls; });
  loop.Poll(false);
  EXPECT_EQ(calls, 1);
  idle.Stop();
}

TEST(Loop, ACallbackMaySetTheNextWakeup) {
  Loop loop;
  LoopTimer timer(&loop, absl::Milliseconds(1));
  timer.Start([&] { loop.WakeAfter(absl::Milliseconds(2)); });
  loop.WakeAfter(absl::Microseconds(1));
  while (loop.wake_set()) loop.Poll(false);
  // Both are there to be told of in one poll.
  const MonotonicNanos begin = Clock::ReadMonotonic();
  while (Clock::ReadMonotonic() - begin < 2'000'000) {
  }
  while (!loop.wake_set()) loop.Poll(false);
  while (loop.wake_set()) loop.Poll(true);
}

TEST(Loop, WakeAfterReplacesWhatWasSet) {
  Loop loop;
  const MonotonicNanos before = Clock::ReadMonotonic();
  loop.WakeAfter(absl::Milliseconds(1));
  loop.WakeAfter(absl::Milliseconds(25));
  while (loop.wake_set()) loop.Poll(true);
  EXPECT_GE(Clock::ReadMonotonic() - before, 25'000'000);
  loop.WakeAfter(absl::Hours(1));
  loop.WakeAfter(absl::Milliseconds(1));
  while (loop.wake_set()) loop.Poll(true);
}

TEST(Loop, AForkedChildHasItsOwnWakeup) {
  Loop loop;
  loop.WakeAfter(absl::Milliseconds(4));
  const pid_t pid = fork();
  if (pid == 0) {
    loop.Reinit();
    if (loop.wake_set()) _exit(1);
    loop.WakeAfter(absl::Milliseconds(1));
    while (loop.wake_set()) loop.Poll(true);
    loop.WakeAfter(absl::Hours(1));
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_EQ(status, 0);
  while (loop.wake_set()) loop.Poll(true);  // the child has not taken it away
}

TEST(Loop, TimerFiresOnceOrRepeats) {
  Loop loop;
  LoopTimer once(&loop, absl::Milliseconds(1));
  LoopTimer repeat(&loop, absl::Milliseconds(1), absl::Milliseconds(1));
  int once_calls = 0;
  int repeat_calls = 0;
  once.Start([&] { ++once_calls; });
  repeat.Start([&] { ++repeat_calls; });
  while (repeat_calls < 3) loop.Poll(true);
  EXPECT_EQ(once_calls, 1);
  EXPECT_FALSE(once.active());
  EXPECT_TRUE(repeat.active());
  repeat.Stop();
}

TEST(Loop, SignalWatcherIsCalledForItsSignal) {
  Loop loop;
  SignalWatcher watcher(&loop, SIGUSR2);
  int calls = 0;
  watcher.Start([&] { ++calls; });
  raise(SIGUSR2);
  while (calls == 0) loop.Poll(true);
  EXPECT_EQ(calls, 1);
}

TEST(Loop, AsyncWatcherIsWokenFromAnotherThread) {
  Loop loop;
  AsyncWatcher watcher(&loop);
  int calls = 0;
  watcher.Start([&] { ++calls; });
  std::thread sender([&] { watcher.Send(); });
  while (calls == 0) loop.Poll(true);
  sender.join();
  EXPECT_EQ(calls, 1);
}

TEST(Loop, ChildWatcherTellsOfTheEndAndReapsNoOne) {
  Loop loop;
  int start[2];
  ASSERT_EQ(pipe(start), 0);
  const pid_t pid = fork();
  if (pid == 0) {
    char c;
    _exit(read(start[0], &c, 1) == 1 ? 42 : 1);
  }
  ChildWatcher watcher(&loop, pid);
  ASSERT_TRUE(watcher.valid());
  bool ended = false;
  watcher.Start([&] { ended = true; });
  loop.Poll(false);
  EXPECT_FALSE(ended);
  ASSERT_EQ(write(start[1], "x", 1), 1);
  while (!ended) loop.Poll(true);
  EXPECT_FALSE(watcher.active());
  int status = 0;
  EXPECT_EQ(waitpid(pid, &status, WNOHANG), pid);
  EXPECT_EQ(WEXITSTATUS(status), 42);
  close(start[0]);
  close(start[1]);
}

TEST(Loop, ChildWatcherOfNobodyIsNotValid) {
  Loop loop;
  const pid_t pid = fork();
  if (pid == 0) _exit(0);
  ASSERT_EQ(waitpid(pid, nullptr, 0), pid);
  EXPECT_FALSE(ChildWatcher(&loop, pid).valid());
}

TEST(Loop, StatWatcherSeesAFileComeAndGo) {
  Loop loop;
  const std::string path = std::string(getenv("TEST_TMPDIR")) + "/watched";
  unlink(path.c_str());
  StatWatcher watcher(&loop, path, absl::Milliseconds(10));
  int calls = 0;
  watcher.Start([&] { ++calls; });
  EXPECT_EQ(watcher.now().st_nlink, 0u);
  std::ofstream(path) << "hello" << std::flush;
  while (watcher.now().st_size != 5) loop.Poll(true);
  unlink(path.c_str());
  while (watcher.now().st_nlink != 0) loop.Poll(true);
  EXPECT_EQ(watcher.before().st_size, 5);
  EXPECT_GE(calls, 2);
}

TEST(Loop, PrepareCheckAndIdleSurroundAPoll) {
  Loop loop;
  std::string order;
  PrepareWatcher prepare(&loop);
  CheckWatcher check(&loop);
  IdleWatcher idle(&loop);
  prepare.Start([&] { order += 'p'; });
  check.Start([&] { order += 'c'; });
  idle.Start([&] { order += 'i'; });
  loop.Poll(true);  // an active idle watcher: does not sleep
  EXPECT_EQ(order.size(), 3u);
  EXPECT_EQ(order[0], 'p');
  idle.Stop();
  order.clear();
  loop.Poll(false);
  EXPECT_EQ(order, "pc");
}

TEST(Loop, ForkWatcherIsCalledInTheChildAndItsLoopGoesOn) {
  Loop loop;
  int forked = 0;
  ForkWatcher watcher(&loop);
  watcher.Start([&] { ++forked; });
  loop.Poll(false);
  const pid_t pid = fork();
  if (pid == 0) {
    loop.Reinit();
    LoopTimer timer(&loop, absl::Milliseconds(1));
    bool fired = false;
    timer.Start([&] { fired = true; });
    while (!fired) loop.Poll(true);
    _exit(forked == 1 ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_EQ(status, 0);
  loop.Poll(false);
  EXPECT_EQ(forked, 0) << "never in the parent";
}

TEST(Loop, TheBackendIsChosenByLibevFlags) {
  const char* before = getenv("LIBEV_FLAGS");
  const std::string saved = before ? before : "";
  setenv("LIBEV_FLAGS", "1", 1);
  EXPECT_EQ(Loop().backend(), "select");
  setenv("LIBEV_FLAGS", "4", 1);
  EXPECT_EQ(Loop().backend(), "epoll");
  if (before) {
    setenv("LIBEV_FLAGS", saved.c_str(), 1);
  } else {
    unsetenv("LIBEV_FLAGS");
  }
}

TEST(LoopTimer, MayStartItselfAnewInItsCallback) {
  Loop loop;
  int calls = 0;
  LoopTimer timer(&loop, absl::Milliseconds(1));
  std::string captured(100, 'x');
  std::function<void()> arm = [&] {
    timer.Start([&, text = captured] {
      if (++calls < 3) arm();
      EXPECT_EQ(text, captured);
    });
  };
  arm();
  while (calls < 3) loop.Poll(/*wait=*/true);
  EXPECT_FALSE(timer.active());
}

}  // namespace
}  // namespace grove
