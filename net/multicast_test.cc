// Multicast groups in a network of the test's own, with an interface to nobody.
// main() begins again there.

#include "grove/net/multicast.h"

#include <errno.h>
#include <gtest/gtest.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "grove/green/hub_scope.h"
#include "grove/green/status.h"
#include "grove/net/socket_options.h"

namespace grove::net {
namespace {

constexpr char kInside[] = "GROVE_TEST_MULTICAST_INSIDE";

constexpr char kInterface[] = "grove0";
const GroupOptions kThere = {.interface = kInterface};

struct Version {
  const char* any;
  const char* group;
  const char* another;
};

class MulticastTest : public testing::TestWithParam<Version> {
 protected:
  MulticastTest() {
    const absl::StatusOr<UdpSocket> bound = UdpSocket::Bind(At(GetParam().any, 0));
    EXPECT_TRUE(bound.ok()) << bound.status();
    EXPECT_TRUE(SetGroupInterface(sender_, kInterface).ok());
  }
  static Address At(const std::string& ip, uint16_t port) {
    return *Address::FromIp(ip, port);
  }
  UdpSocket Bind(uint16_t port) {
    absl::StatusOr<UdpSocket> socket =
        UdpSocket::Bind(At(GetParam().any, port), {.reuse_port = true});
    EXPECT_TRUE(socket.ok()) << socket.status();
    return *std::move(socket);
  }
  std::string Receive(UdpSocket& socket) {
    char buffer[100];
    const auto got = socket.ReceiveFrom(absl::MakeSpan(buffer), absl::Seconds(20));
    EXPECT_TRUE(got.ok()) << got.status();
    return got.ok() ? std::string(buffer, got->bytes) : "";
  }

