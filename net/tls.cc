#include "grove/net/tls.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "grove/net/internal/tls_certificate.h"
#include "grove/net/internal/tls_session.h"
#include "openssl/ssl.h"

namespace grove::net {

using tls_internal::Session;

TlsStream::TlsStream(std::unique_ptr<Stream> transport, const TlsClientContext& context,
                     absl::string_view host)
    : session_(std::make_shared<Session>(std::move(transport), context.state(), host)) {}

TlsStream::TlsStream(std::unique_ptr<Stream> transport, const TlsServerContext& context)
    : session_(std::make_shared<Session>(std::move(transport), context.state())) {}

TlsStream::TlsStream(TlsStream&& other) noexcept = default;

TlsStream& TlsStream::operator=(TlsStream&& other) noexcept {
  if (this == &other) return *this;
  Close();
  Stream::operator=(std::move(other));
  session_ = std::move(other.session_);
  return *this;
}

TlsStream::~TlsStream() { Close(); }

// Each call keeps the session, which may be all that is left when it has waited.

absl::Status TlsStream::Handshake(Deadline deadline) {
  const std::shared_ptr<Session> session = session_;
  return session->Handshake(Earlier(deadline));
}

absl::StatusOr<size_t> TlsStream::DoRead(absl::Span<char> buffer, Deadline deadline) {
  const std::shared_ptr<Session> session = session_;
  return session->Read(absl::MakeConstSpan(&buffer, 1), deadline);
}

absl::StatusOr<size_t> TlsStream::DoReadScatter(
    absl::Span<const absl::Span<char>> buffers, Deadline deadline) {
  const std::shared_ptr<Session> session = session_;
  return session->Read(buffers, deadline);
}

absl::Status TlsStream::DoWaitReadable(Deadline deadline) {
  const std::shared_ptr<Session> session = session_;
  return session->WaitReadable(deadline);
}

absl::Status TlsStream::DoWrite(absl::string_view data, Deadline deadline) {
  const std::shared_ptr<Session> session = session_;
  return session->Write(absl::MakeConstSpan(&data, 1), deadline);
}

absl::Status TlsStream::DoWriteGather(absl::Span<const absl::string_view> pieces,
                                      Deadline deadline) {
  const std::shared_ptr<Session> session = session_;
  return session->Write(pieces, deadline);
}

absl::StatusOr<std::optional<size_t>> TlsStream::TryRead(absl::Span<char> buffer) {
  return session_->TryRead(buffer);
}

bool TlsStream::has_unsent() const { return session_->has_unsent(); }

absl::StatusOr<size_t> TlsStream::TryWrite(absl::string_view data) {
  return session_->TryWrite(data);
}

absl::Status TlsStream::ShutdownWrite() { return session_->ShutdownWrite(); }
absl::Status TlsStream::ShutdownRead() { return session_->ShutdownRead(); }

void TlsStream::Close() {
  if (session_ != nullptr) session_->Close();
}

void TlsStream::Abort() {
  if (session_ == nullptr) return;
  session_->transport().Abort();
  session_->Close();
}

bool TlsStream::closed() const { return session_ == nullptr || session_->closed(); }
std::string TlsStream::Describe() const { return session_->Describe(); }
Stream& TlsStream::transport() const { return session_->transport(); }

Stream::Activity TlsStream::activity() const {
  return closed() ? Activity() : transport().activity();
}

// --- what the handshake has come to ---

bool TlsStream::handshaken() const { return session_->handshaken(); }

bool TlsStream::resumed() const {
  return handshaken() && SSL_session_reused(session_->ssl());
}

TlsVersion TlsStream::version() const {
  return SSL_version(session_->ssl()) == TLS1_2_VERSION ? TlsVersion::k1_2
                                                        : TlsVersion::k1_3;
}

std::string TlsStream::cipher() const {
  const SSL_CIPHER* cipher = SSL_get_current_cipher(session_->ssl());
  return cipher != nullptr && handshaken() ? SSL_CIPHER_standard_name(cipher) : "";
}

std::string TlsStream::alpn() const {
  const uint8_t* name = nullptr;
  unsigned size = 0;
  if (handshaken()) SSL_get0_alpn_selected(session_->ssl(), &name, &size);
  return std::string(reinterpret_cast<const char*>(name), size);
}

std::string TlsStream::server_name() const {
  const char* name = SSL_get_servername(session_->ssl(), TLSEXT_NAMETYPE_host_name);
  return name != nullptr && handshaken() ? name : "";
}

std::optional<TlsCertificate> TlsStream::peer_certificate() const {
  if (!handshaken()) return std::nullopt;
  const bssl::UniquePtr<X509> leaf(SSL_get_peer_certificate(session_->ssl()));
  if (leaf == nullptr) return std::nullopt;
  return tls_internal::Describe(*leaf);
}

std::vector<std::string> TlsStream::peer_chain() const {
  std::vector<std::string> chain;
  if (!handshaken()) return chain;
  const STACK_OF(X509)* shown = SSL_get_peer_full_cert_chain(session_->ssl());
  for (size_t i = 0; shown != nullptr && i < sk_X509_num(shown); ++i) {
    chain.push_back(tls_internal::Der(*sk_X509_value(shown, i)));
  }
  return chain;
}

absl::Status CheckNothingArrived(Stream& stream, absl::string_view rest) {
  size_t arrived = rest.size();
  if (arrived == 0) {
    char buffer[256];
    const absl::StatusOr<std::optional<size_t>> n =
        stream.TryRead(absl::MakeSpan(buffer));
    if (!n.ok()) return n.status();
    arrived = n->value_or(0);
  }
  if (arrived == 0) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("go over to TLS with ", stream.Describe(), ": ", arrived,
                   " bytes in clear text arrived before the handshake"));
}

}  // namespace grove::net
