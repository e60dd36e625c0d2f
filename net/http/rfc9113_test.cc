#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/net/http/server.h"
#include "grove/net/http/testing/http2_peer.h"
#include "grove/net/testing/memory_listener.h"

// What RFC 9113 says of what a client sends, by its sections: frames in, answers out.
// Each case is tried with all bytes at once, and byte by byte.
namespace grove::http {
namespace {

using net::MemoryListener;
using net::MemoryStream;
using net::MemoryStreamOptions;

constexpr uint8_t kEnd = NGHTTP2_FLAG_END_STREAM;
constexpr uint8_t kEndHead = NGHTTP2_FLAG_END_HEADERS;
constexpr uint8_t kPadded = NGHTTP2_FLAG_PADDED;

struct Case {
  const char* section;
  const char* what;
  std::string sent;  // behind the preface and SETTINGS, before a GET of "/last"
  // "1:200 GET / []" is the answer on stream 1, "1:PROTOCOL_ERROR" its reset;
  // "GOAWAY PROTOCOL_ERROR" the end of the connection, "ok" the answer to "/last".
  std::string seen;
};

std::string Headers(uint32_t id, const Http2FieldList& fields,
                    uint8_t flags = kEnd | kEndHead) {
  return Http2Frame(NGHTTP2_HEADERS, flags, id, Http2Block(fields));
}
std::string Get(uint32_t id, const Http2FieldList& more = {}) {
  return Headers(id, GetFields("/", more));
}
// A GET with these in place of the pseudo-header fields.
std::string Raw(const Http2FieldList& fields) { return Headers(1, fields); }
std::string Post(uint32_t id, const Http2FieldList& more = {}) {
  Http2FieldList fields = GetFields("/", more);
  fields[0].second = "POST";
  return Headers(id, fields, kEndHead);
}
std::string Data(uint32_t id, absl::string_view text, uint8_t flags = kEnd) {
  return Http2Frame(NGHTTP2_DATA, flags, id, text);
}
std::string Setting(uint16_t id, uint32_t value) {
  return Http2Frame(NGHTTP2_SETTINGS, 0, 0, BigEndian(id, 2) + BigEndian(value, 4));
}

std::vector<Case> FrameCases() {
  const std::string block = Http2Block(GetFields("/"));
  const std::string half = block.substr(0, block.size() / 2);
  const std::string rest = block.substr(block.size() / 2);
  return {
      {"4.1", "a frame of an unknown type", Http2Frame(0xee, 0xff, 0, "anything"), "ok"},
      {"4.1", "the same on a stream", Http2Frame(0xee, 0, 1, "anything"), "ok"},
      {"4.1", "flags that have no meaning",
       Http2Frame(NGHTTP2_PING, 0xfe, 0, std::string(8, 'p')), "ok"},
      {"4.2", "a frame larger than SETTINGS_MAX_FRAME_SIZE",
       Post(1) + Data(1, std::string(16385, 'x')), "GOAWAY FRAME_SIZE_ERROR"},
      {"4.2", "one that is just as large", Post(1) + Data(1, std::string(16384, 'x')),
       "1:200 POST / [16384 bytes] ok"},
      {"4.3", "a broken field block",
       Http2Frame(NGHTTP2_HEADERS, kEnd | kEndHead, 1, "\xff\xff\xff\xff\xff\xff"),
       "GOAWAY COMPRESSION_ERROR"},
      {"4.3", "another frame within a field block",
       Http2Frame(NGHTTP2_HEADERS, kEnd, 1, half) +
           Http2Frame(NGHTTP2_PING, 0, 0, std::string(8, 'p')),
       "GOAWAY PROTOCOL_ERROR"},
      {"4.3", "the continuation of another stream",
       Http2Frame(NGHTTP2_HEADERS, kEnd, 1, half) +
           Http2Frame(NGHTTP2_CONTINUATION, kEndHead, 3, rest),
       "GOAWAY PROTOCOL_ERROR"},
      {"5.1", "DATA on an idle stream", Data(1, "x"), "GOAWAY PROTOCOL_ERROR"},
      {"5.1", "DATA behind the end of a stream", Get(1) + Data(1, "x"),
       "GOAWAY STREAM_CLOSED"},
      {"5.1", "HEADERS behind the end of a stream", Get(1) + Get(1),
       "GOAWAY STREAM_CLOSED"},
      {"5.1", "WINDOW_UPDATE behind the end of a stream",
       Get(1) + Http2Frame(NGHTTP2_WINDOW_UPDATE, 0, 1, BigEndian(10, 4)),
       "1:200 GET / [] ok"},
      {"5.1", "PRIORITY on an idle stream",
       Http2Frame(NGHTTP2_PRIORITY, 0, 1, std::string(5, '\0')), "ok"},
      {"5.1.1", "a stream with an even number", Get(2), "GOAWAY PROTOCOL_ERROR"},
      // nghttp2 does not remember which streams there were.
      {"5.1.1", "a number lower than the last one is not listened to", Get(5) + Get(3),
       "5:200 GET / [] ok"},
      {"5.3.1", "a stream that depends on itself",
       Http2Frame(NGHTTP2_PRIORITY, 0, 3, BigEndian(3, 4) + "x"), "ok"},
      {"6.1", "DATA on stream 0", Data(0, "x"), "GOAWAY PROTOCOL_ERROR"},
      {"6.1", "padding as long as the frame",
       Post(1) + Data(1, std::string("\x05") + "abcd", kEnd | kPadded),
       "GOAWAY PROTOCOL_ERROR"},
      {"6.1", "padding is no part of the body",
       Post(1) +
           Data(1, std::string("\x02") + "abcd" + std::string(2, '\0'), kEnd | kPadded),
       "1:200 POST / [abcd] ok"},
      {"6.2", "HEADERS on stream 0",
       Http2Frame(NGHTTP2_HEADERS, kEnd | kEndHead, 0, block), "GOAWAY PROTOCOL_ERROR"},
      {"6.2", "padding longer than the frame",
       Http2Frame(NGHTTP2_HEADERS, kEnd | kEndHead | kPadded, 1, "\xff" + block),
       "GOAWAY PROTOCOL_ERROR"},
      {"6.3", "PRIORITY of a wrong size", Http2Frame(NGHTTP2_PRIORITY, 0, 1, "1234"),
       "GOAWAY FRAME_SIZE_ERROR"},
      {"6.4", "RST_STREAM on stream 0",
       Http2Frame(NGHTTP2_RST_STREAM, 0, 0, BigEndian(8, 4)), "GOAWAY PROTOCOL_ERROR"},
      {"6.4", "RST_STREAM on an idle stream",
       Http2Frame(NGHTTP2_RST_STREAM, 0, 1, BigEndian(8, 4)), "GOAWAY PROTOCOL_ERROR"},
      {"6.4", "RST_STREAM of a wrong size",
       Get(1) + Http2Frame(NGHTTP2_RST_STREAM, 0, 1, "123"), "GOAWAY FRAME_SIZE_ERROR"},
      {"6.5", "SETTINGS on a stream", Http2Frame(NGHTTP2_SETTINGS, 0, 1),
       "GOAWAY PROTOCOL_ERROR"},
      {"6.5", "an acknowledgement with a payload",
       Http2Frame(NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0, std::string(6, '\0')),
       "GOAWAY FRAME_SIZE_ERROR"},
      {"6.5", "SETTINGS of a wrong size", Http2Frame(NGHTTP2_SETTINGS, 0, 0, "12345"),
       "GOAWAY FRAME_SIZE_ERROR"},
      {"6.5.2", "an unknown setting", Setting(0xabc, 7), "ok"},
      {"6.5.2", "ENABLE_PUSH of 2", Setting(2, 2), "GOAWAY PROTOCOL_ERROR"},
      {"6.5.2", "INITIAL_WINDOW_SIZE of 2^31", Setting(4, 1u << 31),
       "GOAWAY FLOW_CONTROL_ERROR"},
      {"6.5.2", "MAX_FRAME_SIZE of 16383", Setting(5, 16383), "GOAWAY PROTOCOL_ERROR"},
      {"6.5.2", "MAX_FRAME_SIZE of 2^24", Setting(5, 1 << 24), "GOAWAY PROTOCOL_ERROR"},
      {"6.6", "PUSH_PROMISE by a client",
       Http2Frame(NGHTTP2_PUSH_PROMISE, kEndHead, 1, BigEndian(2, 4) + block),
       "GOAWAY PROTOCOL_ERROR"},
      {"6.7", "PING on a stream", Http2Frame(NGHTTP2_PING, 0, 1, std::string(8, 'p')),
       "GOAWAY PROTOCOL_ERROR"},
      {"6.7", "PING of a wrong size", Http2Frame(NGHTTP2_PING, 0, 0, "1234567"),
       "GOAWAY FRAME_SIZE_ERROR"},
      {"6.8", "GOAWAY on a stream",
       Http2Frame(NGHTTP2_GOAWAY, 0, 1, std::string(8, '\0')), "GOAWAY PROTOCOL_ERROR"},
      {"6.9", "WINDOW_UPDATE by 0",
       Http2Frame(NGHTTP2_WINDOW_UPDATE, 0, 0, BigEndian(0, 4)), "GOAWAY PROTOCOL_ERROR"},
      {"6.9", "WINDOW_UPDATE of a stream by 0",
       Post(1) + Http2Frame(NGHTTP2_WINDOW_UPDATE, 0, 1, BigEndian(0, 4)),
       "GOAWAY PROTOCOL_ERROR"},
      {"6.9", "WINDOW_UPDATE of a wrong size",
       Http2Frame(NGHTTP2_WINDOW_UPDATE, 0, 0, "123"), "GOAWAY FRAME_SIZE_ERROR"},
      {"6.9.1", "a window beyond 2^31-1",
       Http2Frame(NGHTTP2_WINDOW_UPDATE, 0, 0, BigEndian(0x7fffffff, 4)),
       "GOAWAY FLOW_CONTROL_ERROR"},
      {"6.9.1", "a stream's window beyond 2^31-1",
       Post(1) + Http2Frame(NGHTTP2_WINDOW_UPDATE, 0, 1, BigEndian(0x7fffffff, 4)),
       "1:FLOW_CONTROL_ERROR ok"},
      {"6.10", "CONTINUATION without HEADERS",
       Http2Frame(NGHTTP2_CONTINUATION, kEndHead, 1, block), "GOAWAY PROTOCOL_ERROR"},
      {"6.10", "a head in two frames",
       Http2Frame(NGHTTP2_HEADERS, kEnd, 1, half) +
           Http2Frame(NGHTTP2_CONTINUATION, kEndHead, 1, rest),
       "1:200 GET / [] ok"},
  };
}

std::vector<Case> MessageCases() {
  const std::string trailers = Headers(1, {{"a", "b"}});
  return {
      {"8.1", "a body", Post(1) + Data(1, "abc", 0) + Data(1, "def"),
       "1:200 POST / [abcdef] ok"},
      {"8.1", "trailers", Post(1) + Data(1, "abc", 0) + trailers,
       "1:200 POST / [abc] a=b ok"},
      {"8.1", "trailers without a body", Post(1) + trailers, "1:200 POST / [] a=b ok"},
      {"8.1", "trailers that do not end the stream",
       Post(1) + Headers(1, {{"a", "b"}}, kEndHead), "1:PROTOCOL_ERROR ok"},
      {"8.1", "pseudo-header fields in trailers", Post(1) + Headers(1, {{":path", "/"}}),
       "1:PROTOCOL_ERROR ok"},
      {"8.1.1", "less than Content-Length",
       Post(1, {{"content-length", "4"}}) + Data(1, "abc"), "1:PROTOCOL_ERROR ok"},
      {"8.1.1", "more than Content-Length",
       Post(1, {{"content-length", "2"}}) + Data(1, "abc"), "1:PROTOCOL_ERROR ok"},
      {"8.1.1", "Content-Length, and no body", Get(1, {{"content-length", "2"}}),
       "1:PROTOCOL_ERROR ok"},
      {"8.1.1", "Content-Length twice",
       Post(1, {{"content-length", "3"}, {"content-length", "3"}}) + Data(1, "abc"),
       "1:PROTOCOL_ERROR ok"},
      {"8.1.1", "a Content-Length that is none",
       Post(1, {{"content-length", "+3"}}) + Data(1, "abc"), "1:PROTOCOL_ERROR ok"},
      {"8.1.1", "as much as Content-Length",
       Post(1, {{"content-length", "3"}}) + Data(1, "abc"), "1:200 POST / [abc] ok"},
      {"8.2.1", "an upper-case name", Get(1, {{"Abc", "d"}}), "1:PROTOCOL_ERROR ok"},
      {"8.2.1", "a blank in a name", Get(1, {{"a b", "c"}}), "1:PROTOCOL_ERROR ok"},
      {"8.2.1", "an empty name", Get(1, {{"", "c"}}), "1:PROTOCOL_ERROR ok"},
      {"8.2.1", "a line's end in a value", Get(1, {{"a", "b\r\nc: d"}}),
       "1:PROTOCOL_ERROR ok"},
      {"8.2.1", "a zero byte in a value", Get(1, {{"a", std::string("b\0c", 3)}}),
       "1:PROTOCOL_ERROR ok"},
      {"8.2.1", "a blank before a value", Get(1, {{"a", " b"}}), "1:PROTOCOL_ERROR ok"},
      {"8.2.2", "Connection", Get(1, {{"connection", "close"}}), "1:PROTOCOL_ERROR ok"},
      {"8.2.2", "Transfer-Encoding", Get(1, {{"transfer-encoding", "chunked"}}),
       "1:PROTOCOL_ERROR ok"},
      {"8.2.2", "Upgrade", Get(1, {{"upgrade", "websocket"}}), "1:PROTOCOL_ERROR ok"},
      {"8.2.2", "TE: gzip", Get(1, {{"te", "gzip"}}), "1:PROTOCOL_ERROR ok"},
      {"8.2.2", "TE: trailers", Get(1, {{"te", "trailers"}}), "1:200 GET / [] ok"},
      {"8.2.3", "cookies in pieces",
       Get(1, {{"cookie", "a=b"}, {"x", "y"}, {"cookie", "c=d"}}),
       "1:200 GET / [] cookie=a=b; c=d ok"},
      {"8.3", "an unknown pseudo-header field", Get(1, {{":x", "y"}}),
       "1:PROTOCOL_ERROR ok"},
      {"8.3", "one of responses", Get(1, {{":status", "200"}}), "1:PROTOCOL_ERROR ok"},
      {"8.3", "one behind a field",
       Raw({{":method", "GET"}, {":scheme", "http"}, {"a", "b"}, {":path", "/"}}),
       "1:PROTOCOL_ERROR ok"},
      {"8.3.1", "no :method", Raw({{":scheme", "http"}, {":path", "/"}, {"host", "a"}}),
       "1:PROTOCOL_ERROR ok"},
      {"8.3.1", "no :scheme", Raw({{":method", "GET"}, {":path", "/"}, {"host", "a"}}),
       "1:PROTOCOL_ERROR ok"},
      {"8.3.1", "no :path", Raw({{":method", "GET"}, {":scheme", "http"}, {"host", "a"}}),
       "1:PROTOCOL_ERROR ok"},
      {"8.3.1", ":path twice", Get(1, {{":path", "/b"}}), "1:PROTOCOL_ERROR ok"},
      {"8.3.1", "an empty :path", Headers(1, GetFields("")), "1:PROTOCOL_ERROR ok"},
      {"8.3.1", "a :path that is none", Headers(1, GetFields("b")),
       "1:PROTOCOL_ERROR ok"},
      {"8.3.1", "a blank in :path", Headers(1, GetFields("/a b")), "1:PROTOCOL_ERROR ok"},
      {"8.3.1", "a fragment in :path", Headers(1, GetFields("/a#b")), "1:!400 ok"},
      {"8.3.1", ":path of OPTIONS",
       Raw({{":method", "OPTIONS"}, {":scheme", "http"}, {":path", "*"}, {"host", "a"}}),
       "1:200 OPTIONS * [] ok"},
      {"8.3.1", "* of another method", Headers(1, GetFields("*")), "1:PROTOCOL_ERROR ok"},
      {"8.3.1", "Host in place of :authority",
       Raw({{":method", "GET"}, {":scheme", "http"}, {":path", "/"}, {"host", "a"}}),
       "1:200 GET / [] ok"},
      {"8.3.1", "both, and they agree", Get(1, {{"host", "a"}}), "1:200 GET / [] ok"},
      {"8.3.1", "both, and they differ", Get(1, {{"host", "b"}}), "1:!400 ok"},
      {"8.3.1", "Host twice",
       Raw({{":method", "GET"},
            {":scheme", "http"},
            {":path", "/"},
            {"host", "a"},
            {"host", "b"}}),
       "1:PROTOCOL_ERROR ok"},
      {"8.3.1", "no host at all",
       Raw({{":method", "GET"}, {":scheme", "http"}, {":path", "/"}}),
       "1:PROTOCOL_ERROR ok"},
      {"8.3.1", "a host that is none",
       Raw({{":method", "GET"},
            {":scheme", "http"},
            {":path", "/"},
            {":authority", "a/b"}}),
       "1:PROTOCOL_ERROR ok"},
      {"8.3.1", "one with a port that is none",
       Raw({{":method", "GET"},
            {":scheme", "http"},
            {":path", "/"},
            {":authority", "a:b"}}),
       "1:!400 ok"},
      {"8.5", "CONNECT", Raw({{":method", "CONNECT"}, {":authority", "a:1"}}),
       "1:!501 ok"},
      {"RFC 9110, 9.1", "an unknown method",
       Raw({{":method", "BREW"}, {":scheme", "http"}, {":path", "/"}, {"host", "a"}}),
       "1:!501 ok"},
      {"RFC 9110, 10.1.1", "an unknown expectation", Get(1, {{"expect", "tea"}}),
       "1:!417 ok"},
      {"RFC 9110, 15.5.14", "a body that is too large",
       Post(1, {{"content-length", "20000"}}), "1:!413 ok"},
      {"RFC 9110, 15.5.15", "a path that is too long",
       Headers(1, GetFields("/" + std::string(500, 'x'))), "1:!414 ok"},
      {"RFC 6585, 5", "too many fields", Get(1, Http2FieldList(21, {"a", "b"})),
       "1:!431 ok"},
      {"RFC 6585, 5", "a head that is too large", Get(1, {{"a", std::string(3000, 'b')}}),
       "1:!431 ok"},
      {"6.5.2", "too many trailers", Post(1) + Headers(1, Http2FieldList(21, {"a", "b"})),
       "1:INTERNAL_ERROR ok"},
  };
}

void Describe(Request& request, ResponseWriter& response) {
  const absl::StatusOr<std::string> body = request.body().ReadAll(1 << 20);
  if (!body.ok()) return;
  std::string text = absl::StrCat(
      request.method(), " ", request.path(), " [",
      body->size() > 100 ? absl::StrCat(body->size(), " bytes") : *body, "]");
  for (const Field& f : request.body().trailers()) {
    absl::StrAppend(&text, " ", f.name, "=", f.value);
  }
  for (const Field& f : request.headers()) {
    if (f.name == "cookie") absl::StrAppend(&text, " cookie=", f.value);
  }
  response.Send(text).IgnoreError();
}

std::string Play(const std::string& sent, size_t piece) {
  MemoryListener listener(MemoryStreamOptions{.capacity = 1 << 20, .max_piece = piece});
  HttpServer server(
      listener, &Describe,
      {.max_request_line = 300, .max_head = 2000, .max_fields = 20, .max_body = 16384});
  server.Start();
  MemoryStream stream = *listener.Connect();
  Http2Peer peer(&stream);
  peer.Begin();
  peer.Send(sent);
  peer.Get(99, "/last");
  std::string last = peer.Await(99).body;
  if (!peer.goaways().empty()) peer.ReadToEnd();
  std::vector<std::string> seen;
  // How far requests got before the end of all is nobody's business.
  if (!peer.goaways().empty()) peer.answers().clear();
  for (const auto& [id, answer] : peer.answers()) {
    if (id == 0 || id == 99) continue;
    if (answer.reset.has_value()) {
      seen.push_back(absl::StrCat(id, ":", Http2ErrorName(*answer.reset)));
    } else if (answer.status == "200") {
      seen.push_back(absl::StrCat(id, ":200 ", answer.body));
    } else {
      seen.push_back(absl::StrCat(id, ":!", answer.status));
    }
  }
  for (uint32_t code : peer.goaways()) {
    seen.push_back("GOAWAY " + Http2ErrorName(code));
  }
  if (last == "GET /last []") seen.push_back("ok");
  stream.Close();
  EXPECT_EQ(server.Stop(absl::Hours(1)).cut, 0u);
  return absl::StrJoin(seen, " ");
}

void PlayAll(const std::vector<Case>& cases) {
  for (const Case& c : cases) {
    for (size_t piece : {size_t{1} << 20, size_t{1}, size_t{7}}) {
      SCOPED_TRACE(absl::StrCat(c.section, ": ", c.what, ", by ", piece));
      EXPECT_EQ(Play(c.sent, piece), c.seen);
    }
  }
}

GREENLET_TEST(Rfc9113, FramesAreWhatItSays) { PlayAll(FrameCases()); }
GREENLET_TEST(Rfc9113, RequestsAreWhatItSaysAndNothingElse) { PlayAll(MessageCases()); }

// 3.4
GREENLET_TEST(Rfc9113, TheFirstBytesAreThePreface) {
  const auto play = [](absl::string_view sent) {
    MemoryListener listener;
    HttpServer server(listener, &Describe);
    server.Start();
    MemoryStream stream = *listener.Connect();
    Http2Peer peer(&stream);
    peer.Send(sent);
    peer.ReadToEnd();
    return peer.goaways();
  };
  const std::vector<uint32_t> refused = {NGHTTP2_PROTOCOL_ERROR};
  EXPECT_EQ(play("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"), refused);
  EXPECT_EQ(play("PRI * HTTP/2.1\r\n\r\nSM\r\n\r\n"), refused);
  EXPECT_EQ(play(absl::StrCat("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                              Http2Frame(NGHTTP2_PING, 0, 0, "12345678"))),
            refused);
}

}  // namespace
}  // namespace grove::http
