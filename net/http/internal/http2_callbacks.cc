#include <algorithm>
#include <memory>

#include "grove/green/greenlet.h"
#include "grove/hub/internal/check.h"
#include "grove/net/http/internal/http2_connection.h"

// What nghttp2 tells a server's connection, while it is given input or asked for output.
// Nothing here may wait, nor throw: there are C frames below.
namespace grove::http::http_internal {
namespace {

// Windows that a client may open again for each frame of data.
constexpr uint32_t kControlsPerData = 4;

// What a client has provoked by a mistake (CVE-2025-8671), or by too many requests.
bool IsOfMistake(uint32_t error_code) {
  return error_code != NGHTTP2_NO_ERROR && error_code != NGHTTP2_INTERNAL_ERROR &&
         error_code != NGHTTP2_CANCEL;
}

Http2Connection* Of(void* user_data) { return static_cast<Http2Connection*>(user_data); }

}  // namespace

nghttp2_session_callbacks* Http2Connection::Callbacks() {
  static nghttp2_session_callbacks* const callbacks = [] {
    nghttp2_session_callbacks* c = nullptr;
    GROVE_CHECK(nghttp2_session_callbacks_new(&c) == 0, "out of memory");
    nghttp2_session_callbacks_set_on_begin_frame_callback(
        c, [](nghttp2_session*, const nghttp2_frame_hd* head, void* user_data) {
          return Of(user_data)->OnBeginFrame(*head);
        });
    // Of a type that nobody knows (RFC 9113, 5.5): counted above, and not looked at.
    nghttp2_session_callbacks_set_unpack_extension_callback(
        c, [](nghttp2_session*, void**, const nghttp2_frame_hd*, void*) -> int {
          return NGHTTP2_ERR_CANCEL;
        });
    nghttp2_session_callbacks_set_on_begin_headers_callback(
        c, [](nghttp2_session*, const nghttp2_frame* frame, void* user_data) {
          return Of(user_data)->OnBeginHeaders(*frame);
        });
    nghttp2_session_callbacks_set_on_header_callback2(
        c, [](nghttp2_session*, const nghttp2_frame* frame, nghttp2_rcbuf* name,
              nghttp2_rcbuf* value, uint8_t,
              void* user_data) { return Of(user_data)->OnHeader(*frame, name, value); });
    // By default such a field is left out; but then two readers disagree.
    nghttp2_session_callbacks_set_on_invalid_header_callback2(
        c,
        [](nghttp2_session*, const nghttp2_frame*, nghttp2_rcbuf*, nghttp2_rcbuf*,
           uint8_t, void*) -> int { return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; });
    nghttp2_session_callbacks_set_on_frame_recv_callback(
        c, [](nghttp2_session*, const nghttp2_frame* frame, void* user_data) {
          return Of(user_data)->OnFrame(*frame);
        });
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
        c, [](nghttp2_session*, uint8_t, int32_t id, const uint8_t* data, size_t size,
              void* user_data) {
          Of(user_data)->OnData(id, {reinterpret_cast<const char*>(data), size});
          return 0;
        });
    nghttp2_session_callbacks_set_on_frame_send_callback(
        c, [](nghttp2_session*, const nghttp2_frame* frame, void* user_data) {
          Of(user_data)->OnSent(*frame);
          return 0;
        });
    nghttp2_session_callbacks_set_on_stream_close_callback(
        c, [](nghttp2_session*, int32_t id, uint32_t error_code, void* user_data) {
          Of(user_data)->OnStreamClose(id, error_code);
          return 0;
        });
    nghttp2_session_callbacks_set_send_callback(
        c, [](nghttp2_session*, const uint8_t* data, size_t size, int, void* user_data) {
          return Of(user_data)->OnSend({reinterpret_cast<const char*>(data), size});
        });
    nghttp2_session_callbacks_set_send_data_callback(
        c, [](nghttp2_session*, nghttp2_frame* frame, const uint8_t* head, size_t size,
              nghttp2_data_source*, void* user_data) {
          return Of(user_data)->OnSendData(
              {reinterpret_cast<const char*>(head), kHttp2FrameHead}, size,
              frame->hd.stream_id);
        });
    // Fields that do not fit: the client must not wait for them.
    nghttp2_session_callbacks_set_on_frame_not_send_callback(
        c, [](nghttp2_session*, const nghttp2_frame* frame, int, void* user_data) {
          Of(user_data)->OnNotSent(*frame);
          return 0;
        });
    return c;
  }();
  return callbacks;
}

// Floods, as CVE-2019-9512, -9513, -9515, -9518: also of a client that reads what it is
// answered. Requests, resets and CONTINUATION have limits of their own.
int Http2Connection::OnBeginFrame(const nghttp2_frame_hd& head) {
  switch (head.type) {
    case NGHTTP2_HEADERS:
    case NGHTTP2_DATA:
    case NGHTTP2_RST_STREAM:
    case NGHTTP2_CONTINUATION:
      return 0;
    default:
      flood_ = flood_ || !MayControl();
      return flood_ ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
  }
}

