#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/net/http/server.h"
#include "grove/net/testing/memory_listener.h"

// What RFC 9112 says of requests, by its sections: bytes in, status lines out. Each case
// is tried with all bytes at once, and byte by byte.
namespace grove::http {
namespace {

using net::MemoryListener;
using net::MemoryStream;
using net::MemoryStreamOptions;

struct Case {
  const char* section;
  const char* what;
  std::string sent;
  // What handlers saw and what was refused: "GET / []" is a request with an empty body,
  // "!400" a refusal by the server, "closed" the end of the connection before ours.
  std::string seen;
};

const std::string kH = "Host: a\r\n";

std::string Chunked(const std::string& rest) {
  return "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + rest;
}
std::string Fields(const std::string& fields) {
  return "GET / HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n";
}

const std::string kNext = "GET /next HTTP/1.1\r\nHost: a\r\n\r\n";

std::vector<Case> Cases() {
  return {
      // 2.1, 2.2: messages and their lines
      {"2.1", "a request", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / []"},
      {"2.2", "one empty line before it is skipped", "\r\n" + kNext, "GET /next []"},
      {"2.2", "but not two", "\r\n\r\n" + kNext, "!400"},
      {"2.2", "a bare LF behind the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n",
       "!400"},
      {"2.2", "a bare LF behind a field", "GET / HTTP/1.1\r\nHost: a\nB: c\r\n\r\n",
       "!400"},
      {"2.2", "a bare LF at the head's end", "GET / HTTP/1.1\r\nHost: a\r\n\n", "!400"},
      {"2.2", "only LF", "GET / HTTP/1.1\nHost: a\n\n", "!400"},
      {"2.2", "a bare CR in a value", Fields("A: b\rc\r\n"), "!400"},
      {"2.2", "a bare CR that hides a field", Fields("A: b\rContent-Length: 5\r\n"),
       "!400"},
      {"2.2", "a bare CR in the request line", "GET /\r HTTP/1.1\r\nHost: a\r\n\r\n",
       "!400"},
      {"2.2", "CR CR LF", Fields("A: b\r\r\n"), "!400"},
      {"2.2", "a blank behind the request line",
       "GET / HTTP/1.1\r\n Host: a\r\nHost: a\r\n\r\n", "!400"},
      {"2.2", "no HTTP at all", std::string("\x16\x03\x01\x02", 4) + std::string(9, 0),
       "!400"},
      // 2.3: versions
      {"2.3", "HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", "GET / [] closed"},
      {"2.3", "HTTP/1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", "!505"},
      {"2.3", "HTTP/2.0", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", "!505"},
      {"2.3", "HTTP/2's preface, where that is off", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
       "!505"},
      {"2.3", "HTTP/0.9", "GET /\r\n\r\n", "!400"},
      {"2.3", "HTTP/01.1", "GET / HTTP/01.1\r\nHost: a\r\n\r\n", "!4or5"},
      {"2.3", "http in small letters", "GET / http/1.1\r\nHost: a\r\n\r\n", "!400"},
      {"2.3", "two digits", "GET / HTTP/1.10\r\nHost: a\r\n\r\n", "!4or5"},
      // 3: the request line
      {"3", "two spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "!400"},
      {"3", "a tab", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", "!400"},
      {"3", "a space behind it", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", "!4or5"},
      {"3", "a space before it", " GET / HTTP/1.1\r\nHost: a\r\n\r\n", "!400"},
      {"3", "a space in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", "!400"},
      {"3.1", "an unknown method", "FETCH / HTTP/1.1\r\nHost: a\r\n\r\n", "!4or5"},
      {"3.1", "a method in small letters", "get / HTTP/1.1\r\nHost: a\r\n\r\n", "!4or5"},
      {"3.1", "a method that is no token", "G(T / HTTP/1.1\r\nHost: a\r\n\r\n", "!400"},
      {"3.1", "CONNECT", "CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", "!501"},
      {"3.2.1", "the origin form", "GET /a/b?x=1 HTTP/1.1\r\nHost: a\r\n\r\n",
       "GET /a/b?x=1 []"},
      {"3.2.1", "a fragment", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", "!400"},
      {"3.2.1", "a relative path", "GET a HTTP/1.1\r\nHost: a\r\n\r\n", "!400"},
      {"3.2.1", "bytes that are no ASCII", "GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n",
       "!400"},
      {"3.2.1", "a zero byte", std::string("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", 29),
       "!400"},
      {"3.2.2", "the absolute form", "GET http://b/c HTTP/1.1\r\nHost: b\r\n\r\n",
       "GET http://b/c []"},
      {"3.2.2", "another scheme", "GET ftp://b/c HTTP/1.1\r\nHost: b\r\n\r\n", "!400"},
      {"3.2.2", "user and password", "GET http://u:p@b/c HTTP/1.1\r\nHost: b\r\n\r\n",
       "!400"},
      {"3.2.2", "without a host", "GET http:///c HTTP/1.1\r\nHost: b\r\n\r\n", "!400"},
      {"3.2.2", "without Host", "GET http://b/c HTTP/1.1\r\n\r\n", "!400"},
      {"3.2.4", "the asterisk form", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
       "OPTIONS * []"},
      {"3.2.4", "of another method", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", "!400"},
      {"3.2", "no Host", "GET / HTTP/1.1\r\n\r\n", "!400"},
      {"3.2", "two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "!400"},
      {"3.2", "the same Host twice", "GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n",
       "!400"},
      {"3.2", "two in one", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", "!400"},
      {"3.2", "a Host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "!400"},
      {"3.2", "a Host with a user", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", "!400"},
      {"3.2", "an empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", "GET / []"},
      {"3.2", "an IPv6 Host", "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "GET / []"},
      {"3.2", "a malformed port", "GET / HTTP/1.1\r\nHost: a:8x\r\n\r\n", "!400"},
      // 5: fields
      {"5", "no colon", Fields("A\r\n"), "!400"},
      {"5", "no name", Fields(": b\r\n"), "!400"},
      {"5", "no value", Fields("A:\r\n"), "GET / []"},
      {"5.1", "a blank before the colon", Fields("Content-Length : 0\r\n"), "!400"},
      {"5.1", "a tab before the colon", Fields("A\t: 0\r\n"), "!400"},
      {"5.1", "blanks around the value", Fields("A: \t 0 \t\r\nContent-Length:  0  \r\n"),
       "GET / []"},
      {"5.1", "a name that is no token", Fields("A(b): c\r\n"), "!400"},
      {"5.1", "a name that is no ASCII", Fields("\xc3\xa4: c\r\n"), "!400"},
      {"5.2", "a folded field", Fields("A: b\r\n c\r\n"), "!400"},
      {"5.2", "one folded by a tab", Fields("A: b\r\n\tc\r\n"), "!400"},
      {"5.2", "a folded coding", Fields("Transfer-Encoding:\r\n chunked\r\n"), "!400"},
      {"5.5", "a zero byte in a value", Fields(std::string("A: b\0c\r\n", 8)), "!400"},
      {"5.5", "a control character", Fields("A: b\x01\r\n"), "!400"},
      {"5.5", "bytes that are no ASCII", Fields("A: \xc3\xa4\r\n"), "GET / []"},
      // 6.1: Transfer-Encoding
      {"6.1", "chunked", Chunked("3\r\nabc\r\n0\r\n\r\n"), "POST / [abc]"},
      {"6.1", "in capitals",
       "POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: "
       "CHUNKED\r\n\r\n1\r\na\r\n0\r\n\r\n",
       "POST / [a]"},
      {"6.1", "with Content-Length",
       "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: "
       "chunked\r\n\r\n0\r\n\r\n" +
           kNext,
       "!400"},
      {"6.1", "before Content-Length",
       "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: "
       "4\r\n\r\n0\r\n\r\n" +
           kNext,
       "!400"},
      {"6.1", "an unknown coding", Fields("Transfer-Encoding: gzip\r\n"), "!4or5"},
      {"6.1", "one before chunked", Fields("Transfer-Encoding: gzip, chunked\r\n"),
       "!4or5"},
      {"6.1", "chunked is not the last", Fields("Transfer-Encoding: chunked, gzip\r\n"),
       "!4or5"},
      {"6.1", "chunked twice", Fields("Transfer-Encoding: chunked, chunked\r\n"),
       "!4or5"},
      {"6.1", "in two fields",
       Fields("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), "!4or5"},
      {"6.1", "identity", Fields("Transfer-Encoding: identity\r\n"), "!4or5"},
      {"6.1", "nothing", Fields("Transfer-Encoding:\r\n"), "!4or5"},
      {"6.1", "nearly chunked", Fields("Transfer-Encoding: xchunked\r\n"), "!4or5"},
      {"6.1", "chunked behind a vertical tab",
       Fields("Transfer-Encoding: \x0b"
              "chunked\r\n"),
       "!4or5"},
      {"6.1", "quoted", Fields("Transfer-Encoding: \"chunked\"\r\n"), "!4or5"},
      {"6.1", "in HTTP/1.0",
       "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "!400"},
      // 6.2: Content-Length
      {"6.2", "a body",
       "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc" + kNext,
       "POST / [abc] GET /next []"},
      {"6.2", "negative", Fields("Content-Length: -1\r\n"), "!400"},
      {"6.2", "with a sign", Fields("Content-Length: +1\r\n"), "!400"},
      {"6.2", "hexadecimal", Fields("Content-Length: 0x1\r\n"), "!400"},
      {"6.2", "empty", Fields("Content-Length:\r\n"), "!400"},
      {"6.2", "with a blank inside", Fields("Content-Length: 1 1\r\n"), "!400"},
      {"6.2", "huge", Fields("Content-Length: 18446744073709551616\r\n"), "!400"},
      {"6.2", "more than any", Fields("Content-Length: 99999999999999999999999\r\n"),
       "!400"},
      {"6.2", "repeated", Fields("Content-Length: 0\r\nContent-Length: 0\r\n"), "!400"},
      {"6.2", "two values", Fields("Content-Length: 0\r\nContent-Length: 5\r\n"), "!400"},
      {"6.2", "a list", Fields("Content-Length: 0, 0\r\n"), "!400"},
      // 6.3: where a body ends
      {"6.3", "a GET with a body",
       "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc" + kNext,
       "GET / [abc] GET /next []"},
      {"6.3", "neither length nor coding: no body",
       "POST / HTTP/1.1\r\nHost: a\r\n\r\n" + kNext, "POST / [] GET /next []"},
      // 7.1: chunks
      {"7.1", "several", Chunked("1\r\na\r\nA\r\n0123456789\r\n0\r\n\r\n") + kNext,
       "POST / [a0123456789] GET /next []"},
      {"7.1", "leading zeros", Chunked("0003\r\nabc\r\n000\r\n\r\n"), "POST / [abc]"},
      {"7.1", "negative", Chunked("-1\r\n"), "POST / ?!400"},
      {"7.1", "with a sign", Chunked("+1\r\na\r\n0\r\n\r\n"), "POST / ?!400"},
      {"7.1", "with 0x", Chunked("0x1\r\na\r\n0\r\n\r\n"), "POST / ?!400"},
      {"7.1", "no size", Chunked("\r\nabc"), "POST / ?!400"},
      {"7.1", "a blank before", Chunked(" 1\r\na\r\n0\r\n\r\n"), "POST / ?!400"},
      {"7.1", "a blank behind", Chunked("1 \r\na\r\n0\r\n\r\n"), "POST / ?!400"},
      {"7.1", "huge", Chunked("10000000000000000\r\na"), "POST / ?!400"},
      {"7.1", "over the limit", Chunked("ffffffff\r\n" + std::string(2000, 'a')),
       "POST / ?!413"},
      {"7.1", "a bare LF behind the size", Chunked("1\na\r\n0\r\n\r\n"), "POST / ?!400"},
      {"7.1", "a bare CR behind the size", Chunked("1\ra\r\n0\r\n\r\n"), "POST / ?!400"},
      {"7.1", "a bare LF behind the data", Chunked("1\r\na\n0\r\n\r\n"), "POST / ?!400"},
      {"7.1", "more data than its size", Chunked("1\r\nab\r\n0\r\n\r\n"), "POST / ?!400"},
      {"7.1", "a bare LF at the end", Chunked("0\r\n\n"), "POST / ?!400"},
      {"7.1.1", "an extension", Chunked("1;x=\"y\"\r\na\r\n0;z\r\n\r\n"), "POST / [a]"},
      {"7.1.1", "an LF in an extension", Chunked("1;x\ny\r\na\r\n0\r\n\r\n"),
       "POST / ?!400"},
      {"7.1.1", "a CR in an extension", Chunked("1;x\ry\r\na\r\n0\r\n\r\n"),
       "POST / ?!400"},
      {"7.1.1", "too many", Chunked("1;" + std::string(300, 'x') + "\r\na\r\n0\r\n\r\n"),
       "POST / ?!400"},
      {"7.1.2", "trailers", Chunked("0\r\nA: b\r\nC: d\r\n\r\n"), "POST / []A=b;C=d;"},
      {"7.1.2", "those that are none",
       Chunked("0\r\nContent-Length: 5\r\nHost: b\r\n\r\n"), "POST / []"},
      {"7.1.2", "malformed", Chunked("0\r\nA\r\n\r\n"), "POST / ?!400"},
      {"7.1.2", "folded", Chunked("0\r\nA: b\r\n c: d\r\n\r\n"), "POST / ?!400"},
      {"7.1.2", "too large", Chunked("0\r\nA: " + std::string(300, 'x') + "\r\n\r\n"),
       "POST / ?!400"},
      // 9: connections
      {"9.3", "it goes on", kNext + kNext, "GET /next [] GET /next []"},
      {"9.3", "HTTP/1.0 asks for it",
       "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n",
       "GET / [] GET / [] closed"},
      {"9.3.2", "requests at once are answered in order",
       "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: "
       "2\r\n\r\nabGET /3 HTTP/1.1\r\nHost: a\r\n\r\n",
       "GET /1 [] POST /2 [ab] GET /3 []"},
      {"9.6", "close",
       "GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n" + kNext,
       "GET / [] closed"},
      {"RFC 9110, 7.8", "an upgrade is not taken up",
       Fields("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: "
              "AA\r\n") +
           kNext,
       "GET / [] GET /next []"},
      {"RFC 9110, 7.8", "nor with a body",
       "POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: "
       "websocket\r\nContent-Length: 3\r\n\r\nabc" +
           kNext,
       "POST / [abc] GET /next []"},
      // Limits
      {"limits", "the request line",
       "GET /" + std::string(400, 'a') + " HTTP/1.1\r\nHost: a\r\n\r\n", "!414"},
      {"limits", "one without an end", "GET /" + std::string(400, 'a'), "!414"},
      {"limits", "the head", Fields("A: " + std::string(1000, 'a') + "\r\n"), "!431"},
      {"limits", "one without an end", "GET / HTTP/1.1\r\nA: " + std::string(1000, 'a'),
       "!431"},
      {"limits", "fields", Fields("A:\r\nB:\r\nC:\r\nD:\r\nE:\r\nF:\r\n"), "!431"},
      {"limits", "the body", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\n\r\n",
       "!413"},
      {"RFC 9110, 10.1.1", "an unknown expectation", Fields("Expect: 200-ok\r\n"),
       "!417"},
  };
}

// Serves one connection on which all of `sent` comes in pieces of `piece` bytes, and says
// what was made of it.
std::string Play(const std::string& sent, size_t piece) {
  std::string seen;
  const auto see = [&](absl::string_view what) {
    absl::StrAppend(&seen, seen.empty() ? "" : " ", what);
  };
  MemoryListener listener(MemoryStreamOptions{.capacity = 1 << 20, .max_piece = piece});
  HttpServer server(listener,
                    [&](Request& request, ResponseWriter& response) {
                      see(absl::StrCat(request.method(), " ", request.target(), " "));
                      const absl::StatusOr<std::string> body =
                          request.body().ReadAll(1 << 20);
                      if (!body.ok()) {
                        seen += "?";
                        return;
                      }
                      absl::StrAppend(&seen, "[", *body, "]");
                      for (const Field& f : request.body().trailers()) {
                        absl::StrAppend(&seen, f.name, "=", f.value, ";");
                      }
                      response.Send("ok").IgnoreError();
                    },
                    {.max_request_line = 300,
                     .max_head = 600,
                     .max_fields = 6,
                     .max_body = 1000,
                     .max_chunk_extensions = 200,
                     .max_trailers = 200,
                     .http2 = {.enabled = false}});
  server.Start();
  MemoryStream client = *listener.Connect();
  EXPECT_TRUE(client.Write(sent).ok());
  std::string answer;
  bool ended = false;
  for (;;) {
    char buffer[1000];
    // Without a request the server has nothing to say: on the clock of the test an hour
    // is no time, but its limits are over sooner.
    const absl::StatusOr<size_t> n =
        client.Read(absl::MakeSpan(buffer), Deadline(absl::Seconds(1)));
    if (!n.ok() || *n == 0) {
      ended = n.ok() || !absl::IsDeadlineExceeded(n.status());
      break;
    }
    answer.append(buffer, *n);
  }
  const bool refused = server.statistics().refused > 0;
  if (refused) {
    const size_t last = answer.rfind("HTTP/1.1 ");
    EXPECT_NE(last, answer.npos) << answer;
    if (last != answer.npos) {
      absl::StrAppend(&seen, absl::EndsWith(seen, "?") || seen.empty() ? "!" : " !",
                      answer.substr(last + 9, 3));
    }
    EXPECT_TRUE(absl::StrContains(answer, "Connection: close\r\n")) << answer;
    EXPECT_TRUE(ended);
  } else if (ended) {
    see("closed");
    EXPECT_TRUE(absl::StrContains(answer, "Connection: close\r\n")) << answer;
  }
  client.Close();
  EXPECT_EQ(server.Stop(absl::Hours(1)).cut, 0u);
  return seen;
}

GREENLET_TEST(Rfc9112, RequestsAreWhatItSaysAndNothingElse) {
  for (const Case& c : Cases()) {
    for (size_t piece : {size_t{1} << 20, size_t{1}, size_t{7}}) {
      SCOPED_TRACE(absl::StrCat(c.section, ": ", c.what, ", by ", piece, ": ",
                                absl::CHexEscape(c.sent.substr(0, 300))));
      const std::string seen = Play(c.sent, piece);
      if (c.seen == "!4or5") {
        EXPECT_TRUE(seen == "!400" || seen == "!501" || seen == "!505") << seen;
      } else {
        EXPECT_EQ(seen, c.seen);
      }
    }
  }
}

}  // namespace
}  // namespace grove::http
