#include "grove/green/os/signals.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/sleep.h"
#include "grove/green/timeout.h"

namespace grove {
namespace {

// To this process: any thread may get it, as with a signal from outside.
void SendToSelf(int signum) { ASSERT_EQ(kill(getpid(), signum), 0); }

class SignalListenerTest : public testing::Test {
 protected:
  bool HasTaken(absl::Duration expected) const {
    const absl::Duration elapsed = absl::Nanoseconds(clock_.Now() - start_);
    return elapsed >= expected && elapsed <= expected + absl::Microseconds(10);
  }

  ManualClock clock_;
  const MonotonicNanos start_ = clock_.Now();
  HubScope scope_{HubOptions{.clock = &clock_}};
};

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
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid == 0) {
    kill(parent, SIGUSR1);
    _exit(0);
  }
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

TEST(SignalListenerDeathTest, ASecondHubThatListensToTheSameSignalIsFatal) {
  EXPECT_EXIT(
      {
        HubScope scope;
        SignalListener signals({SIGUSR1});
        std::thread([] {
          HubScope scope;
          SignalListener second({SIGUSR1});
        }).join();
        _exit(0);
      },
      testing::KilledBySignal(SIGABRT), "");
}

}  // namespace
}  // namespace grove
