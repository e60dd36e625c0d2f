#include "grove/green/os/fork.h"

#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "grove/green/greenlet.h"
#include "grove/green/hub_group.h"
#include "grove/green/hub_scope.h"
#include "grove/green/internal/sanitizer.h"
#include "grove/green/os/pipe.h"
#include "grove/green/os/process_test_util.h"
#include "grove/green/os/run.h"
#include "grove/green/os/signals.h"
#include "grove/green/os/waitpid.h"
#include "grove/green/poll.h"
#include "grove/green/sleep.h"
#include "grove/green/status.h"
#include "grove/green/testing/socket_pair.h"
#include "grove/green/timeout.h"

namespace grove {
namespace {

// In a child, where GoogleTest's verdicts reach nobody.
#define CHILD_CHECK(condition)                                               \
  do {                                                                       \
    if (!(condition)) {                                                      \
      fprintf(stderr, "child: %s:%d: %s\n", __FILE__, __LINE__, #condition); \
      return 1;                                                              \
    }                                                                        \
  } while (0)

class ForkTest : public ProcessTest {};

ExitStatus EndOf(absl::StatusOr<Subprocess> child) {
  EXPECT_TRUE(child.ok()) << child.status();
  if (!child.ok()) return {};
  return *child->Wait(Guard());
}

GREENLET_TEST_F(ForkTest, ReturnsTwice) {
  // OS-5.
  SKIP_UNDER_TSAN();
  const absl::StatusOr<pid_t> pid = Fork();
  ASSERT_TRUE(pid.ok()) << pid.status();
  if (*pid == 0) _exit(3);
  EXPECT_EQ(WaitPid(*pid, Guard())->status, ExitStatus::Exited(3));
}

GREENLET_TEST_F(ForkTest, AFunctionRunsInAChild) {
  // OS-6.
  SKIP_UNDER_TSAN();
  int value = 1;
  EXPECT_EQ(EndOf(ForkProcess([&] { return value = 7; })), ExitStatus::Exited(7));
  EXPECT_EQ(value, 1) << "a copy";
  EXPECT_EQ(EndOf(ForkProcess([]() -> int { throw std::runtime_error("expected"); })),
            ExitStatus::Exited(1));
  absl::StatusOr<Subprocess> stuck = ForkProcess([] {
    const KeepAlive no_loop_exit(&ThisHub());
    Sleep(absl::InfiniteDuration());
    return 0;
  });
  ASSERT_TRUE(stuck->Kill().ok());
  EXPECT_EQ(*stuck->Wait(Guard()), ExitStatus::Signaled(SIGKILL));
}

GREENLET_TEST_F(ForkTest, TheChildsHubWorks) {
  SKIP_UNDER_TSAN();
  EXPECT_EQ(EndOf(ForkProcess([] {
              // Time, greenlets, descriptors, posts, and children of its own.
              Sleep(absl::Milliseconds(2));
              const Greenlet<int> g = Spawn([] {
                Yield();
                return 5;
              });
              CHILD_CHECK(*g.Get() == 5);
              SocketPair pair;
              SpawnLater(absl::Milliseconds(1), [&] { pair.Send(); });
              CHILD_CHECK(pair.near.WaitReadable(Guard()) == WaitResult::kReady);
              bool posted = false;
              std::thread([&, home = ThisHub().handle()] {
                home.Post([&] { posted = true; }).IgnoreError();
              }).join();
              while (!posted) Sleep(absl::Milliseconds(1));
              const absl::StatusOr<std::string> out = CheckOutput({"echo", "hello"});
              CHILD_CHECK(out.ok() && *out == "hello\n");
              SignalListener signals({SIGUSR1});
              CHILD_CHECK(kill(getpid(), SIGUSR1) == 0);
              CHILD_CHECK(signals.Wait(Guard()) == SIGUSR1);
              CHILD_CHECK(!WithTimeout(absl::Milliseconds(1), [] {
                             Sleep(absl::InfiniteDuration());
                           }).ok());
              return 0;
            })),
            ExitStatus::Exited(0));
}

GREENLET_TEST_F(ForkTest, OnlyTheCallerLivesOnInTheChild) {
  SKIP_UNDER_TSAN();
  // One that is ready, one that sleeps, one that waits to read, one that has not begun.
  SocketPair pair;
  int ran = 0;
  bool unwound = false;
  const Greenlet<> sleeper = Spawn([&] {
    struct Unwound {
      ~Unwound() { *flag = true; }
      bool* flag;
    } guard{&unwound};
    Sleep(absl::Milliseconds(20));
    ++ran;
  });
  const Greenlet<> reader = Spawn([&] {
    pair.near.WaitReadable();
    ++ran;
  });
  Yield();
  const Greenlet<> ready = Spawn([&] { ++ran; });
  const Greenlet<> later = SpawnLater(absl::Milliseconds(20), [&] { ++ran; });
  absl::StatusOr<Subprocess> child = ForkProcess([&] {
    CHILD_CHECK(sleeper.ready() && sleeper.killed() && later.ready());
    CHILD_CHECK(reader.Join() && ready.Join());
    CHILD_CHECK(LiveGreenlets() == 0);
    // What they waited for can be waited for.
    CHILD_CHECK(pair.near.WaitReadable(absl::Milliseconds(1)) == WaitResult::kDeadline);
    Sleep(absl::Milliseconds(50));  // longer than any of them
    CHILD_CHECK(ran == 0 && !unwound);
    return 0;
  });
  EXPECT_EQ(EndOf(std::move(child)), ExitStatus::Exited(0));
  // Nothing of the parent's has changed.
  sleeper.Join();
  ready.Join();
  later.Join();
  EXPECT_FALSE(reader.ready());
  pair.Send();
  reader.Join();
  EXPECT_EQ(ran, 4);
}

GREENLET_TEST_F(ForkTest, TheParentsWaitsAreNotTheChilds) {
  SKIP_UNDER_TSAN();
  // Many waits in one epoll set, which the child must not touch: it closes what it has.
  constexpr int kPairs = 20;
  std::vector<std::unique_ptr<SocketPair>> pairs;
  std::vector<Greenlet<>> readers;
  int woken = 0;
  for (int i = 0; i < kPairs; ++i) {
    pairs.push_back(std::make_unique<SocketPair>());
    readers.push_back(Spawn([&, i] {
      EXPECT_EQ(pairs[i]->near.WaitReadable(), WaitResult::kReady);
      ++woken;
    }));
  }
  Yield();
  Sleep(absl::Milliseconds(1));  // now they are in the set
  EXPECT_EQ(EndOf(ForkProcess([&] {
              Sleep(absl::Milliseconds(1));
              pairs.clear();
              Sleep(absl::Milliseconds(1));
              return 0;
            })),
            ExitStatus::Exited(0));
  EXPECT_EQ(woken, 0);
  for (auto& pair : pairs) pair->Send();
  JoinAll(readers);
  EXPECT_EQ(woken, kPairs);
}

GREENLET_TEST_F(ForkTest, TheParentsPollsAreNotTheChilds) {
  SKIP_UNDER_TSAN();
  SocketPair pair;
  const auto poll = [&](Deadline deadline) {
    pollfd p{.fd = pair.near.fd(), .events = POLLIN, .revents = 0};
    return *Poll(absl::MakeSpan(&p, 1), deadline);
  };
  const Greenlet<int> poller = Spawn([&] { return poll(Guard()); });
  Yield();
  absl::StatusOr<Subprocess> child = ForkProcess([&] {
    // What it takes out of its set must stay in the parent's.
    CHILD_CHECK(poll(absl::Milliseconds(1)) == 0);
    const Greenlet<int> own = Spawn([&] { return poll(Guard()); });
    Yield();
    own.Kill();
    return 0;
  });
  EXPECT_EQ(EndOf(std::move(child)), ExitStatus::Exited(0));
  pair.Send();
  EXPECT_EQ(*poller.Get(), 1);
}

GREENLET_TEST_F(ForkTest, OtherHubsHaveEndedInTheChild) {
  SKIP_UNDER_TSAN();
  std::atomic<bool> up{false}, stop{false};
  std::atomic<int> posts{0};
  HubHandle other;
  std::thread thread([&] {
    HubScope scope;
    other = ThisHub().handle();
    up = true;
    while (!stop) Sleep(absl::Milliseconds(1));
  });
  while (!up) std::this_thread::yield();
  EXPECT_EQ(EndOf(ForkProcess([&] {
              const absl::Status status = other.Post([&] { ++posts; });
              CHILD_CHECK(status.code() == absl::StatusCode::kFailedPrecondition);
              Sleep(absl::Milliseconds(2));
              CHILD_CHECK(posts == 0);
              return 0;
            })),
            ExitStatus::Exited(0));
  EXPECT_TRUE(other.Post([&] { ++posts; }).ok());
  while (posts == 0) Sleep(absl::Milliseconds(1));
  stop = true;
  thread.join();
}

GREENLET_TEST_F(ForkTest, WhileOtherHubsAreBusy) {
  SKIP_UNDER_TSAN();
  if (GROVE_ASAN) GTEST_SKIP() << "the lock of AddressSanitizer's allocator may be held";
  // Locks of the process may be held by other threads at any moment.
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      while (!stop) {
        HubScope scope;
        for (int n = 0; n < 10; ++n) Spawn([] { Yield(); }).Join();
        SignalListener signals({SIGUSR2});
      }
    });
  }
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(EndOf(ForkProcess([] {
                Spawn([] { Yield(); }).Join();
                SignalListener signals({SIGUSR2});
                std::thread([] {
                  HubScope scope;
                  Spawn([] { Yield(); }).Join();
                }).join();
                return 0;
              })),
              ExitStatus::Exited(0));
  }
  stop = true;
  for (std::thread& t : threads) t.join();
}

