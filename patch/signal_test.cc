// Handlers of signals and what they end, as any program has them. The handler of a signal
// that a greenlet sends to its process runs at once, for it is the only thread that takes
// it; a greenlet that does so in Spawn() runs once this one waits.

#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "grove/green/greenlet.h"
#include "grove/green/internal/sanitizer.h"
#include "grove/green/sleep.h"
#include "grove/green/testing/main_greenlet_test.h"
#include "grove/patch/patched_test.h"

namespace grove::patch {
namespace {

volatile sig_atomic_t handled;
void Count(int) { handled = handled + 1; }

// Deprecated, and used.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
int Interrupts(int signum, int flag) { return siginterrupt(signum, flag); }
sighandler_t Set(int signum, sighandler_t handler) { return sigset(signum, handler); }
int PauseFor(int signum) { return sigpause(signum); }
#pragma GCC diagnostic pop

constexpr timespec kHour = {.tv_sec = 3600, .tv_nsec = 0};

struct Pipe {
  Pipe() { EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0); }
  ~Pipe() {
    close(ends[0]);
    close(ends[1]);
  }
  int ends[2];
};

// The main greenlet, as which the program's main thread appears, makes the calls.
class PatchedSignals : public MainGreenletTest {
 public:
  static void SetUpTestSuite() { PatchAll(); }

 protected:
  void SetUp() override {
    MainGreenletTest::SetUp();
    handled = 0;
  }
  void TearDown() override {
    signal(SIGUSR1, SIG_DFL);
    signal(SIGUSR2, SIG_DFL);
    signal(SIGALRM, SIG_DFL);
    MainGreenletTest::TearDown();
  }

