#include "grove/net/http/internal/client_http1.h"

#include <algorithm>
#include <exception>
#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "grove/green/greenlet.h"
#include "grove/green/interrupt.h"
#include "grove/green/sleep.h"
#include "grove/green/status.h"
#include "grove/green/timeout.h"
#include "grove/green/wait.h"
#include "grove/net/connection_pool.h"

namespace grove::http::http_internal {
namespace {

constexpr size_t kPiece = 64 << 10;
// A request up to this size is in the kernel's buffers before anybody has read it.
constexpr size_t kSmall = 16 << 10;

absl::Status Refused(const ClientConnection& connection, absl::string_view why) {
  const bool limit = absl::StrContains(why, "too ");  // large, many
  return absl::Status(
      limit ? absl::StatusCode::kResourceExhausted : absl::StatusCode::kDataLoss,
      absl::StrCat("response of ", connection.peer, ": ", why));
}

}  // namespace

absl::Status WithPrefix(absl::string_view prefix, const absl::Status& status) {
  absl::Status with(status.code(), absl::StrCat(prefix, ": ", status.message()));
  status.ForEachPayload([&](absl::string_view url, const absl::Cord& payload) {
    with.SetPayload(url, payload);
  });
  return with;
}

Deadline PhaseDeadline(absl::Duration phase, Deadline total) {
  if (phase == absl::InfiniteDuration()) return total;
  return std::min(Deadline(phase), total);
}

absl::Status PhaseStatus(absl::string_view phase, const absl::Status& status) {
  return absl::IsDeadlineExceeded(status) ? WithPrefix(phase, status) : status;
}

// --- a connection --------------------------------------------------------------------

absl::StatusOr<size_t> ClientConnection::Fill(Deadline deadline) {
  if (at == input.size()) {
    input.clear();
    at = 0;
  }
  const size_t size = input.size();
  input.resize(size + 8192);
  absl::StatusOr<size_t> n = size_t{0};
  try {
    n = stream->Read(absl::MakeSpan(&input[size], 8192), deadline);
  } catch (...) {
    input.resize(size);
    throw;
  }
  input.resize(size + n.value_or(0));
  return n;
}

absl::StatusOr<std::optional<size_t>> ClientConnection::TryFill() {
  if (at == input.size()) {
    input.clear();
    at = 0;
  }
  const size_t size = input.size();
  input.resize(size + 8192);
  const absl::StatusOr<std::optional<size_t>> n =
      stream->TryRead(absl::MakeSpan(&input[size], 8192));
  input.resize(size + (n.ok() ? n->value_or(0) : 0));
  return n;
}

void ClientConnection::Drop() {
  stream.reset();
  used = false;
  input.clear();
  at = 0;
}

bool ClientConnection::Alive() {
  return stream != nullptr && unread().empty() && net::NothingHasArrived(*stream);
}

absl::Status ReadHead(ClientConnection& connection, absl::string_view method,
                      const ResponseParser::Limits& limits, Deadline deadline,
                      bool* begun, ResponseHead* head) {
  ResponseParser parser;
  bool fill = connection.unread().empty();
  for (;;) {
    if (fill) {
      const absl::StatusOr<size_t> n = connection.Fill(deadline);
      if (!n.ok()) return PhaseStatus("waiting for the response", n.status());
      if (*n == 0) {
        const bool nothing = connection.unread().empty();
        return absl::Status(
            nothing ? absl::StatusCode::kUnavailable : absl::StatusCode::kDataLoss,
            absl::StrCat("response of ", connection.peer, ": the connection ended ",
                         nothing ? "without one" : "in its head"));
      }
    }
    fill = true;
    *begun = true;
    switch (parser.Feed(connection.unread(), method, limits, head)) {
      case ResponseParser::State::kMore:
        break;
      case ResponseParser::State::kRefused:
        return Refused(connection, parser.reason());
      case ResponseParser::State::kDone:
        connection.at += parser.head_size();
        return absl::OkStatus();
    }
  }
}

// --- the request ---------------------------------------------------------------------

// Where a producer writes to.
class Http1Exchange::Writer final : public BodyWriter {
 public:
  Writer(Http1Exchange* exchange, std::optional<uint64_t> length)
      : exchange_(exchange), length_(length), left_(length.value_or(0)) {}

  absl::Status Write(absl::string_view piece) override {
    if (!status_.ok()) return status_;
    if (piece.empty()) return absl::OkStatus();
    if (length_) {
      if (piece.size() > left_) {
        return absl::InvalidArgumentError(
            absl::StrCat("the body is longer than the ", *length_, " bytes announced"));
      }
      left_ -= piece.size();
      return status_ = exchange_->WriteAll({piece});
    }
    const std::string size = absl::StrCat(absl::Hex(piece.size()), "\r\n");
    return status_ = exchange_->WriteAll({size, piece, "\r\n"});
  }
  absl::Status End() {
    if (!length_) return status_ = exchange_->WriteAll({"0\r\n\r\n"});
    if (left_ == 0) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat(
        "the body is ", left_, " bytes shorter than the ", *length_, " announced"));
  }
  // Of the connection.
  const absl::Status& status() const { return status_; }

