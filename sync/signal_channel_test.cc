#include "grove/sync/signal_channel.h"

#include <signal.h>
#include <unistd.h>

#include "grove/green/sleep.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/sync/select.h"

namespace grove {
namespace {

void SendToSelf(int signum) { ASSERT_EQ(kill(getpid(), signum), 0); }

GREENLET_TEST(SignalChannel, ReceivesSignals) {
  SignalChannel signals({SIGUSR1, SIGUSR2});
  SendToSelf(SIGUSR1);
  EXPECT_EQ(signals.Receive()->signum, SIGUSR1);
  SpawnLater(absl::Seconds(1), [] { SendToSelf(SIGUSR2); });
  const absl::StatusOr<SignalInfo> info = signals.Receive();
  ASSERT_TRUE(info.ok());
  EXPECT_EQ(info->signum, SIGUSR2);
  EXPECT_EQ(info->pid, getpid());
}

GREENLET_TEST(SignalChannel, ADeadlineTakesNoSignalAway) {
  SignalChannel signals({SIGUSR1});
  EXPECT_EQ(signals.Receive(absl::Seconds(1)).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  SendToSelf(SIGUSR1);
  EXPECT_EQ(signals.Receive()->signum, SIGUSR1);
}

GREENLET_TEST(SignalChannel, AKilledReceiverTakesNoSignalAway) {
  SignalChannel signals({SIGUSR1});
  const Greenlet<> g = Spawn([&] { (void)signals.Receive(); });
  Yield();
  SendToSelf(SIGUSR1);
  g.Kill();
  EXPECT_EQ(signals.Receive(absl::Seconds(1))->signum, SIGUSR1);
}

GREENLET_TEST(SignalChannel, CanBeSelectedWithOtherThings) {
  SignalChannel signals({SIGTERM});
  Channel<int> jobs;
  const Greenlet<> producer = Spawn([&] {
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(jobs.Send(i).ok());
    SendToSelf(SIGTERM);
  });
  ReceiveCase stop(signals.channel());
  ReceiveCase job(jobs);
  int done = 0;
  while (Select({stop, job}) == 1) ++done;
  EXPECT_EQ(done, 3);
  EXPECT_EQ(stop.value().signum, SIGTERM);
}

GREENLET_TEST(SignalChannel, EndsWithASignalAtItsDoor) {
  SignalChannel signals({SIGUSR1});
  SendToSelf(SIGUSR1);
  Sleep(absl::Seconds(1));
}

}  // namespace
}  // namespace grove
