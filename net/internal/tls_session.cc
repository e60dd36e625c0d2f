#include "grove/net/internal/tls_session.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>
#include <mutex>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "grove/green/blocking.h"
#include "grove/hub/internal/check.h"
#include "grove/net/internal/socket.h"
#include "grove/net/internal/tls_buffers.h"
#include "grove/net/internal/tls_error.h"
#include "openssl/bio.h"
#include "openssl/err.h"
#include "openssl/x509.h"
#include "openssl/x509v3.h"

// How a connection begins: its parts, and the handshake. See tls_session_io.cc for the
// rest.
namespace grove::net::tls_internal {

using net_internal::TimedOut;

Session::Session(std::unique_ptr<Stream> transport, std::shared_ptr<ClientState> client,
                 absl::string_view host)
    : transport_(std::move(transport)), client_(std::move(client)), host_(host) {
  Init(client_->context());
  SSL_set_connect_state(ssl_.get());
  failure_ = NameServer();
  data_.session_key = host_;
  if (bssl::UniquePtr<SSL_SESSION> session = client_->sessions().Take(host_)) {
    SSL_set_session(ssl_.get(), session.get());
  }
}

Session::Session(std::unique_ptr<Stream> transport, std::shared_ptr<ServerState> server)
    : transport_(std::move(transport)),
      server_(std::move(server)),
      certificates_(server_->certificates()) {
  data_.certificates = certificates_.get();
  Init(certificates_->fallback());
  SSL_set_accept_state(ssl_.get());
}

Session::~Session() = default;

void Session::Init(SSL_CTX* context) {
  ERR_clear_error();
  ssl_.reset(SSL_new(context));
  BIO* const bio = BIO_new(Method());
  GROVE_CHECK(ssl_ != nullptr && bio != nullptr, "no memory for a TLS connection");
  BIO_set_data(bio, this);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_.get(), bio, bio);
  SSL_set_app_data(ssl_.get(), &data_);
  // What only a handshake needs goes when that is done.
  SSL_set_shed_handshake_config(ssl_.get(), 1);
}

