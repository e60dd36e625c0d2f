#ifndef GROVE_NET_HTTP_HTTP2_TEST_UTIL_H_
#define GROVE_NET_HTTP_HTTP2_TEST_UTIL_H_

#include <nghttp2/nghttp2.h>

#include <optional>
#include <string>
#include <utility>

#include "grove/green/sleep.h"
#include "grove/net/http/http_test_util.h"
#include "grove/net/http/testing/http2_peer.h"

// Tests of what an HttpServer answers to a client of HTTP/2, frame by frame.
namespace grove::http {

constexpr uint8_t kEnd = NGHTTP2_FLAG_END_STREAM;
constexpr uint8_t kEndHead = NGHTTP2_FLAG_END_HEADERS;

inline std::string PostHead(uint32_t id, const Http2FieldList& more = {}) {
  Http2FieldList fields = GetFields("/", more);
  fields[0].second = "POST";
  return Http2Frame(NGHTTP2_HEADERS, kEndHead, id, Http2Block(fields));
}
inline std::string Data(uint32_t id, absl::string_view text, uint8_t flags = kEnd) {
  return Http2Frame(NGHTTP2_DATA, flags, id, text);
}
inline std::string Reset(uint32_t id) {
  return Http2Frame(NGHTTP2_RST_STREAM, 0, id, BigEndian(NGHTTP2_CANCEL, 4));
}
inline std::string Window(uint32_t id, uint32_t size) {
  return Http2Frame(NGHTTP2_WINDOW_UPDATE, 0, id, BigEndian(size, 4));
}

inline void Hello(Request&, ResponseWriter& response) {
  response.Send(200, "text/plain", "hello").IgnoreError();
}
inline void Echo(Request& request, ResponseWriter& response) {
  char buffer[1000];
  for (;;) {
    const absl::StatusOr<size_t> n = request.body().Read(absl::MakeSpan(buffer));
    if (!n.ok() || *n == 0) return;
    if (!response.Write({buffer, *n}).ok()) return;
  }
}

// With one client of HTTP/2; others may come beside it.
class Http2Test : public HttpTest {
 protected:
  void Start(Handler handler, HttpServerOptions options = {},
             net::MemoryStreamOptions stream = {.capacity = 1 << 20}) {
    HttpTest::Start(std::move(handler), std::move(options), std::move(stream));
    ConnectPeer();
  }
  void ConnectPeer() {
    stream_ = Connect();
    peer_.emplace(&stream_);
    peer_->Begin();
  }
  void TearDown() override {
    peer_.reset();
    stream_.Close();
    HttpTest::TearDown();
  }
  // All that the server has to do now is done.
  static void Settle() { Sleep(absl::Nanoseconds(1)); }

  net::MemoryStream stream_;
  std::optional<Http2Peer> peer_;
};

}  // namespace grove::http

#endif  // GROVE_NET_HTTP_HTTP2_TEST_UTIL_H_
