#include "grove/net/ares_resolver.h"

#include <errno.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "grove/green/descriptor.h"
#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/internal/sanitizer.h"
#include "grove/green/os/fork.h"
#include "grove/green/os/waitpid.h"
#include "grove/green/sleep.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/green/wait.h"
#include "grove/net/caching_resolver.h"
#include "grove/net/dns_server_test_util.h"
#include "grove/sync/event.h"

namespace grove::net {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

constexpr int kA = 1;
constexpr int kAaaa = 28;
constexpr int kServfail = 2;
constexpr int kNxdomain = 3;
constexpr int kRefused = 5;

Address Ip(absl::string_view ip) { return *Address::FromIp(ip, 0); }

// A resolver that asks only what a test says, and reads no files.
AresResolverOptions Asking(std::vector<Address> servers) {
  AresResolverOptions options;
  options.servers = std::move(servers);
  options.hosts_file = "";
  options.resolv_conf = "";
  options.search = std::vector<std::string>();
  options.timeout = absl::Seconds(30);
  options.tries = 2;
  return options;
}

// example.test has an address of each family.
std::vector<std::string> Friendly(const TestQuery& q) {
  if (q.name != "example.test") return {TestReply{.code = kNxdomain}.To(q)};
  if (q.type == kA) {
    return {TestReply{.answers = {TestA(q.name, "192.0.2.1", 300)}}.To(q)};
  }
  if (q.type == kAaaa) {
    return {TestReply{.answers = {TestAaaa(q.name, "2001:db8::1", 60)}}.To(q)};
  }
  return {TestReply{}.To(q)};
}

// Time is real, so that it does not run away from what is on its way in the kernel; no
// test waits for it.
class AresResolverTest : public GreenletTest {
 protected:
  GreenletTestOptions Options() const override {
    GreenletTestOptions options;
    options.clock = Clock::Real();
    return options;
  }
};

// What /etc/hosts says in one family is not looked for elsewhere in the other, by who
// asks for both as Dial() does; and is, by who wants that family, as libc does it.
GREENLET_TEST_F(AresResolverTest, AHostsFileWithOneFamilyAnswersForBoth) {
  const std::string hosts = testing::TempDir() + "one_family_hosts";
  std::ofstream(hosts) << "192.0.2.7 example.test\n";
  TestDnsServer server(&Friendly);
  AresResolverOptions options = Asking({server.address()});
  options.hosts_file = hosts;
  AresResolver resolver(options);
  const absl::Status half =
      resolver
          .LookupHost("example.test", {.family = AddressFamily::kV6, .one_of_both = true})
          .status();
  EXPECT_EQ(LookupFailureOf(half), LookupFailure::kNoData) << half;
  const auto other = resolver.LookupHost(
      "example.test", {.family = AddressFamily::kV4, .one_of_both = true});
  ASSERT_TRUE(other.ok()) << other.status();
  EXPECT_THAT(other->addresses, ElementsAre(Ip("192.0.2.7")));
  EXPECT_TRUE(server.queries().empty());
  EXPECT_THAT(
      resolver.LookupHost("example.test", {.family = AddressFamily::kV6})->addresses,
      ElementsAre(Ip("2001:db8::1")));
}

// It is not the server's fault.
GREENLET_TEST_F(AresResolverTest, WithoutADescriptorItSaysSo) {
  TestDnsServer server(&Friendly);
  AresResolver resolver(Asking({server.address()}));
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none = {.rlim_cur = 3, .rlim_max = before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  const absl::Status status = resolver.LookupHost("example.test").status();
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_THAT(std::string(status.message()), HasSubstr("Too many open files"));
  EXPECT_TRUE(resolver.LookupHost("example.test").ok());
}

GREENLET_TEST_F(AresResolverTest, AsksForBothFamilies) {
  TestDnsServer server(&Friendly);
  AresResolver resolver(Asking({server.address()}));
  const auto host = resolver.LookupHost("Example.TEST");
  ASSERT_TRUE(host.ok()) << host.status();
  EXPECT_THAT(host->addresses, UnorderedElementsAre(Ip("192.0.2.1"), Ip("2001:db8::1")));
  EXPECT_EQ(host->canonical_name, "example.test");
  EXPECT_EQ(host->ttl, absl::Seconds(60));
  EXPECT_THAT(server.queries(), SizeIs(2));
  EXPECT_EQ(resolver.queries(), 2u);
}

GREENLET_TEST_F(AresResolverTest, AsksForOneFamily) {
  TestDnsServer server(&Friendly);
  AresResolver resolver(Asking({server.address()}));
  const auto v4 = resolver.LookupHost("example.test", {.family = AddressFamily::kV4});
  ASSERT_TRUE(v4.ok()) << v4.status();
  EXPECT_THAT(v4->addresses, ElementsAre(Ip("192.0.2.1")));
  const auto v6 = resolver.LookupHost("example.test", {.family = AddressFamily::kV6});
  ASSERT_TRUE(v6.ok()) << v6.status();
  EXPECT_THAT(v6->addresses, ElementsAre(Ip("2001:db8::1")));
  EXPECT_THAT(server.queries(), SizeIs(2));
}

GREENLET_TEST_F(AresResolverTest, TellsNoSuchNameFromNoData) {
  TestDnsServer server([](const TestQuery& q) -> std::vector<std::string> {
    TestReply reply;
    if (q.name != "empty.test") reply.code = kNxdomain;
    reply.authorities = {TestSoa("test", 40, 20)};
    return {reply.To(q)};
  });
  AresResolver resolver(Asking({server.address()}));
  const absl::Status none = resolver.LookupHost("none.test").status();
  EXPECT_TRUE(absl::IsNotFound(none)) << none;
  EXPECT_EQ(LookupFailureOf(none), LookupFailure::kNoSuchName);
  EXPECT_EQ(NegativeTtl(none), absl::Seconds(20));
  EXPECT_THAT(std::string(none.message()), HasSubstr("none.test"));
  EXPECT_THAT(std::string(none.message()), HasSubstr(server.address().ToString()));
  const absl::Status empty = resolver.LookupHost("empty.test").status();
  EXPECT_TRUE(absl::IsNotFound(empty)) << empty;
  EXPECT_EQ(LookupFailureOf(empty), LookupFailure::kNoData);
}

GREENLET_TEST_F(AresResolverTest, FollowsAChainOfAliases) {
  TestDnsServer server([](const TestQuery& q) -> std::vector<std::string> {
    TestReply reply;
    reply.answers = {TestCname("a.test", "b.test", 10), TestCname("b.test", "c.test")};
    if (q.type == kA) reply.answers.push_back(TestA("c.test", "192.0.2.3"));
    // Nobody has asked for that.
    if (q.type == kA) reply.answers.push_back(TestA("evil.test", "192.0.2.66"));
    return {reply.To(q)};
  });
  AresResolver resolver(Asking({server.address()}));
  const auto host = resolver.LookupHost("a.test");
  ASSERT_TRUE(host.ok()) << host.status();
  EXPECT_THAT(host->addresses, ElementsAre(Ip("192.0.2.3")));
  EXPECT_EQ(host->canonical_name, "c.test");
  EXPECT_THAT(host->aliases, ElementsAre("a.test", "b.test"));
  EXPECT_EQ(host->ttl, absl::Seconds(10));
}

GREENLET_TEST_F(AresResolverTest, GoesToTcpForWhatDoesNotFit) {
  TestDnsServer server([](const TestQuery& q) -> std::vector<std::string> {
    TestReply reply;
    reply.truncated = !q.tcp;
    for (int i = 0; q.tcp && i < 100; ++i) {
      reply.answers.push_back(TestA(q.name, absl::StrCat("192.0.2.", i).c_str()));
    }
    return {reply.To(q)};
  });
  AresResolver resolver(Asking({server.address()}));
  const auto host = resolver.LookupHost("big.test", {.family = AddressFamily::kV4});
  ASSERT_TRUE(host.ok()) << host.status();
  EXPECT_THAT(host->addresses, SizeIs(100));
  EXPECT_EQ(server.tcp_queries(), 1);
}

GREENLET_TEST_F(AresResolverTest, AsksByTcpOnlyIfToldTo) {
  TestDnsServer server([](const TestQuery& q) -> std::vector<std::string> {
    if (!q.tcp) return {TestReply{.code = kServfail}.To(q)};
    return Friendly(q);
  });
  AresResolverOptions options = Asking({server.address()});
  options.tcp = true;
  AresResolver resolver(options);
  const auto host = resolver.LookupHost("example.test");
  ASSERT_TRUE(host.ok()) << host.status();
  EXPECT_THAT(host->addresses, SizeIs(2));
  EXPECT_EQ(server.tcp_queries(), 2);
}

GREENLET_TEST_F(AresResolverTest, ReportsThatNobodyListensForTcp) {
  TestDnsServer server([](const TestQuery& q) -> std::vector<std::string> {
    return {TestReply{.truncated = true}.To(q)};
  });
  server.CloseTcp();
  AresResolver resolver(Asking({server.address()}));
  const absl::Status s = resolver.LookupHost("big.test").status();
  EXPECT_EQ(LookupFailureOf(s), LookupFailure::kUnreachable) << s;
}

GREENLET_TEST_F(AresResolverTest, ReportsThatTcpEndsInTheMiddle) {
  UdpSocket udp;
  TcpListener tcp;
  do {  // until a port is free for both
    udp = *UdpSocket::Bind(Address::Loopback(0));
    if (auto t = TcpListener::Listen(*udp.local_address()); t.ok()) tcp = *std::move(t);
  } while (tcp.closed());
  const Greenlet<> truncates = Spawn([&] {
    char buffer[512];
    for (;;) {
      const auto d = udp.ReceiveFrom(absl::MakeSpan(buffer));
      if (!d.ok()) continue;
      const TestQuery query = ParseQuery({buffer, d->bytes});
      udp.SendTo(TestReply{.truncated = true}.To(query), d->peer).IgnoreError();
    }
  });
  const Greenlet<> cuts_off = Spawn([&] {
    for (;;) tcp.Accept()->Write("\x01").IgnoreError();  // half a length
  });
  AresResolver resolver(Asking({*udp.local_address()}));
  const absl::Status s = resolver.LookupHost("big.test").status();
  EXPECT_EQ(LookupFailureOf(s), LookupFailure::kUnreachable) << s;
  truncates.Kill();
  cuts_off.Kill();
}

GREENLET_TEST_F(AresResolverTest, ALookupByTcpCanBeKilled) {
  TestDnsServer server([](const TestQuery& q) -> std::vector<std::string> {
    if (q.tcp) return {};
    return {TestReply{.truncated = true}.To(q)};
  });
  AresResolver resolver(Asking({server.address()}));
  const Greenlet<> g = Spawn([&] { resolver.LookupHost("big.test").IgnoreError(); });
  while (server.tcp_queries() < 2) Yield();
  g.Kill();
}

GREENLET_TEST_F(AresResolverTest, ReportsAServerThatCannot) {
  for (const int code : {kServfail, kRefused}) {
    TestDnsServer server([code](const TestQuery& q) -> std::vector<std::string> {
      return {TestReply{.code = code}.To(q)};
    });
    AresResolver resolver(Asking({server.address()}));
    const absl::Status s = resolver.LookupHost("example.test").status();
    EXPECT_TRUE(absl::IsUnavailable(s)) << s;
    EXPECT_EQ(LookupFailureOf(s), LookupFailure::kServerFailed);
    EXPECT_THAT(std::string(s.message()), HasSubstr("example.test"));
    EXPECT_THAT(std::string(s.message()),
                HasSubstr(absl::StrCat(server.address().ToString(), " says ",
                                       code == kServfail ? "SERVFAIL" : "REFUSED")));
    EXPECT_THAT(server.queries(), SizeIs(4));  // two families, each twice
  }
}

GREENLET_TEST_F(AresResolverTest, LeavesAServerThatCannotForTheNext) {
  TestDnsServer bad([](const TestQuery& q) -> std::vector<std::string> {
    return {TestReply{.code = kServfail}.To(q)};
  });
  TestDnsServer good(&Friendly);
  AresResolver resolver(Asking({bad.address(), good.address()}));
  EXPECT_TRUE(resolver.LookupHost("example.test").ok());
  EXPECT_THAT(bad.queries(), SizeIs(2));
  EXPECT_THAT(good.queries(), SizeIs(2));
}

GREENLET_TEST_F(AresResolverTest, ReportsThatNobodyListens) {
  TestDnsServer server(&Friendly);
  server.Die();
  AresResolver resolver(Asking({server.address()}));
  const absl::Status s = resolver.LookupHost("example.test").status();
  EXPECT_TRUE(absl::IsUnavailable(s)) << s;
  EXPECT_EQ(LookupFailureOf(s), LookupFailure::kUnreachable);
  EXPECT_THAT(std::string(s.message()), HasSubstr(server.address().ToString()));
}

GREENLET_TEST_F(AresResolverTest, LeavesADeadServerForTheNext) {
  TestDnsServer dead(&Friendly);
  dead.Die();
  TestDnsServer good(&Friendly);
  AresResolver resolver(Asking({dead.address(), good.address()}));
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(resolver.LookupHost("example.test").ok());
  EXPECT_THAT(good.queries(), SizeIs(6));
  EXPECT_EQ(resolver.queries(), 8u);  // the dead one was tried once
}

GREENLET_TEST_F(AresResolverTest, TakesNoAnswerToAnotherQuestion) {
  TestDnsServer server([](const TestQuery& q) -> std::vector<std::string> {
    TestQuery wrong_id = q, wrong_name = q, wrong_type = q;
    wrong_id.id = static_cast<uint16_t>(q.id + 1);
    wrong_name.name = "evil.test";
    wrong_type.type = 16;
    TestReply evil = {.answers = {TestA(q.name, "192.0.2.66")}};
    std::vector<std::string> messages = {evil.To(wrong_id), evil.To(wrong_name),
                                         evil.To(wrong_type), "short",
                                         std::string(600, '\xff')};
    messages.push_back(Friendly(q)[0]);
    return messages;
  });
  AresResolver resolver(Asking({server.address()}));
  const auto host = resolver.LookupHost("example.test", {.family = AddressFamily::kV4});
  ASSERT_TRUE(host.ok()) << host.status();
  EXPECT_THAT(host->addresses, ElementsAre(Ip("192.0.2.1")));
}

GREENLET_TEST_F(AresResolverTest, TakesNoAnswerFromAnotherPort) {
  UdpSocket stranger = *UdpSocket::Bind(Address::Loopback(0));
  TestDnsServer server([&](const TestQuery& q) -> std::vector<std::string> {
    const TestReply evil = {.answers = {TestA(q.name, "192.0.2.66")}};
    stranger.SendTo(evil.To(q), q.from).IgnoreError();
    return Friendly(q);
  });
  AresResolver resolver(Asking({server.address()}));
  const auto host = resolver.LookupHost("example.test", {.family = AddressFamily::kV4});
  ASSERT_TRUE(host.ok()) << host.status();
  EXPECT_THAT(host->addresses, ElementsAre(Ip("192.0.2.1")));
}

GREENLET_TEST_F(AresResolverTest, ReportsWhatIsNoAnswer) {
  TestDnsServer server([](const TestQuery& q) -> std::vector<std::string> {
    std::string m = TestReply{.answers = {TestA(q.name, "192.0.2.1")}}.To(q);
    m.resize(m.size() - 2);  // half an address
    return {m};
  });
  AresResolver resolver(Asking({server.address()}));
  const absl::Status s = resolver.LookupHost("example.test").status();
  EXPECT_TRUE(absl::IsUnavailable(s)) << s;
  EXPECT_EQ(LookupFailureOf(s), LookupFailure::kMalformed);
}

GREENLET_TEST_F(AresResolverTest, TriesWhatIsSearched) {
  TestDnsServer server([](const TestQuery& q) -> std::vector<std::string> {
    if (q.name == "db.two.test") {
      return {TestReply{.answers = {TestA(q.name, "192.0.2.2")}}.To(q)};
    }
    return {TestReply{.code = kNxdomain}.To(q)};
  });
  AresResolverOptions options = Asking({server.address()});
  options.search = {{"one.test", "two.test"}};
  AresResolver resolver(options);
  const auto names = [&] {
    std::vector<std::string> all;
    for (const TestQuery& q : server.queries()) all.push_back(q.name);
    return all;
  };
  LookupOptions v4 = {.family = AddressFamily::kV4};
  EXPECT_TRUE(resolver.LookupHost("db", v4).ok());
  EXPECT_THAT(names(), ElementsAre("db.one.test", "db.two.test"));
  const absl::Status s = resolver.LookupHost("db.", v4).status();
  EXPECT_TRUE(absl::IsNotFound(s)) << s;
  EXPECT_EQ(names().back(), "db");
  EXPECT_THAT(names(), SizeIs(3));
  EXPECT_FALSE(resolver.LookupHost("a.b", v4).ok());
  EXPECT_THAT(names(), ElementsAre("db.one.test", "db.two.test", "db", "a.b",
                                   "a.b.one.test", "a.b.two.test"));
}

GREENLET_TEST_F(AresResolverTest, TurnsTheServersIfToldTo) {
  TestDnsServer one(&Friendly), two(&Friendly);
  AresResolverOptions options = Asking({one.address(), two.address()});
  options.rotate = true;
  AresResolver resolver(options);
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(resolver.LookupHost("example.test").ok());
  EXPECT_THAT(one.queries(), SizeIs(4));
  EXPECT_THAT(two.queries(), SizeIs(4));
}

GREENLET_TEST_F(AresResolverTest, PrefersAFamilyIfToldTo) {
  TestDnsServer server(&Friendly);
  AresResolverOptions options = Asking({server.address()});
  for (const AddressFamily prefer : {AddressFamily::kV4, AddressFamily::kV6}) {
    options.prefer = prefer;
    AresResolver resolver(options);
    const auto host = resolver.LookupHost("example.test");
    ASSERT_TRUE(host.ok()) << host.status();
    ASSERT_THAT(host->addresses, SizeIs(2));
    EXPECT_EQ(host->addresses[0].is_v6(), prefer == AddressFamily::kV6);
  }
}

GREENLET_TEST_F(AresResolverTest, HalfAnAnswerIsGivenButNotToBeKept) {
  TestDnsServer server([](const TestQuery& q) -> std::vector<std::string> {
    if (q.type == kAaaa) return {TestReply{.code = kServfail}.To(q)};
    return Friendly(q);
  });
  AresResolver resolver(Asking({server.address()}));
  const auto host = resolver.LookupHost("example.test");
  ASSERT_TRUE(host.ok()) << host.status();
  EXPECT_THAT(host->addresses, ElementsAre(Ip("192.0.2.1")));
  EXPECT_EQ(host->ttl, absl::ZeroDuration());
}

GREENLET_TEST_F(AresResolverTest, LoopbackHasANameOfItsOwn) {
  AresResolver resolver(Asking({}));
  EXPECT_THAT(*resolver.LookupAddress(Address::Loopback(80)), ElementsAre("localhost"));
  EXPECT_THAT(*resolver.LookupAddress(Ip("::1")), ElementsAre("localhost"));
  EXPECT_EQ(resolver.queries(), 0u);
}

GREENLET_TEST_F(AresResolverTest, ServersThatItCannotReachAreNone) {
  AresResolver resolver(Asking({*Address::Parse("[fe80::1%1]:53")}));
  const absl::Status s = resolver.LookupHost("example.test").status();
  EXPECT_EQ(LookupFailureOf(s), LookupFailure::kUnreachable) << s;
}

GREENLET_TEST_F(AresResolverTest, EachHubHasItsOwnSockets) {
  TestDnsServer server(&Friendly);
  const HubHandle home = hub().handle();
  KeepAlive keep_alive(&hub());
  bool found = false;
  Event done;
  std::thread other([&] {
    {
      HubScope scope;
      AresResolver resolver(Asking({server.address()}));
      found = resolver.LookupHost("example.test").ok();
    }
    home.Post([&] { done.Set(); }).IgnoreError();
  });
  done.Wait();
  other.join();
  EXPECT_TRUE(found);
}

// A thread whose hub ends with it, and with greenlets that never go on.
TEST(AresResolverAtTheEnd, LookupsThatAreUnderWayAreDropped) {
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const Address any = Address::Loopback(0);
  ASSERT_EQ(bind(fd, any.raw(), any.raw_size()), 0);
  sockaddr_storage raw;
  socklen_t size = sizeof raw;
  ASSERT_EQ(getsockname(fd, reinterpret_cast<sockaddr*>(&raw), &size), 0);
  const Address silent = *Address::FromRaw(reinterpret_cast<sockaddr*>(&raw), size);
  AresResolver resolver(Asking({silent}));
  std::thread([&] {
    Spawn([&] { resolver.LookupHost("example.test").IgnoreError(); });
    while (resolver.queries() < 2) Yield();
  }).join();
  std::thread([&] {  // it belongs to whoever uses it next
    const absl::Status late =
        resolver.LookupHost("example.test", {.deadline = Deadline::Passed()}).status();
    EXPECT_TRUE(absl::IsDeadlineExceeded(late)) << late;
  })
      .join();
  close(fd);
}

// In a child, who goes on with sockets of its own, and leaves the parent's alone; what
// was under way there is nobody's any more.
GREENLET_TEST_F(AresResolverTest, GoesOnInAForkedChild) {
  if (GROVE_TSAN) GTEST_SKIP() << "ThreadSanitizer and fork() of several threads";
  int queries = 0;
  TestDnsServer server([&](const TestQuery& q) -> std::vector<std::string> {
    return ++queries <= 2 ? std::vector<std::string>() : Friendly(q);
  });
  CachingResolver resolver(std::make_unique<AresResolver>(Asking({server.address()})));
  const Greenlet<> waiting =
      Spawn([&] { resolver.LookupHost("example.test").IgnoreError(); });
  while (queries < 2) Yield();
  const pid_t pid = *Fork();
  if (pid == 0) _exit(resolver.LookupHost("example.test").ok() ? 0 : 1);
  // The server is the parent's, and answers while this waits.
  const absl::StatusOr<EndedChild> child = WaitPid(pid);
  ASSERT_TRUE(child.ok()) << child.status();
  EXPECT_TRUE(child->status.success());
  EXPECT_FALSE(waiting.ready());
  waiting.Kill();
  EXPECT_TRUE(resolver.LookupHost("example.test").ok());
}

// --- files ---

// In a directory of its own; what they say is read again when they are replaced.
class AresResolverFilesTest : public AresResolverTest {
 protected:
  void Write(const std::string& name, const std::string& text) {
    const std::string path = Path(name);
    std::ofstream(path + ".new") << text;
    ASSERT_EQ(rename((path + ".new").c_str(), path.c_str()), 0);
  }
  static std::string Path(const std::string& name) {
    return testing::TempDir() + "/" + name;
  }
  GreenletTestOptions Options() const override { return {}; }
  void SetUp() override { clock().set_auto_advance(false); }
};

GREENLET_TEST_F(AresResolverFilesTest, LooksIntoTheHostsFileFirst) {
  TestDnsServer server(&Friendly);
  Write("hosts", "192.0.2.50 example.test alias\n");
  AresResolverOptions options = Asking({server.address()});
  options.hosts_file = Path("hosts");
  AresResolver resolver(options);
  const auto host = resolver.LookupHost("ALIAS");
  ASSERT_TRUE(host.ok()) << host.status();
  EXPECT_THAT(host->addresses, ElementsAre(Ip("192.0.2.50")));
  EXPECT_EQ(host->canonical_name, "example.test");
  EXPECT_THAT(*resolver.LookupAddress(Ip("192.0.2.50")),
              ElementsAre("example.test", "alias"));
  EXPECT_THAT(server.queries(), SizeIs(0));
  // That file has no IPv6 address of it, the server has one.
  const auto v6 = resolver.LookupHost("example.test", {.family = AddressFamily::kV6});
  ASSERT_TRUE(v6.ok()) << v6.status();
  EXPECT_THAT(v6->addresses, ElementsAre(Ip("2001:db8::1")));
}

GREENLET_TEST_F(AresResolverFilesTest, ReadsTheHostsFileAgainWhenItHasChanged) {
  TestDnsServer server(&Friendly);
  Write("hosts", "192.0.2.50 a.test\n");
  AresResolverOptions options = Asking({server.address()});
  options.hosts_file = Path("hosts");
  // Through a cache, which must not hide it.
  CachingResolver resolver(std::make_unique<AresResolver>(options));
  const auto ip = [&](const char* name) {
    const auto host = resolver.LookupHost(name, {.family = AddressFamily::kV4});
    return host.ok() ? host->addresses[0].ip() : host.status().ToString();
  };
  EXPECT_EQ(ip("a.test"), "192.0.2.50");
  EXPECT_EQ(ip("example.test"), "192.0.2.1");
  Write("hosts", "192.0.2.51 a.test example.test\n");
  clock().Advance(absl::Seconds(2));
  EXPECT_EQ(ip("a.test"), "192.0.2.51");
  EXPECT_EQ(ip("example.test"), "192.0.2.51");
  ASSERT_EQ(remove(Path("hosts").c_str()), 0);
  clock().Advance(absl::Seconds(2));
  EXPECT_THAT(ip("a.test"), HasSubstr("no such name"));
  EXPECT_EQ(ip("example.test"), "192.0.2.1");
}

GREENLET_TEST_F(AresResolverFilesTest, ReadsResolvConfAgainWhenItHasChanged) {
  TestDnsServer server([](const TestQuery& q) -> std::vector<std::string> {
    if (q.name != "db.two.test") return {TestReply{.code = kNxdomain}.To(q)};
    return {TestReply{.answers = {TestA(q.name, "192.0.2.2")}}.To(q)};
  });
  AresResolverOptions options = Asking({server.address()});
  options.search = std::nullopt;
  options.resolv_conf = Path("resolv.conf");
  Write("resolv.conf", "search one.test\n");
  CachingResolver resolver(std::make_unique<AresResolver>(options));
  EXPECT_TRUE(absl::IsNotFound(resolver.LookupHost("db").status()));
  Write("resolv.conf", "search two.test\n");
  EXPECT_TRUE(absl::IsNotFound(resolver.LookupHost("db").status()));  // within a second
  clock().Advance(absl::Seconds(2));
  EXPECT_TRUE(resolver.LookupHost("db").ok());
}

GREENLET_TEST_F(AresResolverFilesTest, ANumberReadsNoFileAndAsksNobody) {
  Write("hosts", "192.0.2.50 a.test\n");
  Write("resolv.conf", "nameserver 127.0.0.1\n");
  AresResolverOptions options;
  options.hosts_file = Path("hosts");
  options.resolv_conf = Path("resolv.conf");
  AresResolver resolver(options);
  // inotify(7) tells of each open(2).
  Descriptor watch(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  for (const std::string& path : {options.hosts_file, options.resolv_conf}) {
    ASSERT_GE(inotify_add_watch(watch.fd(), path.c_str(), IN_OPEN), 0);
  }
  char events[4096];
  for (const char* name : {"127.0.0.1", "127.1", "::1", "fe80::1%1", "localhost"}) {
    EXPECT_TRUE(resolver.LookupHost(name).ok());
  }
  EXPECT_EQ(read(watch.fd(), events, sizeof events), -1);
  EXPECT_EQ(errno, EAGAIN);
  EXPECT_EQ(resolver.queries(), 0u);
  EXPECT_TRUE(resolver.LookupHost("a.test").ok());
  EXPECT_GT(read(watch.fd(), events, sizeof events), 0);  // so the test would see it
}

// --- on a clock that the server moves ---

class AresResolverTimeTest : public GreenletTest {
 protected:
  void SetUp() override { clock().set_auto_advance(false); }
};

GREENLET_TEST_F(AresResolverTimeTest, AsksAgainForWhatWasLost) {
  int lost = 0;
  TestDnsServer server([&](const TestQuery& q) -> std::vector<std::string> {
    if (++lost > 1) return Friendly(q);
    clock().Advance(absl::Seconds(31));
    return {};
  });
  AresResolver resolver(Asking({server.address()}));
  const auto host = resolver.LookupHost("example.test", {.family = AddressFamily::kV4});
  ASSERT_TRUE(host.ok()) << host.status();
  EXPECT_THAT(server.queries(), SizeIs(2));
}

GREENLET_TEST_F(AresResolverTimeTest, GivesUpAfterItsTries) {
  TestDnsServer server([&](const TestQuery&) -> std::vector<std::string> {
    clock().Advance(absl::Seconds(31));
    return {};
  });
  AresResolver resolver(Asking({server.address()}));
  const absl::Status s =
      resolver.LookupHost("example.test", {.family = AddressFamily::kV4}).status();
  EXPECT_TRUE(absl::IsDeadlineExceeded(s)) << s;
  EXPECT_EQ(LookupFailureOf(s), LookupFailure::kTimeout);
  EXPECT_THAT(std::string(s.message()),
              HasSubstr(server.address().ToString() + " does not answer"));
  EXPECT_THAT(server.queries(), SizeIs(2));
  EXPECT_TRUE(HasTaken(absl::Seconds(62)));
}

GREENLET_TEST_F(AresResolverTimeTest, EndsAtTheDeadline) {
  TestDnsServer server([&](const TestQuery&) -> std::vector<std::string> {
    clock().Advance(absl::Seconds(11));
    return {};
  });
  AresResolver resolver(Asking({server.address()}));
  const absl::Status s = resolver
                             .LookupHost("example.test", {.family = AddressFamily::kV4,
                                                          .deadline = absl::Seconds(10)})
                             .status();
  EXPECT_TRUE(absl::IsDeadlineExceeded(s)) << s;
  EXPECT_THAT(std::string(s.message()), HasSubstr(server.address().ToString()));
  EXPECT_TRUE(HasTaken(absl::Seconds(11)));
}

GREENLET_TEST_F(AresResolverTimeTest, AnAnswerThatComesTooLateIsNoOnes) {
  std::optional<TestQuery> late;
  TestDnsServer server([&](const TestQuery& q) -> std::vector<std::string> {
    if (!late) {
      late = q;
      clock().Advance(absl::Seconds(11));
      return {};
    }
    const TestReply reply = {.answers = {TestA("slow.test", "192.0.2.66")}};
    EXPECT_TRUE(server.udp().SendTo(reply.To(*late), late->from).ok());
    return Friendly(q);
  });
  AresResolver resolver(Asking({server.address()}));
  const auto look_up = [&](absl::string_view name) {
    return resolver.LookupHost(
        name, {.family = AddressFamily::kV4, .deadline = absl::Seconds(10)});
  };
  EXPECT_TRUE(absl::IsDeadlineExceeded(look_up("slow.test").status()));
  const auto host = look_up("example.test");
  ASSERT_TRUE(host.ok()) << host.status();
  EXPECT_THAT(host->addresses, ElementsAre(Ip("192.0.2.1")));
}

GREENLET_TEST_F(AresResolverTimeTest, AtTheDeadlineHalfAnAnswerIsOne) {
  TestDnsServer server([&](const TestQuery& q) -> std::vector<std::string> {
    return q.type == kA ? Friendly(q) : std::vector<std::string>();
  });
  AresResolver resolver(Asking({server.address()}));
  const Greenlet<> lookup = Spawn([&] {
    const auto host =
        resolver.LookupHost("example.test", {.deadline = absl::Seconds(10)});
    ASSERT_TRUE(host.ok()) << host.status();
    EXPECT_THAT(host->addresses, ElementsAre(Ip("192.0.2.1")));
    EXPECT_EQ(host->ttl, absl::ZeroDuration());
  });
  while (server.queries().size() < 2) Yield();
  Idle();  // the answer has come
  clock().Advance(absl::Seconds(11));
  lookup.Join();
}

GREENLET_TEST_F(AresResolverTimeTest, AsksASilentServerAfterTheOthers) {
  TestDnsServer silent([&](const TestQuery&) -> std::vector<std::string> {
    clock().Advance(absl::Seconds(31));
    return {};
  });
  TestDnsServer good(&Friendly);
  AresResolverOptions options = Asking({silent.address(), good.address()});
  options.timeout = absl::Seconds(20);
  AresResolver resolver(options);
  const LookupOptions v4 = {.family = AddressFamily::kV4};
  EXPECT_TRUE(resolver.LookupHost("example.test", v4).ok());
  EXPECT_TRUE(resolver.LookupHost("example.test", v4).ok());
  EXPECT_THAT(silent.queries(), SizeIs(1));
  clock().Advance(absl::Seconds(40));
  EXPECT_TRUE(resolver.LookupHost("example.test", v4).ok());
  EXPECT_THAT(silent.queries(), SizeIs(2));
}

// It has the question, and then it is gone: what is asked again, nobody gets.
GREENLET_TEST_F(AresResolverTimeTest, AServerThatDiesBeforeItsAnswerIsLeftForTheNext) {
  TestDnsServer dying([&](const TestQuery&) -> std::vector<std::string> {
    Spawn([&] {
      dying.Die();
      clock().Advance(absl::Seconds(31));
    });
    return {};
  });
  TestDnsServer good(&Friendly);
  AresResolver resolver(Asking({dying.address(), good.address()}));
  const LookupOptions v4 = {.family = AddressFamily::kV4};
  const auto host = resolver.LookupHost("example.test", v4);
  ASSERT_TRUE(host.ok()) << host.status();
  EXPECT_THAT(host->addresses, ElementsAre(Ip("192.0.2.1")));
  EXPECT_THAT(dying.queries(), SizeIs(1));
  EXPECT_THAT(good.queries(), SizeIs(1));
}

GREENLET_TEST_F(AresResolverTimeTest, AServerThatDiesBeforeItsAnswerIsReported) {
  TestDnsServer dying([&](const TestQuery&) -> std::vector<std::string> {
    Spawn([&] {
      dying.Die();
      clock().Advance(absl::Seconds(31));
    });
    return {};
  });
  AresResolver resolver(Asking({dying.address()}));
  const absl::Status s =
      resolver.LookupHost("example.test", {.family = AddressFamily::kV4}).status();
  EXPECT_EQ(LookupFailureOf(s), LookupFailure::kUnreachable) << s;
  EXPECT_THAT(std::string(s.message()), HasSubstr(dying.address().ToString()));
}

GREENLET_TEST_F(AresResolverTimeTest, AKilledLookupIsForgotten) {
  TestDnsServer server([&](const TestQuery&) { return std::vector<std::string>(); });
  AresResolver resolver(Asking({server.address()}));
  const Greenlet<> g = Spawn([&] {
    resolver.LookupHost("example.test").IgnoreError();
    ADD_FAILURE() << "the kill was not thrown";
  });
  while (server.queries().size() < 2) Yield();
  g.Kill();
  // No socket, watcher or waker is left: the fixture looks.
}

GREENLET_TEST_F(AresResolverTimeTest, AKilledLookupIsNothingToTheOthers) {
  TestDnsServer server([&](const TestQuery& q) -> std::vector<std::string> {
    if (q.name == "never.test") return {};
    return Friendly(q);
  });
  AresResolver resolver(Asking({server.address()}));
  const Greenlet<> g = Spawn([&] { resolver.LookupHost("never.test").IgnoreError(); });
  while (server.queries().size() < 2) Yield();
  const Greenlet<bool> other =
      Spawn([&] { return resolver.LookupHost("example.test").ok(); });
  Yield();
  g.Kill();
  EXPECT_TRUE(*other.Get());
}

// c-ares has 65,536 numbers for queries, and looks for one that is free until it has it;
// so that a channel takes only so many.
GREENLET_TEST_F(AresResolverTimeTest, MoreMayWaitThanAChannelTakes) {
  UdpSocket silent = *UdpSocket::Bind(Address::Loopback(0));
  AresResolver resolver(Asking({*silent.local_address()}));
  constexpr int kLookups = 600;  // of two queries each
  std::vector<AnyGreenlet> asking;
  for (int i = 0; i < kLookups; ++i) {
    asking.push_back(Spawn([&, i] {
      const absl::Status s = resolver.LookupHost(absl::StrCat("h", i, ".test")).status();
      EXPECT_TRUE(absl::IsDeadlineExceeded(s)) << s;
    }));
  }
  while (resolver.queries() < 2 * kLookups) Yield();
  for (int i = 0; i < kLookups; i += 2) asking[i].KillSoon();
  clock().set_auto_advance(true);
  JoinAll(asking);
  EXPECT_EQ(resolver.queries(), 3u * kLookups);  // half of them have tried again
}

}  // namespace
}  // namespace grove::net
