#include "grove/net/http/internal/http2_connection.h"

#include <stdio.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "absl/status/statusor.h"
#include "grove/green/deadline_scope.h"
#include "grove/green/hub_scope.h"
#include "grove/green/timeout.h"
#include "grove/net/http/status.h"
#include "grove/net/internal/wait_in.h"

namespace grove::http::http_internal {
namespace {

// Frames that are to be sent: resets that a client provokes and does not read (as
// CVE-2019-9514).
constexpr size_t kMaxQueued = 10'000;

}  // namespace

class Http2Connection::HandlerScope {
 public:
  HandlerScope(Http2Connection* connection, Http2Stream* stream)
      : connection_(connection), stream_(stream) {}
  HandlerScope(HandlerScope&& other) noexcept
      : connection_(std::exchange(other.connection_, nullptr)), stream_(other.stream_) {}
  ~HandlerScope() {
    if (connection_ != nullptr) connection_->HandlerEnded(*stream_);
  }

  void operator()() { connection_->CallHandler(*stream_); }

 private:
  Http2Connection* connection_;
  Http2Stream* stream_;
};

Http2Connection::Http2Connection(ServerCore* core, net::Stream* stream, bool secure,
                                 bool input_shut)
    : CoreConnection(core),
      stream_(*stream),
      secure_(secure),
      input_shut_(input_shut),
      peer_(stream->Describe()),
      controls_left_(core->options().http2.control_burst),
      controls_since_(ThisHub().Now()) {}

Http2Connection::~Http2Connection() {
  Shield shield;
  CloseStreams();
  for (Http2Stream* s = first_; s != nullptr;) {
    // One that has not begun ends at once, and is not in the list any more.
    Http2Stream* const next = s->next;
    if (s->handler_runs) s->handler.KillSoon();
    s = next;
  }
  while (handlers_ > 0) {
    net::net_internal::WaitIn(handler_waiters_, "the end of handlers");
  }
  if (writer_) writer_.Kill();
  while (first_ != nullptr) Recycle(*first_);
  nghttp2_session_del(session_);
  stream_.set_limits_apply(true);
}

void Http2Connection::Run(absl::string_view input) {
  // Its own, by stream: between requests the client may be silent, and on a stream it may
  // wait for the server, while this greenlet reads.
  stream_.set_limits_apply(false);
  if (!Start()) return;
  if (!input.empty()) Feed(input);
  Read();
  // Whoever has ended the connection gets no more responses; handlers learn it from what
  // they read and write.
  if (!input_shut_) CloseStreams();
  while (handlers_ > 0) {
    net::net_internal::WaitIn(handler_waiters_, "the end of handlers");
  }
  if (writing_) writer_.Join();
}

bool Http2Connection::Start() {
  const HttpServerOptions& options = core_->options();
  nghttp2_option* o = nullptr;
  if (nghttp2_option_new(&o) != 0) return false;
  // Windows grow as handlers read.
  nghttp2_option_set_no_auto_window_update(o, 1);
  nghttp2_option_set_stream_reset_rate_limit(o, options.http2.reset_burst,
                                             options.http2.reset_rate);
  // It counts a frame for each piece of its head that arrives, so that nine bytes one by
  // one are nine; the default of 8 would cut who sends them.
  nghttp2_option_set_max_continuations(o, 100);
  // Trees of priorities are kept for streams that are open only; and are not used, below.
  nghttp2_option_set_no_closed_streams(o, 1);
  // Those of unknown types are told of as well, all that are not of RFC 9113.
  for (int type = NGHTTP2_CONTINUATION + 1; type <= 0xff; ++type) {
    nghttp2_option_set_user_recv_extension_type(o, static_cast<uint8_t>(type));
  }
  const int error = nghttp2_session_server_new2(&session_, Callbacks(), this, o);
  nghttp2_option_del(o);
  if (error != 0) return false;

  const nghttp2_settings_entry settings[] = {
      {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, options.http2.max_streams},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, options.http2.stream_window},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, static_cast<uint32_t>(options.max_head)},
      {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
  };
  if (nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings,
                              std::size(settings)) != 0 ||
      nghttp2_session_set_local_window_size(
          session_, NGHTTP2_FLAG_NONE, 0,
          static_cast<int32_t>(options.http2.connection_window)) != 0) {
    return false;
  }
  ScheduleWrite();
  if (core_->draining()) Drain();
  return true;
}

