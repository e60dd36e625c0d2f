#include "grove/net/udp.h"

#include <errno.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/sleep.h"
#include "grove/green/status.h"

namespace grove::net {
namespace {

using ::testing::HasSubstr;

class UdpTest : public testing::Test {
 protected:
  HubScope scope_;
  UdpSocket server_ = *UdpSocket::Bind(Address::Loopback(0));
  Address address_ = *server_.local_address();
  char buffer_[2048];

  std::string Text(size_t n) const { return std::string(buffer_, n); }
};

TEST_F(UdpTest, CarriesDatagramsThereAndBack) {
  const Greenlet<> echo = Spawn([&] {
    char buffer[100];
    for (int i = 0; i < 2; ++i) {
      const UdpSocket::Datagram d = *server_.ReceiveFrom(absl::MakeSpan(buffer));
      ASSERT_TRUE(server_.SendTo({buffer, d.bytes}, d.peer).ok());
    }
  });
  UdpSocket client = *UdpSocket::Connect(address_);
  for (const std::string& text : {std::string("hello"), std::string()}) {
    ASSERT_TRUE(client.Send(text).ok());
    const UdpSocket::Datagram d = *client.ReceiveFrom(absl::MakeSpan(buffer_));
    EXPECT_EQ(Text(d.bytes), text);
    EXPECT_EQ(d.peer, address_);
    EXPECT_FALSE(d.truncated);
  }
  echo.Join();
}

TEST_F(UdpTest, WorksOverIpv6) {
  UdpSocket server = *UdpSocket::Bind(*Address::Parse("[::1]:0"));
  UdpSocket client = *UdpSocket::Connect(*server.local_address());
  ASSERT_TRUE(client.Send("six").ok());
  const UdpSocket::Datagram d = *server.ReceiveFrom(absl::MakeSpan(buffer_));
  EXPECT_EQ(Text(d.bytes), "six");
  EXPECT_EQ(d.peer, *client.local_address());
}

TEST_F(UdpTest, SaysWhatWasCutOff) {
  UdpSocket client = *UdpSocket::Connect(address_);
  ASSERT_TRUE(client.Send("too long").ok());
  const UdpSocket::Datagram d = *server_.ReceiveFrom(absl::MakeSpan(buffer_, 3));
  EXPECT_EQ(Text(d.bytes), "too");
  EXPECT_TRUE(d.truncated);
}

TEST_F(UdpTest, ReceivingEndsWithItsDeadlineAKillAndAClose) {
  EXPECT_EQ(
      server_.ReceiveFrom(absl::MakeSpan(buffer_), absl::Milliseconds(1)).status().code(),
      absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(
      server_.ReceiveFrom(absl::MakeSpan(buffer_), Deadline::Passed()).status().code(),
      absl::StatusCode::kDeadlineExceeded);
  const Greenlet<> killed =
      Spawn([&] { server_.ReceiveFrom(absl::MakeSpan(buffer_)).IgnoreError(); });
  Yield();
  killed.Kill();
  EXPECT_TRUE(killed.killed());
  // What comes then is the next one's.
  ASSERT_TRUE(server_.SendTo("x", address_).ok());
  EXPECT_EQ(server_.ReceiveFrom(absl::MakeSpan(buffer_))->bytes, 1u);
  const Greenlet<absl::Status> closed =
      Spawn([&] { return server_.ReceiveFrom(absl::MakeSpan(buffer_)).status(); });
  Yield();
  server_.Close();
  EXPECT_EQ(closed.Get().code(), absl::StatusCode::kCancelled);
  EXPECT_FALSE(server_.SendTo("x", address_).ok());
}

TEST_F(UdpTest, NobodyThereIsToldOnceOnAConnectedSocket) {
  const Address nobody = address_;
  server_.Close();
  UdpSocket client = *UdpSocket::Connect(nobody);
  ASSERT_TRUE(client.Send("x").ok());
  EXPECT_EQ(ErrnoOf(client.ReceiveFrom(absl::MakeSpan(buffer_)).status()), ECONNREFUSED);
  EXPECT_EQ(
      client.ReceiveFrom(absl::MakeSpan(buffer_), absl::Milliseconds(1)).status().code(),
      absl::StatusCode::kDeadlineExceeded);
}

TEST_F(UdpTest, ADatagramThatIsTooLargeIsAnErrorThatNamesThePeer) {
  const absl::Status s = server_.SendTo(std::string(70'000, 'x'), address_);
  EXPECT_EQ(ErrnoOf(s), EMSGSIZE);
  EXPECT_THAT(std::string(s.message()), HasSubstr("send to UDP " + address_.ToString()));
}

TEST_F(UdpTest, AnAddressInUseIsAnErrorUnlessShared) {
  const absl::Status s = UdpSocket::Bind(address_).status();
  EXPECT_EQ(ErrnoOf(s), EADDRINUSE);
  EXPECT_THAT(std::string(s.message()), HasSubstr("bind UDP " + address_.ToString()));
  UdpSocket a = *UdpSocket::Bind(Address::Loopback(0), {.reuse_port = true});
  EXPECT_TRUE(UdpSocket::Bind(*a.local_address(), {.reuse_port = true}).ok());
}

TEST_F(UdpTest, BatchesCarryManyInOneCall) {
  UdpSocket client = *UdpSocket::Connect(address_);
  DatagramBatch out(10, 100);
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(out.Add(std::string(i, 'a' + i)));
  EXPECT_TRUE(out.full());
  EXPECT_FALSE(out.Add("no room"));
  ASSERT_TRUE(client.SendBatch(out).ok());

  DatagramBatch in(16, 5);
  ASSERT_EQ(*server_.ReceiveBatch(in), 10u);
  ASSERT_EQ(in.size(), 10u);
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(in.data(i), std::string(std::min(i, 5), 'a' + i));
    EXPECT_EQ(in.truncated(i), i > 5) << i;
    EXPECT_EQ(in.peer(i), *client.local_address());
  }
  // Back to where they came from, as they are.
  ASSERT_TRUE(server_.SendBatch(in).ok());
  DatagramBatch back(3, 100);
  size_t n = 0;
  while (n < 10) {
    ASSERT_GT(*client.ReceiveBatch(back), 0u);
    for (size_t i = 0; i < back.size(); ++i, ++n) EXPECT_EQ(back.data(i), in.data(n));
  }
  EXPECT_EQ(client.ReceiveBatch(back, absl::Milliseconds(1)).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(back.empty());
  EXPECT_TRUE(client.SendBatch(back).ok()) << "nothing to send";
}

TEST_F(UdpTest, ABatchGoesToManyPeersAndStopsAtTheOneThatFails) {
  std::vector<UdpSocket> peers;
  DatagramBatch batch(4, 70'000);
  EXPECT_FALSE(batch.Add(std::string(70'001, 'x'), address_));
  for (int i = 0; i < 4; ++i) {
    peers.push_back(*UdpSocket::Bind(Address::Loopback(0)));
    const std::string text = i == 2 ? std::string(70'000, 'x') : std::to_string(i);
    EXPECT_TRUE(batch.Add(text, *peers[i].local_address()));
  }
  const absl::Status s = server_.SendBatch(batch);
  EXPECT_EQ(ErrnoOf(s), EMSGSIZE);
  EXPECT_EQ(BytesMoved(s), 2u);
  EXPECT_THAT(std::string(s.message()), HasSubstr("send datagram 3 of 4 to " +
                                                  peers[2].local_address()->ToString()));
  EXPECT_EQ(peers[1].ReceiveFrom(absl::MakeSpan(buffer_))->bytes, 1u);
  batch.Clear();
  EXPECT_TRUE(batch.empty());
}

TEST_F(UdpTest, AdoptsASocketAndNothingElse) {
  UdpSocket adopted = *UdpSocket::Adopt(server_.Release());
  ASSERT_TRUE(adopted.SendTo("x", address_).ok());
  EXPECT_EQ(adopted.ReceiveFrom(absl::MakeSpan(buffer_))->peer, address_);
  EXPECT_EQ(ErrnoOf(UdpSocket::Adopt(-1).status()), EBADF);
  const int stream = socket(AF_INET, SOCK_STREAM, 0);
  EXPECT_EQ(UdpSocket::Adopt(stream).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(close(stream), 0);
}

}  // namespace
}  // namespace grove::net
