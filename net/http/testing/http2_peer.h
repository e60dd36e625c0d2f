#ifndef GROVE_NET_HTTP_TESTING_HTTP2_PEER_H_
#define GROVE_NET_HTTP_TESTING_HTTP2_PEER_H_

#include <nghttp2/nghttp2.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "grove/net/stream.h"

// For tests of HTTP/2: frames as bytes, whether they are right or wrong. Only HPACK is
// nghttp2's.
namespace grove::http {

using Http2FieldList = std::vector<std::pair<std::string, std::string>>;

// One frame (RFC 9113, 4.1).
std::string Http2Frame(uint8_t type, uint8_t flags, uint32_t stream_id,
                       absl::string_view payload = {});
std::string BigEndian(uint64_t n, int bytes);
// A field block that changes no dynamic table.
std::string Http2Block(const Http2FieldList& fields);
// "PROTOCOL_ERROR" of 1.
std::string Http2ErrorName(uint32_t code);

// The four pseudo-header fields of a GET, and what follows.
Http2FieldList GetFields(absl::string_view path, const Http2FieldList& more = {});

// Http2Peer
//
// What a client sees. It waits for two hours at most, and then takes it for the end.
class Http2Peer {
 public:
  struct Frame {
    uint8_t type = 0;
    uint8_t flags = 0;
    uint32_t stream_id = 0;
    std::string payload;
    Http2FieldList fields;  // of HEADERS

    bool Ends() const { return (flags & NGHTTP2_FLAG_END_STREAM) != 0; }
    uint32_t Number(size_t offset = 0) const;  // four bytes of the payload
  };
  // What came on one stream.
  struct Answer {
    std::string status;
    std::string body;
    Http2FieldList fields;
    Http2FieldList trailers;
    std::optional<uint32_t> reset;  // RST_STREAM's error code
    bool ended = false;
  };

  // `stream` must outlive it.
  explicit Http2Peer(net::Stream* stream);
  Http2Peer(const Http2Peer&) = delete;
  Http2Peer& operator=(const Http2Peer&) = delete;
  ~Http2Peer();

  // The preface and empty SETTINGS, as all clients begin.
  void Begin();
  void Send(absl::string_view bytes);
  // HEADERS that end the stream.
  void Get(uint32_t stream_id, absl::string_view path);

  // The next frame; nothing at the end of the connection.
  std::optional<Frame> Next();
  // Reads until that stream has ended, or the connection; answers SETTINGS and PING.
  Answer Await(uint32_t stream_id);
  // All there is, to the connection's end.
  void ReadToEnd();

  // What has come so far.
  std::map<uint32_t, Answer>& answers() { return answers_; }
  // The error codes of GOAWAYs; of the first with 2^31-1 as its last stream too.
  const std::vector<uint32_t>& goaways() const { return goaways_; }
  bool at_end() const { return at_end_; }
  // Whether Await() opens windows again as DATA comes; it does at first.
  void set_updates_windows(bool on) { updates_windows_ = on; }

 private:
  bool Take(const Frame& frame);

  net::Stream& stream_;
  nghttp2_hd_inflater* inflater_ = nullptr;
  std::map<uint32_t, Answer> answers_;
  std::vector<uint32_t> goaways_;
  bool at_end_ = false;
  bool updates_windows_ = true;
};

}  // namespace grove::http

#endif  // GROVE_NET_HTTP_TESTING_HTTP2_PEER_H_
