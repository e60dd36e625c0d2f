#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "grove/net/http/internal/server_connection.h"
#include "grove/net/http/status.h"

namespace grove::http::http_internal {
namespace {

// What is smaller is copied behind the head; what is larger goes out from where it lies.
constexpr size_t kCopied = 4 << 10;
// So much is held back at most.
constexpr size_t kHeldBack = 16 << 10;

}  // namespace

void Http1Response::AppendHead(std::optional<uint64_t> length) {
  ServerConnection& c = *connection_;
  c.AwaitWrite();
  Exchange& x = *c.exchange_;
  std::string& out = x.out;
  if (status() == 200) {
    out += "HTTP/1.1 200 OK\r\n";
  } else {
    absl::StrAppend(&out, "HTTP/1.1 ", status(), " ", ReasonOf(status()), "\r\n");
  }
  bool has_date = false;
  bool has_upgrade = false;
  for (size_t i = 0; i < headers().size(); ++i) {
    const Field f = headers()[i];
    if (f.name.size() == 10 && absl::EqualsIgnoreCase(f.name, "connection")) {
      if (HasListMember(f.value, "close")) c.close_ = true;
      continue;
    }
    if (f.name.size() == 4 && absl::EqualsIgnoreCase(f.name, "date")) has_date = true;
    // RFC 9110, 7.8: "Connection" has to name it.
    if (f.name.size() == 7 && absl::EqualsIgnoreCase(f.name, "upgrade")) {
      has_upgrade = true;
    }
    absl::StrAppend(&out, f.name, ": ", f.value, "\r\n");
  }
  if (!has_date) absl::StrAppend(&out, "Date: ", c.core_->date().Now(), "\r\n");
  if (length.has_value()) {
    absl::StrAppend(&out, "Content-Length: ", *length, "\r\n");
  } else if (chunked_) {
    out += "Transfer-Encoding: chunked\r\n";
  }
  // Where neither says it, the end of the connection is the end of the body.
  const bool has_end = length.has_value() || chunked_ || !MayHaveBody(status());
  if (!c.DecideToKeep(has_end)) {
    out +=
        has_upgrade ? "Connection: close, upgrade\r\n\r\n" : "Connection: close\r\n\r\n";
  } else if (has_upgrade) {
    out += "Connection: upgrade\r\n\r\n";
  } else if (x.parser.version_minor() == 0) {
    out += "Connection: keep-alive\r\n\r\n";
  } else {
    out += "\r\n";
  }
}

absl::Status Http1Response::SendWhole(absl::string_view body,
                                      std::optional<uint64_t> length, bool with_body) {
  AppendHead(length);
  std::string& out = connection_->exchange_->out;
  if (with_body) {
    if (body.size() > kCopied) return connection_->FlushOutWith(body);
    out.append(body.data(), body.size());
  }
  return out.size() > kHeldBack ? connection_->FlushOut() : absl::OkStatus();
}

absl::Status Http1Response::SendWholeFile(int fd, uint64_t offset, uint64_t count) {
  AppendHead(count);
  absl::Status s = connection_->FlushOutWithFile(fd, offset, count);
  if (!s.ok()) Spoil();
  return s;
}

absl::Status Http1Response::BeginBody(std::optional<uint64_t> length, bool with_body) {
  chunked_ = !length.has_value() && MayHaveBody(status()) &&
             connection_->exchange_->parser.version_minor() >= 1;
  if (chunked_ && !trailers().empty() && headers().Get("Trailer") == std::nullopt) {
    for (size_t i = 0; i < trailers().size(); ++i) {
      const std::string name(trailers()[i].name);
      headers().Add("Trailer", name);
    }
  }
  AppendHead(length);
  chunked_ = chunked_ && with_body;
  return absl::OkStatus();
}

absl::Status Http1Response::SendPiece(absl::string_view data) {
  connection_->AwaitWrite();
  std::string& out = connection_->exchange_->out;
  if (chunked_) absl::StrAppend(&out, absl::Hex(data.size()), "\r\n");
  const absl::string_view end = chunked_ ? "\r\n" : "";
  if (data.size() > kCopied) return connection_->FlushOutWith(data, end);
  absl::StrAppend(&out, data, end);
  return out.size() > kHeldBack ? connection_->FlushOut() : absl::OkStatus();
}

absl::Status Http1Response::EndBody() {
  if (!chunked_) return absl::OkStatus();
  Exchange& x = *connection_->exchange_;
  if (!trailers().status().ok()) {
    Spoil();
    return trailers().status();
  }
  connection_->AwaitWrite();
  x.out += "0\r\n";
  if (!trailers().empty()) {
    const HeaderView asked = x.request.headers();
    const std::optional<absl::string_view> te = asked.Get("TE");
    for (size_t i = 0; te && HasListMember(*te, "trailers") && i < trailers().size();
         ++i) {
      absl::StrAppend(&x.out, trailers()[i].name, ": ", trailers()[i].value, "\r\n");
    }
  }
  x.out += "\r\n";
  return absl::OkStatus();
}

absl::Status Http1Response::FlushPieces() {
  connection_->AwaitWrite();
  return connection_->FlushOut();
}

absl::StatusOr<net::Stream*> Http1Response::SendUpgrade(absl::string_view protocol,
                                                        std::function<void()> on_drain) {
  ServerConnection& c = *connection_;
  Exchange& x = *c.exchange_;
  const HeaderView asked = x.request.headers();
  const auto says = [&](absl::string_view name, absl::string_view member) {
    for (absl::string_view value : asked.GetAll(name)) {
      if (HasListMember(value, member)) return true;
    }
    return false;
  };
  if (x.parser.version_minor() == 0) {
    return absl::UnimplementedError("upgrade a connection: HTTP/1.0 has none");
  }
  if (!says("Connection", "upgrade") || !says("Upgrade", protocol)) {
    return absl::InvalidArgumentError(
        absl::StrCat("upgrade a connection: the client does not ask for ", protocol));
  }
  if (!x.body.done()) {
    return absl::InvalidArgumentError("upgrade a connection: its request has a body");
  }
  if (c.core_->draining_) {
    return absl::UnavailableError("upgrade a connection: the server comes to its end");
  }
  absl::StrAppend(&x.out, "HTTP/1.1 101 ", ReasonOf(101), "\r\n");
  // RFC 9110, 6.4.1: it has no body. The rest is ours to say.
  for (absl::string_view name :
       {"Content-Length", "Transfer-Encoding", "Connection", "Upgrade", "Date"}) {
    headers().Remove(name);
  }
  for (size_t i = 0; i < headers().size(); ++i) {
    absl::StrAppend(&x.out, headers()[i].name, ": ", headers()[i].value, "\r\n");
  }
  absl::StrAppend(&x.out, "Date: ", c.core_->date().Now(), "\r\nUpgrade: ", protocol,
                  "\r\nConnection: Upgrade\r\n\r\n");
  // From here on the connection has no other use.
  c.keep_ = false;
  c.close_ = c.unread_ = true;
  c.stream_.set_limits_apply(false);
  c.upgraded_ =
      std::make_unique<UpgradedStream>(&c.stream_, x.input(), std::move(on_drain));
  x.Consume(x.input().size());
  if (absl::Status s = c.FlushOut(); !s.ok()) return s;
  return c.upgraded_.get();
}

absl::Status Http1Response::DoWaitForDisconnect(Deadline deadline) {
  return connection_->WaitForDisconnect(deadline);
}

void Http1Response::Spoil() {
  spoiled_ = true;
  connection_->close_ = true;
  connection_->keep_ = false;
}

}  // namespace grove::http::http_internal
