#include "grove/net/internal/address_order.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

namespace grove::net::net_internal {
namespace {

using ::testing::ElementsAre;

// From each destination's local address, as the examples of RFC 6724, section 10.2 give
// them.
std::vector<std::string> Sorted(
    const std::vector<std::pair<std::string, std::string>>& from_to) {
  std::map<std::string, std::string> sources;
  std::vector<Address> addresses;
  for (const auto& [to, from] : from_to) {
    sources[to] = from;
    addresses.push_back(*Address::FromIp(to, 0));
  }
  SortAddresses(&addresses, [&](const Address& to) -> std::optional<Address> {
    const std::string& from = sources[to.ip()];
    if (from.empty()) return std::nullopt;
    return *Address::FromIp(from, 0);
  });
  std::vector<std::string> ips;
  for (const Address& a : addresses) ips.push_back(a.ip());
  return ips;
}

TEST(AddressOrder, PutsWhatCannotBeReachedLast) {
  EXPECT_THAT(Sorted({{"2001:db8::1", ""}, {"198.51.100.1", "198.51.100.2"}}),
              ElementsAre("198.51.100.1", "2001:db8::1"));
}

TEST(AddressOrder, PrefersMatchingScope) {
  EXPECT_THAT(
      Sorted({{"198.51.100.121", "169.254.13.78"}, {"2001:db8:1::1", "2001:db8:1::2"}}),
      ElementsAre("2001:db8:1::1", "198.51.100.121"));
  EXPECT_THAT(
      Sorted({{"2001:db8:1::1", "fe80::1"}, {"198.51.100.121", "198.51.100.117"}}),
      ElementsAre("198.51.100.121", "2001:db8:1::1"));
}

TEST(AddressOrder, PrefersHigherPrecedence) {
  EXPECT_THAT(Sorted({{"10.1.2.3", "10.1.2.4"}, {"2001:db8:1::1", "2001:db8:1::2"}}),
              ElementsAre("2001:db8:1::1", "10.1.2.3"));
}

TEST(AddressOrder, PrefersMatchingLabel) {
  EXPECT_THAT(Sorted({{"2001:db8:1::1", "2002:c633:6401::2"},
                      {"2002:c633:6401::1", "2002:c633:6401::2"}}),
              ElementsAre("2002:c633:6401::1", "2001:db8:1::1"));
}

TEST(AddressOrder, PrefersNative) {
  EXPECT_THAT(Sorted({{"2002:c633:6401::1", "2002:c633:6401::2"},
                      {"2001:db8:1::1", "2001:db8:1::2"}}),
              ElementsAre("2001:db8:1::1", "2002:c633:6401::1"));
}

TEST(AddressOrder, PrefersTheLongerPrefixOfIpv6Only) {
  EXPECT_THAT(
      Sorted({{"2001:db8:3ffe::1", "2001:db8:1::2"}, {"2001:db8:1::1", "2001:db8:1::2"}}),
      ElementsAre("2001:db8:1::1", "2001:db8:3ffe::1"));
  EXPECT_THAT(Sorted({{"192.0.2.200", "192.0.2.1"}, {"192.0.2.2", "192.0.2.1"}}),
              ElementsAre("192.0.2.200", "192.0.2.2"));
}

TEST(AddressOrder, KnowsHowLoopbackIsReached) {
  const auto source = SourceFor(Address::Loopback(0));
  ASSERT_TRUE(source.has_value());
  EXPECT_EQ(*source, Address::Loopback(0));
}

}  // namespace
}  // namespace grove::net::net_internal
