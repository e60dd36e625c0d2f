// Peers that are gone without a word, as when their machine has lost its power: nothing
// comes from them, not even an end, and what is sent to them is not acknowledged. In a
// network of the test's own, whose one link it cuts. main() begins again there.

#include <errno.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/time/time.h"
#include "grove/green/greenlet.h"
#include "grove/green/sleep.h"
#include "grove/green/status.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/net/server.h"
#include "grove/net/socket_options.h"
#include "grove/net/tcp.h"
#include "grove/net/tls.h"
#include "grove/net/tls_test_util.h"

namespace grove::net {
namespace {

using absl::StatusCode;
using ::testing::HasSubstr;

constexpr char kInside[] = "GROVE_TEST_HALF_OPEN_INSIDE";

void SetLink(bool up) {
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ifreq request = {};
  strcpy(request.ifr_name, "lo");
  EXPECT_EQ(ioctl(fd, SIOCGIFFLAGS, &request), 0) << strerror(errno);
  request.ifr_flags = static_cast<short>(up ? request.ifr_flags | IFF_UP  //
                                            : request.ifr_flags & ~IFF_UP);
  EXPECT_EQ(ioctl(fd, SIOCSIFFLAGS, &request), 0) << strerror(errno);
  close(fd);
}

class HalfOpen : public GreenletTest {
 protected:
  void SetUp() override {
    SetLink(true);
    listener_ = *TcpListener::Listen(Address::Loopback(0));
  }
  void Connect() {
    peer_ = *TcpStream::Connect(listener_.address());
    stream_ = *listener_.Accept();
  }
  void ExpectGone(const absl::Status& s) {
    EXPECT_EQ(ErrnoOf(s), ETIMEDOUT) << s;
    EXPECT_EQ(s.code(), StatusCode::kUnavailable);
    EXPECT_THAT(std::string(s.message()), HasSubstr(stream_.peer().ToString()));
  }

  TcpListener listener_;
  TcpStream peer_, stream_;
  char buffer_[4096];
};

GREENLET_TEST_F(HalfOpen, KeepAliveEndsAReadWithoutADeadline) {
  Connect();
  const absl::Duration second = absl::Seconds(1);  // the least that Linux knows
  ASSERT_TRUE(
      SetOption(stream_, TcpKeepAlive{.idle = second, .interval = second, .count = 1})
          .ok());
  SetLink(false);
  peer_.Close();
  ExpectGone(stream_.Read(absl::MakeSpan(buffer_)).status());
}

GREENLET_TEST_F(HalfOpen, TheUserTimeoutEndsAWriteWithoutADeadline) {
  Connect();
  ASSERT_TRUE(SetOption(stream_, TcpUserTimeout{absl::Milliseconds(100)}).ok());
  SetLink(false);
  peer_.Close();
  ExpectGone(stream_.Write(std::string(64 << 20, 'x')));
  // And each after that, at once.
  EXPECT_EQ(ErrnoOf(stream_.Write("x")), EPIPE);
}

GREENLET_TEST_F(HalfOpen, DeadlinesHoldAndACloseWaitsForNobody) {
  Connect();
  SetLink(false);
  EXPECT_EQ(stream_.Read(absl::MakeSpan(buffer_), absl::Minutes(1)).status().code(),
            StatusCode::kDeadlineExceeded);
  EXPECT_EQ(stream_.Write(std::string(64 << 20, 'x'), absl::Minutes(1)).code(),
            StatusCode::kDeadlineExceeded);
  const auto before = clock().Now();
  stream_.Close();
  EXPECT_EQ(clock().Now(), before);
}

GREENLET_TEST_F(HalfOpen, OneCutOffInATlsHandshakeOrSessionIsLetGo) {
  Connect();
  TlsStream client(std::move(peer_), ClientContext(), "a.test");
  TlsStream server(std::move(stream_), ServerContext());
  const Greenlet<absl::Status> handshake = Spawn([&] { return client.Handshake(); });
  ASSERT_TRUE(server.Handshake().ok());
  ASSERT_TRUE(handshake.Get().ok());
  Connect();
  TlsStream beginning(std::move(stream_), ServerContext());
  SetLink(false);
  EXPECT_EQ(beginning.Handshake(absl::Minutes(1)).code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(server.Read(absl::MakeSpan(buffer_), absl::Minutes(1)).status().code(),
            StatusCode::kDeadlineExceeded);
  const auto before = clock().Now();
  beginning.Close();
  server.Close();  // its close_notify goes nowhere
  EXPECT_EQ(clock().Now(), before);
}

GREENLET_TEST_F(HalfOpen, AServerCutsOneThatIsIdleAndKillsOneInADrain) {
  absl::Status seen;
  StreamServer server(
      std::move(listener_),
      [&](TcpStream& s) { seen = s.Read(absl::MakeSpan(buffer_)).status(); },
      {.idle_limit = absl::Minutes(1)});
  server.Start();
  const Address where = server.address();
  peer_ = *TcpStream::Connect(where);
  while (server.statistics().active == 0) Yield();
  SetLink(false);
  while (server.statistics().active != 0) Sleep(absl::Seconds(1));
  EXPECT_EQ(server.statistics().cut_idle, 1u);
  EXPECT_EQ(seen.code(), StatusCode::kCancelled);

  SetLink(true);
  bool unwound = false;
  StreamServer patient(*TcpListener::Listen(Address::Loopback(0)), [&](TcpStream& s) {
    const absl::Cleanup end = [&] { unwound = true; };
    (void)s.Write(std::string(64 << 20, 'x'));
  });
  patient.Start();
  peer_ = *TcpStream::Connect(patient.address());
  while (patient.statistics().active == 0) Yield();
  SetLink(false);
  const StreamServer::StopReport report = patient.Stop(absl::Seconds(5));
  EXPECT_EQ(report.cut, 1u);
  EXPECT_TRUE(unwound);
  server.Stop(absl::ZeroDuration());
}

GREENLET_TEST_F(HalfOpen, AConnectIntoNothingEndsAtItsDeadline) {
  SetLink(false);
  const absl::Status s =
      TcpStream::Connect(listener_.address(), {.deadline = absl::Minutes(1)}).status();
  EXPECT_EQ(s.code(), StatusCode::kDeadlineExceeded);
  EXPECT_THAT(std::string(s.message()), HasSubstr(listener_.address().ToString()));
}

}  // namespace
}  // namespace grove::net

int main(int argc, char** argv) {
  if (getenv(grove::net::kInside) == nullptr) {
    setenv(grove::net::kInside, "1", 1);
    std::string unshare[] = {"unshare", "--user", "--map-root-user", "--net", "--"};
    std::vector<char*> args;
    for (std::string& arg : unshare) args.push_back(arg.data());
    args.push_back(realpath("/proc/self/exe", nullptr));
    args.insert(args.end(), argv + 1, argv + argc);
    args.push_back(nullptr);
    execvp(args[0], args.data());
    perror("unshare(1), which this test needs");
    return 1;
  }
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
