#ifndef GROVE_NET_HTTP_INTERNAL_HTTP2_CONNECTION_H_
#define GROVE_NET_HTTP_INTERNAL_HTTP2_CONNECTION_H_

#include <nghttp2/nghttp2.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "grove/green/greenlet.h"
#include "grove/green/internal/core.h"
#include "grove/hub/clock.h"
#include "grove/net/http/internal/http2_stream.h"
#include "grove/net/http/internal/server_core.h"
#include "grove/net/internal/peer_pace.h"
#include "grove/net/stream.h"

namespace grove::http::http_internal {

// What a client of HTTP/2 sends first (RFC 9113, 3.4).
inline constexpr absl::string_view kHttp2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

inline constexpr size_t kHttp2FrameHead = 9;
// So much is written at once, about; a frame more than that.
inline constexpr size_t kHttp2Batch = 64 << 10;

// Http2Connection
//
// One connection of a server that speaks HTTP/2, on the stack of its greenlet, which
// reads; each request has a greenlet of its own, and one that writes is there while there
// is something to write. nghttp2 knows the protocol and does no I/O: nothing switches
// inside of it.
class Http2Connection final : public CoreConnection {
 public:
  // `input_shut`: reading was ended for a drain already, but what had come is to be
  // answered.
  Http2Connection(ServerCore* core, net::Stream* stream, bool secure,
                  bool input_shut = false);
  ~Http2Connection();

  // Until its end. `input` was read already.
  void Run(absl::string_view input);

  bool Look(MonotonicNanos now) override;
  void Drain() override;

  // For its streams.
  nghttp2_session* session() const { return session_; }
  const HttpServerOptions& options() const { return core_->options(); }
  DateCache& date() { return core_->date(); }
  absl::string_view peer() const { return peer_; }
  bool secure() const { return secure_; }
  bool draining() const { return draining_; }
  // There is something to write.
  void ScheduleWrite();
  // The handler has read so much of what the client's windows allow for.
  void Consume(Http2Stream& stream, size_t count);
  void CountRefusal() { ++core_->statistics_.refused; }

 private:
  // In the function of a handler's greenlet: also one that never begins has an end.
  class HandlerScope;
  enum class Phase : uint8_t { kBusy, kIdle, kDraining, kOver };

  // What nghttp2 tells; see http2_callbacks.cc.
  static nghttp2_session_callbacks* Callbacks();
  int OnBeginFrame(const nghttp2_frame_hd& head);
  int OnBeginHeaders(const nghttp2_frame& frame);
  int OnHeader(const nghttp2_frame& frame, nghttp2_rcbuf* name, nghttp2_rcbuf* value);
  int OnFrame(const nghttp2_frame& frame);
  void OnData(int32_t id, absl::string_view data);
  void OnSent(const nghttp2_frame& frame);
  void OnStreamClose(int32_t id, uint32_t error_code);
  ssize_t OnSend(absl::string_view data);
  int OnSendData(absl::string_view head, size_t size, int32_t id);
  void OnNotSent(const nghttp2_frame& frame);

  bool Start();
  void Read();
  void Feed(absl::string_view input);
  // Of a frame that is part of no request; false if there were too many.
  bool MayControl();
  void WriteAll();
  void LookForEnd();
  void FinishDrain();
  void End(uint32_t error_code);
  void CloseStreams();
  absl::Duration InPhaseFor(Phase phase, MonotonicNanos now);
  void LookAtStream(Http2Stream& stream, MonotonicNanos now);

  Http2Stream* StreamOf(int32_t id) const;
  void StartRequest(Http2Stream& stream, bool has_body);
  void CallHandler(Http2Stream& stream);
  void HandlerEnded(Http2Stream& stream);
  void Log(Http2Stream& stream);
  void Recycle(Http2Stream& stream);

  net::Stream& stream_;
  const bool secure_;
  const bool input_shut_;
  const std::string peer_;
  nghttp2_session* session_ = nullptr;
  Http2Stream* first_ = nullptr;
  size_t streams_ = 0;   // that nghttp2 has open
  size_t handlers_ = 0;  // whose greenlets have not ended
  uint64_t requests_ = 0;
  green_internal::WaiterList handler_waiters_;

  std::string out_;
  Greenlet<> writer_;
  bool writing_ = false;
  bool broken_ = false;  // a write has failed: nothing may follow
  bool deaf_ = false;    // what the client still sends is dropped
  bool ending_ = false;  // our last GOAWAY, of an error or for want of requests, is made
  bool over_ = false;    // nothing more is to be said, by either
  bool draining_ = false;
  bool drained_ = false;  // the last GOAWAY is on its way

  bool flood_ = false;  // more of them than control_burst and control_rate allow
  uint32_t controls_left_;
  MonotonicNanos controls_since_;

  net::net_internal::PeerPace pace_;
  uint64_t phases_ = 0;  // streams that have ended
  Phase seen_phase_ = Phase::kBusy;
  uint64_t seen_phases_ = 0;
  MonotonicNanos seen_at_ = 0;
};

}  // namespace grove::http::http_internal

#endif  // GROVE_NET_HTTP_INTERNAL_HTTP2_CONNECTION_H_