int Http2Connection::OnBeginHeaders(const nghttp2_frame& frame) {
  if (frame.headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
  const int32_t id = frame.hd.stream_id;
  // Those of streams that were reset count as well, until their handlers have ended; and
  // of those that come behind the last GOAWAY nothing is wanted.
  if (handlers_ >= core_->options().http2.max_streams || drained_ || !CanSpawn()) {
    ++core_->statistics_.refused;
    nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, id, NGHTTP2_REFUSED_STREAM);
    return 0;
  }
  std::unique_ptr<Http2Stream> stream = core_->TakeStream();
  stream->Begin(this, id);
  if (nghttp2_session_set_stream_user_data(session_, id, stream.get()) != 0) {
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  }
  stream->next = first_;
  if (first_) first_->previous = stream.get();
  first_ = stream.release();
  ++streams_;
  ++requests_;
  const uint64_t max_requests = core_->options().max_requests;
  if (max_requests != 0 && requests_ >= max_requests) Drain();
  return 0;
}

int Http2Connection::OnHeader(const nghttp2_frame& frame, nghttp2_rcbuf* name,
                              nghttp2_rcbuf* value) {
  Http2Stream* const stream = StreamOf(frame.hd.stream_id);
  // What is not wanted nghttp2 then unpacks, since it must, but does not look at.
  if (stream == nullptr) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  if (frame.headers.cat == NGHTTP2_HCAT_REQUEST) {
    return stream->TakeHeader(name, value) ? 0 : NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  }
  if (stream->TakeTrailer(name, value)) return 0;
  stream->body.Fail(400, absl::InvalidArgumentError("too many trailers"));
  return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

int Http2Connection::OnFrame(const nghttp2_frame& frame) {
  if (frame.hd.type == NGHTTP2_PING) {
    if (draining_ && (frame.hd.flags & NGHTTP2_FLAG_ACK) != 0) FinishDrain();
    return 0;
  }
  if (frame.hd.type != NGHTTP2_HEADERS && frame.hd.type != NGHTTP2_DATA) return 0;
  Http2Stream* const stream = StreamOf(frame.hd.stream_id);
  if (stream == nullptr) return 0;
  const bool ends = (frame.hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
  if (frame.hd.type == NGHTTP2_DATA && !ends && frame.hd.length == frame.data.padlen) {
    flood_ = flood_ || !MayControl();
    return flood_ ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
  }
  if (frame.hd.type == NGHTTP2_HEADERS && frame.headers.cat == NGHTTP2_HCAT_REQUEST) {
    StartRequest(*stream, /*has_body=*/!ends);
  } else if (ends) {
    stream->body.End();
  }
  return 0;
}

void Http2Connection::OnData(int32_t id, absl::string_view data) {
  if (Http2Stream* const stream = StreamOf(id)) {
    stream->body.Take(data);
  } else {
    nghttp2_session_consume(session_, id, data.size());
  }
}

// A response that is complete before the request is: the rest is not wanted (RFC 9113,
// 8.1).
void Http2Connection::OnSent(const nghttp2_frame& frame) {
  if (frame.hd.type == NGHTTP2_GOAWAY && draining_ && !drained_ && !ending_) {
    // Behind it, for pings overtake what is queued.
    nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, nullptr);
    return;
  }
  if (frame.hd.type == NGHTTP2_RST_STREAM && IsOfMistake(frame.rst_stream.error_code)) {
    flood_ = flood_ || !MayControl();
    return;
  }
  if (frame.hd.type != NGHTTP2_HEADERS && frame.hd.type != NGHTTP2_DATA) return;
  if (frame.hd.type == NGHTTP2_DATA) {
    controls_left_ =
        std::min(controls_left_ + kControlsPerData, core_->options().http2.control_burst);
  }
  if ((frame.hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) return;
  const int32_t id = frame.hd.stream_id;
  if (nghttp2_session_get_stream_remote_close(session_, id) == 0) {
    nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, id, NGHTTP2_NO_ERROR);
  }
}

void Http2Connection::OnStreamClose(int32_t id, uint32_t error_code) {
  Http2Stream* const stream = StreamOf(id);
  if (stream == nullptr) return;
  nghttp2_session_set_stream_user_data(session_, id, nullptr);
  --streams_;
  ++phases_;
  stream->Close(error_code);
  if (!stream->handler_runs) Recycle(*stream);
}

ssize_t Http2Connection::OnSend(absl::string_view data) {
  if (out_.size() >= kHttp2Batch) return NGHTTP2_ERR_WOULDBLOCK;
  out_.append(data.data(), data.size());
  return static_cast<ssize_t>(data.size());
}

// A frame that would not go out at once is kept by nghttp2, also where the stream was
// reset in the meantime: then there is nothing any more to put into it.
int Http2Connection::OnSendData(absl::string_view head, size_t size, int32_t id) {
  Http2Stream* const stream = StreamOf(id);
  if (stream == nullptr || stream->response.lost()) {
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  }
  if (out_.size() >= kHttp2Batch) return NGHTTP2_ERR_WOULDBLOCK;
  out_.append(head.data(), head.size());
  stream->response.MoveTo(out_, size);
  return 0;
}

void Http2Connection::OnNotSent(const nghttp2_frame& frame) {
  if (frame.hd.type != NGHTTP2_HEADERS || StreamOf(frame.hd.stream_id) == nullptr) return;
  nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, frame.hd.stream_id,
                            NGHTTP2_INTERNAL_ERROR);
}

}  // namespace grove::http::http_internal