GREENLET_TEST_F(ForkTest, ListenersHearNothingInTheChild) {
  SKIP_UNDER_TSAN();
  SignalListener signals({SIGTERM, SIGUSR1});
  absl::StatusOr<Subprocess> child = ForkProcess([&] {
    CHILD_CHECK(kill(getpid(), SIGTERM) == 0);  // as if there had been no listener
    return 0;
  });
  EXPECT_EQ(EndOf(std::move(child)), ExitStatus::Signaled(SIGTERM));
  EXPECT_EQ(kill(getpid(), SIGUSR1), 0);
  EXPECT_EQ(signals.Wait(Guard()), SIGUSR1) << "the parent's goes on";
}

GREENLET_TEST_F(ForkTest, TimeoutsInForceStaySo) {
  SKIP_UNDER_TSAN();
  Timeout timeout(absl::Milliseconds(5));
  absl::StatusOr<Subprocess> child = ForkProcess([&] {
    try {
      Sleep(absl::InfiniteDuration());
    } catch (const TimeoutExpired& e) {
      return e.scope() == &timeout ? 6 : 1;
    }
    return 1;
  });
  timeout.Cancel();
  EXPECT_EQ(EndOf(std::move(child)), ExitStatus::Exited(6));
}

GREENLET_TEST_F(ForkTest, AKeepAliveDoesNotCountInTheChild) {
  SKIP_UNDER_TSAN();
  auto alive = std::make_unique<KeepAlive>(&ThisHub());
  EXPECT_EQ(EndOf(ForkProcess([&] {
              CHILD_CHECK(ThisHub().wakers() == 0);
              alive.reset();
              CHILD_CHECK(ThisHub().wakers() == 0);
              return 0;
            })),
            ExitStatus::Exited(0));
}

