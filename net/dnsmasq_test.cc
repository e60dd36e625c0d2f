#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "grove/green/greenlet.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/green/wait.h"
#include "grove/net/ares_resolver.h"
#include "grove/net/caching_resolver.h"
#include "grove/net/dnsmasq_test_util.h"

// The ares resolver against a name server that others wrote.
namespace grove::net {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

class DnsmasqTest : public GreenletTest {
 protected:
  GreenletTestOptions Options() const override {
    GreenletTestOptions options;
    options.clock = Clock::Real();
    return options;
  }
  void SetUp() override {
    std::vector<std::string> options = {
        "--local=/test/",
        "--local=/in-addr.arpa/",
        "--local=/ip6.arpa/",
        "--local-ttl=77",
        "--host-record=both.test,192.0.2.1,2001:db8::1",
        "--host-record=v4.test,192.0.2.4",
        "--host-record=v6.test,2001:db8::6",
        "--cname=one.test,two.test",
        "--cname=two.test,v4.test",
        "--ptr-record=5.2.0.192.in-addr.arpa,five.test",
        "--srv-host=_x._tcp.test,b.test,80,20,1",
        "--srv-host=_x._tcp.test,a.test,81,10,1",
        "--srv-host=_x._tcp.test,c.test,82,10,9",
        "--mx-host=test,second.test,20",
        "--mx-host=test,first.test,10",
        "--txt-record=text.test,hello,world",
        absl::StrCat("--txt-record=long.test,", std::string(250, 'a'), ",",
                     std::string(250, 'b'), ",", std::string(250, 'c')),
    };
    server_ = std::make_unique<Dnsmasq>(options);
    AresResolverOptions asking;
    asking.servers = {server_->address()};
    asking.hosts_file = "";
    asking.resolv_conf = "";
    asking.search = std::vector<std::string>();
    asking.timeout = absl::Seconds(30);
    auto ares = std::make_unique<AresResolver>(asking);
    ares_ = ares.get();
    resolver_ = std::make_unique<CachingResolver>(std::move(ares));
  }
  void TearDown() override {
    resolver_ = nullptr;
    server_ = nullptr;
  }

  std::unique_ptr<Dnsmasq> server_;
  AresResolver* ares_ = nullptr;
  std::unique_ptr<CachingResolver> resolver_;
};

Address Ip(absl::string_view ip) { return *Address::FromIp(ip, 0); }

GREENLET_TEST_F(DnsmasqTest, LooksHostsUp) {
  const auto both = resolver_->LookupHost("Both.Test");
  ASSERT_TRUE(both.ok()) << both.status();
  EXPECT_THAT(both->addresses, UnorderedElementsAre(Ip("192.0.2.1"), Ip("2001:db8::1")));
  EXPECT_EQ(both->ttl, absl::Seconds(77));
  const auto v4 = resolver_->LookupHost("v4.test.");
  ASSERT_TRUE(v4.ok()) << v4.status();
  EXPECT_THAT(v4->addresses, ElementsAre(Ip("192.0.2.4")));
  const auto v6 = resolver_->LookupHost("v6.test");
  ASSERT_TRUE(v6.ok()) << v6.status();
  EXPECT_THAT(v6->addresses, ElementsAre(Ip("2001:db8::6")));
}

GREENLET_TEST_F(DnsmasqTest, FollowsAliases) {
  const auto host = resolver_->LookupHost("one.test");
  ASSERT_TRUE(host.ok()) << host.status();
  EXPECT_THAT(host->addresses, ElementsAre(Ip("192.0.2.4")));
  EXPECT_EQ(host->canonical_name, "v4.test");
  EXPECT_THAT(host->aliases, ElementsAre("one.test", "two.test"));
}

GREENLET_TEST_F(DnsmasqTest, TellsNoSuchNameFromNoData) {
  EXPECT_EQ(LookupFailureOf(resolver_->LookupHost("nobody.test").status()),
            LookupFailure::kNoSuchName);
  EXPECT_EQ(
      LookupFailureOf(
          resolver_->LookupHost("v4.test", {.family = AddressFamily::kV6}).status()),
      LookupFailure::kNoData);
  EXPECT_EQ(LookupFailureOf(resolver_->LookupMx("v4.test").status()),
            LookupFailure::kNoData);
}

GREENLET_TEST_F(DnsmasqTest, LooksAddressesUp) {
  EXPECT_THAT(*resolver_->LookupAddress(*Address::Parse("192.0.2.5:80")),
              ElementsAre("five.test"));
  EXPECT_THAT(*resolver_->LookupAddress(Ip("2001:db8::1")), ElementsAre("both.test"));
  EXPECT_TRUE(absl::IsNotFound(resolver_->LookupAddress(Ip("192.0.2.99")).status()));
}

GREENLET_TEST_F(DnsmasqTest, LooksServicesUpBestFirst) {
  const auto srv = resolver_->LookupSrv("_x._tcp.test");
  ASSERT_TRUE(srv.ok()) << srv.status();
  EXPECT_THAT(*srv,
              ElementsAre(SrvRecord{10, 9, 82, "c.test"}, SrvRecord{10, 1, 81, "a.test"},
                          SrvRecord{20, 1, 80, "b.test"}));
  const auto mx = resolver_->LookupMx("test");
  ASSERT_TRUE(mx.ok()) << mx.status();
  EXPECT_THAT(*mx, ElementsAre(MxRecord{10, "first.test"}, MxRecord{20, "second.test"}));
}

GREENLET_TEST_F(DnsmasqTest, LooksTextUpThoughItIsLong) {
  EXPECT_THAT(*resolver_->LookupTxt("text.test"), ElementsAre("helloworld"));
  const auto text = resolver_->LookupTxt("long.test");
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_THAT(*text, ElementsAre(std::string(250, 'a') + std::string(250, 'b') +
                                 std::string(250, 'c')));
}

GREENLET_TEST_F(DnsmasqTest, AHundredWhoAskTheSameAreOneQuestion) {
  std::vector<Greenlet<bool>> asking;
  for (int i = 0; i < 100; ++i) {
    asking.push_back(Spawn(
        [&] { return resolver_->LookupHost("v4.test", {AddressFamily::kV4}).ok(); }));
  }
  for (const Greenlet<bool>& g : asking) EXPECT_TRUE(*g.Get());
  EXPECT_EQ(ares_->queries(), 1u);
}

GREENLET_TEST_F(DnsmasqTest, AnswersManyAtATime) {
  std::vector<Greenlet<bool>> asking;
  for (int i = 0; i < 50; ++i) {
    asking.push_back(Spawn([&, i] {
      const auto host = resolver_->LookupHost(absl::StrCat("h", i, ".test"));
      return absl::IsNotFound(host.status());
    }));
  }
  for (const Greenlet<bool>& g : asking) EXPECT_TRUE(*g.Get());
  EXPECT_EQ(ares_->queries(), 100u);
}

}  // namespace
}  // namespace grove::net
