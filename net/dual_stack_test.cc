#include <errno.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <vector>

#include "grove/green/greenlet.h"
#include "grove/green/status.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/net/address.h"
#include "grove/net/socket_options.h"
#include "grove/net/tcp.h"
#include "grove/net/udp.h"

// Sockets at [::], which are for IPv4 as well.
namespace grove::net {
namespace {

GREENLET_TEST(DualStack, AListenerAtEveryAddressTakesBothAndShowsIpv4Plainly) {
  TcpListener listener = *TcpListener::Listen(*Address::Parse("[::]:0"));
  EXPECT_TRUE(listener.address().is_wildcard());
  const uint16_t port = listener.address().port();
  for (const char* ip : {"127.0.0.1", "::1"}) {
    TcpStream client = *TcpStream::Connect(*Address::FromIp(ip, port));
    TcpStream server = *listener.Accept();
    EXPECT_EQ(server.peer(), *client.local_address());
    EXPECT_EQ(server.peer().ip(), ip);
    EXPECT_EQ(server.local_address()->ip(), ip);
    EXPECT_EQ(TcpStream::Adopt(server.Release())->peer().ip(), ip);
  }
}

GREENLET_TEST(DualStack, ForIpv6AloneItTakesThatAlone) {
  TcpListener listener =
      *TcpListener::Listen(*Address::Parse("[::]:0"), {.v6_only = true});
  EXPECT_TRUE(GetOption<V6Only>(listener)->on);
  const uint16_t port = listener.address().port();
  EXPECT_EQ(ErrnoOf(TcpStream::Connect(Address::Loopback(port)).status()), ECONNREFUSED);
  EXPECT_TRUE(TcpStream::Connect(*Address::FromIp("::1", port)).ok());
  // So that the other half is free.
  EXPECT_TRUE(TcpListener::Listen(Address().WithPort(port)).ok());
}

GREENLET_TEST(DualStack, OneListenerForEachOfSeveralHubs) {
  const std::vector<TcpListener> listeners =
      *TcpListener::ListenMany(*Address::Parse("[::]:0"), 2);
  for (const TcpListener& l : listeners) EXPECT_FALSE(GetOption<V6Only>(l)->on);
  EXPECT_TRUE(TcpStream::Connect(Address::Loopback(listeners[0].address().port())).ok());
}

GREENLET_TEST(DualStack, ADatagramSocketAnswersBoth) {
  UdpSocket server = *UdpSocket::Bind(*Address::Parse("[::]:0"));
  const uint16_t port = server.local_address()->port();
  char buffer[100];
  DatagramBatch batch(4, 100);
  for (const char* ip : {"127.0.0.1", "::1"}) {
    UdpSocket client = *UdpSocket::Connect(*Address::FromIp(ip, port));
    ASSERT_TRUE(client.Send("x").ok());
    const UdpSocket::Datagram d = *server.ReceiveFrom(absl::MakeSpan(buffer));
    EXPECT_EQ(d.peer, *client.local_address());
    ASSERT_TRUE(server.SendTo("answer", d.peer).ok());
    EXPECT_EQ(client.ReceiveFrom(absl::MakeSpan(buffer))->bytes, 6u);
    // The same by batches.
    ASSERT_TRUE(client.Send("y").ok());
    ASSERT_EQ(*server.ReceiveBatch(batch), 1u);
    EXPECT_EQ(batch.peer(0), *client.local_address());
    ASSERT_TRUE(server.SendBatch(batch).ok());
    EXPECT_EQ(client.ReceiveFrom(absl::MakeSpan(buffer))->bytes, 1u);
  }
}

GREENLET_TEST(DualStack, ScopesAreKept) {
  const Address a = *Address::Parse("[fe80::1%lo]:22");
  EXPECT_EQ(Address::FromRaw(a.raw(), a.raw_size())->ToString(), "[fe80::1%lo]:22");
  EXPECT_EQ(a.Unmapped(), a);
  // A number is one too.
  EXPECT_EQ(*Address::Parse("[fe80::1%1]:22"), a);
}

}  // namespace
}  // namespace grove::net
