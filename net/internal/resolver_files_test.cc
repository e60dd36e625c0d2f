#include "grove/net/internal/resolver_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdio.h>

#include <fstream>
#include <string>

#include "grove/net/internal/watched_file.h"

namespace grove::net::net_internal {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

Address Ip(const char* ip) { return *Address::FromIp(ip, 0); }

TEST(HostsFile, FindsNamesByAddressAndAddressesByName) {
  const HostsFile file = HostsFile::Parse(
      "192.0.2.1  Host.test host  # comment\n"
      "2001:db8::1 host.test\n"
      "192.0.2.1 other\n"
      "192.0.2.2");  // no names
  const auto host = file.Find("host.test", AddressFamily::kAny);
  ASSERT_TRUE(host.has_value());
  EXPECT_THAT(host->addresses, ElementsAre(Ip("192.0.2.1"), Ip("2001:db8::1")));
  EXPECT_EQ(host->canonical_name, "Host.test");
  EXPECT_THAT(host->aliases, ElementsAre("host"));
  EXPECT_EQ(host->ttl, absl::ZeroDuration());
  EXPECT_THAT(file.Find("host.test", AddressFamily::kV6)->addresses,
              ElementsAre(Ip("2001:db8::1")));
  EXPECT_FALSE(file.Find("other", AddressFamily::kV6).has_value());
  EXPECT_FALSE(file.Find("comment", AddressFamily::kAny).has_value());
  EXPECT_THAT(file.NamesOf("192.0.2.1"), ElementsAre("Host.test", "host"));
  EXPECT_THAT(file.NamesOf("192.0.2.2"), IsEmpty());
}

TEST(HostsFile, Ipv4InTheClothesOfIpv6IsBoth) {
  const HostsFile file = HostsFile::Parse("::ffff:192.0.2.1 mapped\n::1 loop\n");
  EXPECT_THAT(file.Find("mapped", AddressFamily::kV4)->addresses,
              ElementsAre(Ip("192.0.2.1")));
  EXPECT_THAT(file.Find("loop", AddressFamily::kV4)->addresses,
              ElementsAre(Ip("127.0.0.1")));
  EXPECT_THAT(file.Find("loop", AddressFamily::kV6)->addresses, ElementsAre(Ip("::1")));
}

TEST(HostsFile, PassesOverWhatItCannotRead) {
  const HostsFile file = HostsFile::Parse(
      "127.1 short\nnonsense host\nfe80::1%lo scoped\n\n\t \n192.0.2.1\tgood\r\n");
  for (const char* name : {"short", "host", "scoped"}) {
    EXPECT_FALSE(file.Find(name, AddressFamily::kAny).has_value()) << name;
  }
  EXPECT_TRUE(file.Find("good", AddressFamily::kAny).has_value());
}

ResolvConf Parse(const char* text) {
  return ResolvConf::Parse(text, nullptr, nullptr, "me.home.test");
}

TEST(ResolvConf, IsReadAsLibcReadsIt) {
  const ResolvConf conf = Parse(
      "# comment\n; comment\n"
      "nameserver 192.0.2.53\n"
      "nameserver 2001:db8::53\n"
      "nameserver nonsense\n"
      "search One.test two.test.\n"
      "options ndots:3 timeout:7 attempts:4 rotate use-vc edns0\n");
  EXPECT_THAT(conf.servers, ElementsAre(*Address::Parse("192.0.2.53:53"),
                                        *Address::Parse("[2001:db8::53]:53")));
  EXPECT_THAT(conf.search, ElementsAre("one.test", "two.test"));
  EXPECT_EQ(conf.ndots, 3);
  EXPECT_EQ(conf.timeout, absl::Seconds(7));
  EXPECT_EQ(conf.attempts, 4);
  EXPECT_TRUE(conf.rotate);
  EXPECT_TRUE(conf.tcp);
}

TEST(ResolvConf, WithoutAFileItIsThisMachine) {
  const ResolvConf conf = Parse("");
  EXPECT_THAT(conf.servers, ElementsAre(*Address::Parse("127.0.0.1:53")));
  EXPECT_THAT(conf.search, ElementsAre("home.test"));
  EXPECT_EQ(conf.ndots, 1);
  EXPECT_EQ(conf.timeout, absl::Seconds(5));
  EXPECT_EQ(conf.attempts, 2);
  EXPECT_FALSE(conf.rotate);
  EXPECT_FALSE(conf.tcp);
}

TEST(ResolvConf, TheLastOfDomainAndSearchCounts) {
  EXPECT_THAT(Parse("search a b\ndomain c\n").search, ElementsAre("c"));
  EXPECT_THAT(Parse("domain c d\nsearch a b\n").search, ElementsAre("a", "b"));
}

TEST(ResolvConf, BoundsItsNumbers) {
  const ResolvConf conf = Parse("options ndots:99 timeout:99 attempts:99\n");
  EXPECT_EQ(conf.ndots, 15);
  EXPECT_EQ(conf.timeout, absl::Seconds(30));
  EXPECT_EQ(conf.attempts, 5);
  const ResolvConf nonsense = Parse("options ndots:-1 timeout:0 attempts:x ndots\n");
  EXPECT_EQ(nonsense.ndots, 1);
  EXPECT_EQ(nonsense.timeout, absl::Seconds(5));
  EXPECT_EQ(nonsense.attempts, 2);
}

TEST(ResolvConf, TheEnvironmentIsStronger) {
  const ResolvConf conf = ResolvConf::Parse("search a\noptions ndots:2 attempts:3\n",
                                            "x y", "ndots:5 rotate", "me");
  EXPECT_THAT(conf.search, ElementsAre("x", "y"));
  EXPECT_EQ(conf.ndots, 5);
  EXPECT_EQ(conf.attempts, 3);
  EXPECT_TRUE(conf.rotate);
}

TEST(WatchedFile, IsReadAgainWhenItHasChanged) {
  const std::string path = testing::TempDir() + "/watched";
  const auto write = [&](const std::string& text) {
    // As editors do, and so that it is another file even within one tick of the clock.
    std::ofstream(path + ".new") << text;
    ASSERT_EQ(rename((path + ".new").c_str(), path.c_str()), 0);
  };
  constexpr MonotonicNanos kSecond = 1'000'000'000;
  remove(path.c_str());
  WatchedFile<std::string> file(path, [](absl::string_view t) { return std::string(t); });
  EXPECT_EQ(file.Get(1 * kSecond), "");
  write("one");
  EXPECT_EQ(file.Get(1 * kSecond + kSecond / 2), "");  // not looked at yet
  EXPECT_EQ(file.Get(2 * kSecond), "one");
  EXPECT_EQ(file.Get(9 * kSecond), "one");
  EXPECT_EQ(file.generation(), 2u);
  write("two");
  EXPECT_EQ(file.Get(20 * kSecond), "two");
  EXPECT_EQ(file.generation(), 3u);
  remove(path.c_str());
  EXPECT_EQ(file.Get(30 * kSecond), "");
}

}  // namespace
}  // namespace grove::net::net_internal
