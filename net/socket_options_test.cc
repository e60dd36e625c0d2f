#include "grove/net/socket_options.h"

#include <errno.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <string>

#include "grove/green/greenlet.h"
#include "grove/green/status.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/net/tcp.h"
#include "grove/net/udp.h"
#include "grove/net/unix.h"
#include "grove/net/unix_datagram.h"

namespace grove::net {
namespace {

using ::testing::HasSubstr;

class SocketOptions : public GreenletTest {
 protected:
  void SetUp() override {
    listener_ = *TcpListener::Listen(Address::Loopback(0));
    tcp_ = *TcpStream::Connect(listener_.address());
  }
  void TearDown() override {
    tcp_.Close();
    listener_.Close();
  }

  // Set, it is what the kernel says, and it was something else before.
  template <typename Option, typename Socket>
  void ExpectKept(const Socket& socket, const Option& option) {
    const absl::StatusOr<Option> before = GetOption<Option>(socket);
    EXPECT_TRUE(before.ok()) << before.status();
    EXPECT_FALSE(before.ok() && *before == option) << "set already";
    const absl::Status set = SetOption(socket, option);
    EXPECT_TRUE(set.ok()) << set;
    const absl::StatusOr<Option> after = GetOption<Option>(socket);
    EXPECT_TRUE(after.ok() && *after == option) << after.status();
  }

  // What the kernel itself says.
  static int Raw(int fd, int level, int option) {
    int value = -1;
    socklen_t size = sizeof value;
    EXPECT_EQ(getsockopt(fd, level, option, &value, &size), 0);
    return value;
  }

