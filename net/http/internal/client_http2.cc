#include "grove/net/http/internal/client_http2.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "grove/green/deadline_scope.h"
#include "grove/green/timeout.h"
#include "grove/hub/internal/check.h"

namespace grove::http::http_internal {
namespace {

// Frames are collected up to this size, and then written at once.
constexpr size_t kWriteSize = 64 << 10;
// A server may allow as many requests as it likes, but each may hold a window's bytes.
constexpr uint32_t kMaxStreams = 100;

absl::string_view View(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

}  // namespace

// --- fields -----------------------------------------------------------------------

void ClientHttp2Fields::Clear() {
  text.clear();
  entries.clear();
  status = 0;
}

void ClientHttp2Fields::Add(absl::string_view name, absl::string_view value) {
  const size_t begin = text.size();
  absl::StrAppend(&text, name, value);
  entries.push_back({begin, begin + name.size(), text.size()});
}

std::vector<Field> ClientHttp2Fields::View(const std::string& text,
                                           const std::vector<Entry>& entries) {
  std::vector<Field> fields;
  const absl::string_view all(text);
  for (const Entry& e : entries) {
    fields.push_back(
        {all.substr(e.name, e.value - e.name), all.substr(e.value, e.end - e.value)});
  }
  return fields;
}

// --- what nghttp2 calls: on the reader's or the writer's stack, without waiting --------

struct Http2Session::Callbacks {
  static Http2Session& Of(void* user_data) {
    return *static_cast<Http2Session*>(user_data);
  }

  static int OnBeginHeaders(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    if (ClientHttp2Stream* stream = Of(user).Find(frame->hd.stream_id)) {
      stream->begun = true;
      stream->fields.Clear();
    }
    return 0;
  }

  static int OnHeader(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name,
                      size_t name_size, const uint8_t* value, size_t value_size, uint8_t,
                      void* user) {
    ClientHttp2Stream* stream = Of(user).Find(frame->hd.stream_id);
    if (stream == nullptr || !stream->failure.ok()) return 0;
    // One that is refused is reset; others go on.
    return Of(user).TakeField(*stream, View(name, name_size), View(value, value_size))
               ? 0
               : static_cast<int>(NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE);
  }

  static int OnData(nghttp2_session* session, uint8_t, int32_t id, const uint8_t* data,
                    size_t size, void* user) {
    if (ClientHttp2Stream* stream = Of(user).Find(id)) {
      stream->data.append(reinterpret_cast<const char*>(data), size);
      stream->changed.Set();
    }
    return nghttp2_session_consume_connection(session, size) == NGHTTP2_ERR_NOMEM
               ? static_cast<int>(NGHTTP2_ERR_CALLBACK_FAILURE)
               : 0;
  }

  static int OnFrame(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
    Http2Session& self = Of(user);
    if (frame->hd.type == NGHTTP2_GOAWAY) {
      self.going_away_ = true;
      self.room_.Set();
      self.to_write_.Set();
    }
    if (frame->hd.type == NGHTTP2_SETTINGS) {
      self.room_.Set();  // perhaps there is room for more
      self.room_.Clear();
    }
    ClientHttp2Stream* stream = self.Find(frame->hd.stream_id);
    if (stream == nullptr || !stream->failure.ok()) return 0;
    if (frame->hd.type == NGHTTP2_HEADERS && !self.TakeHeaders(*stream)) {
      nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, stream->id,
                                NGHTTP2_PROTOCOL_ERROR);
      return 0;
    }
    if ((frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) &&
        (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) {
      stream->ended = true;
      stream->changed.Set();
    }
    return 0;
  }

  static int OnNotSent(nghttp2_session*, const nghttp2_frame* frame, int error,
                       void* user) {
    if (frame->hd.type != NGHTTP2_HEADERS) return 0;
    if (ClientHttp2Stream* stream = Of(user).Find(frame->hd.stream_id)) {
      stream->refused = true;  // nobody has seen it
      Of(user).FailStream(
          *stream, absl::UnavailableError(absl::StrCat("the request was not sent: ",
                                                       nghttp2_strerror(error))));
    }
    return 0;
  }

  static int OnClose(nghttp2_session*, int32_t id, uint32_t error_code, void* user) {
    Of(user).CloseStream(id, error_code);
    return 0;
  }

  static ssize_t ReadBody(nghttp2_session*, int32_t id, uint8_t* buffer, size_t size,
                          uint32_t* flags, nghttp2_data_source*, void* user) {
    ClientHttp2Stream* stream = Of(user).Find(id);
    if (stream == nullptr || stream->out_stopped) return NGHTTP2_ERR_DEFERRED;
    const size_t n = stream->out.copy(reinterpret_cast<char*>(buffer), size);
    stream->out.remove_prefix(n);
    if (stream->out.empty() && stream->out_end) {
      *flags |= NGHTTP2_DATA_FLAG_EOF;
      stream->out_done = true;
    } else if (n == 0) {
      return NGHTTP2_ERR_DEFERRED;
    }
    stream->out_changed.Set();
    stream->changed.Set();
    return static_cast<ssize_t>(n);
  }

