#ifndef GROVE_NET_INTERNAL_TLS_STATE_H_
#define GROVE_NET_INTERNAL_TLS_STATE_H_

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "grove/net/internal/tls_session_cache.h"
#include "grove/net/internal/tls_ticket_keys.h"
#include "grove/net/tls_options.h"
#include "openssl/ssl.h"

// What TlsClientContext and TlsServerContext are handles of.
namespace grove::net::tls_internal {

// KeyLog
//
// Appends lines to a file, each by one write(2), as debuggers expect that read along.
class KeyLog {
 public:
  KeyLog() = default;
  KeyLog(const KeyLog&) = delete;
  KeyLog& operator=(const KeyLog&) = delete;
  ~KeyLog();
  absl::Status Open(const std::string& path);
  void Append(const char* line) const;

 private:
  int fd_ = -1;
};

// CertificateTable
//
// A server's certificates, as they were read at one moment: one SSL_CTX for each.
class CertificateTable {
 public:
  void Add(bssl::UniquePtr<SSL_CTX> context, const std::vector<std::string>& names);
  SSL_CTX* fallback() const { return contexts_.front().get(); }
  // For the host that a client names; null if none is for it.
  SSL_CTX* Find(absl::string_view host) const;

 private:
  std::vector<bssl::UniquePtr<SSL_CTX>> contexts_;
  std::unordered_map<std::string, SSL_CTX*> by_name_;
};

// A signature that is to be made outside of BoringSSL's call.
struct Signing {
  enum class Stage { kNone, kWanted, kDone, kFailed } stage = Stage::kNone;
  bssl::UniquePtr<EVP_PKEY> key;
  uint16_t algorithm = 0;
  std::string input;
  std::string signature;

  // Signs. Threads: any.
  void Run();
};

// What BoringSSL's callbacks need to know of a connection: the SSL's app data.
struct ConnectionData {
  const CertificateTable* certificates = nullptr;  // a server's, during its handshake
  std::string session_key;                         // a client's
  Signing signing;
  static ConnectionData& Of(const SSL* ssl) {
    return *static_cast<ConnectionData*>(SSL_get_app_data(ssl));
  }
};

// ClientState
class ClientState {
 public:
  static absl::StatusOr<std::shared_ptr<ClientState>> Make(TlsClientOptions options);

  const TlsClientOptions& options() const { return options_; }
  SSL_CTX* context() const { return context_.get(); }
  SessionCache& sessions() { return sessions_; }
  const KeyLog& key_log() const { return key_log_; }

 private:
  explicit ClientState(TlsClientOptions options)
      : options_(std::move(options)), sessions_(options_.session_cache) {}
  absl::Status Init();

  const TlsClientOptions options_;
  KeyLog key_log_;
  SessionCache sessions_;
  bssl::UniquePtr<SSL_CTX> context_;
};

// ServerState
class ServerState {
 public:
  static absl::StatusOr<std::shared_ptr<ServerState>> Make(TlsServerOptions options);

  // Reads all files, and takes what they say; or leaves everything as it was.
  absl::Status Load();
  std::shared_ptr<const CertificateTable> certificates() const;

  const TlsServerOptions& options() const { return options_; }
  const std::string& alpn() const { return alpn_; }
  TicketKeys& ticket_keys() { return ticket_keys_; }
  const KeyLog& key_log() const { return key_log_; }

 private:
  explicit ServerState(TlsServerOptions options)
      : options_(std::move(options)), ticket_keys_(options_.ticket_key_lifetime) {}
  absl::StatusOr<bssl::UniquePtr<SSL_CTX>> NewContext(const TlsIdentity& identity,
                                                      X509_STORE* client_roots,
                                                      std::vector<std::string>& names);

  const TlsServerOptions options_;
  std::string alpn_;  // as on the wire
  KeyLog key_log_;
  TicketKeys ticket_keys_;
  mutable std::mutex mutex_;  // for what follows
  std::shared_ptr<const CertificateTable> certificates_;
  uint64_t loads_ = 0;  // that have begun
  uint64_t taken_ = 0;  // of which of them the certificates are
};

}  // namespace grove::net::tls_internal

#endif  // GROVE_NET_INTERNAL_TLS_STATE_H_