// --- input ------------------------------------------------------------------------

// To the end of the stream. A close before it, with input unread, would be a reset, which
// may take our last words with it: after those, what comes is dropped.
void Http2Connection::Read() {
  const absl::Span<char> buffer = core_->input_buffer();
  while (stream_.WaitReadable().ok()) {
    // Nothing switches until it is used, so that all connections share the buffer.
    const absl::StatusOr<std::optional<size_t>> n = stream_.TryRead(buffer);
    if (!n.ok() || *n == size_t{0}) return;
    if (n->has_value() && !deaf_) Feed({buffer.data(), **n});
  }
}

void Http2Connection::Feed(absl::string_view input) {
  const ssize_t n = nghttp2_session_mem_recv(
      session_, reinterpret_cast<const uint8_t*>(input.data()), input.size());
  const bool flood = flood_ || n == NGHTTP2_ERR_FLOODED ||
                     n == NGHTTP2_ERR_TOO_MANY_CONTINUATIONS ||
                     nghttp2_session_get_outbound_queue_size(session_) > kMaxQueued;
  if (n < 0 || flood) {
    // No preface, a flood, no memory: what nghttp2 does not say itself.
    ++core_->statistics_.refused;
    deaf_ = true;
    CloseStreams();
    End(flood                    ? NGHTTP2_ENHANCE_YOUR_CALM
        : n == NGHTTP2_ERR_NOMEM ? NGHTTP2_INTERNAL_ERROR
                                 : NGHTTP2_PROTOCOL_ERROR);
  }
  if (nghttp2_session_want_write(session_)) {
    ScheduleWrite();
  } else {
    LookForEnd();
  }
}

bool Http2Connection::MayControl() {
  if (controls_left_ == 0) {
    const Http2Options& options = core_->options().http2;
    const MonotonicNanos now = ThisHub().Now();
    const double earned =
        absl::ToDoubleSeconds(absl::Nanoseconds(now - controls_since_)) *
        options.control_rate;
    controls_left_ = static_cast<uint32_t>(
        std::min(earned, static_cast<double>(options.control_burst)));
    if (controls_left_ == 0) return false;
    controls_since_ = now;
  }
  --controls_left_;
  return true;
}

// --- output -----------------------------------------------------------------------

void Http2Connection::ScheduleWrite() {
  if (writing_ || broken_) return;
  if (!CanSpawn()) {
    broken_ = true;
    stream_.Abort();
    return;
  }
  writing_ = true;
  // It comes behind the handlers that are ready, and finds what they have made.
  // It is the connection's, whatever time the handler has that is the first to write.
  WithoutDeadline(
      [this] { writer_ = Spawn({.name = "http2 writer"}, [this] { WriteAll(); }); });
}

void Http2Connection::WriteAll() {
  // A writer that is killed leaves half a frame: nothing can follow.
  struct OnThrow {
    ~OnThrow() {
      if (stream != nullptr) stream->Close();
    }
    net::Stream* stream;
  } on_throw{&stream_};
  writing_ = true;
  out_ = core_->TakeOutput();
  for (;;) {
    if (nghttp2_session_send(session_) != 0) broken_ = true;
    if (out_.empty() || broken_) break;
    broken_ = true;  // also if it throws
    broken_ = !stream_.Write(out_).ok();
    out_.clear();
    if (broken_) break;
  }
  on_throw.stream = nullptr;
  core_->GiveBackOutput(std::move(out_));
  writing_ = false;
  if (broken_) {
    stream_.Close();  // the reader may wait for what will not come
  } else {
    LookForEnd();
  }
}

void Http2Connection::LookForEnd() {
  if (over_ || writing_ || nghttp2_session_want_read(session_) ||
      nghttp2_session_want_write(session_)) {
    return;
  }
  over_ = deaf_ = true;
  if (stream_.closed()) return;
  if (core_->options().linger <= absl::ZeroDuration() || !stream_.ShutdownWrite().ok()) {
    stream_.Close();
  }
}