GREENLET_TEST_F(ForkTest, TheCallersFunctionEndsTheChild) {
  SKIP_UNDER_TSAN();
  pid_t pid = -1;
  const auto fork_and = [&](auto fn) {
    const Greenlet<> g = Spawn([&] {
      const absl::StatusOr<pid_t> forked = Fork();
      ASSERT_TRUE(forked.ok());
      if (*forked == 0) {
        Spawn([] { Sleep(absl::InfiniteDuration()); });
        fn();
        return;
      }
      pid = *forked;
    });
    g.Join();
    return WaitPid(pid, Guard())->status;
  };
  EXPECT_EQ(fork_and([] { Sleep(absl::Milliseconds(1)); }), ExitStatus::Exited(0));
  EXPECT_EQ(fork_and([] { throw std::runtime_error("expected"); }),
            ExitStatus::Exited(1));
}

GREENLET_TEST_F(ForkTest, AChildKnowsNoChildrenOfItsParents) {
  SKIP_UNDER_TSAN();
  Subprocess cat = Cat();
  EXPECT_EQ(EndOf(ForkProcess([&] {
              CHILD_CHECK(!cat.Wait(Guard())->known());
              CHILD_CHECK(ErrnoOf(WaitPid(cat.pid()).status()) == ECHILD);
              CHILD_CHECK(ErrnoOf(WaitPid(-1).status()) == ECHILD);
              return 0;
            })),
            ExitStatus::Exited(0));
  EXPECT_EQ(cat.Poll(), std::nullopt);
  cat.in().Close();
  EXPECT_EQ(*cat.Wait(Guard()), ExitStatus::Exited(0));
}

GREENLET_TEST_F(ForkTest, ChildrenOfChildren) {
  SKIP_UNDER_TSAN();
  EXPECT_EQ(EndOf(ForkProcess([] {
              absl::StatusOr<Subprocess> grandchild = ForkProcess([] {
                Sleep(absl::Milliseconds(1));
                return 4;
              });
              CHILD_CHECK(grandchild.ok());
              return grandchild->Wait(Guard())->exit_code() + 1;
            })),
            ExitStatus::Exited(5));
}