 private:
  Http1Exchange* const exchange_;
  const std::optional<uint64_t> length_;
  uint64_t left_;
  absl::Status status_;
};

Http1Exchange::Http1Exchange(ConnectionLease connection, Parameters parameters)
    : connection_(std::move(connection)),
      parameters_(std::move(parameters)),
      peer_(connection_->peer) {}

Http1Exchange::~Http1Exchange() = default;

std::string Http1Exchange::HeadOf(const OutgoingRequest& request) const {
  const HttpClientOptions& options = *parameters_.options;
  const HeaderMap& headers = *request.headers;
  std::string head = absl::StrCat(
      request.method, " ",
      parameters_.absolute_form ? request.url.ToString() : request.url.target(),
      " HTTP/1.1\r\nHost: ", headers.Get("host").value_or(request.url.authority()),
      "\r\n");
  for (size_t i = 0; i < headers.size(); ++i) {
    const Field field = headers[i];
    if (absl::EqualsIgnoreCase(field.name, "host")) continue;
    absl::StrAppend(&head, field.name, ": ", field.value, "\r\n");
  }
  if (!options.user_agent.empty() && !headers.Get("user-agent")) {
    absl::StrAppend(&head, "User-Agent: ", options.user_agent, "\r\n");
  }
  if (request.accept_encoding) {
    absl::StrAppend(&head, "Accept-Encoding: gzip, deflate, br\r\n");
  }
  if (!parameters_.proxy_authorization.empty()) {
    absl::StrAppend(&head, "Proxy-Authorization: ", parameters_.proxy_authorization,
                    "\r\n");
  }
  // RFC 9110, 8.6: a length also where a body could be expected and there is none.
  const bool wants_length = !request.body.empty() || request.method == "POST" ||
                            request.method == "PUT" || request.method == "PATCH";
  if (request.produce != nullptr) {
    if (request.produced_length) {
      absl::StrAppend(&head, "Content-Length: ", *request.produced_length, "\r\n");
    } else {
      absl::StrAppend(&head, "Transfer-Encoding: chunked\r\n");
    }
  } else if (wants_length) {
    absl::StrAppend(&head, "Content-Length: ", request.body.size(), "\r\n");
  }
  if (request.expect_continue) absl::StrAppend(&head, "Expect: 100-continue\r\n");
  absl::StrAppend(&head, "\r\n");
  return head;
}

absl::Status Http1Exchange::WriteAll(absl::Span<const absl::string_view> pieces) {
  // Each piece of a certain size has a time of its own.
  size_t size = 0;
  for (absl::string_view piece : pieces) size += piece.size();
  const auto deadline = [this] {
    return PhaseDeadline(parameters_.timeouts.send, parameters_.total);
  };
  if (size <= kPiece) {
    return PhaseStatus("sending the request",
                       connection_->stream->WriteGather(pieces, deadline()));
  }
  for (absl::string_view piece : pieces) {
    while (!piece.empty()) {
      const absl::Status s =
          connection_->stream->Write(piece.substr(0, kPiece), deadline());
      if (!s.ok()) return PhaseStatus("sending the request", s);
      piece.remove_prefix(std::min(piece.size(), kPiece));
    }
  }
  return absl::OkStatus();
}

absl::Status Http1Exchange::Run(const OutgoingRequest& request) {
  const std::string head = HeadOf(request);
  const bool small = request.produce == nullptr && !request.expect_continue &&
                     head.size() + request.body.size() <= kSmall;
  const absl::Status s = small ? SendWhole(head, request) : SendBeside(head, request);
  if (!s.ok()) return s;
  BeginBody();
  return absl::OkStatus();
}

absl::Status Http1Exchange::SendWhole(absl::string_view head,
                                      const OutgoingRequest& request) {
  const absl::Status sent = WriteAll({head, request.body});
  if (absl::IsDeadlineExceeded(sent)) return sent;
  if (!sent.ok()) keep_ = false;
  // It may have answered before it left.
  const absl::Status s = ReadFinalHead(request.method);
  return s.ok() || sent.ok() || begun_ ? s : sent;
}

namespace {

// Whether what goes wrong for who reads has gone wrong for the sender, too.
bool SenderEnds(const Greenlet<>& sender) {
  if (!sender.ready()) Yield();
  return sender.ready();
}

}  // namespace