// Whom a client calls, and what the certificate must therefore be for.
absl::Status Session::NameServer() {
  absl::string_view host = host_;
  if (absl::ConsumePrefix(&host, "[")) absl::ConsumeSuffix(&host, "]");
  host = host.substr(0, host.find('%'));  // of fe80::1%eth0 only the address is certified
  absl::ConsumeSuffix(&host, ".");
  host_ = std::string(host);
  const bool verify = !client_->options().skip_verification;
  if (host_.empty() && !verify) return absl::OkStatus();
  const absl::Status bad = absl::InvalidArgumentError(
      absl::StrCat(HandshakeWithPeer(), ": '", host_, "' is no host name"));
  if (host_.empty() || host_.size() > 253 || host_.find('\0') != std::string::npos) {
    return bad;
  }
  in6_addr address;
  const bool numeric = inet_pton(AF_INET, host_.c_str(), &address) == 1 ||
                       inet_pton(AF_INET6, host_.c_str(), &address) == 1;
  X509_VERIFY_PARAM* const expected = SSL_get0_param(ssl_.get());
  bool ok = true;
  if (numeric) {
    if (verify) ok = X509_VERIFY_PARAM_set1_ip_asc(expected, host_.c_str());
  } else {
    // Only names are told to the server (RFC 6066).
    ok = SSL_set_tlsext_host_name(ssl_.get(), host_.c_str());
    // RFC 9525: a common name is no name.
    X509_VERIFY_PARAM_set_hostflags(expected, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
                                                  X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    if (verify && ok) {
      ok = X509_VERIFY_PARAM_set1_host(expected, host_.data(), host_.size());
    }
  }
  ERR_clear_error();
  return ok ? absl::OkStatus() : bad;
}

std::string Session::HandshakeWithPeer() const {
  std::string text = absl::StrCat("TLS handshake with ", transport_->Describe());
  if (!host_.empty()) absl::StrAppend(&text, " (", host_, ")");
  return text;
}

absl::Status Session::DoHandshake(Deadline deadline) {
  const absl::Duration limit = client_ ? client_->options().handshake_timeout
                                       : server_->options().handshake_timeout;
  if (limit != absl::InfiniteDuration()) deadline = std::min(deadline, Deadline(limit));
  // One may come to read while another, who came to write, is at it.
  if (!handshake_.try_lock_until(deadline)) return TimedOut(HandshakeWithPeer());
  const std::unique_lock<Mutex> lock(handshake_, std::adopt_lock);
  if (handshaken_) return absl::OkStatus();
  if (!failure_.ok()) return failure_;
  if (closed_) return Closed(HandshakeWithPeer());

  struct Interrupted {
    ~Interrupted() {
      if (session == nullptr) return;
      session->failure_ = absl::AbortedError(absl::StrCat(
          session->HandshakeWithPeer(), ": the greenlet that did it was stopped"));
    }
    Session* session;
  } interrupted{this};
  const absl::Status status = RunHandshake(deadline);
  interrupted.session = nullptr;
  if (status.ok()) {
    handshaken_ = true;
    certificates_ = nullptr;
    data_.certificates = nullptr;
  } else if (failure_.ok() && !closed_ && !absl::IsDeadlineExceeded(status)) {
    failure_ = status;
  }
  return status;
}

absl::Status Session::RunHandshake(Deadline deadline) {
  int error = HandshakeStep(Kept());
  for (;;) {
    if (closed_) return Closed(HandshakeWithPeer());
    absl::Status status;
    switch (error) {
      case SSL_ERROR_NONE:
      case SSL_ERROR_WANT_READ:
        if (error == SSL_ERROR_WANT_READ && eof_) return HandshakeFailed(error);
        status = Drain(deadline);
        if (status.ok() && error == SSL_ERROR_NONE) return status;
        if (status.ok()) status = ReceiveForHandshake(deadline, error);
        break;
      case SSL_ERROR_WANT_PRIVATE_KEY_OPERATION:
        status = Blocking([this] { data_.signing.Run(); }, deadline);
        if (status.ok()) error = HandshakeStep(Kept());
        break;
      default:
        return HandshakeFailed(error);
    }
    if (!status.ok()) return Annotate(status, HandshakeWithPeer());
  }
}

// What BoringSSL does with that; one of SSL_ERROR_...
int Session::HandshakeStep(absl::Span<const char> input) {
  input_ = input;
  ERR_clear_error();
  const int result = SSL_do_handshake(ssl_.get());
  KeepInput();
  return result == 1 ? SSL_ERROR_NONE : SSL_get_error(ssl_.get(), result);
}

// What comes next, and the step that can be taken with it.
absl::Status Session::ReceiveForHandshake(Deadline deadline, int& error) {
  for (;;) {
    if (absl::Status s = transport_->WaitReadable(deadline); !s.ok()) return s;
    BufferLease buffers;
    const absl::Span<char> room = buffers.encrypted();
    const absl::StatusOr<std::optional<size_t>> n = transport_->TryRead(room);
    if (!n.ok()) return n.status();
    if (!n->has_value()) continue;
    eof_ = **n == 0;
    error = HandshakeStep(room.first(**n));
    return absl::OkStatus();
  }
}

absl::Status Session::HandshakeFailed(int error) {
  if (ERR_peek_error() == 0) {
    return absl::DataLossError(
        absl::StrCat(HandshakeWithPeer(), error == SSL_ERROR_ZERO_RETURN
                                              ? ": the peer does not want it any more"
                                              : ": the peer ended the connection"));
  }
  absl::Status status = TakeError(HandshakeWithPeer(), ssl_.get(), host_);
  TryFlush();  // the alert that tells the peer why
  return status;
}

// --- what BoringSSL reads and writes ---

const BIO_METHOD* Session::Method() {
  static const BIO_METHOD* const method = [] {
    BIO_METHOD* m = BIO_meth_new(0, "grove");
    BIO_meth_set_read(m, &BioRead);
    BIO_meth_set_write(m, &BioWrite);
    BIO_meth_set_ctrl(m, &BioControl);
    return m;
  }();
  return method;
}

int Session::BioRead(BIO* bio, char* out, int size) {
  Session& session = *static_cast<Session*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  absl::Span<const char>& input = session.input_;
  if (input.empty()) {
    if (session.eof_) return 0;
    BIO_set_retry_read(bio);
    return -1;
  }
  const size_t n = std::min(input.size(), static_cast<size_t>(size));
  memcpy(out, input.data(), n);
  input.remove_prefix(n);
  return static_cast<int>(n);
}

int Session::BioWrite(BIO* bio, const char* data, int size) {
  static_cast<Session*>(BIO_get_data(bio))->Emit(data, size);
  return size;
}

long Session::BioControl(BIO*, int command, long, void*) {
  return command == BIO_CTRL_FLUSH ? 1 : 0;
}

}  // namespace grove::net::tls_internal
