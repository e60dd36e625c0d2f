#include "grove/hub/internal/edge_trigger.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>
#include <optional>

namespace grove::hub_internal {
namespace {

constexpr uint64_t kCookie = 0x1234'5678'9abc'def0;

class EdgeTriggerTest : public ::testing::Test {
 protected:
  EdgeTriggerTest() {
    epoll_event e = {};
    e.events = EPOLLIN;
    e.data.u64 = kCookie;
    EXPECT_EQ(epoll_ctl(set_, EPOLL_CTL_ADD, event_, &e), 0);
  }
  ~EdgeTriggerTest() override {
    close(event_);
    close(set_);
  }

  void Write() {
    const uint64_t one = 1;
    ASSERT_EQ(write(event_, &one, sizeof one), 8);
  }
  // What the set tells of now: its number for the descriptor.
  std::optional<uint64_t> Told() {
    epoll_event e;
    if (epoll_wait(set_, &e, 1, 0) != 1) return std::nullopt;
    EXPECT_EQ(e.events, uint32_t{EPOLLIN});
    return uint64_t{e.data.u64};
  }

  const int event_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  const int set_ = epoll_create1(EPOLL_CLOEXEC);
};

TEST_F(EdgeTriggerTest, EachWriteIsToldOfOnceThoughNobodyReads) {
  Write();
  EXPECT_EQ(Told(), kCookie);
  EXPECT_EQ(Told(), kCookie) << "level-triggered until now";
  ASSERT_TRUE(MakeEdgeTriggered(set_, event_));
  EXPECT_EQ(Told(), kCookie) << "what is there already is told of once more";
  EXPECT_EQ(Told(), std::nullopt);
  for (int i = 0; i < 3; ++i) {
    Write();
    EXPECT_EQ(Told(), kCookie);
    EXPECT_EQ(Told(), std::nullopt);
  }
}

TEST_F(EdgeTriggerTest, TheRightOneOfManyIsFound) {
  const int other = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC);
  epoll_event e = {};
  e.events = EPOLLIN;
  e.data.u64 = 7;
  ASSERT_EQ(epoll_ctl(set_, EPOLL_CTL_ADD, other, &e), 0);
  ASSERT_TRUE(MakeEdgeTriggered(set_, other));
  EXPECT_EQ(Told(), 7u);
  EXPECT_EQ(Told(), std::nullopt);
  Write();
  EXPECT_EQ(Told(), kCookie);
  EXPECT_EQ(Told(), kCookie) << "the other one is as it was";
  close(other);
}

TEST_F(EdgeTriggerTest, WhatIsNotInASetIsRefused) {
  const int stranger = eventfd(0, EFD_CLOEXEC);
  EXPECT_FALSE(MakeEdgeTriggered(set_, stranger));
  EXPECT_FALSE(MakeEdgeTriggered(event_, event_)) << "no epoll set";
  EXPECT_FALSE(MakeEdgeTriggered(-1, event_));
  EXPECT_FALSE(MakeEdgeTriggered(stranger + 100, event_)) << "not open";
  close(stranger);
}

TEST(LowestFreeDescriptor, IsTheNextOneThatIsOpened) {
  const int expected = LowestFreeDescriptor();
  const int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
  EXPECT_EQ(fd, expected);
  close(fd);
}

}  // namespace
}  // namespace grove::hub_internal
