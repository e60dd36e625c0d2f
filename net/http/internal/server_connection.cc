#include "grove/net/http/internal/server_connection.h"

#include <stdio.h>

#include <algorithm>
#include <array>
#include <utility>

#include "absl/base/optimization.h"
#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "grove/green/hub_scope.h"
#include "grove/hub/internal/check.h"
#include "grove/net/http/internal/http2_connection.h"
#include "grove/net/http/status.h"
#include "grove/net/internal/wait_in.h"
#include "grove/net/send_file.h"

namespace grove::http::http_internal {

ServerConnection::ServerConnection(ServerCore* core, net::Stream* stream, bool secure)
    : CoreConnection(core), stream_(*stream), secure_(secure) {}

ServerConnection::~ServerConnection() {
  if (to_flush_) std::erase(core_->to_flush_, this);
  if (exchange_) core_->GiveBack(std::move(exchange_));
}

std::string ServerConnection::Run() {
  while (WaitForRequest() && ReadHead()) {
    if (is_http2_) return std::string(exchange_->input());
    if (!Serve()) break;
    exchange_->EndRequest();
  }
  if (stream_.closed()) return {};
  if (exchange_ && !exchange_->out.empty() && !FlushOut().ok()) return {};
  CloseGently();
  return {};
}

// --- times ------------------------------------------------------------------------

absl::Duration ServerConnection::LimitOf(Phase phase) const {
  const HttpServerOptions& options = core_->options();
  switch (phase) {
    case Phase::kFirstByte:
      return options.first_byte_timeout;
    case Phase::kIdle:
      return options.idle_timeout;
    case Phase::kHead:
      return options.head_timeout;
    case Phase::kBody:
      return options.body_timeout;
    case Phase::kWorking:
      break;
  }
  return absl::InfiniteDuration();
}

bool ServerConnection::Look(MonotonicNanos now) {
  if (phases_ != seen_phases_) {
    seen_phases_ = phases_;
    seen_at_ = now;
    return false;
  }
  if (timed_out_ || absl::Nanoseconds(now - seen_at_) <= LimitOf(phase_)) return false;
  timed_out_ = true;
  // Its greenlet, which reads, gets to the end of the stream, and does the rest.
  if (!stream_.closed()) (void)stream_.ShutdownRead();
  return true;
}

void ServerConnection::Drain() {
  if (upgraded_) return upgraded_->Drain();
  if (watched_) {
    // What it still has to send is its request's.
    if (exchange_->body.done() && !stream_.closed()) (void)stream_.ShutdownRead();
    disconnect_waiters_.NotifyAll();
    return;
  }
  if (phase_ != Phase::kFirstByte && phase_ != Phase::kIdle) return;
  input_shut_ = true;
  if (!stream_.closed()) (void)stream_.ShutdownRead();
}

// --- input ------------------------------------------------------------------------

// Until there is a byte of a request.
bool ServerConnection::WaitForRequest() {
  if (exchange_ && !exchange_->input().empty()) {
    // One that always has a next request lets others run as well.
    green_internal::Scheduler::Get().CountOperation();
    return true;
  }
  if (exchange_) {
    if (!FlushOut().ok()) return false;
    core_->GiveBack(std::move(exchange_));
  }
  SetPhase(requests_ == 0 ? Phase::kFirstByte : Phase::kIdle);
  for (;;) {
    if (!core_->draining_ && !stream_.WaitReadable().ok()) return false;
    exchange_ = core_->TakeExchange();
    const absl::StatusOr<std::optional<size_t>> n =
        stream_.TryRead(exchange_->RoomForHead());
    if (!n.ok() || *n == size_t{0}) return false;
    if (n->has_value()) {
      exchange_->Filled(**n);
      return true;
    }
    if (core_->draining_) return false;
    core_->GiveBack(std::move(exchange_));
  }
}

// No method of HTTP/1 begins with more of its preface than POST, PUT or PROPFIND do.
bool ServerConnection::MayBeHttp2() const {
  const absl::string_view input = exchange_->input();
  return requests_ == 0 && core_->options().http2.enabled && !input.empty() &&
         input[0] == 'P' && absl::StartsWith(kHttp2Preface, input.substr(0, 4));
}

// False if the connection ends.
bool ServerConnection::ReadHead() {
  Exchange& x = *exchange_;
  const HttpServerOptions& options = core_->options();
  const RequestParser::Limits limits{.request_line = options.max_request_line,
                                     .head = options.max_head,
                                     .fields = options.max_fields};
  bool waited = false;
  bool skipped = false;  // an empty line, which old clients send behind a body
  for (;;) {
    if (!skipped && x.input().substr(0, 2) == "\r\n") {
      x.Consume(2);
      skipped = true;
    }
    const bool may_be_empty_line = !skipped && x.input() == "\r";
    const bool may_be_http2 = MayBeHttp2();
    if (may_be_http2 && x.input().size() >= 4) {
      is_http2_ = true;
      return true;
    }
    if (!x.input().empty() && !may_be_empty_line && !may_be_http2) {
      switch (x.parser.Feed(x.input(), limits)) {
        case RequestParser::State::kDone:
          return true;
        case RequestParser::State::kRefused:
          Refuse(x.parser.status(), x.parser.reason());
          return false;
        case RequestParser::State::kMore:
          break;
      }
    }
    if (!std::exchange(waited, true)) SetPhase(Phase::kHead);
    if (!FlushOut().ok()) return false;
    const absl::StatusOr<size_t> n = stream_.Read(x.RoomForHead());
    if (timed_out_) {
      Refuse(408, "the request has not come in time");
      return false;
    }
    if (!n.ok() || *n == 0) return false;
    x.Filled(*n);
  }
}

absl::StatusOr<size_t> ServerConnection::Read(absl::Span<char> buffer) {
  // While another greenlet writes, that is what it does.
  if (!writing_) {
    if (absl::Status s = FlushOut(); !s.ok()) return s;
  }
  SetPhase(Phase::kBody);
  // Also if a Timeout of the handler's ends it: its time is not the client's.
  const absl::Cleanup works_on = [this] { SetPhase(Phase::kWorking); };
  return stream_.Read(buffer);
}

// What a client sends while its request is answered is the next request, or the end.
absl::Status ServerConnection::WaitForDisconnect(Deadline deadline) {
  GROVE_CHECK(!watched_, "WaitForDisconnect(): another greenlet waits there already");
  struct Watch {
    explicit Watch(bool* w) : watched(w) { *watched = true; }
    ~Watch() { *watched = false; }
    bool* const watched;
  } watch(&watched_);
  Exchange& x = *exchange_;
  for (;;) {
    if (core_->draining_) return absl::CancelledError("the server is about to end");
    if ((broken_ && !writing_) || stream_.closed()) break;
    if (!x.body.done() || x.input().size() >= Exchange::kBufferSize) {
      if (!net::net_internal::WaitIn(disconnect_waiters_, "the end of an HTTP client",
                                     deadline)) {
        return absl::DeadlineExceededError("the client is still there");
      }
      continue;
    }
    absl::Status readable = stream_.WaitReadable(deadline);
    if (absl::IsDeadlineExceeded(readable)) return readable;
    if (stream_.closed()) break;
    const absl::StatusOr<std::optional<size_t>> n = stream_.TryRead(x.RoomForBody());
    if (!n.ok() || *n == size_t{0}) {
      if (core_->draining_) continue;
      break;
    }
    if (n->has_value()) x.Filled(**n);
  }
  return absl::UnavailableError(absl::StrCat(Peer(), " has gone"));
}

// --- output -----------------------------------------------------------------------

template <typename WriteIt>
absl::Status ServerConnection::WriteWith(WriteIt write_it) {
  if (broken_) {
    if (!writing_) exchange_->out.clear();
    return absl::UnavailableError(
        absl::StrCat("write to ", Peer(), ": an earlier write has failed"));
  }
  // Also if it throws: what came behind a gap would be worse than nothing.
  broken_ = writing_ = true;
  const absl::Cleanup ended = [this] {
    writing_ = false;
    exchange_->out.clear();
    if (broken_) disconnect_waiters_.NotifyAll();
    write_waiters_.NotifyAll();
  };
  absl::Status status = write_it();
  broken_ = !status.ok();
  return status;
}

// Who reads the body has what was held back sent first, while another one may answer.
void ServerConnection::AwaitWrite() {
  while (ABSL_PREDICT_FALSE(writing_)) {
    net::net_internal::WaitIn(write_waiters_,
                              "another greenlet's write to an HTTP client");
  }
}

absl::Status ServerConnection::FlushOut() {
  if (exchange_->out.empty()) return absl::OkStatus();
  return WriteWith([&] { return stream_.Write(exchange_->out); });
}

absl::Status ServerConnection::FlushOutWith(absl::string_view data,
                                            absl::string_view end) {
  const std::array<absl::string_view, 3> pieces = {exchange_->out, data, end};
  return WriteWith([&] { return stream_.WriteGather(pieces); });
}

absl::Status ServerConnection::FlushOutWithFile(int fd, uint64_t offset, uint64_t count) {
  if (absl::Status s = FlushOut(); !s.ok()) return s;
  return WriteWith([&]() -> absl::Status {
    const absl::StatusOr<uint64_t> n = net::SendFile(stream_, fd, offset, count);
    if (!n.ok()) return n.status();
    if (*n == count) return absl::OkStatus();
    return absl::DataLossError(
        absl::StrCat("the file has ", *n, " of the ", count, " bytes to be sent"));
  });
}

void ServerConnection::TryFlushOut() {
  if (writing_ || !exchange_ || exchange_->out.empty() || stream_.closed()) return;
  const absl::StatusOr<size_t> n = stream_.TryWrite(exchange_->out);
  // The connection itself will find an error.
  if (n.ok()) exchange_->out.erase(0, *n);
}

// --- requests ---------------------------------------------------------------------

bool ServerConnection::Serve() {
  Exchange& x = *exchange_;
  const RequestParser& parser = x.parser;
  const HttpServerOptions& options = core_->options();
  SetPhase(Phase::kWorking);
  serving_ = true;
  ++requests_;
  x.request.Set({.method = parser.method(),
                 .target = parser.target(),
                 .host = parser.host(),
                 .peer = Peer(),
                 .version_minor = parser.version_minor(),
                 .secure = secure_,
                 .fields = parser.fields(),
                 .body = &x.body});
  x.BeginRequest(parser.head_size());
  x.body.Begin(this, parser);
  x.response.Begin(this, x.request.is_head());
  if (options.access_log) {
    begin_ = absl::Now();
    begun_ = ThisHub().Now();
  }
  bool keep = false;
  if (parser.content_length() > options.max_body) {
    Refuse(413, "the body is too large");
  } else {
    // Responses before this one do not wait for this one's handler.
    if (!x.out.empty()) core_->FlushSoon(*this);
    CallHandler();
    keep = FinishResponse();
  }
  if (options.access_log) Log();
  serving_ = false;
  return keep;
}

void ServerConnection::CallHandler() {
  Exchange& x = *exchange_;
  if (core_->CallHandler(x.request, x.response)) return;
  if (!x.response.head_sent()) {
    Refuse(500, ReasonOf(500));
  } else if (!x.response.finished()) {
    x.response.Spoil();
  }
}

// False: the connection ends.
bool ServerConnection::FinishResponse() {
  Exchange& x = *exchange_;
  if (x.response.spoiled() || broken_) return false;
  if (x.response.untouched() && x.body.failed_with() != 0) {
    Refuse(x.body.failed_with(), x.body.failure().message());
    return false;
  }
  if (absl::Status s = x.response.Finish(); !s.ok()) {
    if (stream_.closed() || x.response.head_sent()) return false;
    // What the handler has made cannot be sent.
    fprintf(stderr, "grove: http: the response to %s: %s\n",
            x.request.DebugString().c_str(), s.ToString().c_str());
    Refuse(500, ReasonOf(500));
    return false;
  }
  if (!keep_ || broken_) {
    unread_ = unread_ || !x.body.done() || !x.input().empty();
    return false;
  }
  if (!x.body.done() && !x.body.Discard(core_->options().max_discard)) {
    unread_ = true;
    return false;
  }
  return true;
}

bool ServerConnection::DecideToKeep(bool has_end) {
  const Exchange& x = *exchange_;
  const HttpServerOptions& options = core_->options();
  keep_ = has_end && !close_ && x.parser.keep_alive() && !core_->draining_ &&
          (options.max_requests == 0 || requests_ < options.max_requests) &&
          x.body.failed_with() == 0 && !x.body.awaited() &&
          x.body.AtMost(options.max_discard);
  return keep_;
}

// Answers in the handler's place, and ends the connection.
void ServerConnection::Refuse(int status, absl::string_view reason) {
  Exchange& x = *exchange_;
  if (status != 500) ++core_->statistics_.refused;
  x.response.Begin(this, serving_ && x.request.is_head());
  close_ = unread_ = true;
  x.response.Send(status, "text/plain", absl::StrCat(reason, "\n")).IgnoreError();
  if (core_->options().access_log && !serving_) Log();
}

void ServerConnection::Log() {
  const Exchange& x = *exchange_;
  if (serving_) {
    core_->Log(&x.request, x.response, Peer(), begin_,
               absl::Nanoseconds(ThisHub().Now() - begun_));
  } else {
    core_->Log(nullptr, x.response, Peer(), absl::Now(), absl::ZeroDuration());
  }
}

absl::string_view ServerConnection::Peer() {
  if (peer_.empty()) peer_ = stream_.Describe();
  return peer_;
}

// A close with input unread would be a reset, which may take the response with it.
void ServerConnection::CloseGently() {
  if (broken_ || core_->options().linger <= absl::ZeroDuration()) return;
  if (!unread_) {
    // Perhaps it has sent more than it should have.
    char byte;
    const absl::StatusOr<std::optional<size_t>> n =
        stream_.TryRead(absl::MakeSpan(&byte, 1));
    if (!n.ok() || !n->has_value() || **n == 0) return;
  }
  SetPhase(Phase::kWorking);
  if (!stream_.ShutdownWrite().ok()) return;
  const Deadline deadline(core_->options().linger);
  char buffer[4096];
  for (;;) {
    const absl::StatusOr<size_t> n = stream_.Read(absl::MakeSpan(buffer), deadline);
    if (!n.ok() || *n == 0) return;
  }
}

}  // namespace grove::http::http_internal
