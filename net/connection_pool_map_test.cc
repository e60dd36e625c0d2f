#include "grove/net/connection_pool_map.h"

#include <gtest/gtest.h>

#include <optional>
#include <stdexcept>
#include <string>

#include "grove/green/greenlet.h"
#include "grove/green/sleep.h"
#include "grove/green/testing/greenlet_test.h"

namespace grove::net {
namespace {

using Pools = ConnectionPoolMap<std::string, std::string>;

Pools::Pool::Options OptionsOf(const std::string& key) {
  return {.connect = [key](Deadline) -> absl::StatusOr<std::string> {
            if (key == "down") return absl::UnavailableError("down");
            return "to " + key;
          },
          .max_size = 1,
          .idle_timeout = absl::Seconds(10)};
}

GREENLET_TEST(ConnectionPoolMapTest, EachKeyHasItsOwn) {
  Pools pools(&OptionsOf);
  Pools::Lease a = *pools.Get("a");
  Pools::Lease b = *pools.Get("b");
  EXPECT_EQ(*a, "to a");
  EXPECT_EQ(*b, "to b");
  EXPECT_EQ(pools.Get("a", absl::Seconds(1)).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(pools.Get("down").status().code(), absl::StatusCode::kUnavailable);
  a.GiveBack();
  EXPECT_TRUE(pools.Get("a").ok());
  EXPECT_EQ(pools.statistics()["a"].connected, 1u);
}

GREENLET_TEST(ConnectionPoolMapTest, OptionsThatCannotBeHadLeaveNoPool) {
  bool fails = true;
  Pools pools([&](const std::string& key) {
    if (fails) throw std::runtime_error("no options");
    return OptionsOf(key);
  });
  EXPECT_THROW(pools.Get("a").IgnoreError(), std::runtime_error);
  EXPECT_EQ(pools.size(), 0u);
  EXPECT_TRUE(pools.statistics().empty());
  fails = false;
  EXPECT_TRUE(pools.Get("a").ok());
}

GREENLET_TEST(ConnectionPoolMapTest, PoolsThatHaveNothingAreForgotten) {
  Pools pools(&OptionsOf);
  for (int i = 0; i < 100; ++i) {
    EXPECT_TRUE(pools.Get(std::to_string(i)).ok());
    EXPECT_FALSE(pools.Get("down").ok());
    Sleep(absl::Seconds(1));
  }
  EXPECT_LE(pools.size(), 13u);
  // Those that are used stay.
  Pools::Lease lent = *pools.Get("x");
  Sleep(absl::Seconds(60));
  EXPECT_TRUE(pools.Get("y").ok());
  EXPECT_EQ(pools.size(), 2u);
}

GREENLET_TEST(ConnectionPoolMapTest, CloseWaitsForWhatIsLent) {
  Pools pools(&OptionsOf);
  std::optional<Pools::Lease> a = *pools.Get("a");
  std::optional<Pools::Lease> b = *pools.Get("b");
  EXPECT_EQ(pools.Close(absl::Seconds(1)), 2u);
  EXPECT_EQ(pools.Get("c").status().code(), absl::StatusCode::kFailedPrecondition);
  a.reset();
  b.reset();
  EXPECT_EQ(pools.Close(), 0u);
}

}  // namespace
}  // namespace grove::net
