#include "grove/net/address.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>

#include <string>

namespace grove::net {
namespace {

TEST(Address, ParsesWhatItPrints) {
  for (const char* text :
       {"1.2.3.4:80", "0.0.0.0:0", "255.255.255.255:65535", "[::1]:7000",
        "[2001:db8::ff00:42:8329]:443", "[fe80::1%lo]:22"}) {
    absl::StatusOr<Address> a = Address::Parse(text);
    ASSERT_TRUE(a.ok()) << a.status();
    EXPECT_EQ(a->ToString(), text);
    EXPECT_EQ(*Address::FromRaw(a->raw(), a->raw_size()), *a);
  }
}

TEST(Address, AcceptsShortFormsForEveryInterface) {
  EXPECT_EQ(Address::Parse(":80")->ToString(), "0.0.0.0:80");
  EXPECT_EQ(Address::Parse("*:80")->ToString(), "0.0.0.0:80");
  EXPECT_EQ(Address::Parse("80")->ToString(), "0.0.0.0:80");
  for (const char* text : {"80", "[::]:80"}) {
    EXPECT_TRUE(Address::Parse(text)->is_wildcard());
  }
  EXPECT_FALSE(Address::Loopback(80).is_wildcard());
}

TEST(Address, WhatIsMappedIntoIpv6IsIpv4) {
  const Address mapped = *Address::Parse("[::ffff:10.0.0.1]:80");
  EXPECT_EQ(mapped.Unmapped(), *Address::Parse("10.0.0.1:80"));
  for (const char* text : {"[::1]:80", "[::]:80", "10.0.0.1:80", "[::10.0.0.1]:80"}) {
    EXPECT_EQ(Address::Parse(text)->Unmapped(), *Address::Parse(text));
  }
}

TEST(Address, RefusesEverythingElseQuotingIt) {
  for (const char* text : {"",
                           "1.2.3.4",
                           "1.2.3:80",
                           "1.2.3.4:",
                           "1.2.3.4:65536",
                           "1.2.3.4:-1",
                           "1.2.3.4:+1",
                           "1.2.3.4: 80",
                           "1.2.3.4:80x",
                           "localhost:80",
                           "::1:80",
                           "[::1]",
                           "[::1:80",
                           "[]:80",
                           "[1.2.3.4]:80",
                           "[::g]:80",
                           "[fe80::1%no-such-interface]:80",
                           "[::1]x:80",
                           "1.2.3.4:99999999999999999999",
                           "65536",
                           "-1",
                           "8 0"}) {
    absl::StatusOr<Address> a = Address::Parse(text);
    ASSERT_FALSE(a.ok()) << text;
    EXPECT_EQ(a.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_NE(a.status().message().find("\"" + std::string(text) + "\""),
              std::string::npos)
        << a.status();
  }
}

TEST(Address, FromIp) {
  EXPECT_EQ(Address::FromIp("::1", 80)->ToString(), "[::1]:80");
  EXPECT_FALSE(Address::FromIp("host", 80).ok());
}

TEST(Address, ComparesByIpAndPort) {
  EXPECT_EQ(Address::Loopback(80), *Address::Parse("127.0.0.1:80"));
  EXPECT_FALSE(Address::Loopback(80) == Address::Loopback(81));
  EXPECT_FALSE(*Address::Parse("0.0.0.0:80") == *Address::Parse("[::]:80"));
  EXPECT_EQ(Address::Loopback(1).WithPort(2).port(), 2);
  EXPECT_FALSE(Address::Loopback(1).is_v6());
}

TEST(Address, OtherFamiliesAreNotIp) {
  sockaddr raw{};
  raw.sa_family = AF_UNIX;
  EXPECT_FALSE(Address::FromRaw(&raw, sizeof raw).ok());
}

// The system's functions end there, and see another address than who has looked at it.
TEST(AddressNul, IsNoPartOfAnAddress) {
  using namespace std::string_literals;
  for (const std::string& text : {"127.0.0.1\0.example"s, "::1\0"s, "\0"s}) {
    EXPECT_FALSE(Address::FromIp(text, 1).ok()) << text;
    EXPECT_FALSE(Address::Parse(text + ":1").ok()) << text;
  }
}

}  // namespace
}  // namespace grove::net