void Http2Connection::Consume(Http2Stream& stream, size_t count) {
  if (stream.closed()) {
    nghttp2_session_consume_connection(session_, count);
  } else {
    nghttp2_session_consume(session_, stream.id, count);
  }
  if (nghttp2_session_want_write(session_)) ScheduleWrite();
}

// --- requests ---------------------------------------------------------------------

Http2Stream* Http2Connection::StreamOf(int32_t id) const {
  return static_cast<Http2Stream*>(nghttp2_session_get_stream_user_data(session_, id));
}

void Http2Connection::StartRequest(Http2Stream& stream, bool has_body) {
  stream.FinishHead(has_body);
  if (core_->options().access_log) {
    stream.begin = absl::Now();
    stream.begun = ThisHub().Now();
  }
  if (stream.refused() != 0) {
    stream.Refuse(stream.refused(), stream.reason());
    try {
      Log(stream);
    } catch (...) {
      // There are nghttp2's frames below; a log that fails is no reason to break those.
    }
    return;
  }
  ++handlers_;
  stream.handler_runs = true;
  stream.handler = Spawn({.name = "http2 request"}, HandlerScope(this, &stream));
}

void Http2Connection::CallHandler(Http2Stream& stream) {
  // A client that has gone already does not make work.
  if (stream.closed()) return;
  Http2Response& response = stream.response;
  if (!core_->CallHandler(stream.request, response)) {
    if (!response.head_sent()) {
      stream.Refuse(500, ReasonOf(500));
    } else if (!response.finished()) {
      response.Spoil();
    }
  } else if (stream.closed()) {
    response.Finish().IgnoreError();  // nobody is there to take it
  } else if (response.untouched() && stream.body.failed_with() != 0) {
    stream.Refuse(stream.body.failed_with(), stream.body.failure().message());
  } else if (absl::Status s = response.Finish(); !s.ok() && !stream.closed()) {
    // What the handler has made cannot be sent.
    if (response.head_sent()) {
      response.Spoil();
    } else {
      fprintf(stderr, "grove: http: the response to %s: %s\n",
              stream.request.DebugString().c_str(), s.ToString().c_str());
      stream.Refuse(500, ReasonOf(500));
    }
  }
  Log(stream);
}

void Http2Connection::HandlerEnded(Http2Stream& stream) {
  stream.handler_runs = false;
  stream.response.End();
  if (!stream.response.finished()) stream.response.Spoil();
  if (stream.closed()) Recycle(stream);
  if (--handlers_ == 0) handler_waiters_.NotifyAll();
}

void Http2Connection::Log(Http2Stream& stream) {
  if (!core_->options().access_log) return;
  core_->Log(&stream.request, stream.response, peer_, stream.begin,
             absl::Nanoseconds(ThisHub().Now() - stream.begun));
}

void Http2Connection::Recycle(Http2Stream& stream) {
  (stream.previous ? stream.previous->next : first_) = stream.next;
  if (stream.next) stream.next->previous = stream.previous;
  // The window of what nobody will read.
  if (const size_t unread = stream.body.unread(); unread > 0) {
    nghttp2_session_consume_connection(session_, unread);
    if (nghttp2_session_want_write(session_)) ScheduleWrite();
  }
  core_->GiveBack(std::unique_ptr<Http2Stream>(&stream));
}

// --- the end ----------------------------------------------------------------------

void Http2Connection::CloseStreams() {
  for (Http2Stream* s = first_; s != nullptr;) {
    Http2Stream* const next = s->next;
    if (!s->closed()) {
      // It goes out before anything else of the stream does, and ends that.
      nghttp2_session_set_stream_user_data(session_, s->id, nullptr);
      nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_CANCEL);
      s->Close(NGHTTP2_CANCEL);
    }
    if (!s->handler_runs) Recycle(*s);
    s = next;
  }
}

void Http2Connection::End(uint32_t error_code) {
  ending_ = true;
  nghttp2_session_terminate_session(session_, error_code);
  ScheduleWrite();
}

