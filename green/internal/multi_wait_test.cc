#include "grove/green/internal/multi_wait.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/interrupt.h"
#include "grove/green/sleep.h"
#include "grove/green/timeout.h"

namespace grove::green_internal {
namespace {

TEST(EndWatch, TellsItsObserverOfTheEndOnce) {
  struct Ends final : Observer {
    void Fulfilled(ListedWaiter* w) override {
      static_cast<EndWatch*>(w)->Take();
      ++n;
    }
    std::string Who() const override { return "a test"; }
    int n = 0;
  };
  ManualClock clock;
  HubScope scope({.clock = &clock});
  Ends ends;
  EndWatch watch, stopped;
  const auto g = Spawn([] { Sleep(absl::Seconds(1)); });
  watch.Start(g.core(), &ends);
  stopped.Start(g.core(), &ends);
  stopped.Stop();
  g.Join();
  EXPECT_EQ(ends.n, 1);
}

}  // namespace
}  // namespace grove::green_internal
