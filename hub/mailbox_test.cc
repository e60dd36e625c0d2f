#include "grove/hub/mailbox.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>

#include <atomic>
#include <cinttypes>
#include <cstdio>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "grove/hub/hub.h"
#include "grove/hub/internal/edge_trigger.h"

namespace grove {
namespace {

TEST(Mailbox, DeliversTheLettersOfASenderInOrder) {
  Hub hub;
  std::vector<int> got;
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(hub.handle().Post([&got, i] { got.push_back(i); }).ok());
  }
  hub.Turn(false);
  ASSERT_EQ(got.size(), 100u);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(got[i], i);
}

TEST(Mailbox, ManyThreadsWakeASleepingHubAndNothingIsLost) {
  constexpr int kThreads = 4;
  constexpr int kPosts = 20'000;
  Hub hub;
  std::vector<int> last(kThreads, -1);
  int total = 0;
  KeepAlive alive(&hub);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t, handle = hub.handle()] {
      for (int i = 0; i < kPosts; ++i) {
        ASSERT_TRUE(handle
                        .Post([&, t, i] {
                          EXPECT_EQ(last[t], i - 1);
                          last[t] = i;
                          if (++total == kThreads * kPosts) hub.Stop();
                        })
                        .ok());
      }
    });
  }
  hub.Run();
  EXPECT_EQ(total, kThreads * kPosts);
  for (auto& t : threads) t.join();
}