  static nghttp2_session* Make(Http2Session* self) {
    nghttp2_session_callbacks* callbacks = nullptr;
    nghttp2_option* option = nullptr;
    nghttp2_session* session = nullptr;
    GROVE_CHECK(nghttp2_session_callbacks_new(&callbacks) == 0 &&
                    nghttp2_option_new(&option) == 0,
                "out of memory");
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, &OnBeginHeaders);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, &OnHeader);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, &OnData);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, &OnFrame);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(callbacks, &OnNotSent);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, &OnClose);
    nghttp2_option_set_no_auto_window_update(option, 1);
    // What a server can let pile up here: answers to its SETTINGS and PINGs.
    nghttp2_option_set_max_outbound_ack(option, 1000);
    nghttp2_option_set_max_settings(option, 32);
    // It counts a frame for each piece of its head that arrives, as for the server.
    nghttp2_option_set_max_continuations(option, 100);
    GROVE_CHECK(nghttp2_session_client_new2(&session, callbacks, self, option) == 0,
                "out of memory");
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    return session;
  }
};

// --- the session ------------------------------------------------------------------

Http2Session::Http2Session(std::unique_ptr<net::Stream> stream, std::string peer,
                           const HttpClientOptions* options)
    : stream_(std::move(stream)),
      peer_(std::move(peer)),
      options_(options),
      expiry_(options->max_lifetime),
      session_(Callbacks::Make(this)) {
  const nghttp2_settings_entry settings[] = {
      {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kStreamWindow},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE,
       static_cast<uint32_t>(std::min<size_t>(options_->max_head, 1u << 30))},
  };
  nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings, std::size(settings));
  nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0,
                                        kConnectionWindow);
  to_write_.Set();
  // They outlive the request that makes it, and its deadline.
  WithoutDeadline([&] {
    reader_ = Spawn({.name = "HTTP/2 client: reader"}, [this] { ReadLoop(); });
    writer_ = Spawn({.name = "HTTP/2 client: writer"}, [this] { WriteLoop(); });
  });
}

Http2Session::~Http2Session() {
  Shield shield;
  reader_.Kill();
  writer_.Kill();
  if (!dead_ && nghttp2_session_terminate_session(session_, NGHTTP2_NO_ERROR) == 0) {
    const uint8_t* data = nullptr;
    const ssize_t n = nghttp2_session_mem_send(session_, &data);
    if (n > 0) stream_->TryWrite(View(data, static_cast<size_t>(n))).IgnoreError();
  }
  nghttp2_session_del(session_);
  stream_->Close();
}

void Http2Session::Doubt(uint64_t received) {
  if (dead_ || received_ != received) return;
  going_away_ = true;
  room_.Set();
  to_write_.Set();
}

bool Http2Session::usable() const {
  return !dead_ && !going_away_ && !expiry_.HasPassed() &&
         nghttp2_session_check_request_allowed(session_) != 0;
}

ClientHttp2Stream* Http2Session::Find(int32_t id) {
  const auto it = streams_.find(id);
  return it == streams_.end() ? nullptr : it->second.get();
}

