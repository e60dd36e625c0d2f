#ifndef GROVE_NET_HTTP_CLIENT_HTTP2_TEST_UTIL_H_
#define GROVE_NET_HTTP_CLIENT_HTTP2_TEST_UTIL_H_

#include <nghttp2/nghttp2.h>

#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "grove/net/http/client.h"
#include "grove/net/http/client_test_util.h"
#include "grove/net/http/testing/http2_peer.h"
#include "grove/net/testing/memory_stream.h"

// For tests of the client's HTTP/2: a server that is nghttp2's, and does what the test
// says.
namespace grove::http {

inline std::vector<nghttp2_nv> ToNv(Http2FieldList& fields) {
  std::vector<nghttp2_nv> nv;
  for (auto& [name, value] : fields) {
    nv.push_back({reinterpret_cast<uint8_t*>(name.data()),
                  reinterpret_cast<uint8_t*>(value.data()), name.size(), value.size(),
                  NGHTTP2_NV_FLAG_NONE});
  }
  return nv;
}

// PlayedHttp2
//
// One connection of a server of HTTP/2, in the greenlet that calls Run().
class PlayedHttp2 {
 public:
  struct Asked {
    std::map<std::string, std::string> fields;
    std::string body;
  };
  // Called when a request is whole, or, with `at_head`, when its head is.
  using Handler = std::function<void(PlayedHttp2&, int32_t id, Asked&)>;

  PlayedHttp2(net::MemoryStream& stream, Handler handler, bool at_head = false,
              std::vector<nghttp2_settings_entry> settings = {})
      : stream_(stream), handler_(std::move(handler)), at_head_(at_head) {
    nghttp2_session_callbacks* callbacks;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(
        callbacks, [](nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name,
                      size_t n, const uint8_t* value, size_t m, uint8_t, void* user) {
          Of(user)
              .asked_[frame->hd.stream_id]
              .fields[std::string(reinterpret_cast<const char*>(name), n)] =
              std::string(reinterpret_cast<const char*>(value), m);
          return 0;
        });
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
        callbacks, [](nghttp2_session*, uint8_t, int32_t id, const uint8_t* data,
                      size_t n, void* user) {
          Of(user).asked_[id].body.append(reinterpret_cast<const char*>(data), n);
          return 0;
        });
    nghttp2_session_callbacks_set_on_frame_recv_callback(
        callbacks, [](nghttp2_session*, const nghttp2_frame* frame, void* user) {
          PlayedHttp2& self = Of(user);
          const bool end = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
          const int32_t id = frame->hd.stream_id;
          if (frame->hd.type == NGHTTP2_RST_STREAM) self.resets.insert(id);
          if (frame->hd.type == NGHTTP2_GOAWAY) self.said_goodbye = true;
          if ((frame->hd.type == NGHTTP2_HEADERS && (end || self.at_head_)) ||
              (frame->hd.type == NGHTTP2_DATA && end && !self.at_head_)) {
            self.handler_(self, id, self.asked_[id]);
          }
          return 0;
        });
    nghttp2_session_server_new(&session, callbacks, this);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_submit_settings(session, 0, settings.data(), settings.size());
  }
  ~PlayedHttp2() { nghttp2_session_del(session); }

  // Until the client leaves, or it says something wrong.
  void Run() {
    char buffer[4096];
    for (;;) {
      if (!Flush()) return;
      const absl::StatusOr<size_t> n = stream_.Read(absl::MakeSpan(buffer));
      if (!n.ok() || *n == 0) return;
      if (nghttp2_session_mem_recv(session, reinterpret_cast<uint8_t*>(buffer), *n) < 0) {
        return;
      }
    }
  }
  bool Flush() {
    for (;;) {
      const uint8_t* data;
      const ssize_t n = nghttp2_session_mem_send(session, &data);
      if (n <= 0) return n == 0;
      if (!stream_.Write({reinterpret_cast<const char*>(data), static_cast<size_t>(n)})
               .ok()) {
        return false;
      }
    }
  }

  void Answer(int32_t id, std::string body, Http2FieldList fields = {},
              Http2FieldList trailers = {}, std::string status = "200") {
    fields.insert(fields.begin(), {":status", status});
    Body& b = bodies_[id];
    b.text = std::move(body);
    b.trailers = std::move(trailers);
    nghttp2_data_provider provider;
    provider.source.ptr = &b;
    provider.read_callback = [](nghttp2_session* s, int32_t stream_id, uint8_t* buffer,
                                size_t size, uint32_t* flags, nghttp2_data_source* source,
                                void* user) -> ssize_t {
      Body& from = *static_cast<Body*>(source->ptr);
      const size_t n = from.text.copy(reinterpret_cast<char*>(buffer), size, from.at);
      from.at += n;
      Of(user).sent[stream_id] += n;
      if (from.at == from.text.size()) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (!from.trailers.empty()) {
          *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
          const std::vector<nghttp2_nv> nv = ToNv(from.trailers);
          nghttp2_submit_trailer(s, stream_id, nv.data(), nv.size());
        }
      }
      return static_cast<ssize_t>(n);
    };
    const std::vector<nghttp2_nv> nv = ToNv(fields);
    nghttp2_submit_response(session, id, nv.data(), nv.size(), &provider);
  }

  nghttp2_session* session = nullptr;
  std::set<int32_t> resets;
  std::map<int32_t, size_t> sent;
  bool said_goodbye = false;

 private:
  struct Body {
    std::string text;
    size_t at = 0;
    Http2FieldList trailers;
  };
  static PlayedHttp2& Of(void* user) { return *static_cast<PlayedHttp2*>(user); }

  net::MemoryStream& stream_;
  const Handler handler_;
  const bool at_head_;
  std::map<int32_t, Asked> asked_;
  std::map<int32_t, Body> bodies_;
};

inline HttpClientOptions Http2ClientOptions(PlayedServer& server) {
  HttpClientOptions options = server.options();
  options.http2_prior_knowledge = true;
  return options;
}

inline PlayedServer::Play Serve(PlayedHttp2::Handler handler, bool at_head = false,
                                std::vector<nghttp2_settings_entry> settings = {}) {
  return [=](int, net::MemoryStream& stream) {
    PlayedHttp2(stream, handler, at_head, settings).Run();
  };
}

inline void Echo(PlayedHttp2& peer, int32_t id, PlayedHttp2::Asked& asked) {
  peer.Answer(id,
              asked.fields[":method"] + " " + asked.fields[":path"] + " " + asked.body);
}

}  // namespace grove::http

#endif  // GROVE_NET_HTTP_CLIENT_HTTP2_TEST_UTIL_H_
