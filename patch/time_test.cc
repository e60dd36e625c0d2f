// sleep, getaddrinfo, waitpid and their like, as any program calls them.

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netdb.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <thread>

#include "grove/green/greenlet.h"
#include "grove/green/sleep.h"
#include "grove/patch/patched_test.h"

namespace grove::patch {
namespace {

class PatchedCalls : public PatchedTest {};

GREENLET_TEST_F(PatchedCalls, SleepsAreTheHubs) {
  absl::Duration at;
  const auto passed = [&] { return Elapsed() - std::exchange(at, Elapsed()); };
  at = Elapsed();
  EXPECT_EQ(sleep(3600), 0u);
  EXPECT_GE(passed(), absl::Seconds(3600));
  EXPECT_EQ(usleep(900'000), 0);
  EXPECT_GE(passed(), absl::Milliseconds(900));
  const timespec minute = {.tv_sec = 60, .tv_nsec = 0};
  EXPECT_EQ(nanosleep(&minute, nullptr), 0);
  EXPECT_GE(passed(), absl::Minutes(1));
  EXPECT_EQ(clock_nanosleep(CLOCK_MONOTONIC, 0, &minute, nullptr), 0);
  EXPECT_GE(passed(), absl::Minutes(1));
  EXPECT_EQ(thrd_sleep(&minute, nullptr), 0);
  EXPECT_GE(passed(), absl::Minutes(1));
  std::this_thread::sleep_for(std::chrono::hours(2));
  EXPECT_GE(passed(), absl::Hours(2));
  timespec later;
  clock_gettime(CLOCK_REALTIME, &later);
  later.tv_sec += 100;
  EXPECT_EQ(clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &later, nullptr), 0);
  EXPECT_GE(passed(), absl::Seconds(90));
}

GREENLET_TEST_F(PatchedCalls, SleepersSleepSideBySide) {
  int woken = 0;
  std::vector<Greenlet<>> sleepers;
  for (int i = 0; i < 100; ++i) {
    sleepers.push_back(Spawn([&] {
      sleep(10);
      ++woken;
    }));
  }
  for (const auto& sleeper : sleepers) sleeper.Join();
  EXPECT_EQ(woken, 100);
  EXPECT_LT(Elapsed(), absl::Seconds(11));
}

GREENLET_TEST_F(PatchedCalls, BadTimesAreErrors) {
  const timespec bad = {.tv_sec = 0, .tv_nsec = 1'000'000'000};
  EXPECT_EQ(nanosleep(&bad, nullptr), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(clock_nanosleep(CLOCK_MONOTONIC, 0, &bad, nullptr), EINVAL);
}

GREENLET_TEST_F(PatchedCalls, AKillEndsASleepAndSaysWhatWasLeft) {
  timespec left = {};
  int error = 0;
  const Greenlet<> sleeper = Spawn([&] {
    const timespec hour = {.tv_sec = 3600, .tv_nsec = 0};
    if (nanosleep(&hour, &left) != 0) error = errno;
  });
  Sleep(absl::Minutes(10));
  sleeper.Kill();
  EXPECT_EQ(error, ECANCELED);
  EXPECT_GT(left.tv_sec, 2990);
  EXPECT_LE(left.tv_sec, 3000);
  // Which also what sleeps on after EINTR understands.
  const Greenlet<> again =
      Spawn([] { std::this_thread::sleep_for(std::chrono::hours(1)); });
  Yield();
  again.Kill();
}

GREENLET_TEST_F(PatchedCalls, YieldsLetOthersRun) {
  bool ran = false;
  Spawn([&] { ran = true; });
  sched_yield();
  EXPECT_TRUE(ran);
}

// --- names ---

GREENLET_TEST_F(PatchedCalls, NamesAreLookedUpOnAnotherThread) {
  const uint64_t waits = Waits("getaddrinfo");
  addrinfo hints = {};
  hints.ai_family = AF_INET;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  ASSERT_EQ(getaddrinfo("localhost", "80", &hints, &found), 0);
  EXPECT_EQ(ntohs(reinterpret_cast<sockaddr_in*>(found->ai_addr)->sin_port), 80);
  freeaddrinfo(found);
  EXPECT_EQ(Waits("getaddrinfo"), waits + 1);
  ASSERT_EQ(getaddrinfo("127.0.0.1", "80", &hints, &found), 0);
  freeaddrinfo(found);
  EXPECT_EQ(Waits("getaddrinfo"), waits + 1) << "a number needs nobody to be asked";
}

GREENLET_TEST_F(PatchedCalls, TheOldCallsAnswerToo) {
  const hostent* host = gethostbyname("localhost");
  ASSERT_NE(host, nullptr);
  EXPECT_STREQ(host->h_name, "localhost");
  ASSERT_NE(host->h_addr_list[0], nullptr);
  const std::string address(host->h_addr_list[0], static_cast<size_t>(host->h_length));
  host = gethostbyaddr(address.data(), static_cast<socklen_t>(address.size()), AF_INET);
  ASSERT_NE(host, nullptr);
  EXPECT_STRNE(host->h_name, "");
  hostent entry;
  char buffer[1024];
  hostent* result = nullptr;
  int error = 0;
  EXPECT_EQ(gethostbyname_r("localhost", &entry, buffer, sizeof buffer, &result, &error),
            0);
  EXPECT_EQ(result, &entry);
  EXPECT_EQ(gethostbyname2_r("localhost", AF_INET, &entry, buffer, sizeof buffer, &result,
                             &error),
            0);
  EXPECT_EQ(result, &entry);
  EXPECT_EQ(gethostbyaddr_r(address.data(), static_cast<socklen_t>(address.size()),
                            AF_INET, &entry, buffer, sizeof buffer, &result, &error),
            0);
  ASSERT_EQ(result, &entry);
  EXPECT_STRNE(entry.h_name, "");
  host = gethostbyname2("localhost", AF_INET);
  ASSERT_NE(host, nullptr);
  EXPECT_EQ(host->h_addrtype, AF_INET);
  // Too small a buffer is told, and errno is that of the call.
  EXPECT_EQ(gethostbyname_r("localhost", &entry, buffer, 1, &result, &error), ERANGE);
  sockaddr_in loopback = {};
  loopback.sin_family = AF_INET;
  loopback.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  char name[100];
  EXPECT_EQ(getnameinfo(reinterpret_cast<sockaddr*>(&loopback), sizeof loopback, name,
                        sizeof name, nullptr, 0, NI_NUMERICHOST),
            0);
  EXPECT_STREQ(name, "127.0.0.1");
}

// --- children ---

// cat(1), which ends when its input does.
struct Cat {
  Cat() {
    int fds[2];
    EXPECT_EQ(pipe2(fds, O_CLOEXEC), 0);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fds[0], 0);
    const char* argv[] = {"cat", nullptr};
    EXPECT_EQ(posix_spawnp(&pid, "cat", &actions, nullptr, const_cast<char* const*>(argv),
                           environ),
              0);
    posix_spawn_file_actions_destroy(&actions);
    close(fds[0]);
    input = fds[1];
  }
  void End() { close(input); }

  pid_t pid = -1;
  int input = -1;
};

GREENLET_TEST_F(PatchedCalls, AChildIsWaitedForAsAGreenlet) {
  Cat cat;
  int status = -1;
  EXPECT_EQ(waitpid(cat.pid, &status, WNOHANG), 0);
  rusage usage = {};
  const Greenlet<pid_t> waiter =
      Spawn([&] { return wait4(cat.pid, &status, 0, &usage); });
  Yield();
  EXPECT_FALSE(waiter.ready());
  cat.End();
  EXPECT_EQ(*waiter.Get(), cat.pid);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_EQ(waitpid(cat.pid, &status, 0), -1);
  EXPECT_EQ(errno, ECHILD);
}

GREENLET_TEST_F(PatchedCalls, AnyChildIsWaitedForOnAnotherThread) {
  Cat cat;
  int status = -1;
  const Greenlet<pid_t> waiter = Spawn([&] { return wait(&status); });
  Yield();
  EXPECT_FALSE(waiter.ready());
  cat.End();
  EXPECT_EQ(*waiter.Get(), cat.pid);
  Cat another;
  rusage usage = {};
  EXPECT_EQ(wait3(&status, WNOHANG, &usage), 0);
  const Greenlet<pid_t> again = Spawn([&] { return wait3(&status, 0, &usage); });
  Yield();
  EXPECT_FALSE(again.ready());
  another.End();
  EXPECT_EQ(*again.Get(), another.pid);
  EXPECT_GT(usage.ru_maxrss, 0);
}

GREENLET_TEST_F(PatchedCalls, AKillEndsAWaitForAChildAndReapsNothing) {
  Cat cat;
  int error = 0;
  const Greenlet<> waiter = Spawn([&] {
    siginfo_t info;
    if (waitid(P_PID, static_cast<id_t>(cat.pid), &info, WEXITED) < 0) error = errno;
  });
  Yield();
  waiter.Kill();
  EXPECT_EQ(error, ECANCELED);
  cat.End();
  EXPECT_EQ(waitpid(cat.pid, nullptr, 0), cat.pid);
}

GREENLET_TEST_F(PatchedCalls, CommandsRun) {
  const Greenlet<int> command = Spawn([] { return system("exit 3"); });
  EXPECT_EQ(WEXITSTATUS(*command.Get()), 3);
  FILE* stream = popen("exit 4", "r");
  ASSERT_NE(stream, nullptr);
  EXPECT_EQ(WEXITSTATUS(pclose(stream)), 4);
}

}  // namespace
}  // namespace grove::patch
