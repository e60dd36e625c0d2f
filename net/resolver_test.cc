#include "grove/net/resolver.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "grove/green/greenlet.h"
#include "grove/green/sleep.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/net/testing/fake_resolver.h"

namespace grove::net {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

std::vector<std::string> IpsOf(const absl::StatusOr<HostAnswer>& host) {
  EXPECT_TRUE(host.ok()) << host.status();
  std::vector<std::string> ips;
  if (!host.ok()) return ips;
  for (const Address& a : host->addresses) ips.push_back(a.ip());
  return ips;
}

GREENLET_TEST(Resolver, AnswersNumericAddressesByItself) {
  FakeResolver fake;
  const std::pair<const char*, const char*> kForms[] = {
      {"192.0.2.1", "192.0.2.1"},
      {"127.1", "127.0.0.1"},
      {"1", "0.0.0.1"},
      {"0x7f.1", "127.0.0.1"},
      {"010.1", "8.0.0.1"},
      {"::1", "::1"},
      {"2001:DB8::1", "2001:db8::1"},
      {"fe80::1%1", "fe80::1%lo"},
      {"fe80::1%lo", "fe80::1%lo"},
  };
  for (const auto& [text, ip] : kForms) {
    EXPECT_THAT(IpsOf(fake.LookupHost(text)), ElementsAre(ip)) << text;
  }
  EXPECT_EQ(fake.asks(), 0);
}

GREENLET_TEST(Resolver, ANumericAddressHasOneFamily) {
  FakeResolver fake;
  const absl::Status v4 = fake.LookupHost("::1", {.family = AddressFamily::kV4}).status();
  EXPECT_EQ(LookupFailureOf(v4), LookupFailure::kNoData) << v4;
  const absl::Status v6 =
      fake.LookupHost("127.0.0.1", {.family = AddressFamily::kV6}).status();
  EXPECT_EQ(LookupFailureOf(v6), LookupFailure::kNoData) << v6;
  EXPECT_THAT(IpsOf(fake.LookupHost("::1", {.family = AddressFamily::kV6})),
              ElementsAre("::1"));
  EXPECT_EQ(fake.asks(), 0);
}

GREENLET_TEST(Resolver, LocalhostIsThisMachine) {
  FakeResolver fake;
  for (const char* name : {"localhost", "LOCALHOST", "localhost.", "db.localhost"}) {
    EXPECT_THAT(IpsOf(fake.LookupHost(name)), UnorderedElementsAre("127.0.0.1", "::1"));
    EXPECT_THAT(IpsOf(fake.LookupHost(name, {.family = AddressFamily::kV4})),
                ElementsAre("127.0.0.1"));
    EXPECT_THAT(IpsOf(fake.LookupHost(name, {.family = AddressFamily::kV6})),
                ElementsAre("::1"));
  }
  EXPECT_EQ(fake.asks(), 0);
  EXPECT_TRUE(absl::IsNotFound(fake.LookupHost("notlocalhost").status()));
  EXPECT_EQ(fake.asks(), 1);
}

GREENLET_TEST(Resolver, OnionIsNotAskedFor) {
  FakeResolver fake;
  EXPECT_TRUE(absl::IsNotFound(fake.LookupHost("x.onion").status()));
  EXPECT_EQ(fake.asks(), 0);
  for (const absl::Status& status :
       {fake.LookupTxt("a.onion").status(), fake.LookupMx("a.ONION.").status(),
        fake.LookupSrv("_x._tcp.onion").status()}) {
    EXPECT_EQ(LookupFailureOf(status), LookupFailure::kNoSuchName) << status;
  }
  EXPECT_EQ(fake.asks(), 0);
}

GREENLET_TEST(Resolver, RefusesWhatIsNobodysName) {
  FakeResolver fake;
  const std::string label(64, 'a');
  std::string longest;
  while (longest.size() < 256) longest += "a.";
  for (const std::string& name :
       {std::string(), std::string("."), std::string(".."), std::string("a..b"),
        std::string(".a"), label + ".test", longest, std::string("a b"),
        std::string("a\n"), std::string("a\\b"), std::string("[::1]"),
        std::string("host:80"), std::string("http://host/"), std::string("1.2.3.4 evil"),
        std::string("a\0b", 3),
        std::string("b\xc3\xbc"
                    "cher.test"),
        std::string("fe80::1%nowhere")}) {
    const absl::Status s = fake.LookupHost(name).status();
    EXPECT_TRUE(absl::IsInvalidArgument(s)) << name << ": " << s;
    EXPECT_EQ(LookupFailureOf(s), LookupFailure::kBadName);
    EXPECT_THAT(std::string(s.message()), HasSubstr("look up "));
  }
  EXPECT_TRUE(absl::IsInvalidArgument(fake.LookupSrv("a..b").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(fake.LookupTxt("").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(fake.LookupMx("a b").status()));
  EXPECT_EQ(fake.asks(), 0);
}

GREENLET_TEST(FakeResolver, AnswersFromItsTable) {
  FakeResolver fake;
  fake.AddHost("db.test", {"192.0.2.1", "2001:db8::1"});
  fake.AddName("192.0.2.1", "db.test");
  fake.AddSrv("_db._tcp.test", {.priority = 1, .weight = 2, .port = 3, .target = "db"});
  fake.AddTxt("db.test", "hello");
  fake.AddMx("test", {.preference = 10, .exchange = "mx.test"});
  EXPECT_THAT(IpsOf(fake.LookupHost("DB.test.")),
              ElementsAre("192.0.2.1", "2001:db8::1"));
  EXPECT_THAT(IpsOf(fake.LookupHost("db.test", {.family = AddressFamily::kV6})),
              ElementsAre("2001:db8::1"));
  EXPECT_THAT(*fake.LookupAddress(*Address::Parse("192.0.2.1:80")),
              ElementsAre("db.test"));
  EXPECT_EQ(fake.LookupSrv("_db._tcp.test")->at(0).port, 3);
  EXPECT_THAT(*fake.LookupTxt("db.test"), ElementsAre("hello"));
  EXPECT_EQ(fake.LookupMx("test")->at(0).exchange, "mx.test");
  EXPECT_EQ(LookupFailureOf(fake.LookupMx("db.test").status()), LookupFailure::kNoData);
  EXPECT_EQ(LookupFailureOf(fake.LookupHost("x.test").status()),
            LookupFailure::kNoSuchName);
  EXPECT_EQ(fake.asks("db.test"), 4);
}

GREENLET_TEST(FakeResolver, IsLateByTheHubsClock) {
  FakeResolver fake;
  fake.AddHost("db.test", {"192.0.2.1", "2001:db8::1"});
  fake.Delay("db.test", absl::Seconds(5), AddressFamily::kV6);
  EXPECT_TRUE(fake.LookupHost("db.test", {.family = AddressFamily::kV4}).ok());
  EXPECT_TRUE(HasTaken(absl::ZeroDuration()));
  EXPECT_TRUE(fake.LookupHost("db.test").ok());
  EXPECT_TRUE(HasTaken(absl::Seconds(5)));
  fake.Delay("db.test", absl::InfiniteDuration());
  const absl::Status late =
      fake.LookupHost("db.test", {.deadline = absl::Seconds(1)}).status();
  EXPECT_EQ(LookupFailureOf(late), LookupFailure::kTimeout) << late;
  EXPECT_TRUE(HasTaken(absl::Seconds(6)));
  const Greenlet<> g = Spawn([&] { fake.LookupHost("db.test").IgnoreError(); });
  while (fake.waiting() == 0) Yield();
  g.Kill();
  EXPECT_EQ(fake.waiting(), 0);
}

GREENLET_TEST(FakeResolver, FailsAsItIsTold) {
  FakeResolver fake;
  fake.AddHost("db.test", {"192.0.2.1", "2001:db8::1"});
  fake.Fail("db.test", LookupError(LookupFailure::kServerFailed, "down"),
            AddressFamily::kV6);
  EXPECT_THAT(IpsOf(fake.LookupHost("db.test")), ElementsAre("192.0.2.1"));
  EXPECT_TRUE(absl::IsUnavailable(
      fake.LookupHost("db.test", {.family = AddressFamily::kV6}).status()));
  fake.Fail("db.test", LookupError(LookupFailure::kServerFailed, "down"));
  EXPECT_TRUE(absl::IsUnavailable(fake.LookupHost("db.test").status()));
  fake.Fail("db.test", absl::OkStatus());
  EXPECT_TRUE(fake.LookupHost("db.test").ok());
}

}  // namespace
}  // namespace grove::net