bool Http2Session::WaitForRoom(Deadline deadline) {
  while (usable()) {
    const uint32_t allowed = nghttp2_session_get_remote_settings(
        session_, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
    if (streams_.size() < std::min(allowed, kMaxStreams)) return true;
    if (!room_.Wait(deadline)) return false;
  }
  return false;
}

absl::Status Http2Session::Submit(const OutgoingRequest& request,
                                  const std::shared_ptr<ClientHttp2Stream>& stream) {
  std::vector<std::pair<std::string, std::string>> fields;
  const HeaderMap& headers = *request.headers;
  fields.emplace_back(":method", request.method);
  fields.emplace_back(":scheme", request.url.scheme());
  fields.emplace_back(":authority",
                      headers.Get("host").value_or(request.url.authority()));
  fields.emplace_back(":path", request.url.target());
  for (size_t i = 0; i < headers.size(); ++i) {
    std::string name = absl::AsciiStrToLower(headers[i].name);
    if (name != "host") fields.emplace_back(std::move(name), headers[i].value);
  }
  if (!options_->user_agent.empty() && !headers.Get("user-agent")) {
    fields.emplace_back("user-agent", options_->user_agent);
  }
  if (request.accept_encoding) {
    fields.emplace_back("accept-encoding", "gzip, deflate, br");
  }
  const bool has_body = request.produce != nullptr || !request.body.empty();
  if (request.produce != nullptr && request.produced_length) {
    fields.emplace_back("content-length", absl::StrCat(*request.produced_length));
  } else if (request.produce == nullptr &&
             (has_body || request.method == "POST" || request.method == "PUT" ||
              request.method == "PATCH")) {
    fields.emplace_back("content-length", absl::StrCat(request.body.size()));
  }
  std::vector<nghttp2_nv> nv;
  for (auto& [name, value] : fields) {
    const bool secret = IsSecretField(name);
    nv.push_back(
        {reinterpret_cast<uint8_t*>(name.data()),
         reinterpret_cast<uint8_t*>(value.data()), name.size(), value.size(),
         // RFC 7541, 7.1.3: not into tables that others may probe.
         static_cast<uint8_t>(secret ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE)});
  }
  nghttp2_data_provider provider;
  provider.source.ptr = nullptr;
  provider.read_callback = &Callbacks::ReadBody;
  const int32_t id = nghttp2_submit_request(session_, nullptr, nv.data(), nv.size(),
                                            has_body ? &provider : nullptr, nullptr);
  if (id < 0) {
    stream->refused = true;
    return absl::UnavailableError(
        absl::StrCat("request to ", peer_, ": ", nghttp2_strerror(id)));
  }
  stream->id = id;
  streams_.emplace(id, stream);
  to_write_.Set();
  return absl::OkStatus();
}

void Http2Session::Leave(ClientHttp2Stream& stream) {
  streams_.erase(stream.id);
  if (!stream.closed && !dead_) {
    nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream.id, NGHTTP2_CANCEL);
  }
  to_write_.Set();
  room_.Set();
  if (usable()) room_.Clear();
}

void Http2Session::Consumed(ClientHttp2Stream& stream, size_t n) {
  if (dead_ || stream.closed) return;
  nghttp2_session_consume_stream(session_, stream.id, n);
  to_write_.Set();
}

void Http2Session::Resume(ClientHttp2Stream& stream) {
  if (dead_ || stream.closed) return;
  nghttp2_session_resume_data(session_, stream.id);
  to_write_.Set();
}

void Http2Session::ReadLoop() {
  const std::unique_ptr<char[]> buffer(new char[16 << 10]);
  for (;;) {
    const absl::StatusOr<size_t> n = stream_->Read({buffer.get(), 16 << 10});
    if (dead_) return;
    if (!n.ok()) return Fail(n.status());
    if (*n == 0) {
      return Fail(absl::UnavailableError(absl::StrCat(
          "response of ", peer_, ": the connection ended before the response did")));
    }
    received_ += *n;
    const ssize_t taken = nghttp2_session_mem_recv(
        session_, reinterpret_cast<const uint8_t*>(buffer.get()), *n);
    if (taken < 0) {
      return Fail(absl::DataLossError(
          absl::StrCat("response of ", peer_,
                       ": HTTP/2: ", nghttp2_strerror(static_cast<int>(taken)))));
    }
    to_write_.Set();
  }
}

void Http2Session::WriteLoop() {
  std::optional<Deadline> idle_until;
  for (;;) {
    // From when the last stream has ended, whatever the server says meanwhile.
    if (!streams_.empty()) {
      idle_until.reset();
    } else if (!idle_until) {
      idle_until = PhaseDeadline(options_->idle_timeout, expiry_);
    }
    (void)to_write_.Wait(idle_until.value_or(Deadline()));
    if (dead_) return;
    if (streams_.empty() && idle_until && idle_until->HasPassed()) {
      nghttp2_session_terminate_session(session_, NGHTTP2_NO_ERROR);
      going_away_ = true;
    }
    if (absl::Status s = WriteOut(); !s.ok()) return Fail(s);
    if (nghttp2_session_want_read(session_) == 0 &&
        nghttp2_session_want_write(session_) == 0 && !(going_away_ && streams_.empty())) {
      // It has said so to the server, by GOAWAY.
      return Fail(absl::DataLossError(
          absl::StrCat("response of ", peer_, ": what came is no HTTP/2")));
    }
    if (going_away_ && streams_.empty()) {
      return Fail(absl::UnavailableError(
          absl::StrCat("response of ", peer_, ": the server has ended the connection")));
    }
  }
}

absl::Status Http2Session::WriteOut() {
  std::string out;
  for (;;) {
    const uint8_t* data = nullptr;
    const ssize_t n = nghttp2_session_mem_send(session_, &data);
    if (n < 0) {
      return absl::DataLossError(absl::StrCat(
          "connection to ", peer_, ": HTTP/2: ", nghttp2_strerror(static_cast<int>(n))));
    }
    if (n > 0) out.append(reinterpret_cast<const char*>(data), static_cast<size_t>(n));
    if (out.size() >= kWriteSize || (n == 0 && !out.empty())) {
      const absl::Status s =
          stream_->Write(out, PhaseDeadline(options_->timeouts.send, Deadline()));
      if (!s.ok() || dead_) return PhaseStatus("sending the request", s);
      out.clear();
    }
    if (n == 0) return absl::OkStatus();
  }
}