  static void Handle(int signum, int flags, void (*handler)(int) = &Count) {
    struct sigaction action = {};
    action.sa_handler = handler;
    action.sa_flags = flags;
    ASSERT_EQ(sigaction(signum, &action, nullptr), 0);
  }
  // The signal comes once the caller waits; then `after` is done.
  static void SignalSoon(
      int signum = SIGUSR1, std::function<void()> after = [] {}) {
    Spawn([signum, after = std::move(after)] {
      kill(getpid(), signum);
      Sleep(absl::Milliseconds(1));  // once nothing is left to do, for time is a test's
      after();
    });
  }
};

TEST_F(PatchedSignals, EndASleepThatSaysWhatWasLeft) {
  Handle(SIGUSR1, SA_RESTART);  // which is for others
  for (const bool relative : {true, false}) {
    Spawn([] {
      Sleep(absl::Minutes(10));
      kill(getpid(), SIGUSR1);
    });
    timespec left = {};
    if (relative) {
      EXPECT_EQ(nanosleep(&kHour, &left), -1);
      EXPECT_EQ(errno, EINTR);
    } else {
      EXPECT_EQ(clock_nanosleep(CLOCK_MONOTONIC, 0, &kHour, &left), EINTR);
    }
    EXPECT_GT(left.tv_sec, 2990);
    EXPECT_LE(left.tv_sec, 3000);
  }
  SignalSoon();
  EXPECT_GT(sleep(3600), 3500u);
  SignalSoon();
  EXPECT_EQ(usleep(900'000), -1);
  EXPECT_EQ(errno, EINTR);
  SignalSoon();
  timespec left = {};
  EXPECT_EQ(thrd_sleep(&kHour, &left), -1);
  EXPECT_GT(left.tv_sec, 3500);
  EXPECT_EQ(handled, 5);
}

TEST_F(PatchedSignals, EndAReadUnlessTheyRestartIt) {
  Pipe p;
  char c = 0;
  Handle(SIGUSR1, 0);
  SignalSoon();
  EXPECT_EQ(read(p.ends[0], &c, 1), -1);
  EXPECT_EQ(errno, EINTR);
  EXPECT_EQ(handled, 1);
  Handle(SIGUSR1, SA_RESTART);
  SignalSoon(SIGUSR1, [&] { EXPECT_EQ(write(p.ends[1], "x", 1), 1); });
  EXPECT_EQ(read(p.ends[0], &c, 1), 1);
  EXPECT_EQ(c, 'x');
  EXPECT_EQ(handled, 2);
}

TEST_F(PatchedSignals, EndCallsOfSocketsWithATimeoutInAnyCase) {
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  const timeval hour = {.tv_sec = 3600, .tv_usec = 0};
  ASSERT_EQ(setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &hour, sizeof hour), 0);
  Handle(SIGUSR1, SA_RESTART);
  char c;
  SignalSoon();
  EXPECT_EQ(recv(pair[0], &c, 1, 0), -1);
  EXPECT_EQ(errno, EINTR);
  SignalSoon();
  EXPECT_EQ(read(pair[0], &c, 1), -1);
  EXPECT_EQ(errno, EINTR);
  close(pair[0]);
  close(pair[1]);
}

TEST_F(PatchedSignals, AWriteThatHasBegunSaysHowMuch) {
  Pipe p;
  fcntl(p.ends[1], F_SETPIPE_SZ, 4096);
  const std::string much(100'000, 'x');
  Handle(SIGUSR1, 0);
  SignalSoon();
  const ssize_t n = write(p.ends[1], much.data(), much.size());
  EXPECT_GT(n, 0);
  EXPECT_LT(n, 100'000);
  SignalSoon();
  EXPECT_EQ(write(p.ends[1], much.data(), much.size()), -1);
  EXPECT_EQ(errno, EINTR);
}

TEST_F(PatchedSignals, EndPollAndItsLikeInAnyCase) {
  Pipe p;
  Handle(SIGUSR1, SA_RESTART);
  pollfd polled = {.fd = p.ends[0], .events = POLLIN, .revents = 0};
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  const auto select_it = [&] {
    fd_set set;
    FD_ZERO(&set);
    FD_SET(p.ends[0], &set);
    return select(p.ends[0] + 1, &set, nullptr, nullptr, nullptr);
  };
  epoll_event event;
  const std::function<int()> calls[] = {
      [&] { return poll(&polled, 1, -1); },
      [&] { return ppoll(&polled, 1, &kHour, nullptr); },
      select_it,
      [&] { return epoll_wait(epoll, &event, 1, -1); },
  };
  for (const auto& call : calls) {
    SignalSoon();
    EXPECT_EQ(call(), -1);
    EXPECT_EQ(errno, EINTR);
  }
  EXPECT_EQ(handled, 4);
  // What is ready comes before what was interrupted.
  Spawn([&] {
    kill(getpid(), SIGUSR1);
    EXPECT_EQ(write(p.ends[1], "x", 1), 1);
  });
  EXPECT_EQ(poll(&polled, 1, -1), 1);
  close(epoll);
}

TEST_F(PatchedSignals, AMaskOfACallLetsThemIn) {
  sigset_t usr1;
  sigset_t none;
  sigemptyset(&none);
  sigemptyset(&usr1);
  sigaddset(&usr1, SIGUSR1);
  Handle(SIGUSR1, SA_RESTART);
  ASSERT_EQ(pthread_sigmask(SIG_BLOCK, &usr1, nullptr), 0);
  SignalSoon();
  EXPECT_EQ(ppoll(nullptr, 0, nullptr, &none), -1);
  EXPECT_EQ(errno, EINTR);
  SignalSoon();
  EXPECT_EQ(sigsuspend(&none), -1);
  EXPECT_EQ(errno, EINTR);
  EXPECT_EQ(handled, 2);
  // One that is there already.
  kill(getpid(), SIGUSR1);
  EXPECT_EQ(handled, 2);
  EXPECT_EQ(sigsuspend(&none), -1);
  EXPECT_EQ(handled, 3);
  // And one that was let in before.
  ASSERT_EQ(pthread_sigmask(SIG_UNBLOCK, &usr1, nullptr), 0);
  SignalSoon();
  EXPECT_EQ(sigsuspend(&none), -1);
  EXPECT_EQ(handled, 4);
}

TEST_F(PatchedSignals, EndAWaitForASemaphoreUnlessTheyRestartIt) {
  sem_t semaphore;
  sem_init(&semaphore, 0, 0);
  Handle(SIGUSR1, 0);
  SignalSoon();
  EXPECT_EQ(sem_wait(&semaphore), -1);
  EXPECT_EQ(errno, EINTR);
  timespec later;
  clock_gettime(CLOCK_REALTIME, &later);
  later.tv_sec += 3600;
  SignalSoon();
  EXPECT_EQ(sem_timedwait(&semaphore, &later), -1);
  EXPECT_EQ(errno, EINTR);
  Handle(SIGUSR1, SA_RESTART);
  SignalSoon(SIGUSR1, [&] { sem_post(&semaphore); });
  EXPECT_EQ(sem_wait(&semaphore), 0);
  EXPECT_EQ(handled, 3);
  sem_destroy(&semaphore);
}

// Whom a handler of the next two tests calls.
sem_t* to_post;
int to_write = -1;

TEST_F(PatchedSignals, AHandlerMayPostASemaphoreThatIsWaitedFor) {
  sem_t semaphore;
  sem_init(&semaphore, 0, 0);
  to_post = &semaphore;
  for (const int flags : {SA_RESTART, 0}) {
    Handle(SIGUSR1, flags, [](int) { sem_post(to_post); });
    SignalSoon();
    EXPECT_EQ(sem_wait(&semaphore), 0) << strerror(errno);
  }
  sem_destroy(&semaphore);
}

// What it interrupts may be the hub, in the middle of its queue.
TEST_F(PatchedSignals, AHandlerMayPostASemaphoreAtAnyMoment) {
  sem_t semaphore;
  sem_init(&semaphore, 0, 0);
  to_post = &semaphore;
  Handle(SIGALRM, SA_RESTART, [](int) { sem_post(to_post); });
  bool over = false;
  Greenlet<> busy[3];
  for (Greenlet<>& g : busy) {
    g = Spawn([&] {
      while (!over) sched_yield();
    });
  }
  const itimerval often = {.it_interval = {.tv_sec = 0, .tv_usec = 100},
                           .it_value = {.tv_sec = 0, .tv_usec = 100}};
  ASSERT_EQ(setitimer(ITIMER_REAL, &often, nullptr), 0);
  for (int i = 0; i < 500; ++i) ASSERT_EQ(sem_wait(&semaphore), 0);
  const itimerval never = {};
  ASSERT_EQ(setitimer(ITIMER_REAL, &never, nullptr), 0);
  over = true;
  for (const Greenlet<>& g : busy) g.Join();
  sem_destroy(&semaphore);
}

TEST_F(PatchedSignals, EachThreadThatIsSentOneHasItsOwn) {
  Handle(SIGUSR1, 0);
  Pipe p;
  std::thread readers[3];
  int errors[3] = {};
  for (int i = 0; i < 3; ++i) {
    readers[i] = std::thread([&, i] {
      char c;
      errors[i] = read(p.ends[0], &c, 1) < 0 ? errno : 0;
    });
  }
  Yield();
  for (std::thread& t : readers) EXPECT_EQ(pthread_kill(t.native_handle(), SIGUSR1), 0);
  for (std::thread& t : readers) t.join();
  for (const int error : errors) EXPECT_EQ(error, EINTR);
}

TEST_F(PatchedSignals, AHandlerMayWriteToThePipeThatIsRead) {
  Pipe p;
  to_write = p.ends[1];
  Handle(SIGUSR1, SA_RESTART, [](int) { EXPECT_EQ(write(to_write, "!", 1), 1); });
  SignalSoon();
  char c = 0;
  EXPECT_EQ(read(p.ends[0], &c, 1), 1);
  EXPECT_EQ(c, '!');
}

// What it has interrupted may be in the middle of anything, malloc() for one.
TEST_F(PatchedSignals, AHandlerThatMakesManyCallsLetsNobodyRunMeanwhile) {
  constexpr int kCalls = 200;  // more than a greenlet may do in a row
  static bool ran, ran_meanwhile;
  ran = false;
  Pipe p;
  to_write = p.ends[1];
  Handle(SIGUSR1, SA_RESTART, [](int) {
    for (int i = 0; i < kCalls; ++i) EXPECT_EQ(write(to_write, "!", 1), 1);
    ran_meanwhile = ran;
  });
  const Greenlet<> other = Spawn([] { ran = true; });
  ASSERT_EQ(raise(SIGUSR1), 0);
  EXPECT_FALSE(ran_meanwhile);
  char c = 0;
  for (int i = 0; i < kCalls; ++i) EXPECT_EQ(read(p.ends[0], &c, 1), 1);
  EXPECT_TRUE(ran) << "outside of handlers, others have their turns";
  other.Join();
}

TEST_F(PatchedSignals, PauseWaitsForOne) {
  Handle(SIGUSR1, SA_RESTART);
  SignalSoon();
  EXPECT_EQ(pause(), -1);
  EXPECT_EQ(errno, EINTR);
  EXPECT_EQ(handled, 1);
  // By a timer of the kernel's.
  Handle(SIGALRM, SA_RESTART);
  // Again and again: the first one may come before the wait.
  const timeval soon = {.tv_sec = 0, .tv_usec = 1000};
  const itimerval often = {.it_interval = soon, .it_value = soon};
  ASSERT_EQ(setitimer(ITIMER_REAL, &often, nullptr), 0);
  EXPECT_EQ(pause(), -1);
  const itimerval never = {};
  ASSERT_EQ(setitimer(ITIMER_REAL, &never, nullptr), 0);
  EXPECT_GE(handled, 2);
  handled = 2;
  // From another process. Others run meanwhile.
  bool ran = false;
  Spawn([&] {
    const std::string command = "kill -USR1 " + std::to_string(getpid());
    EXPECT_EQ(system(command.c_str()), 0);
    ran = true;
  });
  EXPECT_EQ(pause(), -1);
  EXPECT_EQ(handled, 3);
  while (!ran) Yield();
  // With one let in for as long, as System V has it.
  sigset_t usr1, before;
  sigemptyset(&usr1);
  sigaddset(&usr1, SIGUSR1);
  ASSERT_EQ(pthread_sigmask(SIG_BLOCK, &usr1, &before), 0);
  SignalSoon();
  EXPECT_EQ(PauseFor(SIGUSR1), -1);
  EXPECT_EQ(errno, EINTR);
  EXPECT_EQ(handled, 4);
  ASSERT_EQ(pthread_sigmask(SIG_SETMASK, &before, nullptr), 0);
}

TEST_F(PatchedSignals, LocksAreWaitedForToTheEnd) {
  Handle(SIGUSR1, 0);
  std::mutex mutex;
  const Greenlet<> holder = Spawn([&] {
    mutex.lock();
    Sleep(absl::Seconds(1));
    kill(getpid(), SIGUSR1);
    Sleep(absl::Seconds(1));
    mutex.unlock();
  });
  Yield();
  mutex.lock();
  EXPECT_EQ(handled, 1);
  EXPECT_GE(Elapsed(), absl::Seconds(2));
  mutex.unlock();
}

TEST_F(PatchedSignals, WhoHasEndedAWaitEndsNoOther) {
  Handle(SIGUSR1, 0);
  Pipe p;
  char c;
  // Before the call, it is none of its business.
  kill(getpid(), SIGUSR1);
  EXPECT_EQ(handled, 1);
  Spawn([&] { EXPECT_EQ(write(p.ends[1], "x", 1), 1); });
  EXPECT_EQ(read(p.ends[0], &c, 1), 1);
}

TEST_F(PatchedSignals, TheMainGreenletTakesThemFirst) {
  Handle(SIGUSR1, 0);
  Pipe p;
  bool read_on = false;
  const Greenlet<> reader = Spawn([&] {
    char c;
    read_on = read(p.ends[0], &c, 1) == 1;
  });
  Yield();
  SignalSoon();
  EXPECT_EQ(nanosleep(&kHour, nullptr), -1);
  EXPECT_EQ(write(p.ends[1], "x", 1), 1);
  reader.Join();
  EXPECT_TRUE(read_on);
  // While it waits for what no signal ends, whoever has waited longest.
  int first = 0, second = 0;
  const auto read_error = [&](int* error) {
    char c;
    *error = read(p.ends[0], &c, 1) < 0 ? errno : 0;
  };
  const Greenlet<> a = Spawn([&] { read_error(&first); });
  const Greenlet<> b = Spawn([&] { read_error(&second); });
  Yield();
  SignalSoon();
  a.Join();
  EXPECT_EQ(write(p.ends[1], "x", 1), 1);
  b.Join();
  EXPECT_EQ(first, EINTR);
  EXPECT_EQ(second, 0);
}

TEST_F(PatchedSignals, AThreadGetsWhatIsSentToIt) {
  Handle(SIGUSR1, 0);
  Pipe p;
  int error = 0;
  std::thread reader([&] {
    char c;
    error = read(p.ends[0], &c, 1) < 0 ? errno : 0;
  });
  std::thread other([&] {
    EXPECT_EQ(pthread_kill(reader.native_handle(), SIGUSR1), 0);
    EXPECT_EQ(raise(SIGUSR1), 0);  // of its own, which waits for nothing
  });
  timespec left = {};
  const timespec minute = {.tv_sec = 60, .tv_nsec = 0};
  EXPECT_EQ(nanosleep(&minute, &left), 0) << "it was not for the main thread";
  reader.join();
  other.join();
  EXPECT_EQ(error, EINTR);
  EXPECT_EQ(handled, 2);
  // And the main thread as well.
  const pthread_t main = pthread_self();
  std::thread third([&] { EXPECT_EQ(pthread_kill(main, SIGUSR1), 0); });
  EXPECT_EQ(nanosleep(&minute, &left), -1);
  third.join();
}

TEST_F(PatchedSignals, EndAWaitForAChildUnlessTheyRestartIt) {
  Pipe p;
  const pid_t child = fork();
  if (child == 0) {
    const Unpatched unpatched;
    char c;
    (void)!read(p.ends[0], &c, 1);
    _exit(7);
  }
  Handle(SIGUSR1, 0);
  SignalSoon();
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), -1);
  EXPECT_EQ(errno, EINTR);
  Handle(SIGUSR1, SA_RESTART);
  SignalSoon(SIGUSR1, [&] { EXPECT_EQ(write(p.ends[1], "x", 1), 1); });
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 7);
}

TEST_F(PatchedSignals, AreWaitedForByName) {
  sigset_t both;
  sigset_t one;
  sigemptyset(&one);
  sigaddset(&one, SIGUSR1);
  both = one;
  sigaddset(&both, SIGUSR2);
  ASSERT_EQ(pthread_sigmask(SIG_BLOCK, &both, nullptr), 0);
  int signum = 0;
  // From another process, while others run.
  const Greenlet<> sender = Spawn([] {
    const std::string command = "kill -USR2 " + std::to_string(getpid());
    EXPECT_EQ(system(command.c_str()), 0);
  });
  EXPECT_EQ(sigwait(&both, &signum), 0);
  EXPECT_EQ(signum, SIGUSR2);
  sender.Join();
  SignalSoon();
  siginfo_t info = {};
  EXPECT_EQ(sigwaitinfo(&both, &info), SIGUSR1);
  EXPECT_EQ(info.si_pid, getpid());
  EXPECT_EQ(sigtimedwait(&both, &info, &kHour), -1);
  EXPECT_EQ(errno, EAGAIN);
  const timespec none = {};
  EXPECT_EQ(sigtimedwait(&both, nullptr, &none), -1);
  EXPECT_EQ(errno, EAGAIN);
  // Another's handler ends it; but not sigwait().
  Handle(SIGALRM, SA_RESTART);
  SignalSoon(SIGALRM);
  EXPECT_EQ(sigwaitinfo(&both, nullptr), -1);
  EXPECT_EQ(errno, EINTR);
  SignalSoon(SIGALRM, [] { kill(getpid(), SIGUSR2); });
  EXPECT_EQ(sigwait(&both, &signum), 0);
  EXPECT_EQ(signum, SIGUSR2);
  // Two that wait for the same: one each.
  int taken = 0;
  const auto take = [&] {
    int which;
    taken += sigwait(&one, &which) == 0;
  };
  std::thread a(take), b(take);
  Sleep(absl::Milliseconds(1));
  kill(getpid(), SIGUSR1);
  Sleep(absl::Milliseconds(1));
  EXPECT_EQ(taken, 1);
  kill(getpid(), SIGUSR1);
  a.join();
  b.join();
  EXPECT_EQ(taken, 2);
  ASSERT_EQ(pthread_sigmask(SIG_UNBLOCK, &both, nullptr), 0);
}

TEST_F(PatchedSignals, TheProgramSeesTheHandlerThatItHasInstalled) {
  struct sigaction action = {};
  struct sigaction seen = {};
  Handle(SIGUSR1, SA_NODEFER);
  ASSERT_EQ(sigaction(SIGUSR1, nullptr, &seen), 0);
  EXPECT_EQ(seen.sa_handler, &Count);
  EXPECT_EQ(seen.sa_flags & (SA_SIGINFO | SA_NODEFER), SA_NODEFER);
  EXPECT_EQ(signal(SIGUSR1, SIG_IGN), &Count);
  EXPECT_EQ(signal(SIGUSR1, SIG_DFL), SIG_IGN);
  EXPECT_EQ(signal(SIGUSR1, &Count), SIG_DFL);
  ASSERT_EQ(sigaction(SIGUSR1, nullptr, &seen), 0);
  EXPECT_NE(seen.sa_flags & SA_RESTART, 0);
  EXPECT_EQ(Interrupts(SIGUSR1, 1), 0);
  ASSERT_EQ(sigaction(SIGUSR1, nullptr, &seen), 0);
  EXPECT_EQ(seen.sa_flags & SA_RESTART, 0);
  EXPECT_EQ(signal(SIGUSR1, &Count), &Count);
  ASSERT_EQ(sigaction(SIGUSR1, nullptr, &seen), 0);
  EXPECT_EQ(seen.sa_flags & SA_RESTART, 0) << "it stays said";
  EXPECT_EQ(Interrupts(SIGUSR1, 0), 0);
  EXPECT_EQ(signal(SIGKILL, &Count), SIG_ERR);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(signal(0, &Count), SIG_ERR);
  EXPECT_EQ(Set(SIGUSR1, SIG_HOLD), &Count);
  kill(getpid(), SIGUSR1);
  EXPECT_EQ(handled, 0);
  EXPECT_EQ(Set(SIGUSR1, &Count), SIG_HOLD);
  EXPECT_EQ(handled, 1);
  // With three arguments, and for one time.
  action.sa_sigaction = [](int signum, siginfo_t* info, void*) {
    EXPECT_EQ(signum, SIGUSR1);
    EXPECT_EQ(info->si_pid, getpid());
    Count(signum);
  };
  action.sa_flags = SA_SIGINFO | static_cast<int>(SA_RESETHAND);
  ASSERT_EQ(sigaction(SIGUSR1, &action, nullptr), 0);
  kill(getpid(), SIGUSR1);
  EXPECT_EQ(handled, 2);
  ASSERT_EQ(sigaction(SIGUSR1, nullptr, &seen), 0);
  EXPECT_EQ(seen.sa_handler, SIG_DFL);
}

sigjmp_buf place;

TEST_F(PatchedSignals, AHandlerMayLeaveByAJump) {
  Handle(SIGUSR1, SA_NODEFER, [](int) { siglongjmp(place, 1); });
  if (sigsetjmp(place, 1) == 0) {
    kill(getpid(), SIGUSR1);
    ADD_FAILURE() << "it came back";
  }
  Handle(SIGUSR1, 0);
  SignalSoon();
  EXPECT_EQ(nanosleep(&kHour, nullptr), -1);
}

TEST_F(PatchedSignals, AForkedChildHasItsOwn) {
  if (GROVE_TSAN) GTEST_SKIP() << "ThreadSanitizer and fork() of several threads";
  Handle(SIGUSR1, 0);
  Pipe p;
  const Greenlet<> reader = Spawn([&] {
    char c;
    EXPECT_EQ(read(p.ends[0], &c, 1), 1);
  });
  Yield();
  const pid_t child = fork();
  if (child == 0) {
    SignalSoon();
    char c;
    _exit(read(p.ends[0], &c, 1) < 0 && errno == EINTR ? 0 : 1);
  }
  int status = -1;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(write(p.ends[1], "x", 1), 1);
  reader.Join();
}

}  // namespace
}  // namespace grove::patch
