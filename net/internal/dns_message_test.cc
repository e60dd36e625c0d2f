#include "grove/net/internal/dns_message.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "grove/net/dns_server_test_util.h"

namespace grove::net::net_internal {
namespace {

using ::testing::ElementsAre;

const TestQuery kQuery = {.id = 1, .name = "a.test", .type = 1, .tcp = false, .from = {}};

DnsReply Parse(const TestReply& reply, RecordType type = RecordType::kA) {
  TestQuery query = kQuery;
  query.type = static_cast<int>(type);
  return ParseReply(reply.To(query), type);
}

TestRecord Of(RecordType type, std::string data) {
  return {"a.test", static_cast<int>(type), std::move(data)};
}

TEST(DnsMessage, TheShortestTimeCounts) {
  const DnsReply r = Parse(
      {.answers = {TestCname("a.test", "b.test", 500), TestA("b.test", "192.0.2.1", 300),
                   TestA("b.test", "192.0.2.2", 200),
                   TestA("other.test", "192.0.2.3", 1)}});
  EXPECT_EQ(r.failure, LookupFailure::kNone);
  EXPECT_EQ(r.answer.host.ttl, absl::Seconds(200));
  EXPECT_EQ(r.answer.host.addresses.size(), 2u);
}

TEST(DnsMessage, ATimeThatIsTooLongIsNone) {
  const DnsReply r = Parse({.answers = {TestA("a.test", "192.0.2.1", 0x80000001)}});
  EXPECT_EQ(r.answer.host.ttl, absl::ZeroDuration());
}

TEST(DnsMessage, HowLongThereIsNothingIsWhatTheZoneSays) {
  for (const auto& [ttl, minimum] : {std::pair{100u, 30u}, std::pair{30u, 100u}}) {
    const DnsReply r = Parse({.code = 3, .authorities = {TestSoa("test", ttl, minimum)}});
    EXPECT_EQ(r.failure, LookupFailure::kNoSuchName);
    EXPECT_EQ(r.negative_ttl, absl::Seconds(30));
  }
  EXPECT_EQ(Parse({.code = 3}).negative_ttl, absl::InfiniteDuration());
  const DnsReply alias = Parse({.answers = {TestCname("a.test", "b.test")}});
  EXPECT_EQ(alias.failure, LookupFailure::kNoData);
}

TEST(DnsMessage, ALoopOfAliasesIsNoData) {
  const DnsReply r =
      Parse({.answers = {TestCname("a.test", "b.test"), TestCname("b.test", "a.test")}});
  EXPECT_EQ(r.failure, LookupFailure::kNoData);
}

TEST(DnsMessage, NamesThatAreNoHostsAreLeftOut) {
  const std::string evil = absl::StrCat("\x04", "a\nb;", std::string(1, '\0'));
  const DnsReply ptr = Parse({.answers = {Of(RecordType::kPtr, evil),
                                          Of(RecordType::kPtr, WireName("good.test"))}},
                             RecordType::kPtr);
  EXPECT_THAT(ptr.answer.names, ElementsAre("good.test"));
  const DnsReply none =
      Parse({.answers = {Of(RecordType::kPtr, evil)}}, RecordType::kPtr);
  EXPECT_EQ(none.failure, LookupFailure::kNoData);
}

TEST(DnsMessage, TheRootIsNobody) {
  const std::string root(1, '\0');
  const DnsReply mx =
      Parse({.answers = {Of(RecordType::kMx, U16(0) + root)}}, RecordType::kMx);
  EXPECT_EQ(mx.failure, LookupFailure::kNoData);
  const DnsReply srv =
      Parse({.answers = {Of(RecordType::kSrv, U16(0) + U16(0) + U16(0) + root)}},
            RecordType::kSrv);
  EXPECT_EQ(srv.failure, LookupFailure::kNoData);
}

TEST(DnsMessage, TextIsBytes) {
  const std::string bytes("\x00\xff\n", 3);
  const DnsReply r =
      Parse({.answers = {Of(RecordType::kTxt, absl::StrCat("\x03", bytes, "\x01x")),
                         Of(RecordType::kTxt, std::string(1, '\0'))}},
            RecordType::kTxt);
  EXPECT_THAT(r.answer.txt, ElementsAre(bytes + "x", ""));
}

TEST(DnsMessage, WhatIsCutOffAnywhereIsMalformed) {
  for (const RecordType type : {RecordType::kA, RecordType::kMx, RecordType::kSrv,
                                RecordType::kTxt, RecordType::kPtr}) {
    std::string data = std::string("\x7f\0\0\1", 4);
    if (type == RecordType::kMx) data = U16(1) + WireName("mx.test");
    if (type == RecordType::kSrv) data = U16(1) + U16(2) + U16(3) + WireName("s.test");
    if (type == RecordType::kTxt) data = "\x05hello";
    if (type == RecordType::kPtr) data = WireName("p.test");
    TestQuery query = kQuery;
    query.type = static_cast<int>(type);
    const std::string whole = TestReply{.answers = {Of(type, data)}}.To(query);
    EXPECT_EQ(ParseReply(whole, type).failure, LookupFailure::kNone);
    for (size_t size = 0; size < whole.size(); ++size) {
      EXPECT_EQ(ParseReply(whole.substr(0, size), type).failure,
                LookupFailure::kMalformed)
          << size;
    }
  }
}

TEST(DnsMessage, LengthsThatDoNotFitAreMalformed) {
  EXPECT_EQ(Parse({.answers = {Of(RecordType::kA, "abc")}}).failure,
            LookupFailure::kMalformed);
  EXPECT_EQ(Parse({.answers = {Of(RecordType::kA, std::string(16, 'x'))}}).failure,
            LookupFailure::kMalformed);
  EXPECT_EQ(
      Parse({.answers = {Of(RecordType::kTxt, "\x09short")}}, RecordType::kTxt).failure,
      LookupFailure::kMalformed);
  EXPECT_EQ(Parse({.answers = {Of(RecordType::kPtr, WireName("p.test") + "x")}},
                  RecordType::kPtr)
                .failure,
            LookupFailure::kMalformed);
  // A name that refers to itself.
  EXPECT_EQ(
      Parse({.answers = {Of(RecordType::kPtr, "\xc0\x2a")}}, RecordType::kPtr).failure,
      LookupFailure::kMalformed);
}

TEST(DnsMessage, AnotherQuestionIsNoAnswer) {
  TestQuery query = kQuery;
  query.type = 28;
  EXPECT_EQ(ParseReply(TestReply{.answers = {TestA("a.test", "192.0.2.1")}}.To(query),
                       RecordType::kA)
                .failure,
            LookupFailure::kMalformed);
}

TEST(DnsMessage, NamesOfAddresses) {
  EXPECT_EQ(ReverseName(*Address::FromIp("192.0.2.1", 0)), "1.2.0.192.in-addr.arpa");
  EXPECT_EQ(ReverseName(*Address::FromIp("2001:db8::1f", 0)),
            "f.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa");
}

}  // namespace
}  // namespace grove::net::net_internal