absl::Status Http1Exchange::SendBody(const OutgoingRequest& request) {
  if (request.produce == nullptr) return WriteAll({request.body});
  Writer writer(this, request.produced_length);
  absl::Status s = (*request.produce)(writer);
  if (s.ok()) s = writer.End();
  producer_failed_ = !s.ok() && writer.status().ok();
  return producer_failed_ ? s : writer.status();
}

// Two greenlets: one sends, while this one sees whether the server answers before it has
// got all.
absl::Status Http1Exchange::SendBeside(absl::string_view head,
                                       const OutgoingRequest& request) {
  // Ended in whatever way this is left.
  struct Helper {
    Greenlet<> greenlet;
    ~Helper() {
      Shield shield;
      if (greenlet) greenlet.Kill();
    }
  };
  if (absl::Status s = WriteAll({head}); !s.ok()) {
    if (absl::IsDeadlineExceeded(s)) return s;
    keep_ = false;
    const absl::Status answer = ReadFinalHead(request.method);
    return answer.ok() || begun_ ? answer : s;
  }
  net::Stream& stream = *connection_->stream;
  bool final = false;
  const Deadline continue_by =
      PhaseDeadline(parameters_.timeouts.expect_continue, parameters_.total);
  while (request.expect_continue && !continued_ && !final) {
    if (connection_->unread().empty()) {
      const absl::Status s = stream.WaitReadable(continue_by);
      if (absl::IsDeadlineExceeded(s)) break;
      if (!s.ok()) return s;
      // It may have been woken by what is no answer: TLS's tickets.
      const absl::StatusOr<std::optional<size_t>> n = connection_->TryFill();
      if (!n.ok()) return n.status();
      if (!n->has_value()) continue;
    }
    if (absl::Status s = ReadOneHead(request.method, &final); !s.ok()) return s;
  }
  if (final) {
    keep_ = false;  // it may still wait for the body
    return absl::OkStatus();
  }

  absl::Status sent = absl::CancelledError("sending the body was interrupted");
  bool sender_ended = false;
  std::exception_ptr thrown;
  Helper sender{Spawn({.name = "HTTP client: body"}, [&] {
    try {
      sent = SendBody(request);
      sender_ended = true;
    } catch (const Interrupt&) {
      throw;
    } catch (...) {
      thrown = std::current_exception();
    }
  })};
  while (!final && !sender.greenlet.ready()) {
    if (connection_->unread().empty()) {
      absl::Status readable;
      Helper watcher{Spawn({.name = "HTTP client: early response"},
                           [&] { readable = stream.WaitReadable(); })};
      Wait({sender.greenlet, watcher.greenlet},
           {.deadline = parameters_.total, .count = 1});
      if (!watcher.greenlet.ready()) break;  // all is sent, or was to be
      if (readable.ok()) {
        const absl::StatusOr<std::optional<size_t>> n = connection_->TryFill();
        if (n.ok() && !n->has_value()) continue;
        readable = n.status();
      }
      if (!readable.ok()) {
        // A sender that has failed as well says more; one that waits for what it is to
        // send would not know for long.
        if (SenderEnds(sender.greenlet)) break;
        return readable;
      }
    }
    if (absl::Status s = ReadOneHead(request.method, &final); !s.ok()) {
      if (begun_ || absl::IsDeadlineExceeded(s) || !SenderEnds(sender.greenlet)) return s;
      break;
    }
  }
  if (final && !sender.greenlet.ready()) {
    // RFC 9112, 9.3: whoever is told no stops. One that is told yes goes on.
    keep_ = false;
    if (head_->status >= 300) return absl::OkStatus();
  }
  if (!sender.greenlet.Join(parameters_.total)) {
    return absl::DeadlineExceededError(
        absl::StrCat("sending the request: ", peer_, ": the producer is late"));
  }
  if (thrown) std::rethrow_exception(thrown);
  if (!sender_ended) producer_failed_ = true;
  if (producer_failed_) return sent;
  if (!sent.ok()) {
    keep_ = false;
    if (absl::IsDeadlineExceeded(sent) && !final) return sent;
  }
  if (final) return absl::OkStatus();
  const absl::Status s = ReadFinalHead(request.method);
  return s.ok() || sent.ok() || begun_ ? s : sent;
}

// --- the response's head -------------------------------------------------------------

absl::Status Http1Exchange::ReadFinalHead(absl::string_view method) {
  bool final = false;
  while (!final) {
    if (absl::Status s = ReadOneHead(method, &final); !s.ok()) return s;
  }
  return absl::OkStatus();
}

