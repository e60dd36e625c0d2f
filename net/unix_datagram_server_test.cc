#include "grove/net/unix_datagram_server.h"

#include <gtest/gtest.h>

#include <string>

#include "grove/green/greenlet.h"
#include "grove/green/sleep.h"
#include "grove/green/testing/greenlet_test.h"

namespace grove::net {
namespace {

class UnixDatagramServerTest : public GreenletTest {
 protected:
  GreenletTestOptions Options() const override { return {.clock = Clock::Real()}; }
};

GREENLET_TEST_F(UnixDatagramServerTest, AnswersWhoHasAName) {
  UnixDatagramServer server(
      *UnixDatagramSocket::Bind(UnixAddress()),
      [](absl::string_view data, const UnixAddress& peer,
         UnixDatagramServer::Sender& socket) {
        EXPECT_TRUE(socket.SendTo(std::string(data) + "!", peer).ok());
      },
      {.max_bytes = 5});
  server.Start();
  UnixDatagramSocket client = *UnixDatagramSocket::Bind(UnixAddress());
  ASSERT_TRUE(client.SetPeer(*server.sender().socket().local_address()).ok());
  for (const char* text : {"hello", "too long"}) {
    ASSERT_TRUE(client.Send(text).ok());
    char buffer[100];
    const auto m = client.Receive(absl::MakeSpan(buffer), absl::Seconds(30));
    ASSERT_TRUE(m.ok()) << m.status();
    EXPECT_EQ(absl::string_view(buffer, m->bytes), std::string(text, 5) + "!");
  }
  EXPECT_EQ(server.statistics().received, 2u);
  EXPECT_EQ(server.statistics().truncated, 1u);
  EXPECT_EQ(server.Stop(absl::Seconds(30)).cut, 0u);
}

// Whose answers are never read, and wait for room.
GREENLET_TEST_F(UnixDatagramServerTest, OneClientThatDoesNotReadHoldsUpNoOther) {
  UnixDatagramServer server(*UnixDatagramSocket::Bind(UnixAddress()),
                            [](absl::string_view data, const UnixAddress& peer,
                               UnixDatagramServer::Sender& socket) {
                              for (int i = 0; i < (data == "many" ? 10'000 : 1); ++i) {
                                if (!socket.SendTo("answer", peer).ok()) return;
                              }
                            });
  server.Start();
  const UnixAddress address = *server.sender().socket().local_address();
  UnixDatagramSocket deaf = *UnixDatagramSocket::Bind(UnixAddress());
  ASSERT_TRUE(deaf.SetPeer(address).ok());
  ASSERT_TRUE(deaf.Send("many").ok());
  UnixDatagramSocket client = *UnixDatagramSocket::Bind(UnixAddress());
  ASSERT_TRUE(client.SetPeer(address).ok());
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(client.Send("one").ok());
    char buffer[100];
    const auto m = client.Receive(absl::MakeSpan(buffer), absl::Seconds(30));
    ASSERT_TRUE(m.ok()) << m.status();
  }
  EXPECT_EQ(server.Stop(absl::ZeroDuration()).cut, 1u);
}

GREENLET_TEST_F(UnixDatagramServerTest, AStopWithAGraceTakesWhatHasArrived) {
  int handled = 0;
  UnixDatagramServer server(*UnixDatagramSocket::Bind(UnixAddress()),
                            [&](absl::string_view, const UnixAddress&,
                                UnixDatagramServer::Sender&) { ++handled; });
  server.Start();
  Yield();
  UnixDatagramSocket client =
      *UnixDatagramSocket::Connect(*server.sender().socket().local_address());
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(client.Send("x").ok());
  server.Stop(absl::Seconds(30));
  EXPECT_EQ(handled, 5);
}

}  // namespace
}  // namespace grove::net