void Http2Session::Fail(const absl::Status& status) {
  if (dead_) return;
  dead_ = true;
  why_ = status;
  for (const auto& [id, stream] : std::exchange(streams_, {})) {
    stream->closed = true;
    FailStream(*stream, status);
  }
  room_.Set();
  to_write_.Set();
  stream_->Close();
}

void Http2Session::FailStream(ClientHttp2Stream& stream, absl::Status status) {
  if (stream.failure.ok() && !stream.ended) stream.failure = std::move(status);
  stream.changed.Set();
  stream.out_changed.Set();
}

// RFC 9113, 8.7: with REFUSED_STREAM, and with an id above GOAWAY's, it was not acted
// upon.
void Http2Session::CloseStream(int32_t id, uint32_t error_code) {
  const auto it = streams_.find(id);
  if (it == streams_.end()) return;
  // What has come can still be read; for the session it is over.
  const std::shared_ptr<ClientHttp2Stream> stream = std::move(it->second);
  streams_.erase(it);
  stream->closed = true;
  room_.Set();
  if (!dead_ && !going_away_) room_.Clear();
  if (error_code == NGHTTP2_REFUSED_STREAM) stream->refused = true;
  const absl::StatusCode code = error_code == NGHTTP2_PROTOCOL_ERROR
                                    ? absl::StatusCode::kDataLoss
                                    : absl::StatusCode::kUnavailable;
  FailStream(*stream,
             absl::Status(code, absl::StrCat("response of ", peer_,
                                             ": HTTP/2: the stream was reset: ",
                                             nghttp2_http2_strerror(error_code))));
}

// nghttp2 has looked at it: pseudo fields and names are right.
bool Http2Session::TakeField(ClientHttp2Stream& stream, absl::string_view name,
                             absl::string_view value) {
  ClientHttp2Fields& fields = stream.fields;
  const auto refuse = [&](absl::StatusCode code, absl::string_view why) {
    FailStream(stream,
               absl::Status(code, absl::StrCat("response of ", peer_, ": ", why)));
    return false;
  };
  if (name == ":status") {
    if (!absl::SimpleAtoi(value, &fields.status) || fields.status < 100 ||
        fields.status > 599) {
      return refuse(absl::StatusCode::kDataLoss, "a status that is none");
    }
    return true;
  }
  if (!IsToken(name) || !IsFieldValue(value)) {
    return refuse(absl::StatusCode::kDataLoss, "a malformed field");
  }
  // Each as RFC 9113, 6.5.2 counts it.
  const size_t size =
      fields.text.size() + name.size() + value.size() + 32 * (fields.entries.size() + 1);
  const size_t limit = stream.has_head ? options_->max_trailers : options_->max_head;
  if (size > limit) {
    return refuse(absl::StatusCode::kResourceExhausted, "the head is too large");
  }
  if (fields.entries.size() == options_->max_fields) {
    return refuse(absl::StatusCode::kResourceExhausted, "too many header fields");
  }
  fields.Add(name, absl::StripAsciiWhitespace(value));
  return true;
}

bool Http2Session::TakeHeaders(ClientHttp2Stream& stream) {
  ClientHttp2Fields& fields = stream.fields;
  if (stream.has_head) {
    stream.trailer_text = std::move(fields.text);
    stream.trailers = ClientHttp2Fields::View(stream.trailer_text, fields.entries);
    return true;
  }
  if (fields.status < 200) {
    stream.changed.Set();  // the time for the response begins anew
    if (++stream.interim <= options_->max_interim) return true;
    FailStream(stream, absl::ResourceExhaustedError(absl::StrCat(
                           "response of ", peer_, ": too many interim responses")));
    return false;
  }
  auto head = std::make_unique<ResponseHead>();
  head->version_major = 2;
  head->version_minor = 0;
  head->status = fields.status;
  head->text = std::move(fields.text);
  head->fields = ClientHttp2Fields::View(head->text, fields.entries);
  uint64_t length = 0;
  const auto announced = head->headers().Get("content-length");
  if (announced && absl::SimpleAtoi(*announced, &length)) head->content_length = length;
  head->end = BodyEnd::kClose;  // the stream says where; nghttp2 keeps to the length
  stream.head = std::move(head);
  stream.has_head = true;
  stream.changed.Set();
  return true;
}

}  // namespace grove::http::http_internal
