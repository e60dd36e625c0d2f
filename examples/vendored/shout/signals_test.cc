#include "grove/green/os/signals.h"

#include <signal.h>

#include "gtest/gtest.h"

namespace {

TEST(Signals, ComeAsValues) {
  grove::SignalListener signals({SIGUSR1});
  raise(SIGUSR1);
  EXPECT_EQ(signals.Wait(absl::Seconds(30)), SIGUSR1);
}

}  // namespace
