#include "grove/net/dial.h"

#include <errno.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/sleep.h"
#include "grove/green/status.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/green/testing/socket_pair.h"
#include "grove/net/caching_resolver.h"
#include "grove/net/default_resolver.h"
#include "grove/net/testing/fake_resolver.h"
#include "grove/net/unix.h"

namespace grove::net {
namespace {

using absl::StatusCode;
using ::testing::HasSubstr;

// Sockets at one port of several addresses, which nobody else can take then.
class SamePort {
 public:
  explicit SamePort(std::vector<std::string> ips) {
    while (fds_.size() < ips.size()) {  // until there is a port that all have free
      CloseAll();
      port_ = 0;
      for (const std::string& ip : ips) {
        if (!Bind(*Address::FromIp(ip, port_))) break;
      }
    }
  }
  SamePort(const SamePort&) = delete;
  ~SamePort() { CloseAll(); }

  uint16_t port() const { return port_; }
  // What nobody listens at refuses.
  TcpListener Listen(size_t i) {
    EXPECT_EQ(listen(fds_[i], 16), 0);
    return *TcpListener::Adopt(std::exchange(fds_[i], -1));
  }
  // Listens, and answers nobody: the backlog is full, and the kernel drops what comes.
  void MakeBlackHole(size_t i) {
    EXPECT_EQ(listen(fds_[i], 0), 0);
    for (int n = 0; n < 8; ++n) {  // some more than it has room for
      const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
      const Address hole = *Address::FromIp("127.0.0.1", port_);
      connect(fd, hole.raw(), hole.raw_size());
      callers_.push_back(fd);
    }
  }

 private:
  bool Bind(const Address& address) {
    const int fd = socket(address.raw()->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    fds_.push_back(fd);
    const int on = 1;
    if (address.is_v6()) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (bind(fd, address.raw(), address.raw_size()) != 0) {
      CloseAll();
      return false;
    }
    sockaddr_storage raw{};
    socklen_t size = sizeof raw;
    getsockname(fd, reinterpret_cast<sockaddr*>(&raw), &size);
    port_ = Address::FromRaw(reinterpret_cast<sockaddr*>(&raw), size)->port();
    return true;
  }
  void CloseAll() {
    for (const std::vector<int>& fds : {fds_, callers_}) {
      for (int fd : fds) {
        if (fd >= 0) close(fd);
      }
    }
    fds_.clear();
  }

  std::vector<int> fds_;
  std::vector<int> callers_;
  uint16_t port_ = 0;
};

// The hosts of a fake resolver, at addresses of the loopback interface. The manual clock
// moves by itself only where nothing real is waited for meanwhile.
class DialTest : public GreenletTest {
 protected:
  DialOptions With(DialOptions options = {}) {
    options.resolver = &resolver_;
    return options;
  }
  static TcpListener ListenAt(absl::string_view ip) {
    return *TcpListener::Listen(*Address::FromIp(ip, 0));
  }
  // Lets what is ready run, and the hub look at its timers.
  static void Settle() {
    SocketPair pair;
    for (int i = 0; i < 5; ++i) {
      pair.Send();
      pair.near.WaitReadable();
      pair.Receive();
      Yield();
    }
  }