// RFC 9113, 6.8: a GOAWAY that allows for what is on its way already, and the last one
// when the client has seen it, which the answer to a ping shows.
void Http2Connection::Drain() {
  if (std::exchange(draining_, true) || session_ == nullptr) return;
  for (Http2Stream* s = first_; s != nullptr; s = s->next) s->response.WakeWatchers();
  nghttp2_submit_shutdown_notice(session_);
  ScheduleWrite();
}

void Http2Connection::FinishDrain() {
  if (std::exchange(drained_, true)) return;
  nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE,
                        nghttp2_session_get_last_proc_stream_id(session_),
                        NGHTTP2_NO_ERROR, nullptr, 0);
  ScheduleWrite();
}

// --- times ------------------------------------------------------------------------

bool Http2Connection::Look(MonotonicNanos now) {
  if (session_ == nullptr || stream_.closed()) return false;
  const HttpServerOptions& options = core_->options();
  // A client that does not take what is written to it.
  const net::Stream::Activity activity = stream_.activity();
  if (pace_.Look({.bytes_written = activity.bytes_written,
                  .writer_waits = activity.writer_waits},
                 now,
                 {.idle = options.stall_timeout,
                  .min_rate = options.min_rate,
                  .grace = options.min_rate_grace}) !=
      net::net_internal::PeerPace::Verdict::kFine) {
    broken_ = true;
    stream_.Close();
    return true;
  }
  if (over_ || (draining_ && !drained_)) {
    const Phase phase = over_ ? Phase::kOver : Phase::kDraining;
    if (InPhaseFor(phase, now) <= options.linger) return false;
    if (over_) {
      stream_.Close();
    } else {
      FinishDrain();
    }
    return true;
  }
  if (streams_ > 0) {
    seen_phase_ = Phase::kBusy;
    for (Http2Stream* s = first_; s != nullptr; s = s->next) LookAtStream(*s, now);
    return false;
  }
  const absl::Duration limit =
      requests_ == 0 ? options.first_byte_timeout : options.idle_timeout;
  if (ending_ || drained_ || InPhaseFor(Phase::kIdle, now) <= limit) return false;
  End(NGHTTP2_NO_ERROR);
  return true;
}

// Since a look that found it in this phase first.
absl::Duration Http2Connection::InPhaseFor(Phase phase, MonotonicNanos now) {
  // Only a wait for requests begins anew when one has ended.
  const bool anew = phase == Phase::kIdle && seen_phases_ != phases_;
  if (seen_phase_ != phase || anew) {
    seen_phase_ = phase;
    seen_phases_ = phases_;
    seen_at_ = now;
  }
  return absl::Nanoseconds(now - seen_at_);
}

void Http2Connection::LookAtStream(Http2Stream& stream, MonotonicNanos now) {
  using Verdict = net::net_internal::PeerPace::Verdict;
  if (stream.closed()) return;
  const HttpServerOptions& options = core_->options();
  if (stream.response.reset()) return;  // it is on its way
  // As long as others have not read what came for them, its client may not send.
  const bool reads =
      stream.in_head ||
      (stream.body.reader_waits() && nghttp2_session_get_local_window_size(session_) > 0);
  // Where its window is open, the stream waits for others, not for its client.
  const bool writes =
      stream.response.blocked() &&
      (nghttp2_session_get_stream_remote_window_size(session_, stream.id) <= 0 ||
       nghttp2_session_get_remote_window_size(session_) <= 0);
  const absl::Duration idle = stream.in_head               ? options.head_timeout
                              : stream.body.reader_waits() ? options.body_timeout
                                                           : options.stall_timeout;
  const Verdict verdict = stream.pace.Look(
      {.bytes_read = stream.body.received(),
       .bytes_written = stream.response.sent(),
       .reader_waits = reads,
       .writer_waits = writes},
      now, {.idle = idle, .min_rate = options.min_rate, .grace = options.min_rate_grace});
  if (verdict == Verdict::kFine) return;
  ++core_->statistics_.timed_out;
  if (!stream.in_head && reads) {
    stream.body.Fail(408, absl::DeadlineExceededError("the body has not come in time"));
  } else {
    stream.response.Spoil();
  }
}

}  // namespace grove::http::http_internal