absl::Status Http1Exchange::ReadOneHead(absl::string_view method, bool* final) {
  const HttpClientOptions& options = *parameters_.options;
  head_ = std::make_unique<ResponseHead>();
  if (absl::Status s = ReadHead(
          *connection_, method, {.head = options.max_head, .fields = options.max_fields},
          PhaseDeadline(parameters_.timeouts.head, parameters_.total), &begun_,
          head_.get());
      !s.ok()) {
    return s;
  }
  *final = head_->status >= 200;
  if (*final) return absl::OkStatus();
  if (head_->status == 101) return Refused(*connection_, "an upgrade nobody asked for");
  if (head_->status == 100) continued_ = true;
  if (++interim_ > options.max_interim) {
    return Refused(*connection_, "too many interim responses");
  }
  return absl::OkStatus();
}

// --- the response's body -------------------------------------------------------------

void Http1Exchange::BeginBody() {
  keep_ = keep_ && head_->keep_alive;
  end_ = head_->end;
  left_ = end_ == BodyEnd::kLength ? *head_->content_length : 0;
  decoder_.Reset();
  if (end_ == BodyEnd::kNone) Finish();
}

void Http1Exchange::Finish() {
  done_ = true;
  // Bytes behind the response are nobody's: the next one would take them for its own.
  if (!keep_ || !connection_->unread().empty()) {
    connection_.Discard();
    return;
  }
  connection_->input.clear();
  connection_->input.shrink_to_fit();
  connection_->at = 0;
  connection_.GiveBackClean();
}

absl::Status Http1Exchange::Cut(absl::string_view what) const {
  return absl::DataLossError(
      absl::StrCat("response of ", peer_, ": the connection ended ", what));
}

absl::StatusOr<size_t> Http1Exchange::Read(absl::Span<char> buffer) {
  if (done_ || buffer.empty()) return 0;
  if (reading_ || !connection_) {
    return absl::AbortedError(
        absl::StrCat("response of ", peer_, ": a read of its body was cut short"));
  }
  reading_ = true;
  // Where there is always more, nobody waits, and finds out.
  absl::StatusOr<size_t> n =
      parameters_.total.HasPassed()
          ? absl::DeadlineExceededError(absl::StrCat("response of ", peer_, ": too long"))
          : ReadSome(buffer);
  if (!n.ok()) {
    connection_.Discard();
    return PhaseStatus("waiting for the body", n.status());
  }
  reading_ = false;
  return n;
}

absl::StatusOr<size_t> Http1Exchange::ReadSome(absl::Span<char> buffer) {
  if (end_ == BodyEnd::kChunked) return ReadChunked(buffer);
  if (end_ == BodyEnd::kLength && buffer.size() > left_) {
    buffer = buffer.subspan(0, static_cast<size_t>(left_));
  }
  bool end = false;
  const absl::StatusOr<size_t> n = ReadDirect(buffer, &end);
  if (!n.ok()) return n;
  if (end_ == BodyEnd::kClose) {
    if (end) Finish();
    return n;
  }
  if (end) return Cut(absl::StrCat(left_, " bytes before the body's end"));
  left_ -= *n;
  if (left_ == 0) Finish();
  return n;
}

// What was read already, or else by the stream itself.
absl::StatusOr<size_t> Http1Exchange::ReadDirect(absl::Span<char> buffer, bool* end) {
  ClientConnection& connection = *connection_;
  const absl::string_view unread = connection.unread();
  if (!unread.empty()) {
    const size_t n = unread.copy(buffer.data(), buffer.size());
    connection.at += n;
    return n;
  }
  const absl::StatusOr<size_t> n = connection.stream->Read(
      buffer, PhaseDeadline(parameters_.timeouts.body, parameters_.total));
  *end = n.ok() && *n == 0;
  return n;
}

absl::StatusOr<size_t> Http1Exchange::ReadChunked(absl::Span<char> buffer) {
  const ChunkDecoder::Limits limits{
      .extensions = parameters_.options->max_chunk_extensions,
      .trailers = parameters_.options->max_trailers,
      .trailer_fields = parameters_.options->max_fields};
  ClientConnection& connection = *connection_;
  const Deadline deadline = PhaseDeadline(parameters_.timeouts.body, parameters_.total);
  size_t done = 0;
  for (;;) {
    const ChunkDecoder::Step step =
        decoder_.Next(connection.unread(), buffer.size() - done, limits);
    connection.at += step.consumed;
    switch (step.state) {
      case ChunkDecoder::State::kData:
        step.data.copy(buffer.data() + done, step.data.size());
        done += step.data.size();
        // The next chunk as well, or the end, if it is there.
        if (done == buffer.size() || connection.unread().empty()) return done;
        break;
      case ChunkDecoder::State::kEnd:
        Finish();
        return done;
      case ChunkDecoder::State::kRefused:
        return Refused(connection, decoder_.reason());
      case ChunkDecoder::State::kMore: {
        if (done > 0) return done;
        const absl::StatusOr<size_t> n = connection.Fill(deadline);
        if (!n.ok()) return n.status();
        if (*n == 0) return Cut("before the last chunk");
        break;
      }
    }
  }
}

}  // namespace grove::http::http_internal
