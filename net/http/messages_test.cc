#include <gtest/gtest.h>
#include <string.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "grove/net/http/access_log.h"
#include "grove/net/http/cgi_variables.h"
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
        "Sun, 06 Nov 1994 24:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 GMT "}) {
    EXPECT_FALSE(ParseDate(bad).has_value()) << bad;
  }
}

// RFC 9110, 5.6.7: a recipient must read these, too.
TEST(Date, ObsoleteFormsAreRead) {
  EXPECT_EQ(ParseDate("Sunday, 06-Nov-94 08:49:37 GMT"), 784111777);
  EXPECT_EQ(ParseDate("Sun Nov  6 08:49:37 1994"), 784111777);
  EXPECT_EQ(ParseDate("Wed Nov 16 08:49:37 1994"), 784111777 + 10 * 86400);
  for (const char* bad :
       {"Sun, 06-Nov-94 08:49:37 GMT", "Monday, 06-Nov-94 08:49:37 GMT",
        "Sunday, 06 Nov 94 08:49:37 GMT", "Sunday, 06-Nov-1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 UTC", "Sunday, 06-Nov-x4 08:49:37 GMT",
        "Sunday, 31-Feb-94 08:49:37 GMT", "Sunday", ", 06-Nov-94 08:49:37 GMT",
        "Mon Nov  6 08:49:37 1994", "Sun Nov 6 08:49:37 1994", "Sun Nov  6 08:49:37 94",
        "Sun Nov  6 08:49:37 1994 ", "Sun Nov  6T08:49:37 1994",
        "Sun Feb 31 08:49:37 1994"}) {
    EXPECT_FALSE(ParseDate(bad).has_value()) << bad;
  }
  // A year of two digits is at most fifty years away.
  const auto year = [](const char* text, const char* now) {
    const std::optional<time_t> date = ParseDate(text, *ParseDate(now));
    return date ? FormatDate(*date).substr(12, 4) : "none";
  };
  const char* kNow = "Wed, 15 Jul 2026 00:00:00 GMT";
  EXPECT_EQ(year("Wednesday, 15-Jul-76 00:00:00 GMT", kNow), "2076");
  EXPECT_EQ(year("Friday, 15-Jul-77 00:00:00 GMT", kNow), "1977");
  EXPECT_EQ(year("Friday, 15-Jul-99 00:00:00 GMT", kNow), "none");  // a Thursday
  EXPECT_EQ(year("Tuesday, 15-Jul-03 00:00:00 GMT", "Thu, 15 Jul 1999 00:00:00 GMT"),
            "2003");
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

  const AccessLogFormat format(
      "{client_ip} {client_port} {date_time} \"{request_line}\" {status_code} "
      "{body_length} {wall_seconds} {{{method} {target} {host} {version} {referer} "
      "\"{user_agent}\"}");
  EXPECT_EQ(format.Format(r),
            "::1 4000 1994-11-06T08:49:37.000000Z \"GET /a\\x22b HTTP/1.1\" 200 13 "
            "0.001500 {GET /a\\x22b h HTTP/1.1 - \"x\\x0ay\\x5c\"}");
  // Of a request that was refused there is little to say.
  EXPECT_EQ(AccessLogFormat("{request_line} {client_port} {status_code}").Format({}),
            "- - 0");
  EXPECT_EQ(AccessLogFormat("plain").Format(r), "plain");
}

TEST(AccessLogDeathTest, AFormatThatIsNoneIsToldAtOnce) {
  EXPECT_DEATH(AccessLogFormat("{nonsense}"), "there is no field 'nonsense'");
  EXPECT_DEATH(AccessLogFormat("{method"), "left open");
}

class TextBody final : public RequestBody {
 public:
  TextBody(std::string text, size_t piece) : text_(std::move(text)), piece_(piece) {}
  absl::StatusOr<size_t> Read(absl::Span<char> buffer) override {
    const size_t n = std::min({buffer.size(), piece_, text_.size() - at_});
    memcpy(buffer.data(), text_.data() + at_, n);
    at_ += n;
    return n;
  }
  std::optional<uint64_t> length() const override { return std::nullopt; }
  HeaderView trailers() const override { return {}; }

 private:
  const std::string text_;
  const size_t piece_;
  size_t at_ = 0;
};

TEST(RequestBody, IsReadLineByLine) {
  for (size_t piece : {1, 2, 3, 1000}) {
    TextBody body("a\r\nbc\r\n\r\nrest", piece);
    std::string rest;
    EXPECT_EQ(*body.ReadUntil("\r\n", rest, 10), "a\r\n");
    EXPECT_EQ(*body.ReadUntil("\r\n", rest, 4), "bc\r\n");
    EXPECT_EQ(*body.ReadUntil("\r\n", rest, 2), "\r\n");
    EXPECT_TRUE(absl::IsOutOfRange(body.ReadUntil("\r\n", rest, 10).status()));
    EXPECT_EQ(rest, "rest");
    EXPECT_TRUE(absl::IsResourceExhausted(body.ReadUntil("\r\n", rest, 4).status()));
  }
  TextBody endless(std::string(100'000, 'x'), 1000);
  std::string rest;
  EXPECT_TRUE(absl::IsResourceExhausted(endless.ReadUntil("\n", rest, 5000).status()));
  EXPECT_LE(rest.size(), 9000u);
}

std::string Cgi(const Request& request) {
  std::string all;
  for (const auto& [name, value] : CgiVariables(request)) {
    absl::StrAppend(&all, name, "=", value, "\n");
  }
  return all;
}

TEST(CgiVariables, AreThoseOfTheRfc) {
  const std::vector<Field> fields = {
      {"Host", "h:80"}, {"Content-Type", "t"}, {"content-length", "3"}, {"X-A", "1"},
      {"x-a", "2"},     {"Cookie", "a=b"},     {"Cookie", "c=d"}};
  Request request;
  request.Set({.method = "POST",
               .target = "/a%20b?c=%20",
               .host = "h:80",
               .peer = "[::1]:4000",
               .secure = true,
               .fields = fields});
  EXPECT_EQ(Cgi(request),
            "GATEWAY_INTERFACE=CGI/1.1\nREQUEST_METHOD=POST\nSCRIPT_NAME=\n"
            "PATH_INFO=/a b\nQUERY_STRING=c=%20\nREQUEST_URI=/a%20b?c=%20\n"
            "SERVER_PROTOCOL=HTTP/1.1\nSERVER_NAME=h\nSERVER_PORT=80\n"
            "REMOTE_ADDR=::1\nREMOTE_PORT=4000\nHTTPS=on\nHTTP_HOST=h:80\n"
            "CONTENT_TYPE=t\nCONTENT_LENGTH=3\nHTTP_X_A=1,2\nHTTP_COOKIE=a=b; c=d\n");
}

TEST(CgiVariables, NobodyPassesAFieldForAnother) {
  const std::vector<Field> fields = {{"X_Forwarded_For", "1"}, {"Proxy", "http://evil"}};
  Request request;
  request.Set({.host = "[::1]", .fields = fields});
  const std::string all = Cgi(request);
  EXPECT_FALSE(absl::StrContains(all, "FORWARDED")) << all;
  EXPECT_FALSE(absl::StrContains(all, "PROXY")) << all;
  EXPECT_TRUE(absl::StrContains(all, "SERVER_NAME=::1\nSERVER_PORT=80\n")) << all;
}

}  // namespace
}  // namespace grove::http
