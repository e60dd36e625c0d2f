// The distribution's hiredis with a real Redis: a thousand clients on one hub.

#include <gtest/gtest.h>
#include <hiredis/hiredis.h>
#include <stdlib.h>

#include <memory>
#include <string>
#include <vector>

#include "grove/green/greenlet.h"
#include "grove/green/sleep.h"
#include "grove/patch/adapters/adapter_test.h"

namespace grove::patch {
namespace {

struct Free {
  void operator()(redisContext* c) const { redisFree(c); }
  void operator()(redisReply* r) const { freeReplyObject(r); }
};
using Context = std::unique_ptr<redisContext, Free>;
using Reply = std::unique_ptr<redisReply, Free>;

template <typename... Args>
Reply Command(const Context& c, const char* format, Args... args) {
  return Reply(static_cast<redisReply*>(redisCommand(c.get(), format, args...)));
}

class HiredisTest : public AdapterTest {
 protected:
  void SetUp() override {
    port_ = FreePort();
    server_ = std::make_unique<RealServer>(
        std::vector<std::string>{"redis-server", "--port", std::to_string(port_),
                                 "--bind", "127.0.0.1", "--save", "", "--appendonly",
                                 "no", "--maxclients", "2000"},
        "eady to accept connections");
    ASSERT_TRUE(server_->ready());
  }
  void TearDown() override { server_.reset(); }

  Context Connect() {
    Context c(redisConnect("127.0.0.1", port_));
    EXPECT_TRUE(c && c->err == 0) << (c ? c->errstr : "no memory");
    return c;
  }

  int port_ = 0;
  std::unique_ptr<RealServer> server_;
};

GREENLET_TEST_F(HiredisTest, AHundredClientsTalkAtOnce) {
  std::vector<Greenlet<>> clients;
  for (int i = 0; i < 100; ++i) {
    clients.push_back(Spawn([this, i] {
      const Context c = Connect();
      for (int round = 0; round < 10; ++round) {
        ASSERT_NE(Command(c, "SET key:%d %d", i, i * round), nullptr) << c->errstr;
        const Reply reply = Command(c, "GET key:%d", i);
        ASSERT_NE(reply, nullptr) << c->errstr;
        EXPECT_EQ(std::string(reply->str, reply->len), std::to_string(i * round));
      }
    }));
  }
  for (const auto& client : clients) client.Join();
}

// Each of a thousand blocks in a call; one that stopped the thread would stop them all.
GREENLET_TEST_F(HiredisTest, AThousandWaitForAnItemEach) {
  constexpr int kClients = 1000;
  int got = 0;
  std::vector<Greenlet<>> clients;
  for (int i = 0; i < kClients; ++i) {
    clients.push_back(Spawn([&] {
      const Context c = Connect();
      const Reply reply = Command(c, "BLPOP queue 0");
      ASSERT_NE(reply, nullptr) << c->errstr;
      ++got;
    }));
  }
  const Context main = Connect();
  for (;;) {  // until all of them wait, there
    const Reply info = Command(main, "INFO clients");
    ASSERT_NE(info, nullptr) << main->errstr;
    const std::string text(info->str, info->len);
    if (text.find("blocked_clients:1000") != std::string::npos) break;
    Yield();
  }
  EXPECT_EQ(got, 0);
  for (int i = 0; i < kClients; ++i) {
    ASSERT_NE(Command(main, "RPUSH queue %d", i), nullptr) << main->errstr;
  }
  for (const auto& client : clients) client.Join();
  EXPECT_EQ(got, kClients);
}

GREENLET_TEST_F(HiredisTest, ItsOwnTimeoutIsKept) {
  const Context c = Connect();
  ASSERT_EQ(redisSetTimeout(c.get(), {.tv_sec = 0, .tv_usec = 50'000}), REDIS_OK);
  EXPECT_EQ(Command(c, "BLPOP nothing 0"), nullptr);
  EXPECT_EQ(c->err, REDIS_ERR_IO);
}

GREENLET_TEST_F(HiredisTest, AKillEndsACommand) {
  const Greenlet<> client = Spawn([this] {
    const Context c = Connect();
    EXPECT_EQ(Command(c, "BLPOP nothing 0"), nullptr);
    EXPECT_EQ(c->err, REDIS_ERR_IO);
    Sleep(absl::InfiniteDuration());
  });
  const Context main = Connect();
  for (;;) {
    const Reply info = Command(main, "INFO clients");
    ASSERT_NE(info, nullptr);
    if (std::string(info->str, info->len).find("blocked_clients:1\r") !=
        std::string::npos) {
      break;
    }
    Yield();
  }
  client.Kill();
  EXPECT_TRUE(client.killed());
}

}  // namespace
}  // namespace grove::patch