// Nodes are used again, by whatever thread posts next; what was captured is not kept.
TEST(Mailbox, WhatAFunctionCapturedIsDestroyedOnceItHasRun) {
  Hub hub;
  for (int round = 0; round < 3; ++round) {
    auto captured = std::make_shared<int>(round);
    std::thread([&, handle = hub.handle()] {
      // More than are kept for the next.
      for (int i = 0; i < 2'000; ++i) ASSERT_TRUE(handle.Post([captured] {}).ok());
    }).join();
    EXPECT_EQ(captured.use_count(), 1 + 2'000);
    hub.Turn(false);
    EXPECT_EQ(captured.use_count(), 1);
  }
}

TEST(Mailbox, AThreadMayPostWhileItsVariablesAreDestroyed) {
  struct PostsAtTheEnd {
    explicit PostsAtTheEnd(HubHandle h) : handle(std::move(h)) {}
    ~PostsAtTheEnd() {
      EXPECT_TRUE(handle.Post([] {}).ok());
    }
    HubHandle handle;
  };
  Hub hub;
  for (int round = 0; round < 3; ++round) {
    std::thread([handle = hub.handle()] {
      // Made before any node is taken, and so destroyed behind those.
      static thread_local PostsAtTheEnd last(handle);
      for (int i = 0; i < 10; ++i) ASSERT_TRUE(handle.Post([] {}).ok());
    }).join();
    const uint64_t before = hub.letters_delivered();
    hub.Turn(false);
    EXPECT_EQ(hub.letters_delivered() - before, 11u);
  }
}

TEST(Mailbox, PostingToAHubThatHasEndedIsAnErrorThatNamesIt) {
  HubHandle handle;
  auto captured = std::make_shared<int>(1);
  {
    Hub hub({.name = "brief"});
    handle = hub.handle();
    // Never delivered: the hub ends first. What it captured is let go.
    ASSERT_TRUE(handle.Post([captured] { FAIL(); }).ok());
  }
  EXPECT_EQ(captured.use_count(), 1);
  const absl::Status status = handle.Post([] { FAIL(); });
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(status.message().find("brief"), absl::string_view::npos) << status;
}

struct TestLetter : Letter {
  TestLetter() : Letter(&OnDeliver) {}
  static void OnDeliver(Letter* l, bool hub_alive) {
    TestLetter* self = static_cast<TestLetter*>(l);
    ++(hub_alive ? self->delivered : self->returned);
  }
  int delivered = 0;
  int returned = 0;
};

TEST(Mailbox, ALetterComesBackWhenTheHubEnds) {
  TestLetter letter;
  TestLetter refused;
  HubHandle handle;
  {
    Hub hub;
    handle = hub.handle();
    EXPECT_TRUE(handle.PostLetter(&letter));
  }
  EXPECT_EQ(letter.returned, 1);
  EXPECT_EQ(letter.delivered, 0);
  EXPECT_FALSE(handle.PostLetter(&refused));
  EXPECT_EQ(refused.returned + refused.delivered, 0);
}

TestLetter g_signal_letter;
HubHandle* g_signal_target = nullptr;

TEST(Mailbox, ASignalHandlerMayPostALetter) {
  Hub hub;
  HubHandle handle = hub.handle();
  g_signal_target = &handle;
  struct sigaction action {};
  action.sa_handler = [](int) { g_signal_target->PostLetter(&g_signal_letter); };
  struct sigaction before;
  ASSERT_EQ(sigaction(SIGUSR1, &action, &before), 0);
  {
    KeepAlive alive(&hub);
    // From another thread, so that it comes while the hub sleeps.
    std::thread sender([pid = getpid()] { kill(pid, SIGUSR1); });
    while (g_signal_letter.delivered == 0) hub.Turn();
    sender.join();
  }
  sigaction(SIGUSR1, &before, nullptr);
  EXPECT_EQ(g_signal_letter.delivered, 1);
}

TEST(Mailbox, PostsRaceWithTheEndOfTheHub) {
  for (int round = 0; round < 200; ++round) {
    auto hub = std::make_unique<Hub>();
    std::atomic<int> called{0};
    auto token = std::make_shared<int>(0);
    int accepted = 0;
    std::thread sender([&, handle = hub->handle()] {
      for (int i = 0; i < 50; ++i) {
        accepted += handle.Post([&called, token] { ++called; }).ok();
      }
    });
    hub->Turn(false);
    hub.reset();
    sender.join();
    EXPECT_LE(called, accepted);
    EXPECT_EQ(token.use_count(), 1) << "a letter was leaked";
  }
}

// The hub is told of a wakeup once and does not read the eventfd. Should it be told again
// and again, that has to end.
class MailboxWakeupTest : public ::testing::Test {
 protected:
  // Finds the hub's epoll set: it is the one that has the mailbox's eventfd.
  void SetUp() override {
    ASSERT_EQ(hub_.loop().backend(), "epoll");
    while (set_ < mailbox_ + 256 && !hub_internal::MakeEdgeTriggered(set_, mailbox_)) {
      ++set_;
    }
    ASSERT_FALSE(HasEvents());
  }

  // Something is posted while the hub sleeps.
  void Wake() {
    std::thread sender([&, handle = hub_.handle()] {
      while (!hub_.asleep()) std::this_thread::yield();
      ASSERT_TRUE(handle.Post([] {}).ok());
    });
    hub_.WaitForMail();
    sender.join();
  }

  // Whether the epoll set has something to tell.
  bool HasEvents() {
    pollfd p = {.fd = set_, .events = POLLIN, .revents = 0};
    return poll(&p, 1, 0) == 1;
  }

  // What libev asks for by itself.
  void MakeLevelTriggered() {
    std::ifstream info("/proc/self/fdinfo/" + std::to_string(set_));
    for (std::string line; std::getline(info, line);) {
      int fd;
      uint32_t events;
      uint64_t data;
      if (sscanf(line.c_str(), "tfd: %d events: %" SCNx32 " data: %" SCNx64, &fd, &events,
                 &data) == 3 &&
          fd == mailbox_) {
        epoll_event e = {};
        e.events = events & ~uint32_t{EPOLLET};
        e.data.u64 = data;
        ASSERT_EQ(epoll_ctl(set_, EPOLL_CTL_MOD, fd, &e), 0);
        return;
      }
    }
    FAIL() << "the mailbox is not in the set";
  }

  const int mailbox_ = hub_internal::LowestFreeDescriptor();
  Hub hub_;
  int set_ = 0;
};

TEST_F(MailboxWakeupTest, IsToldOfOnce) {
  for (int i = 0; i < 3; ++i) {
    Wake();
    EXPECT_FALSE(HasEvents());
  }
  hub_.loop().Reinit();
  hub_.Turn(false);
  hub_.Turn(false);
  EXPECT_FALSE(HasEvents());
  Wake();
  EXPECT_FALSE(HasEvents());
}

TEST_F(MailboxWakeupTest, DoesNotSpinThoughItIsToldOfAgain) {
  MakeLevelTriggered();
  Wake();
  EXPECT_TRUE(HasEvents()) << "as long as nobody reads";
  hub_.Turn(false);
  EXPECT_FALSE(HasEvents());
}

}  // namespace
}  // namespace grove