GREENLET_TEST_F(ForkTest, PlainForkAndExecGoesOnWorking) {
  SocketPair pair;
  const Greenlet<> reader = Spawn([&] { pair.near.WaitReadable(); });
  Yield();
  const pid_t pid = fork();
  if (pid == 0) {
    execl("/bin/sh", "sh", "-c", "exit 8", nullptr);
    _exit(127);
  }
  EXPECT_EQ(WaitPid(pid, Guard())->status, ExitStatus::Exited(8));
  pair.Send();
  reader.Join();
}

TEST(ForkMainTest, TheMainGreenletLivesOnAsItIs) {
  SKIP_UNDER_TSAN();
  HubScope scope;
  const Greenlet<> other = Spawn([] { Sleep(absl::InfiniteDuration()); });
  Yield();
  EXPECT_EQ(EndOf(ForkProcess([&] {
              // A deadlock is seen: nothing of the parent's keeps the hub going.
              const Greenlet<> stuck = Spawn([] { Sleep(absl::InfiniteDuration()); });
              try {
                stuck.Join();
              } catch (const LoopExit&) {
                return 0;
              }
              return 1;
            })),
            ExitStatus::Exited(0));
  EXPECT_FALSE(other.ready());
}

TEST(ForkMainTest, AHubGroupOfItsParentEndsInTheChildWithoutItsThreads) {
  SKIP_UNDER_TSAN();
  std::thread([] {
    absl::StatusOr<pid_t> pid;
    {
      HubScope scope;
      HubGroup group({.hubs = 2, .pin = false});
      pid = Fork();
      ASSERT_TRUE(pid.ok());
      if (*pid != 0) {
        EXPECT_EQ(WaitPid(*pid, Guard())->status, ExitStatus::Exited(9));
      }
    }
    if (*pid == 0) _exit(9);
  }).join();
}

// Without a descriptor to wait for it by: nothing of it has happened.
GREENLET_TEST_F(ForkTest, AChildThatCannotBeWaitedForNeverBegins) {
  SKIP_UNDER_TSAN();
  void* const page = mmap(nullptr, sizeof(int), PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(page, MAP_FAILED);
  int* const begun = static_cast<int*>(page);
  for (const int left : {0, 1, 2}) {  // the pipe takes two
    std::vector<int> all;
    rlimit before;
    ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
    const rlimit few{std::min<rlim_t>(before.rlim_cur, 256), before.rlim_max};
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
    for (int fd = dup(0); fd >= 0; fd = dup(0)) all.push_back(fd);
    for (int i = 0; i < left; ++i) {
      close(all.back());
      all.pop_back();
    }
    const absl::Status s = ForkProcess([&] { return *begun = 1; }).status();
    for (const int fd : all) close(fd);
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
    EXPECT_EQ(ErrnoOf(s), EMFILE) << s;
    EXPECT_EQ(*begun, 0);
  }
  munmap(page, sizeof(int));
}

TEST(ForkMainTest, AThreadWithoutAHubMayFork) {
  SKIP_UNDER_TSAN();
  HubScope scope;
  ThisHub();
  std::thread([] {
    const absl::StatusOr<pid_t> pid = Fork();
    ASSERT_TRUE(pid.ok());
    if (*pid == 0) {
      Sleep(absl::Milliseconds(1));
      _exit(2);
    }
    EXPECT_EQ(WaitPid(*pid, Guard())->status, ExitStatus::Exited(2));
  }).join();
}

TEST(ForkMainTest, AHubMayEndInTheChild) {
  SKIP_UNDER_TSAN();
  std::thread([] {
    absl::StatusOr<pid_t> pid;
    {
      HubScope scope;
      SocketPair pair;
      const Greenlet<> reader = Spawn([&] { pair.near.WaitReadable(); });
      Subprocess cat = Cat();
      const Greenlet<> waiter = Spawn([&] { cat.Wait().IgnoreError(); });
      Yield();
      pid = Fork();
      ASSERT_TRUE(pid.ok());
      if (*pid != 0) {
        cat.in().Close();
        waiter.Join();
        EXPECT_EQ(WaitPid(*pid, Guard())->status, ExitStatus::Exited(9));
      }
    }
    if (*pid == 0) _exit(9);
  }).join();
}

TEST(ForkDeathTest, InACallbackItIsFatal) {
  EXPECT_DEATH(
      {
        HubScope scope;
        ThisHub().RunCallback([] { Fork().IgnoreError(); });
        Sleep(absl::Milliseconds(1));
      },
      "Fork\\(\\) in a loop callback");
}

}  // namespace
}  // namespace grove