  TcpListener listener_;
  TcpStream tcp_;
};

GREENLET_TEST_F(SocketOptions, OfTcp) {
  ExpectKept(tcp_, TcpNoDelay{false});
  ExpectKept(tcp_, TcpCork{true});
  ExpectKept(tcp_, TcpCork{false});
  ExpectKept(tcp_, TcpQuickAck{false});
  ExpectKept(tcp_, TcpUserTimeout{absl::Seconds(20)});
  ExpectKept(tcp_, TcpNotSentLowWater{16384});
  EXPECT_GT(GetOption<TcpMaxSegment>(tcp_)->bytes, 0);
  // It is there on every kernel.
  ASSERT_TRUE(SetOption(tcp_, TcpCongestion{"reno"}).ok());
  EXPECT_EQ(GetOption<TcpCongestion>(tcp_)->name, "reno");
  ExpectKept(listener_, TcpFastOpen{5});
  ASSERT_TRUE(SetOption(listener_, TcpDeferAccept{absl::Seconds(3)}).ok());
  // The kernel counts in retransmissions.
  EXPECT_GE(GetOption<TcpDeferAccept>(listener_)->time, absl::Seconds(3));
}

GREENLET_TEST_F(SocketOptions, OfAllSockets) {
  ExpectKept(tcp_, Priority{3});
  ExpectKept(tcp_, ReceiveLowWater{100});
  ExpectKept(listener_, ReusePort{true});
  ExpectKept(listener_, ReuseAddress{false});
  ExpectKept(listener_, IncomingCpu{0});
  ExpectKept(listener_, FreeBind{true});
  UdpSocket udp = *UdpSocket::Bind(Address::Loopback(0));
  ExpectKept(udp, Broadcast{true});
  auto [a, b] = *UnixStream::Pair();
  ExpectKept(a, PassCredentials{true});
  UnixDatagramSocket datagram = *UnixDatagramSocket::Bind(UnixAddress());
  ExpectKept(datagram, PassCredentials{true});
  EXPECT_EQ(GetOption<BindToDevice>(udp)->name, "");
}

GREENLET_TEST_F(SocketOptions, BuffersAreTwiceWhatWasAskedFor) {
  ASSERT_TRUE(SetOption(tcp_, SendBuffer{20'000}).ok());
  EXPECT_EQ(GetOption<SendBuffer>(tcp_)->bytes, 40'000);
  ASSERT_TRUE(SetOption(tcp_, ReceiveBuffer{20'000}).ok());
  EXPECT_EQ(GetOption<ReceiveBuffer>(tcp_)->bytes, 40'000);
}

GREENLET_TEST_F(SocketOptions, KeepAliveChangesWhatIsGiven) {
  const TcpKeepAlive before = *GetOption<TcpKeepAlive>(tcp_);
  EXPECT_FALSE(before.on);
  ASSERT_TRUE(SetOption(tcp_, TcpKeepAlive{.idle = absl::Minutes(1), .count = 3}).ok());
  EXPECT_EQ(*GetOption<TcpKeepAlive>(tcp_), (TcpKeepAlive{.on = true,
                                                          .idle = absl::Minutes(1),
                                                          .interval = before.interval,
                                                          .count = 3}));
  ASSERT_TRUE(SetOption(tcp_, TcpKeepAlive{.interval = absl::Milliseconds(1500)}).ok());
  EXPECT_EQ(GetOption<TcpKeepAlive>(tcp_)->interval, absl::Seconds(2)) << "rounded up";
  ASSERT_TRUE(SetOption(tcp_, TcpKeepAlive{.on = false}).ok());
  EXPECT_FALSE(GetOption<TcpKeepAlive>(tcp_)->on);
  EXPECT_EQ(Raw(tcp_.fd(), IPPROTO_TCP, TCP_KEEPIDLE), 60);
}

GREENLET_TEST_F(SocketOptions, LingerIsATimeOrNone) {
  EXPECT_EQ(GetOption<Linger>(tcp_)->time, std::nullopt);
  ExpectKept(tcp_, Linger{absl::Seconds(5)});
  ExpectKept(tcp_, Linger{absl::ZeroDuration()});
  ExpectKept(tcp_, Linger{});
  // With none left, closing resets.
  TcpStream server = *listener_.Accept();
  ASSERT_TRUE(SetOption(tcp_, Linger{absl::ZeroDuration()}).ok());
  tcp_.Close();
  char buffer[1];
  EXPECT_EQ(ErrnoOf(server.Read(absl::MakeSpan(buffer)).status()), ECONNRESET);
}

GREENLET_TEST_F(SocketOptions, OfIpForBothVersions) {
  ExpectKept(tcp_, IpTos{0x10});
  ExpectKept(tcp_, IpTtl{7});
  EXPECT_EQ(Raw(tcp_.fd(), IPPROTO_IP, IP_TTL), 7);
  TcpListener both = *TcpListener::Listen(*Address::Parse("[::]:0"));
  ExpectKept(both, IpTos{0x20});
  ExpectKept(both, IpTtl{9});
  EXPECT_EQ(Raw(both.fd(), IPPROTO_IPV6, IPV6_TCLASS), 0x20);
  EXPECT_EQ(Raw(both.fd(), IPPROTO_IP, IP_TOS), 0x20);
  EXPECT_EQ(Raw(both.fd(), IPPROTO_IPV6, IPV6_UNICAST_HOPS), 9);
  UdpSocket six = *UdpSocket::Bind(*Address::Parse("[::1]:0"), {.v6_only = true});
  ExpectKept(six, IpTos{0x30});
}

GREENLET_TEST_F(SocketOptions, ErrorsNameTheOptionAndThePeer) {
  auto [a, b] = *UnixStream::Pair();
  absl::Status s = SetOption(a, TcpNoDelay{true});
  EXPECT_EQ(ErrnoOf(s), EOPNOTSUPP) << s;
  EXPECT_THAT(std::string(s.message()), HasSubstr("set TCP_NODELAY of unix:(unnamed)"));
  s = SetOption(tcp_, Priority{-1});
  if (!s.ok()) {  // with privileges it is allowed
    EXPECT_THAT(std::string(s.message()), HasSubstr("SO_PRIORITY"));
  }
  s = SetOption(tcp_, TcpCongestion{"no-such"});
  EXPECT_THAT(std::string(s.message()),
              HasSubstr("set TCP_CONGESTION of " + listener_.address().ToString()));
  s = SetOption(listener_, IpTtl{1000});
  EXPECT_EQ(ErrnoOf(s), EINVAL);
  EXPECT_THAT(std::string(s.message()),
              HasSubstr("set IP_TTL of " + listener_.address().ToString()));
  tcp_.Close();
  s = GetOption<SendBuffer>(tcp_).status();
  EXPECT_EQ(ErrnoOf(s), EBADF);
  EXPECT_THAT(std::string(s.message()), HasSubstr("get SO_SNDBUF of a closed socket"));
}

GREENLET_TEST_F(SocketOptions, TimesAreRoundedUpAndNotNegative) {
  ASSERT_TRUE(SetOption(tcp_, TcpUserTimeout{absl::Microseconds(1)}).ok());
  EXPECT_EQ(GetOption<TcpUserTimeout>(tcp_)->time, absl::Milliseconds(1));
  ASSERT_TRUE(SetOption(tcp_, TcpUserTimeout{absl::InfiniteDuration()}).ok());
  EXPECT_GT(GetOption<TcpUserTimeout>(tcp_)->time, absl::Hours(24));
  for (const absl::Status& s : {SetOption(tcp_, TcpUserTimeout{-absl::Seconds(1)}),
                                SetOption(tcp_, Linger{-absl::Seconds(1)})}) {
    EXPECT_EQ(s.code(), absl::StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace grove::net