  HubScope hub_;
  UdpSocket sender_ = Bind(0);
};

TEST_P(MulticastTest, AllWhoHaveJoinedReceive) {
  UdpSocket one = Bind(0);
  const uint16_t port = one.local_address()->port();
  UdpSocket two = Bind(port);
  const Address group = At(GetParam().group, port);
  for (const UdpSocket* socket : {&one, &two}) {
    const absl::Status joined = JoinGroup(*socket, group, kThere);
    ASSERT_TRUE(joined.ok()) << joined;
  }
  const absl::Status sent = sender_.SendTo("to all", group);
  ASSERT_TRUE(sent.ok()) << sent;
  EXPECT_EQ(Receive(one), "to all");
  EXPECT_EQ(Receive(two), "to all");
  // Who has left gets what it is sent itself, and nothing else.
  ASSERT_TRUE(LeaveGroup(two, group, kThere).ok());
  ASSERT_TRUE(sender_.SendTo("to one", group).ok());
  EXPECT_EQ(Receive(one), "to one");
  one.Close();
  const Address here =
      At(std::string(GetParam().any) == "::" ? "::1" : "127.0.0.1", port);
  ASSERT_TRUE(sender_.SendTo("to itself", here).ok());
  EXPECT_EQ(Receive(two), "to itself");
}

TEST_P(MulticastTest, ASourceMayBeTheOnlyOne) {
  UdpSocket socket = Bind(0);
  const uint16_t port = socket.local_address()->port();
  const Address group = At(GetParam().group, port);
  const Address here =
      At(std::string(GetParam().any) == "::" ? "fd99::1" : "10.99.0.1", 0);
  const absl::Status joined =
      JoinGroup(socket, group, {.interface = kInterface, .source = here});
  ASSERT_TRUE(joined.ok()) << joined;
  UdpSocket sender = *UdpSocket::Bind(here);
  ASSERT_TRUE(SetGroupInterface(sender, kInterface).ok());
  ASSERT_TRUE(sender.SendTo("from here", group).ok());
  EXPECT_EQ(Receive(socket), "from here");
  EXPECT_TRUE(LeaveGroup(socket, group, {.interface = kInterface, .source = here}).ok());
}

TEST_P(MulticastTest, ItsOptionsAreThoseOfBothVersions) {
  UdpSocket socket = Bind(0);
  EXPECT_EQ(GetOption<MulticastTtl>(socket)->hops, 1);
  ASSERT_TRUE(SetOption(socket, MulticastTtl{7}).ok());
  EXPECT_EQ(GetOption<MulticastTtl>(socket)->hops, 7);
  EXPECT_TRUE(GetOption<MulticastLoop>(socket)->on);
  ASSERT_TRUE(SetOption(socket, MulticastLoop{false}).ok());
  EXPECT_FALSE(GetOption<MulticastLoop>(socket)->on);
  EXPECT_FALSE(SetOption(socket, MulticastTtl{256}).ok());
}

TEST_P(MulticastTest, MistakesAreErrorsThatNameTheGroup) {
  UdpSocket socket = Bind(0);
  const Address group = At(GetParam().another, 0);
  absl::Status s = JoinGroup(socket, group, {.interface = "no-such-if"});
  EXPECT_EQ(ErrnoOf(s), ENODEV);
  EXPECT_NE(s.message().find("'no-such-if'"), s.message().npos) << s;
  s = LeaveGroup(socket, group, kThere);
  EXPECT_EQ(ErrnoOf(s), EADDRNOTAVAIL);
  EXPECT_NE(s.message().find(GetParam().another), s.message().npos) << s;
  ASSERT_TRUE(JoinGroup(socket, group, kThere).ok());
  EXPECT_EQ(ErrnoOf(JoinGroup(socket, group, kThere)), EADDRINUSE);
  EXPECT_EQ(ErrnoOf(JoinGroup(socket, Address::Loopback(0), kThere)), EINVAL);
  EXPECT_EQ(ErrnoOf(SetGroupInterface(socket, "no-such-if")), ENODEV);
  socket.Close();
  EXPECT_EQ(ErrnoOf(JoinGroup(socket, group, kThere)), EBADF);
}

INSTANTIATE_TEST_SUITE_P(V4, MulticastTest,
                         testing::Values(Version{"0.0.0.0", "239.1.2.3", "239.1.2.4"}));
INSTANTIATE_TEST_SUITE_P(V6, MulticastTest,
                         testing::Values(Version{"::", "ff15::123", "ff15::124"}));

// A socket for both versions joins groups of both.
TEST(MulticastDualStackTest, JoinsGroupsOfBothVersions) {
  HubScope hub;
  UdpSocket socket = *UdpSocket::Bind(*Address::FromIp("::", 0));
  const uint16_t port = socket.local_address()->port();
  ASSERT_TRUE(SetGroupInterface(socket, kInterface).ok());
  for (const char* ip : {"ff15::125", "239.1.2.5"}) {
    const Address group = *Address::FromIp(ip, port);
    const absl::Status joined = JoinGroup(socket, group, kThere);
    ASSERT_TRUE(joined.ok()) << joined;
    UdpSocket sender =
        *UdpSocket::Bind(*Address::FromIp(group.is_v6() ? "::" : "0.0.0.0", 0));
    ASSERT_TRUE(SetGroupInterface(sender, kInterface).ok());
    ASSERT_TRUE(sender.SendTo(ip, group).ok());
    char buffer[100];
    const auto got = socket.ReceiveFrom(absl::MakeSpan(buffer), absl::Seconds(20));
    ASSERT_TRUE(got.ok()) << got.status();
    EXPECT_EQ(std::string(buffer, got->bytes), ip);
  }
}

int BeginAgain() {
  char self[PATH_MAX] = {};
  if (readlink("/proc/self/exe", self, sizeof self - 1) < 0) return 1;
  setenv(kInside, "1", 1);
  return system(absl::StrCat("exec unshare --user --map-root-user --net sh -c '"
                             "ip link set lo up && "
                             "ip link add grove0 type veth peer name grove1 && "
                             "ip link set grove1 up && "
                             "ip link set grove0 up && "
                             "ip address add 10.99.0.1/24 dev grove0 && "
                             "ip address add fd99::1/64 dev grove0 nodad && "
                             "exec \"",
                             self, "\"'")
                    .c_str());
}

}  // namespace
}  // namespace grove::net

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (getenv(grove::net::kInside) != nullptr) return RUN_ALL_TESTS();
  return grove::net::BeginAgain() != 0;
}
