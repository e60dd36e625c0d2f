#include "grove/net/http/testing/http2_peer.h"

#include "absl/time/time.h"
#include "grove/hub/internal/check.h"

namespace grove::http {
namespace {

// On the clock of a test it takes no time, and is over after all limits of a server.
constexpr absl::Duration kPatience = absl::Hours(2);

}  // namespace

std::string BigEndian(uint64_t n, int bytes) {
  std::string text;
  for (int i = bytes - 1; i >= 0; --i) text.push_back(static_cast<char>(n >> (8 * i)));
  return text;
}

std::string Http2Frame(uint8_t type, uint8_t flags, uint32_t stream_id,
                       absl::string_view payload) {
  std::string frame = BigEndian(payload.size(), 3);
  frame.push_back(static_cast<char>(type));
  frame.push_back(static_cast<char>(flags));
  frame += BigEndian(stream_id, 4);
  frame.append(payload.data(), payload.size());
  return frame;
}

std::string Http2Block(const Http2FieldList& fields) {
  // Without a table each block stands for itself.
  nghttp2_hd_deflater* deflater = nullptr;
  GROVE_CHECK(nghttp2_hd_deflate_new(&deflater, 0) == 0, "out of memory");
  std::vector<nghttp2_nv> nv;
  for (const auto& [name, value] : fields) {
    nv.push_back({reinterpret_cast<uint8_t*>(const_cast<char*>(name.data())),
                  reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())),
                  name.size(), value.size(), NGHTTP2_NV_FLAG_NO_INDEX});
  }
  std::string block(nghttp2_hd_deflate_bound(deflater, nv.data(), nv.size()), '\0');
  const ssize_t n =
      nghttp2_hd_deflate_hd(deflater, reinterpret_cast<uint8_t*>(block.data()),
                            block.size(), nv.data(), nv.size());
  GROVE_CHECK(n >= 0, "nghttp2_hd_deflate_hd");
  nghttp2_hd_deflate_del(deflater);
  block.resize(static_cast<size_t>(n));
  return block;
}

std::string Http2ErrorName(uint32_t code) { return nghttp2_http2_strerror(code); }

Http2FieldList GetFields(absl::string_view path, const Http2FieldList& more) {
  Http2FieldList fields = {{":method", "GET"},
                           {":scheme", "http"},
                           {":authority", "a"},
                           {":path", std::string(path)}};
  fields.insert(fields.end(), more.begin(), more.end());
  return fields;
}

uint32_t Http2Peer::Frame::Number(size_t offset) const {
  uint32_t n = 0;
  for (size_t i = offset; i < offset + 4 && i < payload.size(); ++i) {
    n = n << 8 | static_cast<unsigned char>(payload[i]);
  }
  return n;
}

Http2Peer::Http2Peer(net::Stream* stream) : stream_(*stream) {
  GROVE_CHECK(nghttp2_hd_inflate_new(&inflater_) == 0, "out of memory");
}

Http2Peer::~Http2Peer() { nghttp2_hd_inflate_del(inflater_); }

void Http2Peer::Send(absl::string_view bytes) {
  // A server that has closed is seen by what comes.
  stream_.Write(bytes).IgnoreError();
}

void Http2Peer::Begin() {
  Send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  Send(Http2Frame(NGHTTP2_SETTINGS, 0, 0));
}

void Http2Peer::Get(uint32_t stream_id, absl::string_view path) {
  Send(Http2Frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM,
                  stream_id, Http2Block(GetFields(path))));
}

std::optional<Http2Peer::Frame> Http2Peer::Next() {
  char head[9];
  if (!stream_.ReadExactly(absl::MakeSpan(head), kPatience).ok()) {
    at_end_ = true;
    return std::nullopt;
  }
  const auto byte = [&](int i) { return static_cast<unsigned char>(head[i]); };
  Frame frame;
  frame.payload.resize(static_cast<size_t>(byte(0) << 16 | byte(1) << 8 | byte(2)));
  frame.type = byte(3);
  frame.flags = byte(4);
  frame.stream_id =
      static_cast<uint32_t>(byte(5)) << 24 | byte(6) << 16 | byte(7) << 8 | byte(8);
  if (!stream_.ReadExactly(absl::MakeSpan(frame.payload), kPatience).ok()) {
    at_end_ = true;
    return std::nullopt;
  }
  if (frame.type == NGHTTP2_HEADERS) {
    const auto* at = reinterpret_cast<const uint8_t*>(frame.payload.data());
    size_t left = frame.payload.size();
    for (;;) {
      nghttp2_nv nv;
      int flags = 0;
      const ssize_t n = nghttp2_hd_inflate_hd2(inflater_, &nv, &flags, at, left, 1);
      GROVE_CHECK(n >= 0, "the server's HPACK is broken");
      at += n;
      left -= static_cast<size_t>(n);
      if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0) {
        frame.fields.emplace_back(
            std::string(reinterpret_cast<char*>(nv.name), nv.namelen),
            std::string(reinterpret_cast<char*>(nv.value), nv.valuelen));
      }
      if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0) break;
    }
    nghttp2_hd_inflate_end_headers(inflater_);
  }
  return frame;
}

bool Http2Peer::Take(const Frame& frame) {
  Answer& answer = answers_[frame.stream_id];
  switch (frame.type) {
    case NGHTTP2_HEADERS:
      if (answer.status.empty() || answer.status[0] == '1') {
        answer.status = frame.fields.at(0).second;
        answer.fields = frame.fields;
      } else {
        answer.trailers = frame.fields;
      }
      break;
    case NGHTTP2_DATA:
      answer.body += frame.payload;
      if (updates_windows_ && !frame.payload.empty()) {
        const std::string size = BigEndian(frame.payload.size(), 4);
        Send(Http2Frame(NGHTTP2_WINDOW_UPDATE, 0, 0, size));
        if (!frame.Ends()) {
          Send(Http2Frame(NGHTTP2_WINDOW_UPDATE, 0, frame.stream_id, size));
        }
      }
      break;
    case NGHTTP2_RST_STREAM:
      // Behind a whole answer: the rest of the request is not wanted.
      if (!answer.ended) answer.reset = frame.Number();
      answer.ended = true;
      return true;
    case NGHTTP2_GOAWAY:
      goaways_.push_back(frame.Number(4));
      return false;
    case NGHTTP2_SETTINGS:
      if (frame.flags == 0) Send(Http2Frame(NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0));
      return false;
    case NGHTTP2_PING:
      if (frame.flags == 0) {
        Send(Http2Frame(NGHTTP2_PING, NGHTTP2_FLAG_ACK, 0, frame.payload));
      }
      return false;
    default:
      return false;
  }
  if (frame.Ends()) answer.ended = true;
  return frame.Ends();
}

Http2Peer::Answer Http2Peer::Await(uint32_t stream_id) {
  while (!answers_[stream_id].ended) {
    const std::optional<Frame> frame = Next();
    if (!frame) break;
    Take(*frame);
  }
  return answers_[stream_id];
}

void Http2Peer::ReadToEnd() {
  while (const std::optional<Frame> frame = Next()) Take(*frame);
}

}  // namespace grove::http
