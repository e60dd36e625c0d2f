#include "grove/green/os/signals.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/sleep.h"
#include "grove/green/testing/main_greenlet_test.h"
#include "grove/green/timeout.h"

namespace grove {
namespace {

// To this process: any thread may get it, as with a signal from outside.
void SendToSelf(int signum) { ASSERT_EQ(kill(getpid(), signum), 0); }

class SignalListenerTest : public MainGreenletTest {};

TEST_F(SignalListenerTest, ReturnsASignalThatCameBefore) {
  SignalListener signals({SIGUSR1});
  SendToSelf(SIGUSR1);
  EXPECT_EQ(signals.Wait(), SIGUSR1);
  EXPECT_EQ(signals.Wait(absl::Seconds(1)), std::nullopt) << "once";
  EXPECT_TRUE(HasTaken(absl::Seconds(1)));
}

TEST_F(SignalListenerTest, WaitsForASignal) {
  SignalListener signals({SIGUSR1, SIGUSR2});
  Spawn([] {
    Sleep(absl::Seconds(2));
    SendToSelf(SIGUSR2);
    Sleep(absl::Seconds(1));
    SendToSelf(SIGUSR1);
  });
  EXPECT_EQ(signals.Wait(), SIGUSR2);
  EXPECT_TRUE(HasTaken(absl::Seconds(2)));
  EXPECT_EQ(signals.Wait(), SIGUSR1);
  EXPECT_TRUE(HasTaken(absl::Seconds(3)));
}

TEST_F(SignalListenerTest, AGreenletMayHandleSignalsAndBlock) {
  // TL-13.
  std::vector<int> handled;
  const Greenlet<> handler = Spawn([&] {
    SignalListener signals({SIGUSR1, SIGUSR2});
    while (handled.size() < 3) {
      const int signum = *signals.Wait();
      Sleep(absl::Seconds(1));
      handled.push_back(signum);
    }
  });
  Yield();
  for (const int signum : {SIGUSR1, SIGUSR2, SIGUSR1}) {
    SendToSelf(signum);
    Sleep(absl::Milliseconds(100));
  }
  handler.Join();
  EXPECT_EQ(handled, (std::vector<int>{SIGUSR1, SIGUSR2, SIGUSR1}));
}

TEST_F(SignalListenerTest, ReturnsNothingAtItsDeadline) {
  SignalListener signals({SIGUSR1});
  EXPECT_EQ(signals.Wait(absl::Seconds(2)), std::nullopt);
  EXPECT_TRUE(HasTaken(absl::Seconds(2)));
  EXPECT_EQ(signals.Wait(absl::ZeroDuration()), std::nullopt);
  EXPECT_TRUE(HasTaken(absl::Seconds(2)));
}

TEST_F(SignalListenerTest, AKilledWaiterTakesNoSignalAway) {
  SignalListener signals({SIGUSR1});
  const Greenlet<> g = Spawn([&] { signals.Wait(); });
  Yield();
  // The waiter is killed in the turn in which the signal arrives, before it can run:
  // whoever asks next gets it, unless the waiter has returned it.
  SendToSelf(SIGUSR1);
  g.Kill();
  EXPECT_TRUE(g.killed());
  EXPECT_EQ(signals.Wait(absl::Seconds(1)), SIGUSR1);
}

TEST_F(SignalListenerTest, SeveralMayWaitAndEachSignalGoesToOne) {
  SignalListener signals({SIGUSR1});
  std::vector<int> got;
  for (int i = 0; i < 3; ++i) {
    Spawn([&, i] {
      EXPECT_EQ(signals.Wait(), SIGUSR1);
      got.push_back(i);
    });
  }
  Yield();
  for (int i = 0; i < 3; ++i) {
    SendToSelf(SIGUSR1);
    Sleep(absl::Seconds(1));
    EXPECT_EQ(got.size(), static_cast<size_t>(i + 1));
  }
  EXPECT_EQ(got, (std::vector<int>{0, 1, 2})) << "first come, first served";
}

TEST_F(SignalListenerTest, ATimeoutEndsAWait) {
  SignalListener signals({SIGUSR1});
  EXPECT_EQ(WithTimeout(absl::Seconds(1), [&] { signals.Wait(); }).code(),
            absl::StatusCode::kDeadlineExceeded);
  SendToSelf(SIGUSR1);
  EXPECT_EQ(signals.Wait(), SIGUSR1);
}

TEST_F(SignalListenerTest, ListenersMayFollowOneAnother) {
  for (int i = 0; i < 3; ++i) {
    SignalListener signals({SIGUSR1});
    SendToSelf(SIGUSR1);
    EXPECT_EQ(signals.Wait(), SIGUSR1);
  }
}

TEST_F(SignalListenerTest, ListeningAloneDoesNotKeepTheHubGoing) {
  SignalListener signals({SIGUSR1});
  EXPECT_TRUE(JoinHub());
  const Greenlet<> stuck = Spawn([] { Sleep(absl::InfiniteDuration()); });
  EXPECT_THROW(stuck.Join(), LoopExit);
  // But waiting does.
  const Greenlet<> g = Spawn([&] { signals.Wait(); });
  Yield();
  EXPECT_FALSE(JoinHub(absl::Seconds(1)));
  g.Kill();  // before the listener ends
}

TEST_F(SignalListenerTest, AWaitThatEndsByAKillNoLongerKeepsTheHubGoing) {
  SignalListener signals({SIGUSR1});
  const Greenlet<> g = Spawn([&] { signals.Wait(); });
  Yield();
  g.Kill();
  EXPECT_TRUE(JoinHub());
  EXPECT_FALSE(ThisHub().HasWakers());
}

TEST_F(SignalListenerTest, SignalsComeFromAnotherProcessWhileTheHubSleeps) {
  SignalListener signals({SIGUSR1});
  // Not by fork(): ThreadSanitizer's child may wait for a lock that it has inherited.
  char shell[] = "/bin/sh", option[] = "-c", command[] = "kill -USR1 $PPID";
  char* const arguments[] = {shell, option, command, nullptr};
  pid_t pid = 0;
  ASSERT_EQ(posix_spawn(&pid, shell, nullptr, nullptr, arguments, environ), 0);
  EXPECT_EQ(signals.Wait(), SIGUSR1);
  int status = 0;
  EXPECT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_EQ(status, 0);
}

TEST(SignalListenerThreadTest, AnyThreadsHubMayListen) {
  // The signal is delivered to the process, hence perhaps to this thread.
  std::optional<int> got;
  std::thread listener([&] {
    HubScope scope;
    SignalListener signals({SIGUSR2});
    SendToSelf(SIGUSR2);
    got = signals.Wait();
  });
  listener.join();
  EXPECT_EQ(got, SIGUSR2);
}

TEST(SignalListenerDeathTest, ASignalNobodyListensToDoesWhatItWould) {
  EXPECT_EXIT(
      {
        HubScope scope;
        {
          SignalListener signals({SIGUSR1});
          SendToSelf(SIGUSR1);
          if (signals.Wait() != SIGUSR1) _exit(1);
        }
        SendToSelf(SIGUSR1);
        Yield();
      },
      testing::KilledBySignal(SIGUSR1), "");
}

TEST(SignalListenerDeathTest, AGracefulEndOnSigterm) {
  // The shape of a server's main().
  EXPECT_EXIT(
      {
        {
          HubScope scope;
          SignalListener signals({SIGINT, SIGTERM});
          Spawn([] {
            struct Farewell {
              ~Farewell() { fprintf(stderr, "served to the end\n"); }
            } farewell;
            Sleep(absl::InfiniteDuration());
          });
          SpawnLater(absl::Milliseconds(1), [] { SendToSelf(SIGTERM); });
          if (signals.Wait() != SIGTERM) _exit(1);
          if (Shutdown(absl::Seconds(10)) != 0) _exit(2);
        }
        _exit(0);
      },
      testing::ExitedWithCode(0), "served to the end");
}

// On the hub that the first call makes. It ends without unwinding anybody, so the
// listener is still there.
void LeaveAGreenletThatListens() {
  Spawn([] {
    SignalListener signals({SIGUSR1});
    signals.Wait();
  });
  Yield();
}

TEST(SignalListenerDeathTest, MainMayReturnWhileAGreenletListens) {
  EXPECT_EXIT(
      {
        LeaveAGreenletThatListens();
        exit(5);
      },
      testing::ExitedWithCode(5), "");
}

TEST(SignalListenerDeathTest, AThreadMayEndWhileAGreenletListens) {
  EXPECT_EXIT(
      {
        std::thread(&LeaveAGreenletThatListens).join();
        _exit(5);
      },
      testing::ExitedWithCode(5), "");
}

TEST_F(SignalListenerTest, EachListenerGetsEachSignal) {
  SignalListener first({SIGUSR1});
  SignalListener second({SIGUSR1, SIGUSR2, SIGUSR1});
  SendToSelf(SIGUSR1);
  EXPECT_EQ(first.Wait(), SIGUSR1);
  EXPECT_EQ(second.Wait(), SIGUSR1);
  SendToSelf(SIGUSR2);
  EXPECT_EQ(second.Wait(), SIGUSR2);
  EXPECT_EQ(first.Wait(absl::ZeroDuration()), std::nullopt);
}

TEST(SignalListenerThreadTest, ListenersOfSeveralHubsGetEachSignal) {
  constexpr int kHubs = 3;
  std::atomic<int> listening{0}, got{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < kHubs; ++i) {
    threads.emplace_back([&] {
      HubScope scope;
      SignalListener signals({SIGUSR1});
      ++listening;
      got += signals.Wait() == SIGUSR1;
    });
  }
  while (listening != kHubs) std::this_thread::yield();
  SendToSelf(SIGUSR1);
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(got, kHubs);
}

TEST(SignalListenerThreadTest, ListenersComeAndGoWhileSignalsCome) {
  HubScope scope;
  SignalListener always({SIGUSR1});
  std::atomic<bool> stop{false};
  std::thread sender([&] {
    while (!stop) SendToSelf(SIGUSR1);
  });
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([] {
      HubScope scope;
      for (int n = 0; n < 50; ++n) {
        SignalListener signals({SIGUSR1});
        EXPECT_EQ(signals.Wait(), SIGUSR1);
      }
    });
  }
  for (std::thread& t : threads) t.join();
  stop = true;
  sender.join();
  EXPECT_EQ(always.Wait(), SIGUSR1);
}

TEST_F(SignalListenerTest, WhatHasNotBeenTakenStandsForAllOfItsKind) {
  SignalListener signals({SIGUSR1, SIGUSR2});
  for (int i = 0; i < 5; ++i) {
    SendToSelf(SIGUSR1);
    SendToSelf(SIGUSR2);
    Sleep(absl::Milliseconds(1));
  }
  EXPECT_EQ(signals.Wait(), SIGUSR1);
  EXPECT_EQ(signals.Wait(), SIGUSR2);
  EXPECT_EQ(signals.Wait(absl::Seconds(1)), std::nullopt);
}

TEST_F(SignalListenerTest, TheHandlerThatWasThereComesBack) {
  const auto before = signal(SIGUSR1, SIG_IGN);
  {
    SignalListener first({SIGUSR1});
    { SignalListener second({SIGUSR1}); }
    SendToSelf(SIGUSR1);
    EXPECT_EQ(first.Wait(), SIGUSR1) << "not the last to go";
  }
  EXPECT_EQ(signal(SIGUSR1, before), SIG_IGN);
}

TEST_F(SignalListenerTest, SaysWhoSentIt) {
  SignalListener signals({SIGUSR1});
  SendToSelf(SIGUSR1);
  const std::optional<SignalInfo> info = signals.WaitInfo();
  ASSERT_TRUE(info.has_value());
  EXPECT_EQ(info->signum, SIGUSR1);
  EXPECT_EQ(info->code, SI_USER);
  EXPECT_EQ(info->pid, getpid());
  EXPECT_EQ(info->uid, getuid());
}

TEST_F(SignalListenerTest, ListensToTheEndsOfChildren) {
  // SG-1.
  SignalListener signals({SIGCHLD});
  char program[] = "/bin/sh", option[] = "-c", command[] = "exit 3";
  char* const arguments[] = {program, option, command, nullptr};
  pid_t pid = 0;
  ASSERT_EQ(posix_spawn(&pid, program, nullptr, nullptr, arguments, environ), 0);
  const std::optional<SignalInfo> info = signals.WaitInfo();
  ASSERT_TRUE(info.has_value());
  EXPECT_EQ(info->signum, SIGCHLD);
  EXPECT_EQ(info->pid, pid);
  EXPECT_EQ(info->code, CLD_EXITED);
  EXPECT_EQ(info->status, 3);
  EXPECT_EQ(waitpid(pid, nullptr, 0), pid) << "nobody has reaped it";
}

class OnSignalTest : public MainGreenletTest {};

TEST_F(OnSignalTest, CallsAHandlerInAGreenletOfItsOwn) {
  // TL-13.
  std::vector<int> handled;
  {
    const SignalHandler handler = OnSignal(SIGUSR1, [&](const SignalInfo& info) {
      Sleep(absl::Seconds(1));  // it may block
      handled.push_back(info.signum);
    });
    for (int i = 0; i < 2; ++i) {
      SendToSelf(SIGUSR1);
      Sleep(absl::Milliseconds(1));
    }
    EXPECT_TRUE(JoinHub());
    EXPECT_EQ(handled.size(), 2u) << "both at the same time";
    EXPECT_LT(Elapsed(), absl::Seconds(2));
    SendToSelf(SIGUSR1);
    Sleep(absl::Milliseconds(1));
  }
  EXPECT_TRUE(JoinHub());
  EXPECT_EQ(handled.size(), 3u) << "a handler that runs goes on when the guard has gone";
}

TEST_F(OnSignalTest, DoesNotKeepTheHubGoing) {
  const SignalHandler handler = OnSignal(SIGUSR1, [](const SignalInfo&) {});
  EXPECT_TRUE(JoinHub());
}

TEST_F(OnSignalTest, WhatTheHandlerThrowsIsReportedAndTheNextOneRuns) {
  int calls = 0;
  SignalHandler handler;
  handler = OnSignal(SIGUSR1, [&](const SignalInfo&) {
    if (++calls == 1) throw std::runtime_error("first");
  });
  testing::internal::CaptureStderr();
  for (int i = 0; i < 2; ++i) {
    SendToSelf(SIGUSR1);
    Sleep(absl::Milliseconds(1));
  }
  const std::string told = testing::internal::GetCapturedStderr();
  EXPECT_NE(told.find("std::runtime_error: first"), std::string::npos) << told;
  EXPECT_EQ(calls, 2);
}

TEST(SignalListenerDeathTest, WhatStandsForAnErrorOfTheProgramIsRefused) {
  EXPECT_DEATH(
      {
        HubScope scope;
        SignalListener signals({SIGSEGV});
      },
      "signal 11 cannot be listened to");
  EXPECT_DEATH(
      {
        HubScope scope;
        SignalListener signals({SIGKILL});
      },
      "signal 9 cannot be listened to");
}

}  // namespace
}  // namespace grove
