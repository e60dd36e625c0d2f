#include "grove/net/tls_context.h"

#include <utility>

#include "grove/net/internal/tls_state.h"

namespace grove::net {

absl::StatusOr<TlsClientContext> TlsClientContext::Make(TlsClientOptions options) {
  auto state = tls_internal::ClientState::Make(std::move(options));
  if (!state.ok()) return state.status();
  return TlsClientContext(*std::move(state));
}

const TlsClientOptions& TlsClientContext::options() const { return state_->options(); }

absl::StatusOr<TlsServerContext> TlsServerContext::Make(TlsServerOptions options) {
  auto state = tls_internal::ServerState::Make(std::move(options));
  if (!state.ok()) return state.status();
  return TlsServerContext(*std::move(state));
}

absl::Status TlsServerContext::Reload() const { return state_->Load(); }

void TlsServerContext::RotateTicketKey() const { state_->ticket_keys().Rotate(); }

const TlsServerOptions& TlsServerContext::options() const { return state_->options(); }

}  // namespace grove::net
