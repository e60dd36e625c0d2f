#include "grove/net/internal/tls_state.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "grove/green/status.h"
#include "grove/net/internal/tls_certificate.h"
#include "grove/net/internal/tls_error.h"
#include "openssl/err.h"
#include "openssl/mem.h"
#include "openssl/sha.h"
#include "openssl/x509.h"

namespace grove::net::tls_internal {
namespace {

// Of TLS 1.2, those with forward secrecy that authenticate what they encrypt; TLS 1.3 has
// no others. In brackets: whichever the client likes best, since one without AES in
// hardware is better off with ChaCha20.
constexpr char kCiphers[] =
    "[ECDHE-ECDSA-AES128-GCM-SHA256|ECDHE-ECDSA-CHACHA20-POLY1305|"
    "ECDHE-RSA-AES128-GCM-SHA256|ECDHE-RSA-CHACHA20-POLY1305]:"
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384";

// Tickets name it, so that those of another application are not taken, nor those of a
// client whom other roots have vouched for: nobody looks at its certificate again.
std::string SessionContext(ClientCertificates clients, X509_STORE* roots) {
  SHA256_CTX hash;
  SHA256_Init(&hash);
  SHA256_Update(&hash, "grove", 5);
  const auto mode = static_cast<uint8_t>(clients);
  SHA256_Update(&hash, &mode, 1);
  const STACK_OF(X509_OBJECT)* const all =
      roots == nullptr ? nullptr : X509_STORE_get0_objects(roots);
  for (size_t i = 0; all != nullptr && i < sk_X509_OBJECT_num(all); ++i) {
    X509* const root = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(all, i));
    uint8_t* der = nullptr;
    const int size = root == nullptr ? 0 : i2d_X509(root, &der);
    if (size > 0) SHA256_Update(&hash, der, static_cast<size_t>(size));
    OPENSSL_free(der);
  }
  std::string digest(SHA256_DIGEST_LENGTH, '\0');
  SHA256_Final(reinterpret_cast<uint8_t*>(digest.data()), &hash);
  return digest;
}

uint16_t Number(TlsVersion version) {
  return version == TlsVersion::k1_2 ? TLS1_2_VERSION : TLS1_3_VERSION;
}

// What both sides have in common.
template <typename Options>
absl::StatusOr<bssl::UniquePtr<SSL_CTX>> NewContext(const Options& options, void* state) {
  if (options.min_version > options.max_version) {
    return absl::InvalidArgumentError("TLS: min_version is above max_version");
  }
  bssl::UniquePtr<SSL_CTX> context(SSL_CTX_new(TLS_method()));
  if (context == nullptr) return absl::ResourceExhaustedError("TLS: " + TakeReason());
  SSL_CTX_set_app_data(context.get(), state);
  SSL_CTX_set_mode(context.get(), SSL_MODE_NO_AUTO_CHAIN);
  SSL_CTX_set_min_proto_version(context.get(), Number(options.min_version));
  SSL_CTX_set_max_proto_version(context.get(), Number(options.max_version));
  if (!SSL_CTX_set_strict_cipher_list(context.get(), kCiphers)) {
    return absl::InternalError("TLS: the ciphers: " + TakeReason());
  }
  return context;
}

// The root certificates of a context. The newest among several ways to a root is taken
// first, since old roots expire while servers still send what leads to them.
bssl::UniquePtr<X509_STORE> NewStore() {
  bssl::UniquePtr<X509_STORE> store(X509_STORE_new());
  X509_STORE_set_flags(store.get(), X509_V_FLAG_TRUSTED_FIRST);
  return store;
}

absl::StatusOr<std::string> AlpnOnWire(const std::vector<std::string>& protocols) {
  std::string wire;
  for (const std::string& protocol : protocols) {
    if (protocol.empty() || protocol.size() > 255) {
      return absl::InvalidArgumentError(
          absl::StrCat("TLS: no protocol can be called '", protocol, "' (ALPN)"));
    }
    wire.push_back(static_cast<char>(protocol.size()));
    wire += protocol;
  }
  return wire;
}

const uint8_t* Bytes(const std::string& s) {
  return reinterpret_cast<const uint8_t*>(s.data());
}

absl::Status UseIdentity(SSL_CTX* context, const Identity& identity) {
  bool ok = SSL_CTX_use_certificate(context, identity.chain.front().get()) &&
            SSL_CTX_use_PrivateKey(context, identity.key.get());
  for (size_t i = 1; ok && i < identity.chain.size(); ++i) {
    ok = SSL_CTX_add1_chain_cert(context, identity.chain[i].get());
  }
  if (ok) return absl::OkStatus();
  return absl::InvalidArgumentError("TLS: the certificate: " + TakeReason());
}

template <typename State>
State& StateOf(const SSL* ssl) {
  return *static_cast<State*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
}

// --- callbacks; none may throw or block ---

template <typename State>
void LogKey(const SSL* ssl, const char* line) {
  StateOf<State>(ssl).key_log().Append(line);
}

int KeepSession(SSL* ssl, SSL_SESSION* session) {
  StateOf<ClientState>(ssl).sessions().Put(ConnectionData::Of(ssl).session_key,
                                           bssl::UniquePtr<SSL_SESSION>(session));
  return 1;  // it is ours
}

int UseTicketKey(SSL* ssl, uint8_t* name, uint8_t* iv, EVP_CIPHER_CTX* cipher,
                 HMAC_CTX* hmac, int encrypt) {
  TicketKeys& keys = StateOf<ServerState>(ssl).ticket_keys();
  return encrypt ? keys.Seal(name, iv, cipher, hmac) : keys.Open(name, iv, cipher, hmac);
}

int ChooseCertificate(SSL* ssl, int* alert, void*) {
  const char* host = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
  if (host == nullptr) return SSL_TLSEXT_ERR_NOACK;
  SSL_CTX* const found = ConnectionData::Of(ssl).certificates->Find(host);
  if (found != nullptr) {
    SSL_set_SSL_CTX(ssl, found);
  } else if (StateOf<ServerState>(ssl).options().refuse_unknown_names) {
    *alert = SSL_AD_UNRECOGNIZED_NAME;
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  }
  return SSL_TLSEXT_ERR_OK;
}

int ChooseProtocol(SSL* ssl, const uint8_t** out, uint8_t* out_size, const uint8_t* in,
                   unsigned in_size, void*) {
  const std::string& ours = StateOf<ServerState>(ssl).alpn();
  uint8_t* chosen = nullptr;
  // By the server's preference: its list comes first.
  if (SSL_select_next_proto(&chosen, out_size, Bytes(ours), ours.size(), in, in_size) !=
      OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  }
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

ssl_private_key_result_t BeginSigning(SSL* ssl, uint8_t*, size_t*, size_t,
                                      uint16_t algorithm, const uint8_t* in,
                                      size_t in_size) {
  Signing& signing = ConnectionData::Of(ssl).signing;
  signing.key = bssl::UpRef(SSL_get_privatekey(ssl));
  signing.algorithm = algorithm;
  signing.input.assign(reinterpret_cast<const char*>(in), in_size);
  signing.stage = Signing::Stage::kWanted;
  return ssl_private_key_retry;
}

ssl_private_key_result_t EndSigning(SSL* ssl, uint8_t* out, size_t* out_size,
                                    size_t room) {
  Signing& signing = ConnectionData::Of(ssl).signing;
  if (signing.stage == Signing::Stage::kWanted) return ssl_private_key_retry;
  if (signing.stage != Signing::Stage::kDone || signing.signature.size() > room) {
    return ssl_private_key_failure;
  }
  memcpy(out, signing.signature.data(), signing.signature.size());
  *out_size = signing.signature.size();
  signing = Signing();
  return ssl_private_key_success;
}

// Decryption by an RSA key is for ciphers without forward secrecy, which are not offered.
ssl_private_key_result_t NoDecryption(SSL*, uint8_t*, size_t*, size_t, const uint8_t*,
                                      size_t) {
  return ssl_private_key_failure;
}

constexpr SSL_PRIVATE_KEY_METHOD kSignElsewhere = {&BeginSigning, &NoDecryption,
                                                   &EndSigning};

}  // namespace

void Signing::Run() {
  ERR_clear_error();
  const bssl::ScopedEVP_MD_CTX context;
  EVP_PKEY_CTX* options = nullptr;
  const EVP_MD* digest = SSL_get_signature_algorithm_digest(algorithm);
  size_t size = EVP_PKEY_size(key.get());
  signature.resize(size);
  auto* const out = reinterpret_cast<uint8_t*>(signature.data());
  const bool ok =
      EVP_DigestSignInit(const_cast<EVP_MD_CTX*>(context.get()), &options, digest,
                         nullptr, key.get()) &&
      (!SSL_is_signature_algorithm_rsa_pss(algorithm) ||
       (EVP_PKEY_CTX_set_rsa_padding(options, RSA_PKCS1_PSS_PADDING) &&
        EVP_PKEY_CTX_set_rsa_pss_saltlen(options, -1 /* as long as the digest */))) &&
      EVP_DigestSign(const_cast<EVP_MD_CTX*>(context.get()), out, &size, Bytes(input),
                     input.size());
  signature.resize(ok ? size : 0);
  stage = ok ? Stage::kDone : Stage::kFailed;
  ERR_clear_error();
}

KeyLog::~KeyLog() {
  if (fd_ >= 0) close(fd_);
}

absl::Status KeyLog::Open(const std::string& path) {
  fd_ = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  return fd_ >= 0 ? absl::OkStatus() : ErrnoStatus(errno, "open the key log " + path);
}

void KeyLog::Append(const char* line) const {
  const std::string whole = absl::StrCat(line, "\n");
  // What cannot be logged is missing there; no connection fails for it.
  while (write(fd_, whole.data(), whole.size()) < 0 && errno == EINTR) {
  }
}

void CertificateTable::Add(bssl::UniquePtr<SSL_CTX> context,
                           const std::vector<std::string>& names) {
  for (const std::string& name : names) by_name_.try_emplace(name, context.get());
  contexts_.push_back(std::move(context));
}

SSL_CTX* CertificateTable::Find(absl::string_view host) const {
  std::string name = absl::AsciiStrToLower(host);
  auto found = by_name_.find(name);
  const size_t dot = name.find('.');
  if (found == by_name_.end() && dot != std::string::npos) {
    found = by_name_.find("*" + name.substr(dot));
  }
  return found == by_name_.end() ? nullptr : found->second;
}

// --- clients ---

absl::StatusOr<std::shared_ptr<ClientState>> ClientState::Make(TlsClientOptions options) {
  const std::shared_ptr<ClientState> state(new ClientState(std::move(options)));
  if (absl::Status s = state->Init(); !s.ok()) return s;
  return state;
}

absl::Status ClientState::Init() {
  ERR_clear_error();
  auto context = NewContext(options_, this);
  if (!context.ok()) return context.status();
  context_ = *std::move(context);
  SSL_CTX* const c = context_.get();

  if (!options_.skip_verification) {
    bssl::UniquePtr<X509_STORE> store = NewStore();
    if (options_.system_roots) {
      if (absl::Status s = AddSystemRoots(store.get()); !s.ok()) return s;
    }
    if (absl::Status s = AddRoots(store.get(), options_.roots, options_.roots_file);
        !s.ok()) {
      return s;
    }
    SSL_CTX_set_cert_store(c, store.release());
    SSL_CTX_set_verify(c, SSL_VERIFY_PEER, nullptr);
  }
  if (options_.identity) {
    const absl::StatusOr<Identity> identity = LoadIdentity(*options_.identity);
    if (!identity.ok()) return identity.status();
    if (absl::Status s = UseIdentity(c, *identity); !s.ok()) return s;
  }
  const absl::StatusOr<std::string> alpn = AlpnOnWire(options_.alpn);
  if (!alpn.ok()) return alpn.status();
  // The one function here that returns 0 for success.
  if (SSL_CTX_set_alpn_protos(c, Bytes(*alpn), alpn->size()) != 0) {
    return absl::InvalidArgumentError("TLS: the protocols: " + TakeReason());
  }
  SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(c, &KeepSession);
  if (!options_.key_log_file.empty()) {
    if (absl::Status s = key_log_.Open(options_.key_log_file); !s.ok()) return s;
    SSL_CTX_set_keylog_callback(c, &LogKey<ClientState>);
  }
  return absl::OkStatus();
}

// --- servers ---

absl::StatusOr<std::shared_ptr<ServerState>> ServerState::Make(TlsServerOptions options) {
  const std::shared_ptr<ServerState> state(new ServerState(std::move(options)));
  if (state->options_.identities.empty()) {
    return absl::InvalidArgumentError("TLS: a server needs a certificate");
  }
  absl::StatusOr<std::string> alpn = AlpnOnWire(state->options_.alpn);
  if (!alpn.ok()) return alpn.status();
  state->alpn_ = *std::move(alpn);
  if (const std::string& path = state->options_.key_log_file; !path.empty()) {
    if (absl::Status s = state->key_log_.Open(path); !s.ok()) return s;
  }
  if (absl::Status s = state->Load(); !s.ok()) return s;
  return state;
}

absl::StatusOr<bssl::UniquePtr<SSL_CTX>> ServerState::NewContext(
    const TlsIdentity& identity, X509_STORE* client_roots,
    std::vector<std::string>& names) {
  absl::StatusOr<Identity> loaded = LoadIdentity(identity);
  if (!loaded.ok()) return loaded.status();
  names = std::move(loaded->names);
  auto context = tls_internal::NewContext(options_, this);
  if (!context.ok()) return context;
  SSL_CTX* const c = context->get();
  if (absl::Status s = UseIdentity(c, *loaded); !s.ok()) return s;
  if (options_.sign_in_thread_pool && EVP_PKEY_id(loaded->key.get()) == EVP_PKEY_RSA) {
    SSL_CTX_set_private_key_method(c, &kSignElsewhere);
  }
  SSL_CTX_set_tlsext_servername_callback(c, &ChooseCertificate);
  if (!alpn_.empty()) SSL_CTX_set_alpn_select_cb(c, &ChooseProtocol, nullptr);
  SSL_CTX_set_options(c, SSL_OP_CIPHER_SERVER_PREFERENCE);
  // Sessions travel in tickets; none are kept here.
  SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
  const std::string id = SessionContext(options_.client_certificates, client_roots);
  SSL_CTX_set_session_id_context(c, reinterpret_cast<const uint8_t*>(id.data()),
                                 id.size());
  if (options_.session_tickets) {
    SSL_CTX_set_tlsext_ticket_key_cb(c, &UseTicketKey);
  } else {
    SSL_CTX_set_options(c, SSL_OP_NO_TICKET);
  }
  if (client_roots != nullptr) {
    const bool required = options_.client_certificates == ClientCertificates::kRequired;
    SSL_CTX_set_verify(
        c, SSL_VERIFY_PEER | (required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), nullptr);
    SSL_CTX_set1_verify_cert_store(c, client_roots);
  }
  if (!options_.key_log_file.empty()) {
    SSL_CTX_set_keylog_callback(c, &LogKey<ServerState>);
  }
  return context;
}

absl::Status ServerState::Load() {
  uint64_t turn;
  {
    const std::lock_guard lock(mutex_);
    turn = ++loads_;
  }
  ERR_clear_error();
  bssl::UniquePtr<X509_STORE> roots;
  if (options_.client_certificates != ClientCertificates::kIgnored) {
    if (options_.client_roots.empty() && options_.client_roots_file.empty()) {
      return absl::InvalidArgumentError(
          "TLS: client certificates are asked for, and there are no client_roots to "
          "verify them by");
    }
    roots = NewStore();
    if (absl::Status s =
            AddRoots(roots.get(), options_.client_roots, options_.client_roots_file);
        !s.ok()) {
      return s;
    }
  }
  auto table = std::make_shared<CertificateTable>();
  for (const TlsIdentity& identity : options_.identities) {
    std::vector<std::string> names;
    auto context = NewContext(identity, roots.get(), names);
    if (!context.ok()) return context.status();
    table->Add(*std::move(context), names);
  }
  std::shared_ptr<const CertificateTable> taken = std::move(table);
  const std::lock_guard lock(mutex_);
  // One that has begun later, on another thread, has read what is newer.
  if (turn < taken_) return absl::OkStatus();
  taken_ = turn;
  certificates_.swap(taken);  // the old one goes when the lock has gone
  return absl::OkStatus();
}

std::shared_ptr<const CertificateTable> ServerState::certificates() const {
  const std::lock_guard lock(mutex_);
  return certificates_;
}

}  // namespace grove::net::tls_internal
