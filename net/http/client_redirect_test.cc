#include <brotli/encode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <zlib.h>

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "grove/green/sleep.h"
#include "grove/net/http/client.h"
#include "grove/net/http/client_test_util.h"
#include "grove/net/http/internal/client_proxy.h"

// Where a request goes: redirects and proxies; and what becomes of compressed bodies.
namespace grove::http {
namespace {

using net::MemoryStream;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

// Each request is answered by its number.
PlayedServer::Play InTurn(std::vector<std::string> answers,
                          std::vector<std::string>* heads) {
  return [=](int, MemoryStream& stream) {
    for (;;) {
      const std::string head = ReadRequestHead(stream);
      if (!absl::EndsWith(head, "\r\n\r\n")) return;
      if (absl::StrContains(head, "Content-Length: 3")) {
        char body[3];
        EXPECT_TRUE(stream.ReadExactly(absl::MakeSpan(body)).ok());
      }
      heads->push_back(head);
      if (!stream.Write(answers[std::min(heads->size(), answers.size()) - 1]).ok())
        return;
    }
  };
}

std::string Redirect(int status, absl::string_view location,
                     absl::string_view body = "") {
  return Answer(body, absl::StrCat("Location: ", location, "\r\n"),
                absl::StrCat(status, " Elsewhere"));
}

// https without TLS: what is to be secured stays as it is.
ClientSecurer Pretend() {
  return [](std::unique_ptr<net::Stream> stream, const std::string&,
            Deadline) -> absl::StatusOr<SecuredStream> {
    return SecuredStream{std::move(stream)};
  };
}

// What the client has asked for, by the first lines of its requests.
struct Way {
  std::vector<std::string> heads;
  std::string outcome;
  std::string lines() const {
    std::string all;
    for (const std::string& h : heads) {
      absl::StrAppend(&all, all.empty() ? "" : ", ", h.substr(0, h.find(" HTTP/")));
    }
    return all;
  }
};

Way Follow(std::vector<std::string> answers, ClientRequest request,
           HttpClientOptions more = {}) {
  Way way;
  PlayedServer server(InTurn(std::move(answers), &way.heads));
  HttpClientOptions options = server.options();
  options.secure = Pretend();
  options.follow_downgrades = more.follow_downgrades;
  options.max_redirects = more.max_redirects;
  HttpClient client(options);
  if (request.url.empty()) request.url = "http://a.test/1";
  way.outcome = Outcome(client.Send(request));
  return way;
}

GREENLET_TEST(Redirects, AreFollowedOnTheSameConnection) {
  std::vector<std::string> heads;
  PlayedServer server(InTurn({Redirect(302, "/2", "see there"), Redirect(301, "3?x=1#y"),
                              Redirect(308, "//a.test/4"), Answer("hi")},
                             &heads));
  HttpClient client(server.options());
  absl::StatusOr<ClientResponse> response = client.Get("http://a.test/1");
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->redirects(), 3);
  EXPECT_EQ(response->url().ToString(), "http://a.test/4");
  EXPECT_EQ(Outcome(std::move(response)), "200 hi");
  EXPECT_EQ(server.connections(), 1);
  ASSERT_EQ(heads.size(), 4u);
  EXPECT_THAT(heads[2], StartsWith("GET /3?x=1 HTTP/1.1\r\n"));
}

GREENLET_TEST(Redirects, MethodsAndBodiesAreKeptOrDroppedAsTheRfcSays) {
  const auto lines = [](int status, const char* method) {
    ClientRequest request{.method = method};
    if (request.method != "GET" && request.method != "HEAD") request.body = "abc";
    request.headers.Set("Content-Type", "text/plain");
    const std::string answer =
        request.method == "HEAD" ? "HTTP/1.1 200 OK\r\n\r\n" : Answer("");
    const Way way = Follow({Redirect(status, "/2"), answer}, request);
    EXPECT_EQ(way.outcome, "200 ");
    const bool has_body = absl::StrContains(way.heads[1], "Content-Length: 3");
    EXPECT_TRUE(has_body == absl::StrContains(way.heads[1], "Content-Type") ||
                request.body.empty());
    return absl::StrCat(way.lines(), has_body ? " with body" : "");
  };
  for (int status : {301, 302}) {
    EXPECT_EQ(lines(status, "GET"), "GET /1, GET /2");
    EXPECT_EQ(lines(status, "HEAD"), "HEAD /1, HEAD /2");
    EXPECT_EQ(lines(status, "POST"), "POST /1, GET /2");
    EXPECT_EQ(lines(status, "PUT"), "PUT /1, PUT /2 with body");
  }
  EXPECT_EQ(lines(303, "POST"), "POST /1, GET /2");
  EXPECT_EQ(lines(303, "PUT"), "PUT /1, GET /2");
  EXPECT_EQ(lines(303, "HEAD"), "HEAD /1, HEAD /2");
  for (int status : {307, 308}) {
    EXPECT_EQ(lines(status, "POST"), "POST /1, POST /2 with body");
    EXPECT_EQ(lines(status, "GET"), "GET /1, GET /2");
  }
}

GREENLET_TEST(Redirects, OthersAndThoseWithoutALocationAreReturned) {
  for (int status : {300, 304, 305, 306, 399}) {
    EXPECT_EQ(Follow({Redirect(status, "/2")}, {}).lines(), "GET /1") << status;
  }
  EXPECT_EQ(Follow({Answer("gone", "", "302 Found")}, {}).outcome, "302 gone");
  // Nor can a body be sent that is gone.
  const BodyProducer produce = [](BodyWriter& out) { return out.Write("abc"); };
  EXPECT_EQ(Follow({Redirect(307, "/2", "x")},
                   {.method = "PUT", .produce = produce, .produced_length = 3})
                .outcome,
            "307 x");
  EXPECT_EQ(Follow({Redirect(307, "/2", "x"), Answer("hi")}, {.method = "PUT",
                                                              .produce = produce,
                                                              .produced_length = 3,
                                                              .produce_again = true})
                .outcome,
            "200 hi");
}

GREENLET_TEST(Redirects, HaveALimit) {
  const Way way = Follow({Redirect(302, "/again")}, {.max_redirects = 3});
  EXPECT_THAT(way.outcome,
              testing::AllOf(StartsWith("FAILED_PRECONDITION"), HasSubstr("than 3")));
  EXPECT_EQ(way.heads.size(), 4u);
  EXPECT_EQ(Follow({Redirect(302, "/2", "x")}, {.max_redirects = 0}).outcome, "302 x");
  EXPECT_EQ(Follow({Redirect(302, "/again")}, {}).heads.size(), 11u);
}

// A new connection costs less than the rest of a body that comes slowly, or not at all.
GREENLET_TEST(Redirects, DoNotWaitLongForABodyThatNobodyReads) {
  for (bool drips : {true, false}) {
    const absl::Duration begin = Elapsed();
    PlayedServer server([&](int number, MemoryStream& stream) {
      ReadRequestHead(stream);
      if (number > 0) {
        stream.Write(Answer("there")).IgnoreError();
      } else {
        stream
            .Write(
                "HTTP/1.1 302 Elsewhere\r\nLocation: /b\r\nContent-Length: "
                "10000\r\n\r\n")
            .IgnoreError();
        while (drips && stream.Write("x").ok()) Sleep(absl::Milliseconds(100));
      }
      ReadThrough(stream, "the client's end");
    });
    HttpClient client(server.options());
    EXPECT_EQ(Outcome(client.Get("http://a.test/a")), "200 there");
    EXPECT_LE(Elapsed() - begin, absl::Seconds(2));
    EXPECT_EQ(server.connections(), 2);
  }
}

GREENLET_TEST(Redirects, DoNotLeadFromHttpsToHttpUnlessAllowed) {
  const ClientRequest secure{.url = "https://a.test/1"};
  EXPECT_THAT(Follow({Redirect(302, "http://a.test/2?secret")}, secure).outcome,
              testing::AllOf(StartsWith("FAILED_PRECONDITION"), HasSubstr("?[6 bytes]"),
                             Not(HasSubstr("secret"))));
  EXPECT_EQ(Follow({Redirect(302, "http://a.test/2"), Answer("hi")}, secure,
                   {.follow_downgrades = true})
                .outcome,
            "200 hi");
  EXPECT_EQ(Follow({Redirect(302, "https://a.test/2"), Answer("hi")}, {}).outcome,
            "200 hi");
}

GREENLET_TEST(Redirects, ThatAreNoneAreErrors) {
  for (const char* location :
       {"ftp://a.test/", "http://u:p@a.test/", "javascript:alert(1)", "http://127.1/",
        "http:/x", "//", "/a\\b"}) {
    EXPECT_THAT(Follow({Redirect(302, location)}, {}).outcome,
                StartsWith("FAILED_PRECONDITION"))
        << location;
  }
  EXPECT_THAT(
      Follow({Answer("", "Location: /2\r\nLocation: /3\r\n", "302 F")}, {}).outcome,
      StartsWith("DATA_LOSS"));
}

GREENLET_TEST(Redirects, AnotherOriginGetsNoSecrets) {
  ClientRequest request;
  request.headers.Set("Authorization", BasicAuthorization("joe", "secret"));
  request.headers.Set("Cookie", "a=b");
  request.headers.Set("Host", "virtual.test");
  request.headers.Set("X-Other", "1");
  for (const char* other : {"http://b.test/2", "http://a.test:81/2", "https://a.test/2",
                            "http://sub.a.test/2", "//a.test.evil.test/2"}) {
    // There, and back again: what was dropped stays so.
    const Way way =
        Follow({Redirect(307, other), Redirect(307, "http://a.test/3"), Answer("hi")},
               request, {.follow_downgrades = true});
    ASSERT_EQ(way.heads.size(), 3u) << other;
    EXPECT_THAT(way.heads[0], HasSubstr("Authorization: Basic am9lOnNlY3JldA==\r\n"));
    for (int i : {1, 2}) {
      EXPECT_THAT(
          way.heads[i],
          testing::AllOf(Not(HasSubstr("Authorization")), Not(HasSubstr("Cookie")),
                         Not(HasSubstr("virtual")), HasSubstr("X-Other: 1")));
    }
  }
  const Way same = Follow({Redirect(307, "http://A.test:80/2"), Answer("hi")}, request);
  EXPECT_THAT(same.heads[1],
              testing::AllOf(HasSubstr("Authorization: Basic"), HasSubstr("Cookie: a=b"),
                             HasSubstr("Host: virtual.test")));
}

// --- proxies

GREENLET_TEST(Proxies, HttpIsAskedOfThemByWholeUrls) {
  std::vector<std::string> heads;
  PlayedServer server(InTurn({Answer("hi")}, &heads));
  HttpClientOptions options = server.options();
  options.proxy = "http://joe:p%40ss@proxy.test:3128";
  options.no_proxy = "direct.test";
  HttpClient client(options);
  EXPECT_EQ(Outcome(client.Get("http://a.test/x?y")), "200 hi");
  EXPECT_EQ(Outcome(client.Get("http://b.test:81/")), "200 hi");
  EXPECT_EQ(Outcome(client.Get("http://www.direct.test/z")), "200 hi");
  EXPECT_THAT(heads,
              testing::ElementsAre("GET http://a.test/x?y HTTP/1.1\r\nHost: a.test\r\n"
                                   "Proxy-Authorization: Basic am9lOnBAc3M=\r\n\r\n",
                                   "GET http://b.test:81/ HTTP/1.1\r\nHost: b.test:81\r\n"
                                   "Proxy-Authorization: Basic am9lOnBAc3M=\r\n\r\n",
                                   "GET /z HTTP/1.1\r\nHost: www.direct.test\r\n\r\n"));
  // One connection to the proxy for all.
  ASSERT_EQ(server.dialed().size(), 2u);
  EXPECT_EQ(server.dialed()[0].host, "proxy.test");
  EXPECT_EQ(server.dialed()[0].port, 3128);
}

struct Tunnel {
  std::string outcome;
  std::string connect;
  std::string request;
};

Tunnel Through(const std::string& answer) {
  Tunnel tunnel;
  PlayedServer server([&](int, MemoryStream& stream) {
    tunnel.connect = ReadRequestHead(stream);
    if (!stream.Write(answer).ok()) return;
    tunnel.request = ReadRequestHead(stream);
    stream.Write(Answer("hi")).IgnoreError();
    ReadThrough(stream, "never");
  });
  HttpClientOptions options = server.options();
  options.proxy = "joe:secret@proxy.test";
  options.secure = Pretend();
  HttpClient client(options);
  tunnel.outcome = Outcome(client.Get("https://a.test/x"));
  EXPECT_THAT(tunnel.outcome, Not(HasSubstr("secret")));
  return tunnel;
}

GREENLET_TEST(Proxies, HttpsGoesThroughATunnel) {
  const Tunnel tunnel = Through("HTTP/1.1 200 Connection established\r\n\r\n");
  EXPECT_EQ(tunnel.outcome, "200 hi");
  EXPECT_EQ(tunnel.connect,
            "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n"
            "Proxy-Authorization: Basic am9lOnNlY3JldA==\r\n\r\n");
  // The proxy's password is not the server's business.
  EXPECT_EQ(tunnel.request, "GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n");
  // RFC 9110, 9.3.6: a length means nothing there.
  EXPECT_EQ(Through("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n").outcome, "200 hi");
}

GREENLET_TEST(Proxies, WhatTheySayInsteadIsAnErrorThatNamesThem) {
  EXPECT_EQ(Through("HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n").outcome,
            "UNAUTHENTICATED: GET https://a.test/x: proxy proxy.test:80: it answered "
            "CONNECT with 407 Who are you");
  EXPECT_THAT(Through("HTTP/1.1 403 No\r\n\r\n").outcome,
              StartsWith("PERMISSION_DENIED"));
  EXPECT_THAT(Through("HTTP/1.1 502 Bad\r\n\r\n").outcome, StartsWith("UNAVAILABLE"));
  EXPECT_THAT(Through("HTTP/1.1 302 F\r\nLocation: http://evil.test/\r\n\r\n").outcome,
              StartsWith("UNAVAILABLE"));
  // Put there by somebody who wants it to be taken for the server's.
  EXPECT_THAT(Through("HTTP/1.1 200 OK\r\n\r\n" + Answer("evil")).outcome,
              StartsWith("DATA_LOSS"));
  EXPECT_THAT(Through("SSH-2.0\r\n").outcome, StartsWith("DATA_LOSS"));
}

GREENLET_TEST(Proxies, ThatAreNoneAreErrorsWhichDoNotQuoteThem) {
  for (const char* proxy :
       {"https://joe:secret@p/", "socks5://p:1", "http://p/secret",
        "http://joe:secret@p@q/x", "http://secret%zz:a@p", "http://p:99999"}) {
    HttpClient client({.proxy = proxy});
    const absl::Status s = client.Get("http://a.test/").status();
    EXPECT_TRUE(absl::IsInvalidArgument(s)) << proxy << s;
    EXPECT_THAT(std::string(s.message()), Not(HasSubstr("secret")));
  }
}

bool IsProxied(const HttpClientOptions& options, const char* url) {
  return http_internal::ProxyRules::Make(options)->For(*Url::Parse(url)) != nullptr;
}

TEST(ProxyRules, ExclusionsAreNamesWithAllBelowThem) {
  HttpClientOptions options;
  options.proxy = "p.test";
  options.no_proxy = "a.test, .b.test,c.test:8080 192.0.2.1,[2001:DB8::1]:443,::1";
  for (const char* url :
       {"http://a.test/", "http://x.a.test/", "https://A.TEST:444/", "http://a.test./",
        "http://b.test/", "http://x.y.b.test/", "http://c.test:8080/",
        "http://192.0.2.1/", "https://[2001:db8:0::1]/", "http://[::1]:99/"}) {
    EXPECT_FALSE(IsProxied(options, url)) << url;
  }
  for (const char* url :
       {"http://xa.test/", "http://a.test.evil/", "http://c.test/", "http://192.0.2.10/",
        "http://[2001:db8::1]/", "http://[::2]/", "http://test/"}) {
    EXPECT_TRUE(IsProxied(options, url)) << url;
  }
  options.no_proxy = "x, *";
  EXPECT_FALSE(IsProxied(options, "http://a.test/"));
}

TEST(ProxyRules, TheEnvironmentIsAskedOnlyIfItIsToBe) {
  setenv("http_proxy", "http://e.test:1", 1);
  setenv("HTTPS_PROXY", "http://f.test:2", 1);
  setenv("no_proxy", "a.test", 1);
  EXPECT_FALSE(IsProxied({}, "http://b.test/"));
  const HttpClientOptions asked{.proxy_from_environment = true};
  EXPECT_TRUE(IsProxied(asked, "http://b.test/"));
  EXPECT_FALSE(IsProxied(asked, "http://a.test/"));
  const auto rules = http_internal::ProxyRules::Make(asked);
  EXPECT_EQ(rules->For(*Url::Parse("https://b.test/"))->url.port(), 2);
  unsetenv("http_proxy");
  unsetenv("HTTPS_PROXY");
  unsetenv("no_proxy");
  // Set by the header "Proxy:" of a request to a CGI script.
  setenv("HTTP_PROXY", "http://evil.test:1", 1);
  EXPECT_FALSE(IsProxied(asked, "http://b.test/"));
  unsetenv("HTTP_PROXY");
}

// --- compressed bodies

std::string Compress(const std::string& text, int window_bits) {
  z_stream z = {};
  EXPECT_EQ(deflateInit2(&z, 9, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string out(deflateBound(&z, text.size()) + 100, 0);
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  z.avail_in = static_cast<uInt>(text.size());
  z.next_out = reinterpret_cast<Bytef*>(out.data());
  z.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&z, Z_FINISH), Z_STREAM_END);
  out.resize(z.total_out);
  deflateEnd(&z);
  return out;
}
constexpr int kGzip = 15 + 16;
constexpr int kZlib = 15;
constexpr int kRaw = -15;

std::string Brotli(const std::string& text) {
  size_t size = BrotliEncoderMaxCompressedSize(text.size()) + 100;
  std::string out(size, 0);
  EXPECT_TRUE(BrotliEncoderCompress(5, 22, BROTLI_MODE_GENERIC, text.size(),
                                    reinterpret_cast<const uint8_t*>(text.data()), &size,
                                    reinterpret_cast<uint8_t*>(out.data())));
  out.resize(size);
  return out;
}

std::string Text(size_t size) {
  std::string text;
  while (text.size() < size) absl::StrAppend(&text, "line ", text.size() % 977, "\n");
  return text;
}

std::string Decompressed(const std::string& coding, const std::string& body,
                         size_t piece = 1 << 20, HttpClientOptions more = {}) {
  PlayedServer server(Always(Answer(body, "Content-Encoding: " + coding + "\r\n")),
                      {.capacity = 1 << 24, .max_piece = piece});
  HttpClientOptions options;
  options.dial = server.dialer();
  options.decompress = more.decompress;
  options.max_decompressed = more.max_decompressed;
  HttpClient client(options);
  absl::StatusOr<ClientResponse> response = client.Get("http://a.test/");
  EXPECT_TRUE(response.ok()) << response.status();
  if (!response->decompressed().empty()) {
    EXPECT_EQ(response->decompressed(), coding);
    EXPECT_FALSE(response->headers().Has("content-encoding"));
    EXPECT_FALSE(response->headers().Has("content-length"));
    EXPECT_EQ(response->length(), std::nullopt);
  }
  return Outcome(std::move(response));
}

GREENLET_TEST(Compression, IsUndone) {
  for (size_t size : {0, 1, 5000, 1000000}) {
    const std::string text = Text(size);
    for (size_t piece : {size_t{1} << 20, size_t{7}}) {
      if (size > 5000 && piece == 7) continue;
      EXPECT_EQ(Decompressed("gzip", Compress(text, kGzip), piece), "200 " + text);
      EXPECT_EQ(Decompressed("X-GZIP", Compress(text, kGzip), piece), "200 " + text);
      EXPECT_EQ(Decompressed("deflate", Compress(text, kZlib), piece), "200 " + text);
      EXPECT_EQ(Decompressed("deflate", Compress(text, kRaw), piece), "200 " + text);
    }
  }
  for (size_t size : {0, 1, 5000, 1000000}) {
    const std::string text = Text(size);
    EXPECT_EQ(Decompressed("br", Brotli(text)), "200 " + text);
    if (size <= 5000) {
      EXPECT_EQ(Decompressed("br", Brotli(text), 7), "200 " + text);
    }
  }
}

GREENLET_TEST(Compression, SeveralMembersAreOne) {
  EXPECT_EQ(Decompressed("gzip", Compress("a", kGzip) + Compress("b", kGzip)), "200 ab");
}

GREENLET_TEST(Compression, ABodyOfNothingIsNothing) {
  EXPECT_EQ(Decompressed("gzip", ""), "200 ");
  EXPECT_EQ(Decompressed("br", ""), "200 ");
}

GREENLET_TEST(Compression, WhatIsCutOrCorruptIsAnError) {
  const std::string good = Compress(Text(5000), kGzip);
  for (size_t n = 1; n < good.size(); n += n < 30 ? 1 : 97) {
    EXPECT_THAT(Decompressed("gzip", good.substr(0, n)), StartsWith("200 DATA_LOSS"))
        << n;
  }
  EXPECT_THAT(Decompressed("gzip", good.substr(0, good.size() - 1)),
              StartsWith("200 DATA_LOSS"));
  std::string bad = good;
  bad[bad.size() - 6] ^= 1;  // in the checksum
  EXPECT_THAT(Decompressed("gzip", bad), StartsWith("200 DATA_LOSS"));
  EXPECT_THAT(Decompressed("gzip", good + "x"), StartsWith("200 DATA_LOSS"));
  EXPECT_THAT(Decompressed("gzip", "plain text"), StartsWith("200 DATA_LOSS"));
  EXPECT_THAT(Decompressed("deflate", Compress("a", kZlib) + "x"),
              StartsWith("200 DATA_LOSS"));
  EXPECT_THAT(Decompressed("br", "plain text"), StartsWith("200 DATA_LOSS"));
  EXPECT_THAT(Decompressed("br", Brotli("hello") + "x"), StartsWith("200 DATA_LOSS"));
  const std::string brotli = Brotli(Text(5000));
  for (size_t n = 1; n < brotli.size(); ++n) {
    EXPECT_THAT(Decompressed("br", brotli.substr(0, n)), StartsWith("200 DATA_LOSS"))
        << n;
  }
}

GREENLET_TEST(Compression, ABombIsFoundBeforeItIsUnpacked) {
  const std::string bomb = Compress(std::string(64 << 20, 'a'), kGzip);
  EXPECT_LT(bomb.size(), 100000u);
  HttpClientOptions options;
  options.max_decompressed = 1 << 20;
  EXPECT_THAT(Decompressed("gzip", bomb, 1 << 20, options),
              testing::AllOf(StartsWith("200 RESOURCE_EXHAUSTED"),
                             HasSubstr("larger than 1048576 bytes, decompressed")));
}

GREENLET_TEST(Compression, WhatIsNotKnownOrNotAskedForIsLeftAsItIs) {
  EXPECT_EQ(Decompressed("zstd", "abc"), "200 abc");
  EXPECT_EQ(Decompressed("gzip, br", "abc"), "200 abc");
  EXPECT_EQ(Decompressed("identity", "abc"), "200 abc");
  HttpClientOptions options;
  options.decompress = false;
  EXPECT_EQ(Decompressed("gzip", "abc", 1 << 20, options), "200 abc");
}

}  // namespace
}  // namespace grove::http