  FakeResolver resolver_;
};

GREENLET_TEST_F(DialTest, ConnectsToAHostByItsName) {
  // SO-10.
  TcpListener listener = ListenAt("127.0.0.1");
  resolver_.AddHost("host.example", {"127.0.0.1"});
  absl::StatusOr<TcpStream> s = Dial("host.example", listener.address().port(), With());
  ASSERT_TRUE(s.ok()) << s.status();
  EXPECT_EQ(s->peer(), listener.address());
  EXPECT_EQ(listener.Accept()->peer(), *s->local_address());
  EXPECT_EQ(resolver_.asks("host.example"), 2) << "for both families";
  EXPECT_TRUE(HasTaken(absl::ZeroDuration())) << "there is no IPv6 to wait for";
}

GREENLET_TEST_F(DialTest, InNumbersNobodyIsAsked) {
  TcpListener four = ListenAt("127.0.0.1");
  TcpListener six = ListenAt("::1");
  EXPECT_TRUE(Dial("127.0.0.1", four.address().port(), With()).ok());
  EXPECT_TRUE(Dial("::1", six.address().port(), With()).ok());
  EXPECT_EQ(resolver_.asks(), 0);
  const SamePort nobody({"127.0.0.3", "127.0.0.1"});
  const absl::Status s = Dial("127.0.0.3", nobody.port(), With()).status();
  EXPECT_EQ(ErrnoOf(s), ECONNREFUSED);
  EXPECT_FALSE(
      Dial("127.0.0.1", nobody.port(), With({.family = AddressFamily::kV6})).ok());
}

GREENLET_TEST_F(DialTest, TheHubsOwnResolverUnlessOneIsGiven) {
  TcpListener listener = ListenAt("127.0.0.1");
  auto fake = std::make_unique<FakeResolver>();
  fake->AddHost("host.example", {"127.0.0.1"});
  SetDefaultResolver(std::move(fake));
  EXPECT_TRUE(Dial("host.example", listener.address().port()).ok());
}

GREENLET_TEST_F(DialTest, Ipv6IsTriedFirst) {
  SamePort ports({"::1", "127.0.0.1"});
  TcpListener six = ports.Listen(0);
  TcpListener four = ports.Listen(1);
  resolver_.AddHost("host.example", {"127.0.0.1", "::1"});
  for (const auto& [family, ip] :
       {std::pair(AddressFamily::kAny, "::1"), std::pair(AddressFamily::kV6, "::1"),
        std::pair(AddressFamily::kV4, "127.0.0.1")}) {
    EXPECT_EQ(Dial("host.example", six.address().port(),
                   With({.family = family, .attempt_delay = absl::InfiniteDuration()}))
                  ->peer()
                  .ip(),
              ip);
  }
}

GREENLET_TEST_F(DialTest, FamiliesTakeTurnsAndEachFailureIsTold) {
  const SamePort nobody({"::1", "127.0.0.1", "127.0.0.2"});
  const uint16_t port = nobody.port();
  resolver_.AddHost("host.example", {"::1", "::1", "::1", "127.0.0.1", "127.0.0.2"});
  const absl::Status s =
      Dial("host.example", port, With({.attempt_delay = absl::InfiniteDuration()}))
          .status();
  EXPECT_EQ(s.code(), StatusCode::kUnavailable);
  EXPECT_EQ(ErrnoOf(s), ECONNREFUSED);
  const auto refused = [&](absl::string_view ip) {
    return absl::StrCat(Address::FromIp(ip, port)->ToString(), ": Connection refused");
  };
  EXPECT_EQ(s.message(), absl::StrCat("dial host.example:", port,
                                      ": no address answered: ", refused("::1"), "; ",
                                      refused("127.0.0.1"), "; ", refused("::1"), "; ",
                                      refused("127.0.0.2"), "; ", refused("::1")));
  EXPECT_TRUE(HasTaken(absl::ZeroDuration())) << "who fails is followed at once";
}

GREENLET_TEST_F(DialTest, WhoDoesNotAnswerIsPassedAfterTheDelay) {
  clock().set_auto_advance(false);
  SamePort hole({"127.0.0.1", "127.0.0.2"});
  hole.MakeBlackHole(0);
  TcpListener good = hole.Listen(1);
  resolver_.AddHost("host.example", {"127.0.0.1", "127.0.0.2", "127.0.0.3"});
  const Greenlet<std::string> dial = Spawn([&] {
    absl::StatusOr<TcpStream> s = Dial("host.example", hole.port(), With());
    return s.ok() ? s->Describe() : s.status().ToString();
  });
  Settle();
  EXPECT_EQ(LiveGreenlets(), 3u) << "this one, who dials, and one attempt";
  clock().Advance(absl::Milliseconds(249));
  Settle();
  EXPECT_EQ(LiveGreenlets(), 3u);
  clock().Advance(absl::Milliseconds(1) + absl::Microseconds(10));
  TcpStream accepted = *good.Accept();
  EXPECT_EQ(*dial.Get(), good.address().ToString());
  EXPECT_EQ(LiveGreenlets(), 1u) << "the others were given up";
}

GREENLET_TEST_F(DialTest, TheFirstOfManyAttemptsWinsAndTheOthersAreClosed) {
  SamePort ports({"127.0.0.1", "127.0.0.2", "127.0.0.3"});
  std::vector<TcpListener> listeners;
  for (size_t i = 0; i < 3; ++i) listeners.push_back(ports.Listen(i));
  resolver_.AddHost("host.example", {"127.0.0.1", "127.0.0.2", "127.0.0.3"});
  const absl::StatusOr<TcpStream> s =
      Dial("host.example", ports.port(), With({.attempt_delay = absl::ZeroDuration()}));
  ASSERT_TRUE(s.ok()) << s.status();
  EXPECT_EQ(LiveGreenlets(), 1u);
  // The fixture sees to it that no descriptor is left.
}

GREENLET_TEST_F(DialTest, TheDeadlineIsForAllOfIt) {
  SamePort hole({"127.0.0.1", "127.0.0.2"});
  hole.MakeBlackHole(0);
  // The last of them answers nobody either.
  resolver_.AddHost("host.example", {"127.0.0.2", "127.0.0.1"});
  resolver_.Delay("host.example", absl::Milliseconds(300));
  const absl::Status s =
      Dial("host.example", hole.port(), With({.deadline = absl::Seconds(1)})).status();
  EXPECT_EQ(s.code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(s.message(), absl::StrCat("dial host.example:", hole.port(),
                                      ": the deadline passed: 127.0.0.2:", hole.port(),
                                      ": Connection refused; 127.0.0.1:", hole.port(),
                                      ": no answer yet"));
  EXPECT_TRUE(HasTaken(absl::Seconds(1)));
}

GREENLET_TEST_F(DialTest, TheDeadlineMayComeBeforeTheAddresses) {
  resolver_.AddHost("host.example", {"127.0.0.1", "::1"});
  resolver_.Delay("host.example", absl::InfiniteDuration());
  const absl::Status s =
      Dial("host.example", 80, With({.deadline = absl::Seconds(1)})).status();
  EXPECT_EQ(s.code(), StatusCode::kDeadlineExceeded);
  EXPECT_THAT(std::string(s.message()), HasSubstr("IPv6 addresses: no answer yet"));
  EXPECT_EQ(resolver_.waiting(), 0);
  EXPECT_EQ(
      Dial("host.example", 80, With({.deadline = Deadline::Passed()})).status().code(),
      StatusCode::kDeadlineExceeded);
}

GREENLET_TEST_F(DialTest, Ipv4WaitsALittleForIpv6) {
  SamePort ports({"::1", "127.0.0.1"});
  TcpListener six = ports.Listen(0);
  TcpListener four = ports.Listen(1);
  resolver_.AddHost("host.example", {"127.0.0.1", "::1"});
  const DialOptions options = With({.attempt_delay = absl::InfiniteDuration()});
  resolver_.Delay("host.example", absl::Milliseconds(40), AddressFamily::kV6);
  EXPECT_EQ(Dial("host.example", six.address().port(), options)->peer().ip(), "::1");
  EXPECT_TRUE(HasTaken(absl::Milliseconds(40)));
  resolver_.Delay("host.example", absl::InfiniteDuration(), AddressFamily::kV6);
  EXPECT_EQ(Dial("host.example", six.address().port(), options)->peer().ip(),
            "127.0.0.1");
  EXPECT_TRUE(HasTaken(absl::Milliseconds(90)));
  EXPECT_EQ(resolver_.waiting(), 0);
}

GREENLET_TEST_F(DialTest, WhatIsThereFirstIsIpv6AndWaitsForNobody) {
  TcpListener six = ListenAt("::1");
  resolver_.AddHost("host.example", {"127.0.0.1", "::1"});
  resolver_.Delay("host.example", absl::InfiniteDuration(), AddressFamily::kV4);
  EXPECT_EQ(Dial("host.example", six.address().port(), With())->peer().ip(), "::1");
  EXPECT_TRUE(HasTaken(absl::ZeroDuration()));
}

GREENLET_TEST_F(DialTest, AddressesThatComeLateAreTriedToo) {
  clock().set_auto_advance(false);
  SamePort hole({"127.0.0.1", "::1"});
  hole.MakeBlackHole(0);
  TcpListener six = hole.Listen(1);
  resolver_.AddHost("host.example", {"127.0.0.1", "::1"});
  resolver_.Delay("host.example", absl::Milliseconds(100), AddressFamily::kV6);
  const Greenlet<std::string> dial = Spawn([&] {
    absl::StatusOr<TcpStream> s = Dial("host.example", hole.port(), With());
    return s.ok() ? s->peer().ip() : s.status().ToString();
  });
  Settle();
  // IPv4 begins, IPv6 comes, the delay of the attempt is over.
  for (const int ms : {50, 50, 200}) {
    clock().Advance(absl::Milliseconds(ms) + absl::Microseconds(10));
    Settle();
  }
  TcpStream accepted = *six.Accept();
  EXPECT_EQ(*dial.Get(), "::1");
}

GREENLET_TEST_F(DialTest, AHostThatDoesNotExistIsNotFound) {
  absl::Status s = Dial("none.example", 80, With()).status();
  EXPECT_EQ(s.code(), StatusCode::kNotFound);
  EXPECT_EQ(LookupFailureOf(s), LookupFailure::kNoSuchName);
  EXPECT_THAT(std::string(s.message()), HasSubstr("dial none.example:80: "));
  EXPECT_EQ(Dial("", 80, With()).status().code(), StatusCode::kInvalidArgument);
}

GREENLET_TEST_F(DialTest, ALookupThatFailsIsTold) {
  resolver_.Fail("down.example", LookupError(LookupFailure::kServerFailed, "down"));
  absl::Status s = Dial("down.example", 80, With()).status();
  EXPECT_EQ(s.code(), StatusCode::kUnavailable);
  EXPECT_EQ(LookupFailureOf(s), LookupFailure::kServerFailed);
  EXPECT_EQ(s.message(), "dial down.example:80: down") << "once";
  // One half of it; the other is answered, by nobody there.
  resolver_.AddHost("half.example", {"127.0.0.1"});
  resolver_.Fail("half.example", LookupError(LookupFailure::kServerFailed, "half"),
                 AddressFamily::kV6);
  const SamePort nobody({"127.0.0.1"});
  s = Dial("half.example", nobody.port(), With()).status();
  EXPECT_THAT(std::string(s.message()), HasSubstr("Connection refused; half"));
  // That there is no IPv6 says nothing then, and it is not what counts.
  resolver_.Fail("quarter.example", LookupError(LookupFailure::kServerFailed, "quarter"),
                 AddressFamily::kV4);
  EXPECT_EQ(Dial("quarter.example", 80, With()).status().code(),
            StatusCode::kUnavailable);
}

GREENLET_TEST_F(DialTest, AResolverThatThrowsIsTold) {
  class Throws final : public Resolver {
   public:
    absl::StatusOr<Answer> Resolve(const Question&, Deadline) override {
      throw std::runtime_error("out of luck");
    }
    std::string Describe() const override { return "one that throws"; }
  };
  Throws bare;
  CachingResolver cached(std::make_unique<Throws>());
  for (Resolver* resolver :
       {static_cast<Resolver*>(&bare), static_cast<Resolver*>(&cached)}) {
    const absl::Status s = Dial("a.test", 80, {.resolver = resolver}).status();
    EXPECT_EQ(s.code(), absl::StatusCode::kUnknown) << s;
    EXPECT_THAT(std::string(s.message()), HasSubstr("out of luck"));
  }
}

GREENLET_TEST_F(DialTest, KilledItLeavesNothing) {
  SamePort hole({"127.0.0.1"});
  hole.MakeBlackHole(0);
  resolver_.AddHost("slow.example", {"127.0.0.1"});
  resolver_.Delay("slow.example", absl::InfiniteDuration());
  resolver_.AddHost("hole.example", {"127.0.0.1", "127.0.0.1"});
  for (const char* host : {"slow.example", "hole.example"}) {
    const Greenlet<> dial = Spawn(
        [&] { Dial(host, hole.port(), With({.attempt_delay = {}})).IgnoreError(); });
    Settle();
    dial.Kill();
    EXPECT_TRUE(dial.killed());
    EXPECT_EQ(LiveGreenlets(), 1u);
    EXPECT_EQ(resolver_.waiting(), 0);
  }
}

GREENLET_TEST_F(DialTest, TheSourceAddressDecidesTheFamily) {
  TcpListener four = ListenAt("127.0.0.1");
  resolver_.AddHost("host.example", {"::1", "127.0.0.1"});
  const Address source = *Address::Parse("127.0.0.2:0");
  const absl::StatusOr<TcpStream> s =
      Dial("host.example", four.address().port(), With({.source = source}));
  ASSERT_TRUE(s.ok()) << s.status();
  EXPECT_EQ(four.Accept()->peer().ip(), "127.0.0.2");
  EXPECT_EQ(resolver_.asks(), 1);
  EXPECT_EQ(
      Dial("host.example", 80, With({.source = source, .family = AddressFamily::kV6}))
          .status()
          .code(),
      StatusCode::kInvalidArgument);
}

GREENLET_TEST_F(DialTest, NoDescriptorIsAnErrorOfItsOwn) {
  resolver_.AddHost("host.example", {"127.0.0.1", "::1"});
  rlimit limit;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  const int next = dup(STDERR_FILENO);
  close(next);
  rlimit low = limit;
  low.rlim_cur = static_cast<rlim_t>(next);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
  const absl::Status s = Dial("host.example", 80, With()).status();
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_EQ(s.code(), StatusCode::kResourceExhausted) << s;
  EXPECT_EQ(ErrnoOf(s), EMFILE);
}

GREENLET_TEST_F(DialTest, AnyKindOfAddress) {
  TcpListener four = ListenAt("127.0.0.1");
  TcpListener six = ListenAt("::1");
  UnixListener local = *UnixListener::Listen(UnixAddress());
  resolver_.AddHost("host.example", {"127.0.0.1"});
  for (const std::string& text : {four.address().ToString(), six.address().ToString(),
                                  absl::StrCat("host.example:", four.address().port()),
                                  absl::StrCat("unix:", local.address().ToString())}) {
    absl::StatusOr<std::unique_ptr<Stream>> s = DialAny(text, With());
    ASSERT_TRUE(s.ok()) << s.status();
    EXPECT_TRUE((*s)->Write("x").ok());
  }
  EXPECT_EQ(ErrnoOf(DialAny("unix:/no/such/socket", With()).status()), ENOENT);
  for (const char* bad :
       {"", "host", "host:", "host:0", "host:65536", "host:+1", "host:http", ":80",
        "::1:80", "[::1]", "[::1:80", "[host]:80", "unix:", "unix:@"}) {
    const absl::Status s = DialAny(bad, With()).status();
    EXPECT_EQ(s.code(), StatusCode::kInvalidArgument) << bad;
    EXPECT_THAT(std::string(s.message()), HasSubstr(absl::StrCat("\"", bad, "\"")));
  }
}

TEST(HostAndPort, IsSplitAndNotLookedUp) {
  for (const auto& [text, host, port] :
       std::vector<std::tuple<std::string, std::string, int>>{
           {"example.org:443", "example.org", 443},
           {"192.0.2.1:1", "192.0.2.1", 1},
           {"[2001:db8::1]:65535", "2001:db8::1", 65535},
       }) {
    const absl::StatusOr<HostAndPort> got = ParseHostAndPort(text);
    ASSERT_TRUE(got.ok()) << got.status();
    EXPECT_EQ(got->host, host);
    EXPECT_EQ(got->port, port);
  }
  for (const char* bad : {"", "host", "host:", "host:0", "host:65536", ":80", "::1:80"}) {
    const absl::Status s = ParseHostAndPort(bad).status();
    EXPECT_EQ(s.code(), StatusCode::kInvalidArgument) << bad;
    EXPECT_THAT(std::string(s.message()), HasSubstr(absl::StrCat("\"", bad, "\"")));
  }
}

}  // namespace
}  // namespace grove::net
