#include "grove/net/http/websocket.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "grove/net/http/internal/websocket_core.h"

namespace grove::http {

using http_internal::WebSocketCore;

WebSocket::WebSocket(std::shared_ptr<WebSocketCore> core) : core_(std::move(core)) {}
WebSocket::WebSocket(WebSocket&&) noexcept = default;
WebSocket& WebSocket::operator=(WebSocket&& other) noexcept {
  WebSocket old(std::move(core_));
  core_ = std::move(other.core_);
  return *this;
}
WebSocket::~WebSocket() {
  if (core_) core_->Abandon();
}

absl::StatusOr<std::optional<WebSocketMessage>> WebSocket::Receive(Deadline deadline) {
  WebSocketMessage message;
  const absl::StatusOr<std::optional<Type>> type = core_->Receive(message.data, deadline);
  if (!type.ok()) return type.status();
  if (!type->has_value()) return std::nullopt;
  message.type = **type;
  return message;
}

absl::StatusOr<std::optional<WebSocket::Type>> WebSocket::ReceiveInto(std::string& data,
                                                                      Deadline deadline) {
  return core_->Receive(data, deadline);
}

absl::Status WebSocket::Send(Type type, absl::string_view data, Deadline deadline) {
  return core_->Send(type, data, deadline);
}

absl::Status WebSocket::Ping(absl::string_view payload, Deadline deadline) {
  return core_->Ping(payload, deadline);
}

absl::Status WebSocket::Close(uint16_t code, absl::string_view reason,
                              Deadline deadline) {
  return core_->Close(code, reason, deadline);
}

uint16_t WebSocket::close_code() const { return core_->close_code(); }
const std::string& WebSocket::close_reason() const { return core_->close_reason(); }
const std::string& WebSocket::subprotocol() const { return core_->agreed().subprotocol; }
bool WebSocket::compresses() const { return core_->agreed().deflate.has_value(); }

namespace {

absl::Status Refuse(ResponseWriter& response, int status, absl::string_view reason,
                    absl::StatusCode code) {
  if (status == 426) {
    response.headers().Set("Upgrade", "websocket");
    response.headers().Set("Connection", "Upgrade");
    response.headers().Set("Sec-WebSocket-Version", "13");
  } else if (status == 405) {
    response.headers().Set("Allow", "GET");
  }
  response.Send(status, "text/plain", absl::StrCat(reason, "\n")).IgnoreError();
  return absl::Status(code, absl::StrCat("accept a WebSocket: ", reason));
}

}  // namespace

absl::StatusOr<WebSocket> AcceptWebSocket(Request& request, ResponseWriter& response,
                                          const WebSocketOptions& options) {
  using namespace http_internal;
  if (const auto refusal = CheckWebSocketRequest(request)) {
    return Refuse(response, refusal->status, refusal->reason,
                  absl::StatusCode::kInvalidArgument);
  }
  if (!MayComeFrom(request, options.allowed_origins)) {
    return Refuse(response, 403, "not from a page of this origin",
                  absl::StatusCode::kPermissionDenied);
  }
  const HeaderView headers = request.headers();
  const std::optional<std::vector<Extension>> extensions = ParseExtensions(headers);
  if (!extensions) {
    return Refuse(response, 400, "malformed Sec-WebSocket-Extensions",
                  absl::StatusCode::kInvalidArgument);
  }
  response.headers().Set("Sec-WebSocket-Accept",
                         AcceptOf(*headers.Get("Sec-WebSocket-Key")));
  WebSocketCore::Agreed agreed;
  const auto offered = ListOf(headers, "Sec-WebSocket-Protocol");
  for (const std::string& protocol : options.subprotocols) {
    if (std::find(offered.begin(), offered.end(), protocol) == offered.end()) continue;
    agreed.subprotocol = protocol;
    response.headers().Set("Sec-WebSocket-Protocol", protocol);
    break;
  }
  if (options.deflate.enabled) {
    if (const auto answer = AnswerDeflateOffer(*extensions, options.deflate.window_bits,
                                               options.deflate.keep_context)) {
      agreed.deflate = answer->parameters;
      response.headers().Set("Sec-WebSocket-Extensions", answer->field);
    }
  }
  const auto core = std::make_shared<WebSocketCore>(/*is_client=*/false, options);
  const absl::StatusOr<net::Stream*> stream =
      response.Upgrade("websocket", [weak = std::weak_ptr<WebSocketCore>(core)] {
        if (const auto core = weak.lock()) core->Drain();
      });
  if (!stream.ok()) {
    if (!response.head_sent()) {
      for (absl::string_view name :
           {"Sec-WebSocket-Accept", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions"})
        response.headers().Remove(name);
      const bool ending = absl::IsUnavailable(stream.status());
      response
          .Send(ending ? 503 : 400, "text/plain",
                absl::StrCat(stream.status().message(), "\n"))
          .IgnoreError();
    }
    return stream.status();
  }
  core->Open(*stream, nullptr, {}, std::move(agreed));
  return WebSocketCore::Wrap(core);
}

}  // namespace grove::http
