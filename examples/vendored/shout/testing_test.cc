#include "grove/green/greenlet.h"
#include "grove/green/sleep.h"
#include "grove/green/testing/greenlet_test.h"

namespace shout {
namespace {

// The macros stand by themselves, in any namespace.
class Fixture : public grove::GreenletTest {
 protected:
  void SetUp() override { set_up_ = true; }
  bool set_up_ = false;
};

GREENLET_TEST_F(Fixture, IsForThisRepositoryToo) {
  EXPECT_TRUE(set_up_);
  grove::Sleep(absl::Hours(1));
  EXPECT_TRUE(HasTaken(absl::Hours(1)));
}

TEST(Seeds, AreForThisRepositoryToo) {
  int runs = 0;
  grove::ForEachSeed(10, [&] { grove::Spawn([&] { ++runs; }).Join(); });
  EXPECT_GE(runs, 1);
}

}  // namespace
}  // namespace shout
