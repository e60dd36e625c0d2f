#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "grove/net/http/access_log.h"
#include "grove/net/http/date.h"
#include "grove/net/http/headers.h"
#include "grove/net/http/request.h"
#include "grove/net/http/status.h"

// The parts of requests and responses that need no connection.
namespace grove::http {
namespace {

TEST(HeaderView, NamesHaveNoCaseAndMayRepeat) {
  const std::vector<Field> fields = {{"Accept", "a"}, {"X", "1"}, {"ACCEPT", "b"}};
  const HeaderView view(fields);
  EXPECT_EQ(view.Get("accept"), "a");
  EXPECT_EQ(view.GetAll("Accept"), (std::vector<absl::string_view>{"a", "b"}));
  EXPECT_FALSE(view.Has("Accep"));
  EXPECT_EQ(view[2].name, "ACCEPT");
}

TEST(HeaderMap, SetTakesThePlaceOfAll) {
  HeaderMap map;
  map.Add("A", "1");
  map.Add("B", " 2\t");
  map.Add("a", "3");
  EXPECT_EQ(map.size(), 3u);
  EXPECT_EQ(map.Get("b"), "2");
  map.Set("A", "4");
  EXPECT_EQ(map.size(), 2u);
  EXPECT_EQ(map.Get("a"), "4");
  EXPECT_EQ(map.Remove("B"), 1u);
  EXPECT_EQ(map.Remove("B"), 0u);
  map.Clear();
  EXPECT_TRUE(map.empty());
}

TEST(HeaderMap, WhatIsNoFieldIsLeftOutAndTold) {
  for (const auto& [name, value] : std::vector<Field>{{"A\r\nB", "c"},
                                                      {"", "c"},
                                                      {"A:", "c"},
                                                      {"A", "b\r\nC: d"},
                                                      {"A", "b\nc"},
                                                      {"A", absl::string_view("b\0c", 3)},
                                                      {"A b", "c"}}) {
    HeaderMap map;
    map.Add(name, value);
    EXPECT_TRUE(map.empty());
    EXPECT_TRUE(absl::IsInvalidArgument(map.status()));
    // The value may be somebody's secret.
    EXPECT_FALSE(absl::StrContains(map.status().message(), "C: d"));
    map.Clear();
    EXPECT_TRUE(map.status().ok());
  }
}

TEST(Headers, ListMembers) {
  EXPECT_TRUE(HasListMember("keep-alive, Upgrade", "upgrade"));
  EXPECT_TRUE(HasListMember("close", "close"));
  EXPECT_TRUE(HasListMember(",,close ,", "close"));
  EXPECT_FALSE(HasListMember("closed", "close"));
  EXPECT_FALSE(HasListMember("", "close"));
}

TEST(Headers, Secrets) {
  for (const char* name : {"Authorization", "Proxy-Authorization", "cookie", "Set-Cookie",
                           "X-Api-Key", "X-Auth-Token", "X-CSRF-TOKEN", "X-Session-Id"}) {
    EXPECT_TRUE(IsSecretField(name)) << name;
  }
  for (const char* name : {"Host", "Accept", "Content-Type", "User-Agent"}) {
    EXPECT_FALSE(IsSecretField(name)) << name;
  }
}

TEST(Date, IsWrittenAndReadBack) {
  EXPECT_EQ(FormatDate(784111777), "Sun, 06 Nov 1994 08:49:37 GMT");
  EXPECT_EQ(ParseDate("Sun, 06 Nov 1994 08:49:37 GMT"), 784111777);
  for (time_t t = 0; t < 4'000'000'000; t += 12'345'678) {
    EXPECT_EQ(ParseDate(FormatDate(t)), t);
  }
  for (const char* bad :
       {"", "Mon, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 31 Feb 1994 08:49:37 GMT", "Sun, -6 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT"}) {
    EXPECT_FALSE(ParseDate(bad).has_value()) << bad;
  }
}

TEST(Request, TargetsAreTakenApart) {
  struct Case {
    const char *target, *path, *query, *host;
  };
  for (const Case& c :
       {Case{"/a/b?x=1?y", "/a/b", "x=1?y", "field"}, Case{"/", "/", "", "field"},
        Case{"/?", "/", "", "field"}, Case{"*", "*", "", "field"},
        Case{"http://h:80/a?b", "/a", "b", "h:80"}, Case{"http://h", "/", "", "h"},
        Case{"http://h?b", "/", "b", "h"},
        Case{"/http://h/", "/http://h/", "", "field"}}) {
    Request request;
    request.Set({.target = c.target, .host = "field"});
    EXPECT_EQ(request.path(), c.path) << c.target;
    EXPECT_EQ(request.query(), c.query) << c.target;
    EXPECT_EQ(request.host(), c.host) << c.target;
  }
}

TEST(Request, DebugStringShowsNoSecrets) {
  const std::vector<Field> fields = {
      {"Accept", "*/*"}, {"Authorization", "Bearer abc"}, {"X", "\xff\x1b[31m"}};
  Request request;
  request.Set({.target = "/a?token=abc", .peer = "10.0.0.1:5", .fields = fields});
  EXPECT_EQ(request.DebugString(),
            "GET /a?[9 bytes] HTTP/1.1 from 10.0.0.1:5; Accept: */*; Authorization: [10 "
            "bytes]; X: \\xff\\x1b[31m");
}

TEST(Status, Reasons) {
  EXPECT_EQ(ReasonOf(200), "OK");
  EXPECT_EQ(ReasonOf(431), "Request Header Fields Too Large");
  EXPECT_EQ(ReasonOf(299), "Unknown");
  EXPECT_FALSE(MayHaveBody(204));
  EXPECT_FALSE(MayHaveBody(304));
  EXPECT_TRUE(MayHaveBody(404));
}

TEST(AccessLog, Formats) {
  AccessRecord r;
  r.peer = "[::1]:4000";
  r.method = "GET";
  r.target = "/a\"b";
  r.host = "h";
  r.user_agent = "x\ny\\";
  r.status = 200;
  r.body_bytes = 13;
  r.begin = absl::FromUnixSeconds(784111777);
  r.duration = absl::Microseconds(1500);
  EXPECT_EQ(FormatCommon(r),
            "::1 - - [06/Nov/1994:08:49:37 +0000] \"GET /a\\x22b HTTP/1.1\" 200 13");
  EXPECT_EQ(FormatCombined(r), FormatCommon(r) + " \"-\" \"x\\x0ay\\x5c\"");
  EXPECT_EQ(
      FormatJson(r),
      "{\"time\":\"1994-11-06T08:49:37.000000Z\",\"peer\":\"[::1]:4000\",\"method\":"
      "\"GET\",\"target\":\"/a\\u0022b\",\"host\":\"h\",\"referer\":\"\",\"user_"
      "agent\":\"x\\u000ay\\u005c\",\"version\":\"1.1\",\"status\":200,\"body_"
      "bytes\":13,\"seconds\":0.001500}");
  EXPECT_EQ(FormatCommon({}).substr(0, 7), "- - - [");
}

}  // namespace
}  // namespace grove::http
